package asn

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Cymru asks Team Cymru's DNS service, which tells the network of an address in a TXT record. Answers are kept; the first
// question about an address is answered with "", and asked there meanwhile. It is safe for concurrent use.
type Cymru struct {
	lookup func(ctx context.Context, name string) ([]string, error)
	ask    chan netip.Prefix

	mu    sync.Mutex
	known map[netip.Prefix]answer // by the /24 or /48 around an address
}

type answer struct {
	network string
	until   time.Time // to be asked again after
}

// Bounds of what is asked and kept.
const (
	mostKnown  = 1 << 16
	askAhead   = 256
	askTimeout = 5 * time.Second
	keepFor    = 24 * time.Hour
	retryAfter = 10 * time.Minute
)

// NewCymru makes one that asks the system's resolver, until ctx is done.
func NewCymru(ctx context.Context) *Cymru { return newCymru(ctx, new(net.Resolver).LookupTXT) }

func newCymru(ctx context.Context, lookup func(context.Context, string) ([]string, error)) *Cymru {
	c := &Cymru{lookup: lookup, ask: make(chan netip.Prefix, askAhead), known: map[netip.Prefix]answer{}}
	go c.run(ctx)
	return c
}

// Of is the network of an address, as "as64500"; "" = not known, or not yet. Addresses that are nobody's on the Internet are
// not asked about.
func (c *Cymru) Of(a netip.Addr) string {
	a = a.Unmap()
	if !a.IsValid() || !a.IsGlobalUnicast() || a.IsPrivate() {
		return ""
	}
	bits := 24
	if a.Is6() {
		bits = 48
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return ""
	}
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	x, ok := c.known[p]
	if ok && now.Before(x.until) {
		return x.network
	}
	if !ok && len(c.known) >= mostKnown {
		for old := range c.known { // any one
			delete(c.known, old)
			break
		}
	}
	select {
	case c.ask <- p:
		c.known[p] = answer{x.network, now.Add(retryAfter)}
	default: // later
	}
	return x.network
}

func (c *Cymru) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case p := <-c.ask:
			network, err := c.find(ctx, p)
			if err != nil {
				continue // what was known stays, and is asked again
			}
			c.mu.Lock()
			c.known[p] = answer{network, time.Now().Add(keepFor)}
			c.mu.Unlock()
		}
	}
}

func (c *Cymru) find(ctx context.Context, p netip.Prefix) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	texts, err := c.lookup(ctx, question(p.Addr()))
	if err != nil {
		return "", fmt.Errorf("asking Team Cymru: %w", err)
	}
	for _, t := range texts { // "13335 | 104.16.0.0/12 | US | arin | 2014-03-28"
		first, _, _ := strings.Cut(t, "|")
		number, _, _ := strings.Cut(strings.TrimSpace(first), " ") // several announce it: the first
		if n, err := strconv.ParseUint(number, 10, 32); err == nil {
			return name(uint32(n)), nil
		}
	}
	return "", nil
}

// question is the name whose TXT record tells the network of an address: its parts, the last first.
func question(a netip.Addr) string {
	b := a.AsSlice()
	var s strings.Builder
	for i := len(b) - 1; i >= 0; i-- {
		if a.Is4() {
			fmt.Fprintf(&s, "%d.", b[i])
		} else {
			fmt.Fprintf(&s, "%x.%x.", b[i]&15, b[i]>>4)
		}
	}
	if a.Is4() {
		return s.String() + "origin.asn.cymru.com."
	}
	return s.String() + "origin6.asn.cymru.com."
}
