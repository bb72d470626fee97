package probe

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/miekg/dns"
)

// Bounds of what the resolve phase takes.
const (
	maxAddrs      = 64
	maxCNAMEs     = 16
	maxMismatches = 32 // answers with a foreign id or question, per look
	tries         = 2  // per resolver
	straggler     = 15 // this part of a try for the second family, once the first has an address
	udpSize       = 1232
)

// lookup is one look at one name.
type lookup struct {
	v    *Vantage
	name string // fully qualified, lower case
	fam  Family
	try  time.Duration
}

// answer is what one resolver had to say. A failing one may hold addresses: those of the family that is not preferred,
// of which too little is known to go by them.
type answer struct {
	info   DNSInfo
	class  Class
	detail string
}

// resolve asks the vantage's resolvers for the addresses of host, IPv4 first. A failing one is left for the next; the
// most telling failure is reported.
func (p *Prober) resolve(ctx context.Context, v *Vantage, fam Family, host string) (DNSInfo, Class, string) {
	l := &lookup{v: v, name: dns.CanonicalName(host), fam: fam, try: p.c.DNSTry}
	if _, ok := dns.IsDomainName(l.name); !ok {
		return DNSInfo{}, ClassDNSNXDomain, clip(host) + " is too long for a name"
	}
	best := answer{class: ClassDNSUnreachable, detail: "the vantage has no resolver"}
	var half *answer
	for _, r := range v.Resolvers {
		for range tries {
			got := l.askResolver(ctx, r)
			if telling(got.class) > telling(best.class) || best.info.Resolver == "" {
				best = got
			}
			if final(got.class) || ctx.Err() != nil {
				return best.info, best.class, best.detail
			}
			if len(got.info.Addrs) > 0 {
				half = &got
			}
			if got.class != ClassDNSTimeout && got.class != ClassDNSMalformed {
				break // a second try tells nothing new
			}
		}
	}
	if half != nil {
		half.info.Rcode = rcodeName(dns.RcodeSuccess)
		return half.info, ClassOK, ""
	}
	return best.info, best.class, best.detail
}

// tellingClasses orders the answers of resolvers: what stands later replaces what stands earlier.
var tellingClasses = [...]Class{
	ClassLocalNoNetwork, ClassDNSUnreachable, ClassDNSTimeout, ClassDNSMalformed, ClassDNSOtherRcode, ClassDNSRefused,
	ClassDNSServfail, ClassDNSNoData, ClassDNSNXDomain, ClassLocalResource, ClassOK, ClassLocalCancelled,
}

func telling(c Class) int { return slices.Index(tellingClasses[:], c) }

// final tells whether no other resolver needs to be asked.
func final(c Class) bool { return telling(c) >= telling(ClassDNSNoData) }

// askResolver asks one resolver for both families over one connected socket, whose random port and the two ids are what a
// forger must guess.
func (l *lookup) askResolver(ctx context.Context, r Resolver) answer {
	got := answer{info: DNSInfo{Resolver: r.String()}}
	ctx, cancel := context.WithTimeout(ctx, l.try)
	defer cancel()
	x, end, err := open(ctx, l.v, r, r.Via == ViaTCP, l.name)
	if err != nil {
		got.class, got.detail = dnsClass(ctx, err), err.Error()
		return got
	}
	defer end()
	if err = x.ask(questions(l.fam)...); err == nil {
		err = x.read(func() { _ = x.conn.SetReadDeadline(time.Now().Add(l.try / straggler)) })
	}
	for i := range x.asked {
		if a := &x.asked[i]; a.truncated && r.Via == ViaUDP {
			if tcpErr := l.askAgainByTCP(ctx, r, a); tcpErr != nil && len(a.addrs) == 0 {
				err = tcpErr
			}
		}
	}
	got.join(x.asked)
	if err != nil && !x.asked[0].settled() {
		got.class, got.detail = dnsClass(ctx, err), err.Error()
	}
	return got
}

// open makes a socket to a resolver, which ends with ctx.
func open(ctx context.Context, v *Vantage, r Resolver, tcp bool, name string) (x *exchange, end func(), err error) {
	network := "udp"
	if tcp {
		network = "tcp"
	}
	conn, err := dialFrom(ctx, v, network, r.Addr)
	if err != nil {
		return nil, nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	return &exchange{conn: conn, tcp: tcp, name: name}, func() { stop(); _ = conn.Close() }, nil
}

func questions(fam Family) []uint16 {
	switch fam {
	case FamilyIP4:
		return []uint16{dns.TypeA}
	case FamilyIP6:
		return []uint16{dns.TypeAAAA}
	default:
		return []uint16{dns.TypeA, dns.TypeAAAA}
	}
}

func (l *lookup) askAgainByTCP(ctx context.Context, r Resolver, a *asked) error {
	x, end, err := open(ctx, l.v, r, true, l.name)
	if err != nil {
		return err
	}
	defer end()
	if err := x.ask(a.qtype); err != nil {
		return err
	}
	if err := x.read(nil); err != nil {
		return err
	}
	*a = x.asked[0]
	return nil
}

// dnsClass says what a failing socket means in this phase.
func dnsClass(ctx context.Context, err error) Class {
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return ClassLocalCancelled
	case errors.Is(err, errMalformed):
		return ClassDNSMalformed
	case isTimeout(err), ctx.Err() != nil:
		return ClassDNSTimeout
	case isResource(err):
		return ClassLocalResource
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.ENETDOWN):
		return ClassLocalNoNetwork
	case errors.Is(err, io.ErrUnexpectedEOF):
		return ClassDNSMalformed
	default:
		return ClassDNSUnreachable
	}
}

var errMalformed = errors.New("the resolver's answer cannot be read")

// exchange is one socket and what was asked over it.
type exchange struct {
	conn  net.Conn
	tcp   bool
	name  string
	asked []asked
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
	apex      string // of the zone, where it has nothing of that type
	loop      bool
}

// ask sends questions. All of them are entered, even where sending fails.
func (x *exchange) ask(qtypes ...uint16) error {
	for _, t := range qtypes {
		x.asked = append(x.asked, asked{id: dns.Id(), qtype: t})
	}
	for i := range x.asked {
		m := dns.Msg{MsgHdr: dns.MsgHdr{Id: x.asked[i].id, RecursionDesired: true}}
		m.Question = []dns.Question{{Name: x.name, Qtype: x.asked[i].qtype, Qclass: dns.ClassINET}}
		m.SetEdns0(udpSize, false)
		b, err := m.Pack()
		if err != nil {
			return fmt.Errorf("asking for %q: %w", x.name, err)
		}
		if x.tcp {
			b = append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)
		}
		if _, err := x.conn.Write(b); err != nil {
			return err
		}
	}
	return nil
}

// read takes answers until every question has one. enough, which may be nil, is called when the first question has been
// given an address: the rest may take little longer.
func (x *exchange) read(enough func()) error {
	buf := make([]byte, 4096)
	for n := 0; ; {
		b, err := x.next(buf)
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

func (x *exchange) next(buf []byte) ([]byte, error) {
	if !x.tcp {
		n, err := x.conn.Read(buf)
		return buf[:n], err
	}
	var size [2]byte
	if _, err := io.ReadFull(x.conn, size[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.BigEndian.Uint16(size[:]))
	_, err := io.ReadFull(x.conn, b)
	return b, err
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
	a.done, a.truncated, a.rcode = true, m.Truncated, m.Rcode
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
	if len(m.Ns) > 0 {
		if soa, ok := m.Ns[0].(*dns.SOA); ok {
			a.apex = dns.CanonicalName(soa.Hdr.Name)
		}
	}
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

func (a *asked) add(ip net.IP) {
	if addr, ok := netip.AddrFromSlice(ip); ok {
		a.addrs = append(a.addrs, addr.Unmap())
	}
}

// join makes one answer of those to the questions, of which the first counts most.
func (got *answer) join(all []asked) {
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

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &t) && t.Timeout()
}

// isResource tells whether it is this host that lacks something: descriptors, ports, memory.
func isResource(err error) bool {
	for _, e := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRNOTAVAIL} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
