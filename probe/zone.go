package probe

import (
	"context"
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
	ns   []string // nil = not known
	till time.Time
}

// How long an answer, and the lack of one, is remembered; how many zones are, and how many name servers of each.
const (
	zoneKnown   = time.Hour
	zoneUnknown = 10 * time.Minute
	maxZones    = 200000
	maxNS       = 16
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

// remember takes in what was found out about a zone. Where that is nothing, what was known stays for a while.
func (z *zones) remember(name string, ns []string) []string {
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
	return known.ns
}

// askNameServers asks the vantage's first resolver for the name servers of host's zone: one small query, two where the
// registrable domain lies within a larger zone, once an hour. Its failure is harmless.
func (p *Prober) askNameServers(ctx context.Context, v *Vantage, host string) []string {
	name := zoneOf(host)
	if len(v.Resolvers) == 0 || name == "" {
		return nil
	}
	p.zones.remember(name, nil) // others do not ask meanwhile
	ctx, cancel := context.WithTimeout(ctx, p.c.DNSTry)
	defer cancel()
	ns, apex := askNS(ctx, v, name)
	if ns == nil && apex != "" && apex != "." {
		ns, _ = askNS(ctx, v, apex)
	}
	return p.zones.remember(name, ns)
}

// askNS gives the name servers of a zone, or, of a name that is no zone's, the zone that it is in.
func askNS(ctx context.Context, v *Vantage, name string) (ns []string, apex string) {
	x, end, err := open(ctx, v, v.Resolvers[0], v.Resolvers[0].Via == ViaTCP, dns.Fqdn(name))
	if err != nil {
		return nil, ""
	}
	defer end()
	if x.ask(dns.TypeNS) != nil || x.read(nil) != nil {
		return nil, ""
	}
	ns = x.asked[0].ns
	slices.Sort(ns)
	return slices.Compact(ns), x.asked[0].apex
}
