package probe

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// exchange is one wire to a server and what was asked over it.
type exchange struct {
	wire     wire
	server   string
	name     string // fully qualified
	recurse  bool
	unsigned bool // what does not validate is wanted too (CD)
	asked    []asked
	raw      []message // the answers, as they came
}

// asked is one question, and its answer.
type asked struct {
	id        uint16
	qtype     uint16
	done      bool
	truncated bool
	rcode     int
	ede       []uint16
	cname     []string
	addrs     []netip.Addr
	ns        []string
	apex      string       // of the zone, where it has nothing of that type
	end       string       // where the CNAMEs lead, fully qualified
	authority bool         // the server answers for the zone
	cut       string       // the zone that referral is about
	referral  []string     // name servers that are to be asked instead
	glue      []netip.Addr // the addresses of name servers that came along
	loop      bool
}

// ask sends questions. All of them are entered, even where sending fails.
func (x *exchange) ask(qtypes ...uint16) error {
	for _, t := range qtypes {
		x.asked = append(x.asked, asked{id: dns.Id(), qtype: t})
	}
	for i := range x.asked {
		m := dns.Msg{MsgHdr: dns.MsgHdr{Id: x.asked[i].id, RecursionDesired: x.recurse, CheckingDisabled: x.unsigned}}
		m.Question = []dns.Question{{Name: x.name, Qtype: x.asked[i].qtype, Qclass: dns.ClassINET}}
		m.SetEdns0(udpSize, false)
		b, err := m.Pack()
		if err != nil {
			return fmt.Errorf("asking for %q: %w", x.name, err)
		}
		if err := x.wire.send(b); err != nil {
			return err
		}
	}
	return nil
}

// read takes answers until every question has one. enough, which may be nil, is called when the first question has been
// given an address: the rest may take little longer.
func (x *exchange) read(enough func()) error {
	for n := 0; ; {
		b, err := x.wire.next()
		if err != nil {
			return err
		}
		a, err := x.accept(b)
		if err != nil {
			return err
		}
		if a == nil {
			if n++; n > maxMismatches {
				return fmt.Errorf("%w: more than %d answers to what was not asked", errMalformed, maxMismatches)
			}
			continue
		}
		if !slices.ContainsFunc(x.asked, func(a asked) bool { return !a.done }) {
			return nil
		}
		if enough != nil && a == &x.asked[0] && len(a.addrs) > 0 {
			enough()
		}
	}
}

// accept enters an answer under its question; nil = it answers nothing that was asked.
func (x *exchange) accept(b []byte) (*asked, error) {
	var m dns.Msg
	err := m.Unpack(b)
	for i := range x.asked {
		a := &x.asked[i]
		if a.done || len(b) < 2 || binary.BigEndian.Uint16(b) != a.id {
			continue
		}
		x.raw = append(x.raw, message{x.server, b})
		if err != nil {
			return nil, fmt.Errorf("%w: %v", errMalformed, err) //nolint:errorlint // one sentinel is enough
		}
		if !m.Response || !a.answeredBy(&m, x.name) {
			return nil, nil
		}
		a.take(&m, x.name)
		return a, nil
	}
	return nil, nil
}

// answeredBy tells whether a message is about what was asked. Some servers that refuse leave the question out.
func (a *asked) answeredBy(m *dns.Msg, name string) bool {
	if len(m.Question) == 0 {
		return m.Rcode != dns.RcodeSuccess
	}
	q := &m.Question[0]
	return len(m.Question) == 1 && q.Qtype == a.qtype && q.Qclass == dns.ClassINET && strings.EqualFold(q.Name, name)
}

// alias is where a name's CNAME in the answer points; "" = it has none.
func alias(m *dns.Msg, name string) string {
	for _, rr := range m.Answer {
		if c, ok := rr.(*dns.CNAME); ok && dns.CanonicalName(c.Hdr.Name) == name {
			return dns.CanonicalName(c.Target)
		}
	}
	return ""
}

// take reads a message that answers a question for name.
func (a *asked) take(m *dns.Msg, name string) {
	a.done, a.truncated, a.rcode, a.authority = true, m.Truncated, m.Rcode, m.Authoritative
	if opt := m.IsEdns0(); opt != nil {
		for _, o := range opt.Option {
			if e, ok := o.(*dns.EDNS0_EDE); ok && len(a.ede) < 8 {
				a.ede = append(a.ede, e.InfoCode)
			}
		}
	}
	first := name
	for target := alias(m, name); target != ""; target = alias(m, name) {
		bare := strings.TrimSuffix(target, ".")
		if target == first || len(a.cname) == maxCNAMEs || slices.Contains(a.cname, bare) {
			a.loop = true
			return
		}
		name, a.cname = target, append(a.cname, bare)
	}
	a.end = name
	a.takeServers(m)
	for _, rr := range m.Answer {
		if dns.CanonicalName(rr.Header().Name) != name || len(a.addrs) == maxAddrs {
			continue
		}
		switch rr := rr.(type) {
		case *dns.A:
			a.add(rr.A)
		case *dns.AAAA:
			a.add(rr.AAAA)
		case *dns.NS:
			if len(a.ns) < maxNS {
				a.ns = append(a.ns, strings.TrimSuffix(dns.CanonicalName(rr.Ns), "."))
			}
		}
	}
}

// takeServers reads what the other sections of a message say about name servers.
func (a *asked) takeServers(m *dns.Msg) {
	for _, rr := range m.Ns {
		switch rr := rr.(type) {
		case *dns.SOA:
			a.apex = dns.CanonicalName(rr.Hdr.Name)
		case *dns.NS:
			a.cut = dns.CanonicalName(rr.Hdr.Name)
			if len(a.referral) < maxNS {
				a.referral = append(a.referral, strings.TrimSuffix(dns.CanonicalName(rr.Ns), "."))
			}
		}
	}
	for _, rr := range m.Extra {
		var ip net.IP
		switch rr := rr.(type) {
		case *dns.A:
			ip = rr.A
		case *dns.AAAA:
			ip = rr.AAAA
		}
		if addr, ok := netip.AddrFromSlice(ip); ok && len(a.glue) < maxNS {
			a.glue = append(a.glue, addr.Unmap())
		}
	}
}

func (a *asked) add(ip net.IP) {
	if addr, ok := netip.AddrFromSlice(ip); ok {
		a.addrs = append(a.addrs, addr.Unmap())
	}
}

// join makes one answer of those to the questions, of which the first counts most.
func (got *resolution) join(all []asked) {
	info := &got.info
	got.class = ClassDNSNoData
	for i := range all {
		a := &all[i]
		if !a.done {
			continue
		}
		info.Addrs = append(info.Addrs, a.addrs[:min(len(a.addrs), maxAddrs-len(info.Addrs))]...)
		if len(a.cname) > len(info.CNAME) {
			info.CNAME = a.cname
		}
		for _, e := range a.ede {
			if !slices.Contains(info.EDE, e) {
				info.EDE = append(info.EDE, e)
			}
		}
		c := a.class()
		if i == 0 || got.class == ClassDNSNoData || got.class == ClassDNSNXDomain && c == ClassOK {
			got.class, info.Rcode = c, rcodeName(a.rcode)
		}
		if c != ClassOK && got.class == c {
			got.detail = a.explain(info.Resolver)
		}
	}
}

func rcodeName(rcode int) string {
	if name := dns.RcodeToString[rcode]; name != "" {
		return name
	}
	return fmt.Sprintf("RCODE%d", rcode)
}

// explain says what a failing answer was, for people.
func (a *asked) explain(resolver string) string {
	what := rcodeName(a.rcode)
	if a.loop {
		what = "a chain of CNAMEs without end"
	}
	s := fmt.Sprintf("%s answers %s for %s", resolver, what, dns.TypeToString[a.qtype])
	for _, e := range a.ede {
		s += fmt.Sprintf(", extended error %d (%s)", e, cmp.Or(dns.ExtendedErrorCodeToString[e], "unknown"))
	}
	return s
}

// settled tells whether the answer stands, whatever became of the other question.
func (a *asked) settled() bool {
	return a.done && (len(a.addrs) > 0 || !a.truncated && a.class() != ClassDNSNoData)
}

func (a *asked) class() Class {
	switch {
	case a.loop:
		return ClassDNSMalformed
	case a.rcode == dns.RcodeNameError:
		return ClassDNSNXDomain
	case a.rcode == dns.RcodeServerFailure:
		return ClassDNSServfail
	case a.rcode == dns.RcodeRefused:
		return ClassDNSRefused
	case a.rcode != dns.RcodeSuccess:
		return ClassDNSOtherRcode
	case a.truncated && len(a.addrs) == 0:
		return ClassDNSMalformed
	case len(a.addrs) == 0:
		return ClassDNSNoData
	default:
		return ClassOK
	}
}
