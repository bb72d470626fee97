package alert

import (
	"slices"
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

// cell is what is remembered of one site in one lane. It holds 64 bytes: there are many.
type cell struct {
	at      stamp // when the newest answer was known
	tracks  [numTracks]track
	habit   float32 // how long a good answer takes at most, but for one in twenty; seconds
	tempo   tempo
	class   probe.Class
	fault   probe.Fault
	pending bool // a probe is under way that is slower than the site's habit
}

// track is the memory of a cell as seen by one kind of domain.
type track struct {
	good  stamp // the newest answer that spoke for the domain
	since stamp // the first answer of the present spell that spoke against it; 0 = none does
	last  stamp // the newest answer that spoke against it
}

// The tracks of a cell: which answers speak for or against a kind of domain differs (see weigh).
const (
	trackEdge = iota // the CDN's edge
	trackSite        // the site itself: its owner
	numTracks
)

// voice is what an answer says about a domain.
type voice uint8

const (
	silent  voice = iota // nothing
	speaks               // it works
	accuses              // it fails
	hides                // it can no longer be seen how it is
)

// weigh is the only table of what a result is worth as evidence.
//
// Against a CDN's edge: failures that the edge made, or that the edge may have made. For it: every answer that shows the
// edge at work, a challenge or the report of a failing origin included. Failures of DNS, of the path and of the prober
// say nothing about it. Against a site itself: whatever keeps a visitor out; a block hides how the site is.
func weigh(track int, r *probe.Result) voice {
	switch r.Fault {
	case probe.FaultLocal:
		return silent
	case probe.FaultBlocked:
		if track == trackEdge && r.Class.Phase() == probe.PhaseHTTP && r.Class != probe.ClassHTTPInterference {
			return speaks
		}
		return hides
	}
	if r.Class == probe.ClassUnknown {
		return silent
	}
	if r.Class == probe.ClassOK {
		return speaks
	}
	if track == trackSite {
		return accuses
	}
	switch r.Fault {
	case probe.FaultEdge:
		return accuses
	case probe.FaultAmbiguous:
		if slices.Contains(r.Candidates, probe.FaultEdge) {
			return accuses
		}
	case probe.FaultOrigin, probe.FaultConfig, probe.FaultNone:
		if r.Class.Phase() == probe.PhaseHTTP {
			return speaks
		}
	}
	return silent
}

// hear enters what an answer, whose probe began at start, says. It tells whether the spell began or ended by it.
func (t *track) hear(v voice, start, at stamp) (began, ended bool) {
	switch v {
	case speaks:
		ended = t.since != 0
		t.good, t.since = at, 0
	case hides:
		ended = t.since != 0
		t.since = 0
	case accuses:
		began = t.since == 0
		if began {
			t.since = start
		}
		t.last = at
	}
	return began, ended
}
