// Package history counts what was seen of each site, in slots of five minutes and in days of UTC, and tells from the counts
// how much of the time it answered. It is pure: where counts are kept is its user's affair.
//
// A look is a scheduled probe's final result, counted in the slot in which it was heard. Sweeps are not counted: suspicion
// asks for them, and they would make every failure look longer than it was. What says nothing about the site is counted as
// no data: looks from a vantage that was sick, and such as failed at the prober itself. What never came cannot be counted. It
// shows as slots with nothing in them, and in the share of slots in which a site was seen at all, which stands beside every
// uptime.
package history

import (
	"time"

	"faultline/probe"
)

// Counts are looks at one site.
type Counts struct {
	OK      uint32 `json:"ok"`
	Failed  uint32 `json:"failed"`
	Blocked uint32 `json:"blocked"`
	None    uint32 `json:"none"`
}

// Add adds those of o.
func (c *Counts) Add(o Counts) {
	c.OK += o.OK
	c.Failed += o.Failed
	c.Blocked += o.Blocked
	c.None += o.None
}

// Seen tells whether any look showed the site as well or as failing.
func (c *Counts) Seen() bool { return c.OK > 0 || c.Failed > 0 }

// uptime is ok / (ok + failed); nil = neither was seen.
func (c *Counts) uptime() *float64 {
	if !c.Seen() {
		return nil
	}
	u := float64(c.OK) / (float64(c.OK) + float64(c.Failed))
	return &u
}

// outcome is what a look counts as.
type outcome uint8

const (
	outcomeOK outcome = iota
	outcomeFailed
	outcomeBlocked
	outcomeNone
)

func outcomeOf(r *probe.Result) outcome {
	switch {
	case r.OK():
		return outcomeOK
	case r.Fault == probe.FaultLocal, r.Class == probe.ClassUnknown:
		return outcomeNone
	case r.Fault == probe.FaultBlocked:
		return outcomeBlocked
	default:
		return outcomeFailed
	}
}

func (c *Counts) of(o outcome) *uint32 {
	switch o {
	case outcomeOK:
		return &c.OK
	case outcomeFailed:
		return &c.Failed
	case outcomeBlocked:
		return &c.Blocked
	default:
		return &c.None
	}
}

// Step is a length of time that looks are counted by. The times of one step are numbered from 1970 on, in UTC.
type Step time.Duration

// The steps.
const (
	Slot = Step(5 * time.Minute)
	Day  = Step(24 * time.Hour)
)

// Of is the number of the time that t lies in.
func (s Step) Of(t time.Time) int64 { return t.Unix() / s.seconds() }

// Start is when a time begins.
func (s Step) Start(n int64) time.Time { return time.Unix(n*s.seconds(), 0).UTC() }

// Keep is how many times of this step are kept: 48 hours of slots or 400 days, and the present one.
func (s Step) Keep() int {
	if s == Day {
		return 400 + 1
	}
	return int(48*time.Hour/time.Duration(Slot)) + 1
}

func (s Step) seconds() int64 { return int64(time.Duration(s) / time.Second) }

// Clip holds a wish for the counts of [since, until) to what is kept at now; a zero time means as far as that goes.
func (s Step) Clip(now, since, until time.Time) (from, to int64) {
	to = s.Of(now) + 1
	from = to - int64(s.Keep())
	if !until.IsZero() && until.Before(now) {
		to = max(from, s.Of(until.Add(time.Duration(s)-1)))
	}
	if !since.IsZero() && since.After(s.Start(from)) {
		from = s.Of(since)
	}
	return min(from, to), to
}

// Item is the counts of one site in one time.
type Item struct {
	N    int64 // of its step
	Seen uint32
	Counts
}

// Fill gives an item for every time of [from, to); those that items, which are in order, lack have seen nothing.
func Fill(from, to int64, items []Item) []Item {
	all := make([]Item, 0, to-from)
	for n := from; n < to; n++ {
		for len(items) > 0 && items[0].N < n {
			items = items[1:]
		}
		if len(items) > 0 && items[0].N == n {
			all = append(all, items[0])
		} else {
			all = append(all, Item{N: n})
		}
	}
	return all
}
