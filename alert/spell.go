package alert

import (
	"slices"
	"time"
)

// spell is what is remembered of a site while it is not well: since when each part fails, and the answers since then. A
// site that is well has none.
type spell struct {
	since  [numParts]stamp // when the first answer that accused a part began; 0 = it is not failing
	before [numParts]stamp // when the newest answer before that, which showed it at work, began; 0 = none is known
	calm   [numParts]uint8 // answers in a row, since the last one that accused it, which show it at work
	lulls  [numParts]lull

	notes     [maxNotes]note // in the order of their beginnings
	n         int
	first     stamp // when it began
	confirmed bool  // more than one answer, or place, accused it
	shared    bool  // it was part of an incident that owners share
	ended     stamp // when all parts were well again
	learned   bool  // it counts in the site's baseline
	paired    bool  // it was compared with those of other sites
}

// lull is when a part began to fail, and when it ceased to. If it soon fails again the failure goes on: a site that fails by
// halves gives many good answers in a row now and then, and each end would look like one more onset of its own.
type lull struct{ since, ended stamp }

// goesOn tells whether a failure at t is the one that ceased at most so long ago, and whose beginning is still news: else it
// may be part of what begins now.
func (u lull) goesOn(t stamp, within, news time.Duration) bool {
	return u.since != 0 && t.sub(u.ended) <= within && t.sub(u.since) <= news
}

// note is one answer within a spell.
type note struct {
	begun   stamp
	lane    uint16
	accused parts
	well    parts
	named   bool // it names the edge as the failing part
}

// maxNotes bounds the answers that are kept of a spell: the newest.
const maxNotes = 32

// mostCalm bounds how many good answers in a row end a spell. It is twice the lanes of the site, up to this.
const mostCalm = 16

func calmEnough(lanes int) int { return min(2*lanes, mostCalm) }

// enter adds an answer, and tells whether it was not known already.
func (sp *spell) enter(x note) bool {
	i := sp.n
	for i > 0 && sp.notes[i-1].begun > x.begun {
		i--
	}
	for j := i; j > 0 && sp.notes[j-1].begun == x.begun; j-- {
		if sp.notes[j-1].lane == x.lane {
			return false
		}
	}
	if sp.n == maxNotes {
		if i == 0 {
			return true
		}
		copy(sp.notes[:i-1], sp.notes[1:i])
		sp.notes[i-1] = x
		return true
	}
	copy(sp.notes[i+1:sp.n+1], sp.notes[i:sp.n])
	sp.notes[i] = x
	sp.n++
	return true
}

// hear takes in one answer of a site that has lanes lanes. It gives the parts whose failure began, or goes on after a lull
// of at most so long, and those whose failure ended, by it.
func (sp *spell) hear(x note, fresh parts, before func(parts) stamp, lanes int, most, news time.Duration) (began, ended parts) {
	if !sp.enter(x) {
		return noParts, noParts
	}
	if sp.first == 0 {
		sp.first = x.begun
	} else if x.accused&partSite != 0 {
		sp.confirmed = true
	}
	for p := range fresh.each {
		k := p.index()
		switch {
		case sp.since[k] == 0 && sp.confirmed && sp.lulls[k].goesOn(x.begun, most, news):
			sp.since[k] = sp.lulls[k].since
			began |= p
		case sp.since[k] == 0:
			sp.before[k] = before(p)
			sp.since[k] = x.begun
			began |= p
		default:
			sp.since[k] = min(sp.since[k], x.begun)
		}
	}
	for p := range x.accused.each {
		sp.calm[p.index()] = 0
	}
	for p := range x.well.each {
		k := p.index()
		if sp.since[k] == 0 {
			continue
		}
		if sp.calm[k]++; int(sp.calm[k]) >= calmEnough(lanes) {
			sp.lulls[k] = lull{sp.since[k], x.begun}
			sp.since[k] = 0
			ended |= p
		}
	}
	return began, ended
}

// renumber gives the lanes their new numbers; from tells the old one of each, or -1.
func (sp *spell) renumber(from []int) {
	kept := sp.notes[:0]
	for _, x := range sp.notes[:sp.n] {
		if l := slices.Index(from, int(x.lane)); l >= 0 {
			x.lane = uint16(l)
			kept = append(kept, x)
		}
	}
	sp.n = len(kept)
}

// over tells whether nothing fails any more.
func (sp *spell) over() bool { return sp.since == [numParts]stamp{} }

// confirmedSince tells whether more than one answer accused a part which has failed since t or later, and that it is well
// again is not known for sure. There may be no spell.
func (sp *spell) confirmedSince(p parts, t stamp) bool {
	return sp != nil && sp.confirmed && sp.since[p.index()] >= t
}

// calms tells whether a part has given half of the good answers in a row that would end its failure.
func (sp *spell) calms(p parts, lanes int) bool {
	return 2*int(sp.calm[p.index()]) >= calmEnough(lanes)
}

// failing is the set of parts that fail.
func (sp *spell) failing() parts {
	p := noParts
	for k, since := range sp.since {
		if since != 0 {
			p |= 1 << k
		}
	}
	return p
}

// forget drops what a lane has said since from. It gives the parts that do not fail any more without that.
func (sp *spell) forget(lane int, from stamp) (ended parts) {
	kept := slices.DeleteFunc(sp.notes[:sp.n], func(x note) bool { return int(x.lane) == lane && x.begun >= from })
	if len(kept) == sp.n {
		return noParts
	}
	sp.n = len(kept)
	sp.lulls = [numParts]lull{}
	for k, since := range sp.since {
		if since == 0 {
			continue
		}
		sp.since[k] = 0
		for _, x := range kept {
			if x.begun >= since && x.accused&(1<<k) != 0 {
				sp.since[k] = x.begun
				break
			}
		}
		if sp.since[k] == 0 {
			ended |= 1 << k
		}
	}
	return ended
}
