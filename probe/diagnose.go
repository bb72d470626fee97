package probe

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/net/publicsuffix"
)

// A failing resolve phase is diagnosed: the zone's own name servers and another resolver are asked, so that it is known
// whose failure it is.

// Bounds of a diagnosis: how long it may take, in tries; how many aliases it follows from zone to zone; how long its
// outcome is believed, of what concerns all zones of an operator and of one name; how many outcomes are kept.
const (
	diagnosisTries = 2
	diagnosisZones = 3
	sharedFor      = 30 * time.Second
	nameFor        = 2 * time.Minute
	maxOperators   = 1000
	maxOutcomes    = 1000
)

// diagnoses are the outcomes of late, so that an operator's servers are asked once and not for each site.
type diagnoses struct {
	mu         sync.Mutex
	byOperator map[string]*examined // by vantage and operator; guarded by mu
}

// examined is what was found out about an operator of name servers, seen from one vantage.
type examined struct {
	turn   chan struct{} // held by who examines; guards the rest
	shared outcome
	names  map[string]outcome // by name, family and class
}

type outcome struct {
	Diagnosis
	why  string
	till time.Time
}

func (d *diagnoses) of(key string) *examined {
	d.mu.Lock()
	defer d.mu.Unlock()
	x := d.byOperator[key]
	if x == nil {
		if len(d.byOperator) >= maxOperators {
			clear(d.byOperator)
		}
		x = &examined{turn: make(chan struct{}, 1), names: map[string]outcome{}}
		d.byOperator[key] = x
	}
	return x
}

// known is what was found out about a name that fails with a class: about the name itself, or, where the resolver got no answer
// for it, about its operator.
func (x *examined) known(name string, c Class, now time.Time) (outcome, bool) {
	if now.Before(x.shared.till) && !denies(c) {
		return x.shared, true
	}
	o, ok := x.names[name]
	return o, ok && now.Before(o.till)
}

func (x *examined) keep(name string, o outcome, now time.Time) {
	switch o.Diagnosis {
	case DiagnosisOperator, DiagnosisPath, DiagnosisLocal: // true of all zones there
		o.till = now.Add(sharedFor)
		x.shared = o
	default:
		if len(x.names) >= maxOutcomes {
			clear(x.names)
		}
		o.till = now.Add(nameFor)
		x.names[name] = o
	}
}

// diagnose says whose failure it is that host did not resolve, and how that is known.
func (p *Prober) diagnose(ctx context.Context, v *Vantage, fam Family, host string, failed *resolution) (Diagnosis, string) {
	switch {
	case failed.class.Phase() != PhaseResolve || len(v.Resolvers) == 0:
		return DiagnosisNone, ""
	case bogus(failed.info.EDE):
		return DiagnosisZone, "the zone's DNSSEC signatures do not validate"
	}
	ns, _ := p.zones.servers(host)
	x := p.found.of(v.Name + " " + strings.Join(operators(ns, zoneOf(host)), " "))
	name := strings.ToLower(host) + " " + fam.String() + " " + failed.class.String()
	ctx, cancel := context.WithTimeout(ctx, diagnosisTries*p.c.DNSTry)
	defer cancel()
	select {
	case x.turn <- struct{}{}:
		defer func() { <-x.turn }()
	case <-ctx.Done():
		return DiagnosisNone, ""
	}
	if o, ok := x.known(name, failed.class, time.Now()); ok {
		return o.Diagnosis, o.why
	}
	e := examination{p: p, ctx: ctx, v: v, qtype: dns.TypeA, failed: failed}
	if fam == FamilyIP6 {
		e.qtype = dns.TypeAAAA
	}
	o := e.examine(host)
	if ctx.Err() == nil || o.Diagnosis != DiagnosisNone {
		x.keep(name, o, time.Now())
	}
	return o.Diagnosis, o.why
}

// operators are the registrable domains of name servers; the zone itself where none is known.
func operators(ns []string, zone string) []string {
	var out []string
	for _, n := range ns {
		if d, err := publicsuffix.EffectiveTLDPlusOne(n); err == nil && !slices.Contains(out, d) {
			out = append(out, d)
		}
	}
	if out == nil {
		return []string{zone}
	}
	slices.Sort(out)
	return out
}

// bogus tells whether extended errors (RFC 8914) say that the zone does not validate.
func bogus(ede []uint16) bool {
	return slices.ContainsFunc(ede, func(e uint16) bool {
		return e >= dns.ExtendedErrorCodeDNSBogus && e <= dns.ExtendedErrorCodeNSECMissing
	})
}

// examination is one diagnosis under way.
type examination struct {
	p      *Prober
	ctx    context.Context // of the diagnosis, which outlives no call
	v      *Vantage
	qtype  uint16
	failed *resolution
}

func (e *examination) examine(host string) outcome {
	name, known := host, false
	servers := e.servers(host)
	var said poll
	for range diagnosisZones {
		known = len(servers) > 0
		said = e.askAll(servers, name)
		if said.alias != "" {
			name = strings.TrimSuffix(said.alias, ".")
			servers = e.servers(name)
		} else if servers = e.below(&said); servers == nil {
			break
		}
		known, said = false, poll{} // of these nobody has been asked yet
	}
	switch {
	case said.has > 0 && e.denied():
		return outcome{Diagnosis: DiagnosisLying, why: fmt.Sprintf("%s has addresses at its own name server %v: the resolver's answer is stale, filtered or forged", name, said.who)}
	case (said.has > 0 || said.silent()) && e.failed.class == ClassDNSServfail && e.disbelieved(host):
		return outcome{Diagnosis: DiagnosisZone, why: "the resolver has the answer and does not believe it: the zone's DNSSEC signatures do not validate"}
	case said.has > 0:
		return outcome{Diagnosis: DiagnosisResolver, why: fmt.Sprintf("the zone's own name server %v has the answer; the resolver does not get it", said.who)}
	case said.denies > 0:
		return outcome{Diagnosis: DiagnosisZone, why: fmt.Sprintf("the zone's own name server %v has no such record either", said.who)}
	case said.lame > 0:
		return outcome{Diagnosis: DiagnosisZone, why: fmt.Sprintf("%v, to which the zone is delegated, does not serve it", said.who)}
	case said.fails > 0:
		return outcome{Diagnosis: DiagnosisOperator, why: fmt.Sprintf("the zone's own name server %v fails too", said.who)}
	}
	return e.whoLives(name, known)
}

// denied tells whether the resolver said that there is no such thing, or something else than the truth.
func (e *examination) denied() bool { return denies(e.failed.class) }

func denies(c Class) bool {
	switch c {
	case ClassDNSNXDomain, ClassDNSNoData, ClassDNSBogusAnswer:
		return true
	}
	return false
}

// disbelieved tells whether a resolver that fails has the answer for who does not ask it to validate.
func (e *examination) disbelieved(host string) bool {
	a := e.p.query(e.ctx, e.v, e.v.Resolvers[0], question{name: dns.Fqdn(host), qtype: e.qtype, unsigned: true})
	return len(a.addrs) > 0
}

// whoLives judges where no name server of the zone has answered, by what other answers can be had.
func (e *examination) whoLives(name string, known bool) outcome {
	resolvers := slices.Clone(e.v.Resolvers)
	if e.v.Second != nil {
		resolvers = append(resolvers, *e.v.Second)
	}
	lives := make([]bool, len(resolvers))
	var second asked
	var all sync.WaitGroup
	for i, r := range resolvers {
		all.Go(func() {
			defer stumbled()
			if i == len(e.v.Resolvers) {
				second = e.p.query(e.ctx, e.v, r, question{name: dns.Fqdn(name), qtype: e.qtype})
				lives[i] = second.done
				return
			}
			lives[i] = e.p.query(e.ctx, e.v, r, question{name: ".", qtype: dns.TypeNS}).done
		})
	}
	all.Wait()
	own := slices.Contains(lives[:len(e.v.Resolvers)], true)
	switch {
	case len(second.addrs) > 0 && known && !own:
		return outcome{Diagnosis: DiagnosisPath, why: fmt.Sprintf("neither the vantage's resolvers nor the zone's name servers answer, but %v does and has the answer", e.v.Second)}
	case len(second.addrs) > 0 && known:
		return outcome{Diagnosis: DiagnosisPath, why: fmt.Sprintf("the zone's name servers cannot be reached from here; %v reaches them", e.v.Second)}
	case len(second.addrs) > 0:
		return outcome{Diagnosis: DiagnosisResolver, why: fmt.Sprintf("%v has the answer", e.v.Second)}
	case known && slices.Contains(lives, true):
		return outcome{Diagnosis: DiagnosisOperator, why: "none of the zone's own name servers answers, while resolvers answer for other names"}
	case !slices.Contains(lives, true):
		return outcome{Diagnosis: DiagnosisLocal, why: "no resolver and no name server can be reached from here"}
	}
	return outcome{}
}

// poll is what the name servers of a zone say about a name.
type poll struct {
	has, denies, lame, fails int
	who                      netip.Addr // one that said the most telling of these
	alias                    string     // the name stands for another one; "" = it does not
	below                    *asked     // an answer that sends on to the servers of a zone within; nil = none does
}

// stumbled ends a goroutine in which a parser panicked over a hostile answer as if no answer had come.
func stumbled() { _ = recover() }

// silent tells whether no name server of the zone is known, or none answers.
func (p *poll) silent() bool { return p.has+p.denies+p.lame+p.fails == 0 }

// askAll asks name servers directly, all at once, for one try.
func (e *examination) askAll(servers []netip.Addr, name string) poll {
	ctx, cancel := context.WithTimeout(e.ctx, e.p.c.DNSTry)
	defer cancel()
	said := make([]asked, len(servers))
	var all sync.WaitGroup
	for i, at := range servers {
		all.Go(func() {
			defer stumbled()
			said[i] = e.p.query(ctx, e.v, e.server(at), question{name: dns.Fqdn(name), qtype: e.qtype, direct: true})
		})
	}
	all.Wait()
	var p poll
	best := 0
	for i := range said {
		rank := p.count(&said[i], name)
		if rank > best {
			best, p.who = rank, servers[i]
		}
	}
	return p
}

// below are the servers of a zone within the one that was asked; nil = nobody sends there.
func (e *examination) below(said *poll) []netip.Addr {
	if said.below == nil {
		return nil
	}
	servers := said.below.glue
	for i := 0; i < len(said.below.referral) && len(servers) < maxServers; i++ {
		servers = append(servers, e.p.serverAddrs(e.ctx, e.v, e.v.Resolvers[0], said.below.referral[i])...)
	}
	return e.mayAsk(servers)
}

// count enters one answer and ranks how telling it is.
func (p *poll) count(a *asked, name string) int {
	switch c := a.class(); {
	case !a.done:
		return 0
	case len(a.addrs) > 0:
		p.has++
		return 4
	case c == ClassDNSNoData && len(a.cname) > 0 && zoneOf(a.end) != zoneOf(name):
		p.alias = a.end
		return 4
	case c == ClassDNSNoData && len(a.cname) > 0 && a.apex == "": // the rest is another server's to say
		p.has++
		return 4
	case c == ClassDNSNoData && !a.authority && strings.HasSuffix(a.cut, "."+dns.Fqdn(zoneOf(name))):
		p.below = a
		return 4
	case c == ClassDNSNXDomain || c == ClassDNSNoData && (a.authority || a.apex != ""):
		p.denies++
		return 3
	case c == ClassDNSRefused || c == ClassDNSNoData:
		p.lame++
		return 2
	default:
		p.fails++
		return 1
	}
}

// server is a name server, asked as the vantage can: directly, or through its proxy.
func (e *examination) server(at netip.Addr) Resolver {
	r := Resolver{Addr: netip.AddrPortFrom(at, e.p.dnsPort)}
	if e.v.Proxy != nil {
		r.Via = ViaTCP
	}
	return r
}

// servers are the addresses of the name servers of host's zone: remembered, or asked for from resolvers, or, where these
// cannot tell, from the servers of the zone above.
func (e *examination) servers(host string) []netip.Addr {
	zone := zoneOf(host)
	if zone == "" {
		return nil
	}
	if _, known := e.p.zones.servers(host); len(known) > 0 {
		return e.mayAsk(known)
	}
	above, _ := publicsuffix.PublicSuffix(zone)
	for _, r := range e.resolvers() {
		if _, found := e.p.findServers(e.ctx, e.v, r, zone); len(found) > 0 {
			return e.mayAsk(found)
		}
		_, parents := e.p.findServers(e.ctx, e.v, r, above)
		for _, at := range e.mayAsk(parents) {
			a := e.p.query(e.ctx, e.v, e.server(at), question{name: dns.Fqdn(zone), qtype: dns.TypeNS, direct: true})
			found := a.glue
			for i := 0; i < len(a.referral) && len(found) < maxServers; i++ {
				found = append(found, e.p.serverAddrs(e.ctx, e.v, r, a.referral[i])...)
			}
			if len(found) > 0 {
				return e.mayAsk(found)
			}
		}
	}
	return nil
}

func (e *examination) resolvers() []Resolver {
	all := slices.Clone(e.v.Resolvers)
	if e.v.Second != nil {
		all = append(all, *e.v.Second)
	}
	return all
}

// mayAsk keeps those servers that a probe may go to, IPv4 first.
func (e *examination) mayAsk(servers []netip.Addr) []netip.Addr {
	kept := make([]netip.Addr, 0, len(servers))
	for _, a := range servers {
		if public(a) || contains(e.p.c.Allow, a.Unmap()) {
			kept = append(kept, a)
		}
	}
	slices.SortStableFunc(kept, func(a, b netip.Addr) int { return a.BitLen() - b.BitLen() })
	return kept[:min(len(kept), maxServers)]
}
