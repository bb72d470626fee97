package probe

import (
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
	maxMismatches = 32                     // answers with a foreign id or question, per look
	tries         = 2                      // per resolver
	straggler     = 100 * time.Millisecond // for the second family, once the first has an address
	udpSize       = 1232
)

// lookup is one look at one name.
type lookup struct {
	v      *Vantage
	name   string // fully qualified, lower case
	info   *DNSInfo
	detail string
}

// resolve asks the vantage's resolvers for the addresses of host, IPv4 first. A failing one is left for the next; the
// most telling failure is reported.
func (p *Prober) resolve(ctx context.Context, v *Vantage, fam Family, host string, info *DNSInfo) (addrs []netip.Addr, class Class, detail string) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a.Unmap()}, ClassOK, ""
	}
	l := &lookup{v: v, name: dns.CanonicalName(host), info: info}
	class = ClassDNSUnreachable
	worst := -1
	for _, r := range v.Resolvers {
		for range tries {
			got, c := p.askResolver(ctx, l, r, fam)
			if c == ClassOK {
				return got, ClassOK, ""
			}
			if w := slices.Index(tellingClasses, c); w > worst {
				worst, class, detail = w, c, l.detail
			}
			if c == ClassDNSNXDomain || c == ClassDNSNoData || ctx.Err() != nil {
				return nil, c, l.detail
			}
			if c != ClassDNSTimeout && c != ClassDNSMalformed {
				break // a second try tells nothing new
			}
		}
	}
	return nil, class, detail
}

// tellingClasses orders the failures of resolvers: what a later one says replaces what an earlier one says.
var tellingClasses = []Class{
	ClassLocalNoNetwork, ClassLocalResource, ClassDNSUnreachable, ClassDNSTimeout, ClassDNSMalformed, ClassDNSOtherRcode,
	ClassDNSRefused, ClassDNSServfail, ClassDNSNoData, ClassDNSNXDomain, ClassLocalCancelled,
}

// askResolver asks one resolver for both families over one connected socket, whose random port and the two ids are what a
// forger must guess.
func (p *Prober) askResolver(ctx context.Context, l *lookup, r Resolver, fam Family) ([]netip.Addr, Class) {
	l.info.Resolver = r.String()
	ctx, cancel := context.WithTimeout(ctx, p.c.DNSTry)
	defer cancel()
	conn, err := dialFrom(ctx, l.v, network("udp", r.TCP), r.Addr)
	if err != nil {
		return nil, l.failed(ctx, err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	x := &exchange{conn: conn, tcp: r.TCP, name: l.name}
	for _, q := range questions(fam) {
		if err := x.ask(q); err != nil {
			return nil, l.failed(ctx, err)
		}
	}
	err = x.read(func() { _ = conn.SetReadDeadline(time.Now().Add(straggler)) })
	for i := range x.asked {
		if a := &x.asked[i]; a.truncated && !r.TCP {
			p.askAgainByTCP(ctx, l, r, a)
		}
	}
	if err != nil && !x.anyAddr() {
		return nil, l.failed(ctx, err)
	}
	return l.take(x)
}

func network(udp string, tcp bool) string {
	if tcp {
		return "tcp"
	}
	return udp
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

func (p *Prober) askAgainByTCP(ctx context.Context, l *lookup, r Resolver, a *asked) {
	conn, err := dialFrom(ctx, l.v, "tcp", r.Addr)
	if err != nil {
		return
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	x := &exchange{conn: conn, tcp: true, name: l.name}
	if x.ask(a.qtype) == nil && x.read(nil) == nil {
		*a = x.asked[0]
	}
}

// failed says what a failing socket means in this phase.
func (l *lookup) failed(ctx context.Context, err error) Class {
	l.detail = err.Error()
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
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
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
	loop      bool
}

func (x *exchange) ask(qtype uint16) error {
	m := new(dns.Msg)
	m.SetQuestion(x.name, qtype)
	m.SetEdns0(udpSize, false)
	b, err := m.Pack()
	if err != nil {
		return fmt.Errorf("asking for %q: %w", x.name, err)
	}
	if x.tcp {
		b = append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)
	}
	x.asked = append(x.asked, asked{id: m.Id, qtype: qtype})
	_, err = x.conn.Write(b)
	return err
}

// read takes answers until every question has one. half is called when one has given an address: the rest may take
// little longer.
func (x *exchange) read(half func()) error {
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
		if half != nil && len(a.addrs) > 0 {
			half()
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
		if !m.Response || len(m.Question) != 1 || m.Question[0].Qtype != a.qtype || !strings.EqualFold(m.Question[0].Name, x.name) {
			return nil, nil
		}
		a.take(&m, x.name)
		return a, nil
	}
	return nil, nil
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
	next := map[string]string{}
	for _, rr := range m.Answer {
		if c, ok := rr.(*dns.CNAME); ok {
			next[dns.CanonicalName(c.Hdr.Name)] = dns.CanonicalName(c.Target)
		}
	}
	seen := map[string]bool{name: true}
	for next[name] != "" {
		name = next[name]
		if seen[name] || len(a.cname) == maxCNAMEs {
			a.loop = true
			return
		}
		seen[name] = true
		a.cname = append(a.cname, strings.TrimSuffix(name, "."))
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

func (x *exchange) anyAddr() bool {
	return slices.ContainsFunc(x.asked, func(a asked) bool { return len(a.addrs) > 0 })
}

// take joins the answers to both questions.
func (l *lookup) take(x *exchange) ([]netip.Addr, Class) {
	info := l.info
	info.CNAME, info.Addrs, info.EDE = nil, nil, nil
	class := ClassOK
	for i := range x.asked {
		a := &x.asked[i]
		if !a.done {
			continue
		}
		info.Addrs = append(info.Addrs, a.addrs...)
		if len(a.cname) > len(info.CNAME) {
			info.CNAME = a.cname
		}
		info.EDE = append(info.EDE, a.ede...)
		if c := a.class(); i == 0 || class == ClassOK || class == ClassDNSNoData && c != ClassOK {
			class, info.Rcode = c, dns.RcodeToString[a.rcode]
			if info.Rcode == "" {
				info.Rcode = fmt.Sprintf("RCODE%d", a.rcode)
			}
		}
		if a.loop {
			l.detail = "the chain of CNAMEs has no end"
		}
	}
	if len(info.Addrs) > 0 {
		info.Rcode = "NOERROR"
		return info.Addrs, ClassOK
	}
	if class == ClassOK {
		class = ClassDNSNoData
	}
	return nil, class
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
