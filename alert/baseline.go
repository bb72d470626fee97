package alert

import (
	"slices"
	"time"
)

// baseline is how often a site fails by itself, as far as it was watched. Half of all sites fail often, by a factor of 80
// between the median and the worst: one number for all would let the rest drown.
type baseline struct {
	from   stamp   // watched since
	before float64 // seconds watched before that
	onsets float64 // confirmed failures of its own
	blips  float64 // failures that nothing confirmed
}

// Prior and bounds of a baseline: detection study, section 3.
const (
	priorOnsets  = 0.5
	priorSeconds = priorOnsets / 1e-6
	leastRate    = 1e-7
	mostRate     = 2e-5

	priorBlips  = 2
	priorProbes = 1000
	mostNoisy   = 0.1

	remembered = 90 * 24 * 3600 // seconds after which what was learned counts half
)

func (b *baseline) seconds(now stamp) float64 {
	if b.from == 0 {
		return b.before
	}
	return b.before + now.sub(b.from).Seconds()
}

// rate is how often the site begins to fail by itself, per second.
func (b *baseline) rate(now stamp) float64 {
	return min(mostRate, max(leastRate, (priorOnsets+b.onsets)/(priorSeconds+b.seconds(now))))
}

// noise is the chance that a single probe of it fails and nothing is wrong. It is made perSecond times a second.
func (b *baseline) noise(now stamp, perSecond float64) float64 {
	return min(mostNoisy, (priorBlips+b.blips)/(priorProbes+b.seconds(now)*perSecond))
}

// leastNoise is what noise is never below: what one probe says is never certain.
const leastNoise = 0.002

// settleSpell learns from a spell of site s that is over.
func (e *Engine) settleSpell(s int, sp *spell) {
	si := &e.sites[s]
	if sp.shared || si.claim != nil || si.Anchor {
		return
	}
	b := &si.baseline
	if b.seconds(e.now) > remembered {
		b.before, b.onsets, b.blips, b.from = b.seconds(e.now)/2, b.onsets/2, b.blips/2, e.now
	}
	if !sp.confirmed {
		b.blips++
		return
	}
	b.onsets++
	sp.learned = true
	if !sp.paired {
		sp.paired = true
		e.failedTogether(s, sp.first)
	}
}

// unlearn takes back what was learned of a spell that was not over: it goes on.
func (b *baseline) unlearn(sp *spell) {
	if sp.learned {
		b.onsets = max(0, b.onsets-1)
		sp.learned = false
	}
}

// pair are two sites, the lower number first.
type pair [2]int

// ended is a spell that is over.
type ended struct {
	site  int
	first stamp
}

// Bounds of what is learned of sites that fail together.
const (
	togetherWithin = 90 * time.Second
	togetherTimes  = 3
	togetherMost   = 8 // sites that fail at once for a reason of their own; more share something else
	keptEnded      = 256
	keptPairs      = 4096
)

// failedTogether counts the sites that had a spell of their own which began when that of s did.
func (e *Engine) failedTogether(s int, first stamp) {
	var with []int
	for _, x := range e.ended {
		if d := x.first.sub(first); x.site != s && d.Abs() <= togetherWithin && e.sites[x.site].owner != e.sites[s].owner {
			with = append(with, x.site)
		}
	}
	many := len(with)
	for o := 0; o < len(e.sites) && many <= togetherMost; o++ { // those that are not over yet
		if sp := e.sites[o].spell; sp != nil && o != s && sp.first.sub(first).Abs() <= togetherWithin {
			many++
		}
	}
	if len(e.ended) == keptEnded {
		e.ended = slices.Delete(e.ended, 0, 1)
	}
	e.ended = append(e.ended, ended{s, first})
	if many > togetherMost {
		return
	}
	for _, o := range with {
		p := pair{min(s, o), max(s, o)}
		if len(e.together) >= keptPairs && e.together[p] == 0 {
			e.forgetPairs()
		}
		e.together[p]++
		e.regroup = e.regroup || e.alwaysTogether(p, e.together[p])
	}
}

// alwaysTogether tells whether n common failures of two sites are no chance: they are most of what the rarer one had.
func (e *Engine) alwaysTogether(p pair, n int) bool {
	rarer := min(e.sites[p[0]].baseline.onsets, e.sites[p[1]].baseline.onsets)
	return n >= togetherTimes && float64(2*n) >= rarer
}

// forgetPairs makes room by forgetting those that failed together once.
func (e *Engine) forgetPairs() {
	for p, n := range e.together {
		if n < 2 {
			delete(e.together, p)
		}
	}
	if len(e.together) >= keptPairs {
		clear(e.together)
	}
}
