package probe

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"
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
	p    *Prober
	v    *Vantage
	name string // fully qualified, lower case
	fam  Family
	try  time.Duration
}

// resolution is what the resolve phase came to.
type resolution struct {
	info   DNSInfo
	class  Class
	detail string
	raw    []message // what the last resolver said
}

// message is a DNS message as it came.
type message struct {
	from string
	b    []byte
}

// resolve asks the vantage's resolvers for the addresses of host, IPv4 first. A failing one is left for the next; the
// most telling failure is reported.
func (p *Prober) resolve(ctx context.Context, v *Vantage, fam Family, host string) resolution {
	l := &lookup{p: p, v: v, name: dns.CanonicalName(host), fam: fam, try: p.c.DNSTry}
	if _, ok := dns.IsDomainName(l.name); !ok {
		return resolution{class: ClassDNSNXDomain, detail: clip(host) + " is too long for a name"}
	}
	best := resolution{class: ClassDNSUnreachable, detail: "the vantage has no resolver"}
	var half *resolution
	var tried []ResolverTry
	for _, r := range v.Resolvers {
		got := l.askTwice(ctx, r)
		if telling(got.class) > telling(best.class) || best.info.Resolver == "" {
			best = got
		}
		if got.class != ClassOK {
			tried = append(tried, ResolverTry{r.String(), got.class})
		}
		if final(got.class) || ctx.Err() != nil {
			best.info.Tried = tried
			return best
		}
		if len(got.info.Addrs) > 0 {
			half = &got
		}
	}
	if half != nil {
		best = *half
		best.info.Rcode, best.class, best.detail = rcodeName(dns.RcodeSuccess), ClassOK, ""
	}
	best.info.Tried = tried
	return best
}

// askTwice asks a resolver again where the first answer, or its lack, may be an accident.
func (l *lookup) askTwice(ctx context.Context, r Resolver) (best resolution) {
	for range tries {
		got := l.askResolver(ctx, r)
		if telling(got.class) > telling(best.class) || best.info.Resolver == "" {
			best = got
		}
		if ctx.Err() != nil || got.class != ClassDNSTimeout && got.class != ClassDNSMalformed {
			break
		}
	}
	return best
}

// tellingClasses orders the answers of resolvers: what stands later replaces what stands earlier.
var tellingClasses = [...]Class{
	ClassLocalNoNetwork, ClassLocalPath, ClassDNSUnreachable, ClassDNSTimeout, ClassDNSMalformed, ClassDNSOtherRcode, ClassDNSRefused,
	ClassDNSServfail, ClassDNSNoData, ClassDNSNXDomain, ClassConnectDenied, ClassLocalResource, ClassOK, ClassLocalCancelled,
}

func telling(c Class) int { return slices.Index(tellingClasses[:], c) }

// final tells whether no other resolver needs to be asked.
func final(c Class) bool { return telling(c) >= telling(ClassDNSNoData) }

// askResolver asks one resolver for both families over one connected socket, whose random port and the two ids are what a
// forger must guess.
func (l *lookup) askResolver(ctx context.Context, r Resolver) resolution {
	got := resolution{info: DNSInfo{Resolver: r.String()}}
	try := l.try
	if r.Via == ViaTLS || r.Via == ViaHTTPS {
		try *= 2 // three round trips in place of one
	}
	ctx, cancel := context.WithTimeout(ctx, try)
	defer cancel()
	x, err := l.p.open(ctx, l.v, r, false, l.name)
	if err != nil {
		got.class, got.detail = dnsClass(ctx, err), clip(err.Error())
		return got
	}
	defer x.wire.close()
	if err = x.ask(questions(l.fam)...); err == nil {
		err = x.read(func() { x.wire.patience(l.try / straggler) })
	}
	for i := range x.asked {
		if a := &x.asked[i]; a.truncated && r.Via == ViaUDP {
			if tcpErr := l.askAgainByTCP(ctx, r, a, x); tcpErr != nil && len(a.addrs) == 0 {
				err = tcpErr
			}
		}
	}
	got.join(x.asked)
	got.raw = x.raw
	if err != nil && !x.asked[0].settled() {
		got.class, got.detail = dnsClass(ctx, err), clip(err.Error())
	}
	return got
}

// open connects to a resolver; the caller closes its wire.
func (p *Prober) open(ctx context.Context, v *Vantage, r Resolver, tcp bool, name string) (*exchange, error) {
	w, err := p.openWire(ctx, v, r, tcp)
	if err != nil {
		return nil, err
	}
	return &exchange{wire: w, name: name, server: r.String(), recurse: true}, nil
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

func (l *lookup) askAgainByTCP(ctx context.Context, r Resolver, a *asked, first *exchange) error {
	x, err := l.p.open(ctx, l.v, r, true, l.name)
	if err != nil {
		return err
	}
	defer x.wire.close()
	if err := x.ask(a.qtype); err != nil {
		return err
	}
	if err := x.read(nil); err != nil {
		return err
	}
	*a = x.asked[0]
	first.raw = append(first.raw, x.raw...)
	return nil
}

// dnsClass says what a failing socket means in this phase.
func dnsClass(ctx context.Context, err error) Class {
	var local *localError
	var proxy *proxyError
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return ClassLocalCancelled
	case errors.As(err, &local):
		return ClassLocalResource
	case errors.As(err, &proxy):
		if proxy.class == ClassConnectTimeout {
			return ClassDNSTimeout
		} else if proxy.class != ClassLocalPath {
			return ClassDNSUnreachable
		}
		return ClassLocalPath
	case errors.Is(err, errMalformed):
		return ClassDNSMalformed
	case isTimeout(err), ctx.Err() != nil:
		return ClassDNSTimeout
	case isResource(err):
		return ClassLocalResource
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.ENETDOWN):
		return ClassLocalNoNetwork
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		return ClassConnectDenied
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return ClassDNSMalformed
	default:
		return ClassDNSUnreachable
	}
}

var errMalformed = errors.New("the resolver's answer cannot be read")

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
