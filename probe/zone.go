package probe

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/net/publicsuffix"
)

// zones remembers the name servers of zones. They change rarely, and are asked for at most once in a while.
type zones struct {
	mu     sync.Mutex
	byName map[string]*zone // by registrable domain; guarded by mu
}

type zone struct {
	ns      []string     // nil = not known
	servers []netip.Addr // of some of them; nil = not known
	till    time.Time
}

// How long an answer, and the lack of one, is remembered; how many zones are, and how many name servers of each.
const (
	zoneKnown   = time.Hour
	zoneUnknown = 10 * time.Minute
	maxZones    = 200000
	maxNS       = 16
	maxServers  = 4 // of a zone whose addresses are known
)

// zoneOf is the registrable domain of host, which nearly always is a zone of its own; "" = it has none.
func zoneOf(host string) string {
	name, err := publicsuffix.EffectiveTLDPlusOne(strings.TrimSuffix(strings.ToLower(host), "."))
	if err != nil {
		return ""
	}
	return name
}

// nameServers gives the name servers of host's zone as far as they are remembered, and whether that is recent enough not
// to ask.
func (z *zones) nameServers(host string) (ns []string, fresh bool) {
	name := zoneOf(host)
	if name == "" {
		return nil, true
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	known := z.byName[name]
	if known == nil {
		return nil, false
	}
	return known.ns, time.Now().Before(known.till)
}

// servers gives the addresses of the name servers of host's zone as far as they are remembered, the names too.
func (z *zones) servers(host string) (ns []string, servers []netip.Addr) {
	z.mu.Lock()
	defer z.mu.Unlock()
	if known := z.byName[zoneOf(host)]; known != nil {
		return known.ns, known.servers
	}
	return nil, nil
}

// serverOf gives the addresses of a name server as far as they are remembered, and whether that is recent enough not to ask.
func (z *zones) serverOf(key string) (addrs []netip.Addr, fresh bool) {
	z.mu.Lock()
	defer z.mu.Unlock()
	known := z.byName[key]
	if known == nil {
		return nil, false
	}
	return known.servers, time.Now().Before(known.till)
}

// remember takes in what was found out about a zone. Where that is nothing, what was known stays for a while.
func (z *zones) remember(name string, ns []string, servers []netip.Addr) []string {
	z.mu.Lock()
	defer z.mu.Unlock()
	known := z.byName[name]
	if known == nil {
		if len(z.byName) >= maxZones {
			clear(z.byName)
		}
		known = &zone{}
		z.byName[name] = known
	}
	known.till = time.Now().Add(zoneUnknown)
	if ns != nil {
		known.ns, known.till = ns, time.Now().Add(zoneKnown)
	}
	if servers != nil {
		known.servers = servers
	}
	return known.ns
}

// askNameServers asks the vantage's first resolver for the name servers of host's zone and for their addresses, which are
// wanted when the resolver fails: a few small queries an hour. Its failure is harmless.
func (p *Prober) askNameServers(ctx context.Context, v *Vantage, host string) []string {
	name := zoneOf(host)
	if len(v.Resolvers) == 0 || name == "" {
		return nil
	}
	p.zones.remember(name, nil, nil) // others do not ask meanwhile
	ctx, cancel := context.WithTimeout(ctx, p.c.DNSTry)
	defer cancel()
	ns, servers := p.findServers(ctx, v, v.Resolvers[0], name)
	return p.zones.remember(name, ns, servers)
}

// findServers asks a resolver for the name servers of a zone, or of the one that it is in, and for their addresses.
func (p *Prober) findServers(ctx context.Context, v *Vantage, r Resolver, name string) (ns []string, servers []netip.Addr) {
	a := p.query(ctx, v, r, question{name: dns.Fqdn(name), qtype: dns.TypeNS})
	if a.ns == nil && a.apex != "" && a.apex != "." {
		a = p.query(ctx, v, r, question{name: a.apex, qtype: dns.TypeNS})
	}
	servers = a.glue
	for i := 0; i < len(a.ns) && len(servers) < maxServers; i++ {
		servers = append(servers, p.serverAddrs(ctx, v, r, a.ns[i])...)
	}
	slices.Sort(a.ns)
	return slices.Compact(a.ns), servers[:min(len(servers), maxServers)]
}

// serverAddrs are the IPv4 addresses of a name server, remembered as its zone's own: operators serve many zones.
func (p *Prober) serverAddrs(ctx context.Context, v *Vantage, r Resolver, name string) []netip.Addr {
	key := "server/" + name
	known, fresh := p.zones.serverOf(key)
	if fresh {
		return known
	}
	a := p.query(ctx, v, r, question{name: dns.Fqdn(name), qtype: dns.TypeA})
	if len(a.addrs) == 0 { // what was known is better than nothing; and in an outage nothing is learned for later
		return known
	}
	p.zones.remember(key, []string{name}, a.addrs)
	return a.addrs
}

// question is one question, and how it is asked.
type question struct {
	name     string // fully qualified
	qtype    uint16
	direct   bool // of a server that is to answer itself, not to ask others
	unsigned bool // an answer that does not validate will do
}

// query asks one question; an asked that is not done = no answer came.
func (p *Prober) query(ctx context.Context, v *Vantage, r Resolver, q question) asked {
	ctx, cancel := context.WithTimeout(ctx, p.c.DNSTry)
	defer cancel()
	x, err := p.open(ctx, v, r, false, q.name)
	if err != nil {
		return asked{}
	}
	defer x.wire.close()
	x.recurse, x.unsigned = !q.direct, q.unsigned
	if x.ask(q.qtype) != nil || x.read(nil) != nil {
		return asked{}
	}
	if a := &x.asked[0]; a.truncated && len(a.addrs) == 0 && r.Via == ViaUDP {
		r.Via = ViaTCP
		return p.query(ctx, v, r, q)
	}
	return x.asked[0]
}
