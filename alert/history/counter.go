package history

import (
	"time"

	"faultline/probe"
)

// Bounds of what is counted, and when.
const (
	// Hold is how long a look waits before it is counted: that its vantage was sick is known only some seconds later.
	Hold      = time.Minute
	mostHeld  = 1 << 17         // looks that may wait; the oldest are then counted sooner
	mostAhead = 5 * time.Second // that a result may come from the future: the clocks of two hosts differ
	mostFull  = 12              // slots that may wait to be taken; the oldest are then lost
)

// clockSet is the earliest time that a clock can show in earnest: a host without a battery begins in 1970.
var clockSet = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// Health knows what is known by now of how vantages were; *alert.Engine does.
type Health interface {
	// WasSick tells whether the vantage of a look that took from begun to known was sick meanwhile.
	WasSick(site, vantage string, f probe.Family, begun, known time.Time) bool
}

// Counter counts looks. One goroutine owns it, that of its Health.
type Counter struct {
	health Health
	sites  map[string]*tally // by name
	held   []look            // in the order heard
	first  int               // of held that waits; those before it have been counted
	slot   int64             // that is being counted
	dirty  []*tally          // with counts in it
	full   []Batch           // counted and not taken
}

// tally is the counts of one site in the present slot.
type tally struct {
	name   string
	key    uint64
	counts Counts
	dirty  bool
}

// look is a result that waits to be counted.
type look struct {
	of           *tally
	vantage      string
	begun, heard int64 // Unix nanoseconds
	family       probe.Family
	outcome      outcome
}

// Batch is the counts of one slot to be added to those that are kept.
type Batch struct {
	Slot  int64
	Sites []SiteCounts
}

// SiteCounts is the counts of one site.
type SiteCounts struct {
	Key uint64 // probe.Site.Key
	Counts
}

// NewCounter returns a Counter that counts no site.
func NewCounter(h Health) *Counter { return &Counter{health: h, sites: map[string]*tally{}} }

// SetSites changes the sites that are counted; anchors are left out. It is to be called before the Health hears of the
// change, for what waits is counted by what is known of the vantages that were.
func (c *Counter) SetSites(sites []*probe.Site) {
	c.settle(func(*look) bool { return true })
	next := make(map[string]*tally, len(sites))
	for _, s := range sites {
		if s.Anchor {
			continue
		}
		key := s.Key()
		if t := c.sites[s.Name]; t != nil && t.key == key {
			next[s.Name] = t
		} else {
			next[s.Name] = &tally{name: s.Name, key: key}
		}
	}
	c.sites = next
}

// Heard takes a result that came at now. Pending ones, sweeps, and what comes too late or from the future, are left out.
func (c *Counter) Heard(now time.Time, r *probe.Result) {
	t := c.sites[r.Site]
	if t == nil || r.Pending || r.Sweep != 0 || now.Before(clockSet) || r.At.After(now.Add(mostAhead)) || now.Sub(r.At) > Hold {
		return
	}
	begun, o := r.At.Add(-r.Time.Total), outcomeOf(r)
	if o != outcomeNone && c.health.WasSick(r.Site, r.Vantage, r.Family, begun, now) {
		o = outcomeNone // the Health may have forgotten by the time it is counted
	}
	c.settleAt(now)
	c.push(look{of: t, vantage: r.Vantage, begun: begun.UnixNano(), heard: now.UnixNano(), family: r.Family, outcome: o})
}

// push keeps the looks that wait together, so that those to come need no memory.
func (c *Counter) push(l look) {
	if len(c.held) == cap(c.held) && c.first > len(c.held)/2 {
		c.held = c.held[:copy(c.held, c.held[c.first:])]
		c.first = 0
	}
	c.held = append(c.held, l)
}

// settleAt counts the looks that have waited long enough at now, or, when the clock was set back, seem not to be yet.
func (c *Counter) settleAt(now time.Time) {
	at := now.UnixNano()
	c.settle(func(l *look) bool {
		age := time.Duration(at - l.heard)
		return age < 0 || age >= Hold || len(c.held)-c.first >= mostHeld
	})
}

// settle counts the looks that are ripe, in the order heard, up to the first that is not.
func (c *Counter) settle(ripe func(*look) bool) {
	for c.first < len(c.held) && ripe(&c.held[c.first]) {
		c.count(&c.held[c.first])
		c.first++
	}
}

func (c *Counter) count(l *look) {
	o, heard := l.outcome, time.Unix(0, l.heard)
	if o != outcomeNone && c.health.WasSick(l.of.name, l.vantage, l.family, time.Unix(0, l.begun), heard) {
		o = outcomeNone
	}
	if n := Slot.Of(heard); n != c.slot {
		c.endSlot()
		c.slot = n
	}
	if !l.of.dirty {
		l.of.dirty = true
		c.dirty = append(c.dirty, l.of)
	}
	*l.of.counts.of(o)++
}

// endSlot makes a batch of what was counted since the last one.
func (c *Counter) endSlot() {
	if len(c.dirty) == 0 {
		return
	}
	b := Batch{Slot: c.slot, Sites: make([]SiteCounts, len(c.dirty))}
	for i, t := range c.dirty {
		b.Sites[i] = SiteCounts{t.key, t.counts}
		t.counts, t.dirty = Counts{}, false
	}
	clear(c.dirty)
	c.dirty = c.dirty[:0]
	if len(c.full) >= mostFull {
		c.full = c.full[1:]
	}
	c.full = append(c.full, b)
}

// Take gives what was counted by now and not taken yet, the oldest first. It is the caller's to keep.
func (c *Counter) Take(now time.Time) []Batch {
	c.settleAt(now)
	return c.take()
}

// TakeAll is Take with the looks that still wait, for when no more is to come.
func (c *Counter) TakeAll() []Batch {
	c.settle(func(*look) bool { return true })
	return c.take()
}

func (c *Counter) take() []Batch {
	c.endSlot()
	b := c.full
	c.full = nil
	return b
}
