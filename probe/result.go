package probe

import (
	"context"
	"net/netip"
	"time"
)

// Family is the address family that a probe used or is to use.
type Family uint8

// The families. FamilyAny takes the addresses in the order of the resolver's answer, IPv4 first.
const (
	FamilyAny Family = iota
	FamilyIP4
	FamilyIP6
)

var familyNames = [...]string{"", "ip4", "ip6"}

func (f Family) String() string { return nameOf(familyNames[:], uint8(f)) }

// Task is one look that is wanted.
type Task struct {
	Site    *Site
	Vantage *Vantage
	Family  Family
	Due     time.Time     // lateness is start - Due
	By      time.Time     // a sweep not begun by then is dropped and counted; zero for scheduled ones
	Timeout time.Duration // the site's, or a sweep's own shorter one
	Sweep   uint64        // the Want it serves; 0 = scheduled
}

// FirstLook is the time that the first look may take. A sweep is in haste: both its looks share its timeout.
func (t *Task) FirstLook() time.Duration {
	if t.Sweep == 0 {
		return t.Timeout
	}
	return t.Timeout * 2 / 3
}

// SecondLook is the time that a second look may take, where the first one took spent; 0 = there is none.
func (t *Task) SecondLook(recheck, spent time.Duration) time.Duration {
	if t.Sweep == 0 {
		return min(recheck, t.Timeout)
	}
	left := t.Timeout - spent
	if left < t.Timeout/10 {
		return 0
	}
	return min(recheck, left)
}

// Func makes one probe and returns soon after its timeout or ctx is done. Failing is a Result, not an error. late is
// called at most once, from the same goroutine's time, with a pending Result, when the probe outlasts the site's own
// habit; it may be nil.
type Func func(ctx context.Context, t Task, late func(Result)) Result

// Result is what one probe found. It is a value; its slices are never changed after it was given away.
type Result struct {
	Site    string
	URL     string // the one asked for; redirects end in Final
	Vantage string
	Region  string
	Family  Family
	At      time.Time // when the answer, or its lateness, was known; the start is At - Time.Total
	Seq     uint64    // per vantage, rising, also over restarts
	Pending bool      // no answer yet and slower than the site's habit: no Class, no Fault; the final one has the same Seq
	Attempt int       // 1, or 2 when the immediate re-check decided
	Sweep   uint64    // the Want it serves; 0 = scheduled

	Verdict

	Status     int            // of the last response; 0 = none
	Final      string         // the URL that answered, where redirects led away from URL
	Addr       netip.AddrPort // of the last connection, or attempt at one; the zero value = none
	Network    string         // that Addr lies in, as "as13335"; "" = unknown
	Proto      string         // "HTTP/1.1" as the response said
	DNS        DNSInfo
	TLS        TLSInfo
	Addresses  []AddressLook // of a site whose every address is looked at: one each, in the order tried
	Time       Timings
	RetryAfter time.Duration // what the answer asked us to wait, at most an hour; 0 = nothing
}

// OK tells whether the site answered as it should.
func (r *Result) OK() bool { return r.Class == ClassOK }

// Dead are the addresses that failed while another one answered.
func (r *Result) Dead() []AddressLook {
	var dead []AddressLook
	for _, l := range r.Addresses {
		if l.Class != ClassOK {
			dead = append(dead, l)
		}
	}
	if len(dead) == len(r.Addresses) {
		return nil
	}
	return dead
}

// AddressLook is what was found at one of a site's addresses.
type AddressLook struct {
	Addr  netip.AddrPort
	Class Class
	Fault Fault
	Total time.Duration
}

// DNSInfo is what the resolve phase found for the name in the URL.
type DNSInfo struct {
	Resolver  string // the one that answered, or the last one tried
	Rcode     string // NOERROR, NXDOMAIN, …; "" = no answer
	EDE       []uint16
	CNAME     []string // the chain in order, without the trailing dots, lower case
	Addrs     []netip.Addr
	NS        []string      // name servers of the zone, sorted; cached
	Operator  string        // who runs those name servers, by the Judge
	Tried     []ResolverTry // the resolvers that failed, in order, where one did
	Diagnosis Diagnosis     // of a failure
}

// ResolverTry is a resolver that failed.
type ResolverTry struct {
	Resolver string
	Class    Class
}

// Diagnosis says whose failure a failing resolve phase is, by what other resolvers and the zone's own name servers say.
type Diagnosis uint8

// The diagnoses. New ones are appended, never inserted: the numbers go over the wire.
const (
	DiagnosisNone     Diagnosis = iota // not made, or nothing can be told
	DiagnosisResolver                  // the vantage's resolver: the zone's own servers have the answer
	DiagnosisLying                     // likewise, and it denied it: stale, filtered or forged
	DiagnosisOperator                  // the zone's own servers are silent or fail, the resolver works for other names
	DiagnosisZone                      // the zone's own servers work, and themselves have no such answer
	DiagnosisPath                      // the zone's own servers cannot be reached from here, another resolver reaches them
	DiagnosisLocal                     // no resolver and no name server can be reached from here
)

var diagnosisNames = [...]string{"", "resolver", "lying", "operator", "zone", "path", "local"}

func (d Diagnosis) String() string { return nameOf(diagnosisNames[:], uint8(d)) }

// TLSInfo is what the handshake found.
type TLSInfo struct {
	Version  string // "1.3"
	Issuer   string // organisation, or the common name, of the leaf's issuer
	NotAfter time.Time
	Names    uint64 // hash of the certificate's names, where these are of several domains; 0 = of one
}

// Timings are the lengths of a probe's phases; a phase that was not reached is 0. With redirects, each is the sum over the hops.
type Timings struct {
	Lag     time.Duration // start - Task.Due; 0 for sweeps
	Resolve time.Duration
	Connect time.Duration
	TLS     time.Duration
	TTFB    time.Duration // request written to the first byte of the header
	Total   time.Duration // the whole probe, re-check included
}

// sum is the length of all phases.
func (t *Timings) sum() time.Duration { return t.Resolve + t.Connect + t.TLS + t.TTFB }
