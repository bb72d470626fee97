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

// zones remembers the name servers of registrable domains. They change rarely, and are asked for at most once in a while.
type zones struct {
	mu     sync.Mutex
	byName map[string]*zone // guarded by mu
}

type zone struct {
	ns   []string
	till time.Time
}

// How long an answer is remembered, and how many zones are.
const (
	zoneKnown   = time.Hour
	zoneUnknown = 10 * time.Minute
	maxZones    = 200000
	maxNS       = 16
)

// nameServers gives the name servers of the zone that host is in, taken to be its registrable domain. A look-up costs one
// small query, once an hour; its failure is harmless.
func (p *Prober) nameServers(ctx context.Context, v *Vantage, host string) []string {
	name, err := publicsuffix.EffectiveTLDPlusOne(strings.TrimSuffix(strings.ToLower(host), "."))
	if err != nil {
		return nil
	}
	now := time.Now()
	p.zones.mu.Lock()
	z := p.zones.byName[name]
	if z != nil && now.Before(z.till) {
		p.zones.mu.Unlock()
		return z.ns
	}
	var old []string
	if z != nil {
		old = z.ns
	} else if len(p.zones.byName) >= maxZones {
		clear(p.zones.byName)
	}
	p.zones.byName[name] = &zone{old, now.Add(zoneUnknown)} // others do not ask meanwhile
	p.zones.mu.Unlock()

	ns := p.askNS(ctx, v, name)
	if ns == nil {
		return old
	}
	p.zones.mu.Lock()
	p.zones.byName[name] = &zone{ns, now.Add(zoneKnown)}
	p.zones.mu.Unlock()
	return ns
}

func (p *Prober) askNS(ctx context.Context, v *Vantage, name string) []string {
	if len(v.Resolvers) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, p.c.DNSTry)
	defer cancel()
	r := v.Resolvers[0]
	conn, err := dialFrom(ctx, v, network("udp", r.TCP), r.Addr)
	if err != nil {
		return nil
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	x := &exchange{conn: conn, tcp: r.TCP, name: dns.Fqdn(name)}
	if x.ask(dns.TypeNS) != nil || x.read(nil) != nil {
		return nil
	}
	ns := x.asked[0].ns
	slices.Sort(ns)
	return slices.Compact(ns)
}
