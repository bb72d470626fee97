package simnet

import (
	"slices"
	"time"
)

// Fault is what a probe of a site from a vantage meets at t after the onset (before it: what is normal). The number draw
// is the probe's own: its re-checks and redirects have the same one, the next probe has another. The answer is
// never ClassEdge5xx or ClassVantageLost.
func (w *World) Fault(t time.Duration, site, vantage int, draw uint64) Class {
	s := &w.Sites[site]
	if g := w.segmentAt(t, vantage); g != nil {
		for i := range g.active[s.Kind] {
			sp := &g.active[s.Kind][i]
			p := &w.Scenario.Phases[sp.phase]
			if s.U >= p.Share || t < w.turnsBad(sp, site) || unit(draw, drawFail, uint64(sp.phase)) >= p.Fail {
				continue
			}
			if p.Class == ClassEdge5xx {
				return ClassEdge500 + Class(mix(w.seed, drawStatus, uint64(site))%3)
			}
			return p.Class
		}
	}
	if s.Kind == KindDomain && w.Scenario.World.Normal == "blocked" {
		return ClassBlocked
	}
	return ClassOK
}

// Lost tells whether a vantage reports nothing at t after the onset.
func (w *World) Lost(t time.Duration, vantage int) bool {
	g := w.segmentAt(t, vantage)
	return g != nil && g.lost
}

// Changes are the times after the onset at which phases begin, in their order.
func (w *World) Changes() []time.Duration {
	var out []time.Duration
	for i := range w.Scenario.Phases {
		out = append(out, w.Scenario.Phases[i].At)
	}
	return slices.Compact(out)
}

// segmentAt is nil before the first phase.
func (w *World) segmentAt(t time.Duration, vantage int) *segment {
	line := w.lines[vantage]
	for i := len(line) - 1; i >= 0; i-- {
		if line[i].from <= t {
			return &line[i]
		}
	}
	return nil
}

// turnsBad is when a site of a phase turns bad.
func (w *World) turnsBad(sp *span, site int) time.Duration {
	p := &w.Scenario.Phases[sp.phase]
	if !p.Independent || w.Sites[site].U < sp.carried {
		return sp.from
	}
	return sp.from + time.Duration(unit(w.seed, drawOnset, uint64(site), uint64(sp.phase))*float64(sp.to-sp.from))
}

// timeline says what holds for a vantage, and when.
func (w *World) timeline(vantage int) []segment {
	phases := w.Scenario.Phases
	changes := w.Changes()
	end := changes[len(changes)-1] + w.Scenario.World.Tail
	var line []segment
	var before []int
	for c, at := range changes {
		holding := w.holding(vantage, at)
		g := segment{from: at}
		for _, i := range holding {
			p := &phases[i]
			if p.Class == ClassVantageLost {
				g.lost = true
				continue
			}
			sp := span{phase: i, from: p.At, to: w.until(vantage, i, changes[c:], end), carried: w.carried(i, before, line)}
			for k := range numKinds {
				if p.Applies.covers(k) {
					g.active[k] = append(g.active[k], sp)
				}
			}
		}
		for k := range g.active { // what comes first on the wire hides the rest
			slices.SortStableFunc(g.active[k], func(a, b span) int { return int(phases[a.phase].Class) - int(phases[b.phase].Class) })
		}
		line = append(line, g)
		before = holding
	}
	return line
}

// holding are the phases, other than ok, that hold for a vantage at t. Of those that apply to the same sites the latest
// do; an ok ends all that began before it.
func (w *World) holding(vantage int, t time.Duration) []int {
	var latest [numApplies]time.Duration
	for a := range latest {
		latest[a] = -1
	}
	ok := time.Duration(-1)
	phases := w.Scenario.Phases
	for i := range phases {
		p := &phases[i]
		if p.At > t || !w.covers(i, vantage) {
			continue
		}
		latest[p.Applies] = max(latest[p.Applies], p.At)
		if p.Class == ClassOK {
			ok = max(ok, p.At)
		}
	}
	var out []int
	for i := range phases {
		p := &phases[i]
		if p.Class != ClassOK && p.At == latest[p.Applies] && p.At >= ok && w.covers(i, vantage) {
			out = append(out, i)
		}
	}
	return out
}

// covers tells whether a phase means a vantage. "*other" are those that no other phase of the same time names.
func (w *World) covers(phase, vantage int) bool {
	p, v := &w.Scenario.Phases[phase], w.Vantages[vantage]
	names := func(r string) bool { return r != "*" && inRegion(r, v) }
	for _, r := range p.Regions {
		if inRegion(r, v) {
			return true
		}
		if r != "*other" {
			continue
		}
		named := false
		for i := range w.Scenario.Phases {
			o := &w.Scenario.Phases[i]
			named = named || i != phase && o.At == p.At && slices.ContainsFunc(o.Regions, names)
		}
		if !named {
			return true
		}
	}
	return false
}

// until is when a phase ends for a vantage: at the first of the changes from its own on at which it does not hold.
func (w *World) until(vantage, phase int, changes []time.Duration, end time.Duration) time.Duration {
	for _, at := range changes {
		if !slices.Contains(w.holding(vantage, at), phase) {
			return at
		}
	}
	return end
}

// carried is the share of sites that had turned bad, each at its own time, in a phase that this one continues.
func (w *World) carried(phase int, before []int, line []segment) float64 {
	phases := w.Scenario.Phases
	p := &phases[phase]
	share := 0.0
	if slices.Contains(before, phase) { // it goes on
		for _, sp := range slices.Concat(line[len(line)-1].active[:]...) {
			if sp.phase == phase {
				share = sp.carried
			}
		}
		return share
	}
	for _, i := range before {
		if q := &phases[i]; q.Independent && q.Applies == p.Applies && q.Class == p.Class {
			share = max(share, q.Share)
		}
	}
	return share
}

// EndsWell tells whether nothing fails any more after the last phase, anywhere.
func (sc *Scenario) EndsWell() bool {
	w := &World{Scenario: sc, Vantages: sc.World.Vantages}
	for v := range w.Vantages {
		for _, i := range w.holding(v, sc.Last()) {
			if p := &sc.Phases[i]; p.Share > 0 && p.Fail > 0 {
				return false
			}
		}
	}
	return true
}
