package probe

import (
	"net/http"
	"slices"
	"sync"
	"time"
)

// clock knows how far this host's clock is off, by the Date headers of good answers: certificates that seem expired, or
// not yet valid, may be fine.
type clock struct {
	mu   sync.Mutex
	ring [clockRing]reading // guarded by mu
	n    int                // sites ever read; guarded by mu
}

// reading is one look at another's clock.
type reading struct {
	site uint64
	off  time.Duration // theirs less ours
	at   time.Time     // ours, with its monotonic part
}

const (
	clockRing   = 9                // readings, each of another site, whose median counts
	leastClocks = 3                // fewer tell nothing
	clockOff    = 10 * time.Minute // less than that is nobody's trouble
	clockKnown  = 15 * time.Minute // how long a reading counts
)

// read takes in the Date header of a good answer of a site that came just now. An answer with an Age comes out of a cache, with
// the date of its making.
func (c *clock) read(site uint64, resp *Response) {
	theirs, err := http.ParseTime(resp.Get("Date"))
	if err != nil || resp.Get("Age") != "" {
		return
	}
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	known := c.ring[:min(c.n, clockRing)]
	i := slices.IndexFunc(known, func(r reading) bool { return r.site == site })
	if i < 0 {
		i = c.n % clockRing
		c.n++
	}
	c.ring[i] = reading{site, theirs.Sub(now.Round(0)), now}
}

// off is by how much this host's clock must be put forward to be right; 0 where that is little or not known. Readings from
// before the clock was set, or the host slept, do not count: the monotonic clock tells.
func (c *clock) off() time.Duration {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	offs := make([]time.Duration, 0, clockRing)
	for _, r := range c.ring[:min(c.n, clockRing)] {
		since := now.Sub(r.at)
		if jump := now.Round(0).Sub(r.at.Round(0)) - since; since < clockKnown && jump.Abs() < clockOff/2 {
			offs = append(offs, r.off)
		}
	}
	if len(offs) < leastClocks {
		return 0
	}
	slices.Sort(offs)
	if off := offs[len(offs)/2]; off.Abs() >= clockOff {
		return off
	}
	return 0
}
