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
	n    int                // readings ever taken; guarded by mu
}

// reading is one look at another's clock.
type reading struct {
	off time.Duration // theirs less ours
	at  time.Time     // ours, with its monotonic part
}

const (
	clockRing = 9                // readings, whose median counts
	clockOff  = 10 * time.Minute // less than that is nobody's trouble
)

// read takes in the Date header of a good answer that came just now.
func (c *clock) read(date string) {
	theirs, err := http.ParseTime(date)
	if err != nil {
		return
	}
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ring[c.n%clockRing] = reading{theirs.Sub(now.Round(0)), now}
	c.n++
}

// off is by how much this host's clock must be put forward to be right; 0 where that is little or not known. A clock that
// was set since the readings is found out by the monotonic one.
func (c *clock) off() time.Duration {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n < 3 {
		return 0
	}
	offs := make([]time.Duration, 0, clockRing)
	for _, r := range c.ring[:min(c.n, clockRing)] {
		set := now.Round(0).Sub(r.at.Round(0)) - now.Sub(r.at) // by so much it was put forward
		offs = append(offs, r.off-set)
	}
	slices.Sort(offs)
	if off := offs[len(offs)/2]; off.Abs() >= clockOff {
		return off
	}
	return 0
}
