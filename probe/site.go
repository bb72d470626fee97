// Package probe looks at web sites: what is watched and from where (Site, Vantage), when (Schedule), one look from
// the name to the answer (Prober), and what it found (Result). It decides nothing beyond one result and knows no CDN:
// whose failure an answer is comes from the Judge that its user hands in.
package probe

import (
	"hash/fnv"
	"io"
	"net/netip"
	"net/url"
	"regexp"
	"time"
)

// Alert says how loudly a site that fails alone is told.
type Alert uint8

// The levels of Alert.
const (
	AlertNone Alert = iota
	AlertNotice
	AlertPage
)

var alertNames = [...]string{"none", "notice", "page"}

func (a Alert) String() string { return nameOf(alertNames[:], uint8(a)) }

// Site is one URL that is watched, with what counts as a good answer. It is immutable once scheduled and shared by
// all who hold it.
type Site struct {
	Name   string   // unique in a config
	URL    *url.URL // absolute, http or https, without user info or fragment
	Group  string
	Labels map[string]string
	Owner  string // whose site it is; the registrable domain unless the config says otherwise
	CDN    string // the fronting CDN where the config knows better than the evidence; "" = find out
	Alert  Alert  // when it fails alone
	Anchor bool   // a control: it only serves to tell whether the vantage itself is well

	Interval time.Duration // between two scheduled probes from one vantage
	Timeout  time.Duration // of one probe, redirects included, its re-check excluded; at most Interval
	Method   string        // GET or HEAD
	Headers  []Header      // sent besides our own, in this order
	Expect   Expect

	AllowAddresses []netip.Prefix // beside the prober's own: addresses that the guard lets through for this site
}

// Header is one header line of a request or a response, in the order and spelling seen.
type Header struct{ Name, Value string }

// Expect says what a good answer is.
type Expect struct {
	Status  []StatusRange  // empty: 200 to 399
	Body    *regexp.Regexp // must be found in the first 64 KiB; nil = not asked
	NotBody *regexp.Regexp // must not be found there; nil = not asked
}

// StatusRange is an inclusive range of HTTP statuses.
type StatusRange struct{ From, To int }

// OK tells whether status is a good one.
func (e *Expect) OK(status int) bool {
	if len(e.Status) == 0 {
		return status >= 200 && status < 400
	}
	for _, r := range e.Status {
		if r.From <= status && status <= r.To {
			return true
		}
	}
	return false
}

// Key identifies a site over restarts and between hosts: a hash of its name and URL.
func (s *Site) Key() uint64 {
	h := fnv.New64a()
	_, _ = io.WriteString(h, s.Name)
	_, _ = h.Write([]byte{0})
	_, _ = io.WriteString(h, s.URL.String())
	return h.Sum64()
}

// Vantage is a place to look from.
type Vantage struct {
	Name      string // unique in a fleet
	Region    string // "eu-west"; "" = not said
	Labels    map[string]string
	Source    netip.Addr // local address to dial from; the zero Addr = the kernel's choice
	Resolvers []Resolver // tried in order; never empty in a loaded config
}

// Resolver is a recursive DNS server that a vantage asks.
type Resolver struct {
	Addr netip.AddrPort
	TCP  bool // ask over TCP only; false = UDP with EDNS0, TCP when truncated
}

// String is the form that results show: udp://9.9.9.9:53.
func (r Resolver) String() string {
	if r.TCP {
		return "tcp://" + r.Addr.String()
	}
	return "udp://" + r.Addr.String()
}
