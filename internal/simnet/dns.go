package simnet

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// authority holds every zone of the world and answers over UDP and TCP.
type authority struct {
	hosts map[string]*Site // by every name of a site's chain
	zones map[string]*Site
}

func newAuthority(w *World) *authority {
	a := &authority{hosts: map[string]*Site{}, zones: map[string]*Site{}}
	for i := range w.Sites {
		s := &w.Sites[i]
		for _, name := range append([]string{s.Host}, s.CNAME...) {
			a.hosts[dns.Fqdn(name)] = s
		}
		a.zones[dns.Fqdn(s.Zone)] = s
	}
	return a
}

// ServeDNS implements dns.Handler.
func (a *authority) ServeDNS(rw dns.ResponseWriter, q *dns.Msg) {
	m := new(dns.Msg)
	m.SetReply(q)
	m.Authoritative = true
	if len(q.Question) == 1 {
		a.answer(m, strings.ToLower(q.Question[0].Name), q.Question[0].Qtype)
	}
	_ = rw.WriteMsg(m) // who asked will ask again
}

const (
	hostTTL = 0   // every probe asks anew
	zoneTTL = 300 // seconds
)

func (a *authority) answer(m *dns.Msg, name string, qtype uint16) {
	zone := a.zones[name]
	if zone != nil && qtype == dns.TypeNS {
		for _, ns := range zone.NS {
			m.Answer = append(m.Answer, &dns.NS{Hdr: rrHeader(name, dns.TypeNS, zoneTTL), Ns: dns.Fqdn(ns)})
		}
		return
	}
	if zone != nil && qtype == dns.TypeSOA {
		m.Answer = append(m.Answer, soaOf(zone))
		return
	}
	s := a.hosts[name]
	if s == nil && zone == nil {
		m.Rcode = dns.RcodeNameError
		return
	}
	if s == nil {
		m.Ns = append(m.Ns, soaOf(zone))
		return
	}
	for _, target := range chainFrom(s, name) {
		m.Answer = append(m.Answer, &dns.CNAME{Hdr: rrHeader(name, dns.TypeCNAME, hostTTL), Target: target})
		name = target
	}
	if qtype != dns.TypeA {
		m.Ns = append(m.Ns, soaOf(s))
		return
	}
	addr := s.Addr.As4()
	m.Answer = append(m.Answer, &dns.A{Hdr: rrHeader(name, dns.TypeA, hostTTL), A: addr[:]})
}

// chainFrom is what is left of a site's CNAME chain from one of its names on.
func chainFrom(s *Site, name string) []string {
	var out []string
	found := dns.Fqdn(s.Host) == name
	for _, c := range s.CNAME {
		if found {
			out = append(out, dns.Fqdn(c))
		}
		found = found || dns.Fqdn(c) == name
	}
	return out
}

func soaOf(s *Site) *dns.SOA {
	return &dns.SOA{
		Hdr: rrHeader(dns.Fqdn(s.Zone), dns.TypeSOA, zoneTTL), Ns: dns.Fqdn(s.NS[0]), Mbox: "hostmaster." + dns.Fqdn(s.Zone),
		Serial: 1, Refresh: 3600, Retry: 600, Expire: 86400, Minttl: zoneTTL,
	}
}

func rrHeader(name string, rrtype uint16, ttl uint32) dns.RR_Header {
	return dns.RR_Header{Name: name, Rrtype: rrtype, Class: dns.ClassINET, Ttl: ttl}
}

// resolver answers one vantage: it asks the authority, keeps what it said, and shows the faults of the hour.
type resolver struct {
	net       *Net
	vantage   int
	authority string // its address

	mu    sync.Mutex
	cache map[dns.Question]*dns.Msg // guarded by mu; the world has few names
}

const maxCache = 20000 // questions

// ServeDNS implements dns.Handler.
func (r *resolver) ServeDNS(rw dns.ResponseWriter, q *dns.Msg) {
	m := new(dns.Msg)
	m.SetReply(q)
	m.RecursionAvailable = true
	opt := q.IsEdns0()
	if opt != nil {
		m.SetEdns0(1232, opt.Do())
	}
	if len(q.Question) != 1 || !r.resolve(m, q.Question[0]) {
		return // as a lost datagram
	}
	_ = rw.WriteMsg(m) // who asked will ask again
}

// resolve fills in an answer; false = there is none to be given.
func (r *resolver) resolve(m *dns.Msg, q dns.Question) bool {
	host := strings.TrimSuffix(strings.ToLower(q.Name), ".")
	site, class := r.net.World.SiteOf(host), ClassOK
	if site >= 0 {
		class = r.net.asked(site, r.vantage)
	}
	counted := q.Qtype == dns.TypeA && site >= 0
	switch class {
	case ClassDNSTimeout, ClassDNSServfail:
		if counted {
			r.net.count(site, r.vantage, class)
		}
		m.Rcode = dns.RcodeServerFailure
		if opt := m.IsEdns0(); opt != nil {
			opt.Option = append(opt.Option, &dns.EDNS0_EDE{InfoCode: dns.ExtendedErrorCodeNoReachableAuthority, ExtraText: "at delegation " + host})
		}
		return class == ClassDNSServfail
	}
	got := r.ask(q)
	if got == nil {
		m.Rcode = dns.RcodeServerFailure
		return true
	}
	m.Rcode, m.Answer, m.Ns = got.Rcode, got.Answer, got.Ns
	if class == ClassConnectTimeout && counted {
		r.net.count(site, r.vantage, class)
		m.Answer = withAddress(m.Answer, r.net.World.Sites[site].BlackHole)
	}
	return true
}

// ask gives the authority's answer; nil = it gave none. The caller must not change it.
func (r *resolver) ask(q dns.Question) *dns.Msg {
	key := q
	key.Name = strings.ToLower(q.Name)
	r.mu.Lock()
	got := r.cache[key]
	r.mu.Unlock()
	if got != nil {
		return got
	}
	m := new(dns.Msg)
	m.SetQuestion(key.Name, q.Qtype)
	client := dns.Client{Timeout: time.Second}
	got, _, err := client.Exchange(m, r.authority)
	if err != nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.cache) < maxCache {
		r.cache[key] = got
	}
	return got
}

// withAddress is an answer section with another address in the place of its own.
func withAddress(answer []dns.RR, addr netip.Addr) []dns.RR {
	out := make([]dns.RR, 0, len(answer))
	for _, rr := range answer {
		if a, ok := rr.(*dns.A); ok {
			b := addr.As4()
			rr = &dns.A{Hdr: a.Hdr, A: b[:]}
		}
		out = append(out, rr)
	}
	return out
}

// serveDNS answers on an address over UDP and TCP until ctx is done, and returns when every answer in hand was given.
func serveDNS(ctx context.Context, pc net.PacketConn, l net.Listener, h dns.Handler) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, s := range []*dns.Server{{PacketConn: pc, Handler: h}, {Listener: l, Handler: h}} {
		started := make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		ended := make(chan struct{})
		wg.Go(func() {
			defer close(ended)
			_ = s.ActivateAndServe() // it ends with its socket, and there is nothing to say
		})
		wg.Go(func() {
			<-ctx.Done()
			select {
			case <-started:
				_ = s.Shutdown()
			case <-ended:
			}
		})
	}
}

func newResolver(n *Net, vantage int, authority string) *resolver {
	return &resolver{net: n, vantage: vantage, authority: authority, cache: map[dns.Question]*dns.Msg{}}
}
