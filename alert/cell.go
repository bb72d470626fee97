package alert

import (
	"time"

	"faultline/probe"
)

// stamp is a time in nanoseconds of Unix time; 0 = never. The engine's memory holds many of them.
type stamp int64

func stampOf(t time.Time) stamp {
	if t.IsZero() {
		return 0
	}
	return stamp(t.UnixNano())
}

func (s stamp) time() time.Time {
	if s == 0 {
		return time.Time{}
	}
	return time.Unix(0, int64(s)).UTC()
}

func (s stamp) sub(t stamp) time.Duration { return time.Duration(s - t) }
func (s stamp) add(d time.Duration) stamp { return s + stamp(d) }

// sooner is the earlier of two times; 0 = never.
func sooner(a, b stamp) stamp {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// cell is what is remembered of one site in one lane. It holds at most 64 bytes: there are many.
type cell struct {
	at     stamp   // when the newest answer was known
	begun  stamp   // when its probe began; answers are ordered by that
	since  stamp   // when the first of the present answers that accuse the site began; 0 = the newest does not
	turned stamp   // when one began that accused a part which had been well
	late   stamp   // when a probe began that is under way and slower than the site's habit; 0 = none
	block  stamp   // since when the newest answers are blocks, and were good before; 0 = otherwise
	habit  float32 // how long a good answer takes at most, but for one in twenty; seconds

	accused parts // last known to fail
	well    parts // last known to work
	said    parts // what the newest answer spoke of

	tempo tempo
	class probe.Class
	fault probe.Fault
}

// hear enters what an answer says, whose probe began and was known at those times. It gives the parts that the answer
// accuses and that were well before: an onset.
func (c *cell) hear(accused, well parts, hides bool, begun, at stamp) (fresh parts) {
	fresh = accused & c.well
	if fresh != 0 {
		c.turned = begun
	}
	if hides {
		c.accused, c.well = c.accused&^wholeSite, c.well&^wholeSite
	}
	c.accused, c.well = (c.accused|accused)&^well, (c.well|well)&^accused
	c.said, c.at, c.begun = accused|well, at, begun
	switch {
	case accused&partSite == 0:
		c.since = 0
	case c.since == 0:
		c.since = begun
	}
	return fresh
}

// seenWell tells whether the newest answer showed a part at work at t or later.
func (c *cell) seenWell(p parts, t stamp) bool { return c.said&c.well&p != 0 && c.begun >= t }

// chronic tells whether a part was failing here long before now: then it is no news.
func (c *cell) chronic(p parts, now stamp, window time.Duration) bool {
	return c.accused&p != 0 && now.sub(c.turned) > window
}
