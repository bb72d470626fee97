package alert

import (
	"slices"
	"time"

	"faultline/probe"
)

// Suspicion asks for probes, in stages: the prober has looked again by itself before the engine hears of a failure. The
// first stage asks about the same site from elsewhere, and about a few of its neighbours; the second about all of a
// domain, and about controls. All may be dropped.

// Bounds of what suspicion asks for: detection study, sections 0 and 3.
const (
	usualTimes      = 3 // of what an answer usually takes: a sweep waits so long at least
	confirmLanes    = 4
	neighbours      = 3
	rarely          = 6 // times SweepEvery between sweeps for the sake of one owner
	sweepOwners     = 32
	sweepVantages   = 2
	sweepControls   = 10
	sweepControlsAt = 4
)

// want asks for an extra probe of site s in lane l.
func (e *Engine) want(l, s int, why Reason) {
	e.wantID++
	usual := time.Duration(float64(e.cell(s, l).habit) * float64(time.Second))
	e.wants = append(e.wants, Want{
		ID: e.wantID, Vantage: e.lanes[l].Name, Family: e.familyOf(s, l), Site: e.sites[s].Name, By: e.now.add(e.p.SweepBy).time(),
		Timeout: max(e.p.SweepTimeout, min(usualTimes*usual, e.sites[s].Timeout)), Why: why,
	})
}

// suspect asks about a site that has just failed, or is late, in lane l: the same site in the other lanes, and a few
// neighbours in the domains that it may have failed with, over the same family.
func (e *Engine) suspect(s, l int, accused parts) {
	si := &e.sites[s]
	if e.lanes[l].sick || si.asked != 0 && e.now.sub(si.asked) < e.p.SweepEvery || si.Anchor || e.sharedFails(s) {
		return
	}
	si.asked = e.now
	if si.swept == 0 || e.now.sub(si.swept) >= e.p.SweepEvery {
		e.askOthers(s, l)
	}
	for _, in := range si.in {
		d := in.domain
		if d.part&accused == 0 || !d.shared() || d == e.way || len(d.members) < 2 || d.swept != 0 && e.now.sub(d.swept) < e.p.SweepEvery {
			continue
		}
		for range min(neighbours, len(d.members)-1) {
			e.turn++
			if n := d.members[e.turn%len(d.members)].site; n != s {
				e.want(e.laneAt(n, e.turn%e.places, e.family(l)), n, WhyConfirm)
			}
		}
	}
}

// askOthers asks about site s in other lanes than l.
func (e *Engine) askOthers(s, l int) {
	asked := 0
	for i := range e.lanes {
		u := (l + 1 + i) % len(e.lanes)
		if u == l || !e.uses(s, u) || e.lanes[u].sick {
			continue
		}
		e.want(u, s, WhyConfirm)
		if asked++; asked == confirmLanes {
			return
		}
	}
}

// whenLate is what a site that does not answer may have failed with.
const whenLate = partEdge | partNetwork | partShared

// sweep asks about all of a domain in which so many owners are suspected, over the families in which it fails, and about
// controls. Owners that were asked about just now, for another domain, are left out.
func (e *Engine) sweep(d *domain, suspects int) {
	every := e.p.SweepEvery
	if suspects < 2 {
		every *= rarely
	}
	if d.swept != 0 && e.now.sub(d.swept) < every || d.owners < e.p.MinOwners || d == e.way && (suspects < 2 || e.sweptLately()) {
		return
	}
	d.swept, e.swept = e.now, e.now
	families := e.familiesOf(d)
	where := e.failingPlaces(d)
	asked, last := 0, -1
	for i := range d.members {
		s := d.members[(i+e.turn)%len(d.members)].site
		si := &e.sites[s]
		if si.owner == last || !si.inAny(families) || si.swept != 0 && e.now.sub(si.swept) < e.p.SweepEvery {
			continue
		}
		last, si.swept = si.owner, e.now
		e.sweepSite(s, where, 1, sweepVantages, families)
		if asked++; asked == sweepOwners {
			break
		}
	}
	e.sweepControls(d, where, families)
	e.turn++
}

// sweptLately tells whether anything was swept since the last time: what is asked for it serves the path too.
func (e *Engine) sweptLately() bool { return e.swept != 0 && e.now.sub(e.swept) < e.p.SweepEvery }

// failingPlaces are those from where members of d fail, or are late: there the others may too.
func (e *Engine) failingPlaces(d *domain) []int {
	places := e.shows[:e.places]
	clear(places)
	for _, m := range d.members {
		si := &e.sites[m.site]
		if si.late == 0 && !si.fails(d.part) {
			continue
		}
		for l := range e.lanes {
			c := e.cell(m.site, l)
			if !e.lanes[l].sick && (c.late != 0 || c.said&c.accused&d.part != 0 && c.turned != 0 && e.now.sub(c.turned) <= e.p.Window) {
				places[e.place(l)]++
			}
		}
	}
	var out []int
	for p, n := range places {
		if n > 0 {
			out = append(out, p)
		}
	}
	return out
}

// sweepSite asks about a site from so many vantages: so many near ones of those where something fails, then others, in turn.
func (e *Engine) sweepSite(s int, where []int, near, vantages int, families [numFamilies]bool) {
	var asked [sweepControlsAt]int
	n := 0
	for turn := s + e.turn; n < min(vantages, e.places); turn++ {
		p := turn % e.places
		if n < min(near, len(where)) {
			p = where[turn%len(where)]
		}
		if slices.Contains(asked[:n], p) {
			continue
		}
		asked[n] = p
		n++
		for l := range e.lanesAt(p) {
			if e.uses(s, l) && families[e.family(l)] && !e.lanes[l].sick {
				e.want(l, s, WhySweep)
			}
		}
	}
}

// inAny tells whether a site is looked at over any of these families.
func (s *site) inAny(families [numFamilies]bool) bool {
	return s.lanes[0] && families[0] || s.lanes[1] && families[1]
}

// sweepControls asks about sites outside d, half of the looks from where it fails. Anchors are asked where there are no others.
func (e *Engine) sweepControls(d *domain, where []int, families [numFamilies]bool) {
	asked := 0
	for _, anchors := range []bool{false, true} {
		for i := range e.sites {
			s := (i + e.turn) % len(e.sites)
			si := &e.sites[s]
			if asked == sweepControls || anchors && asked >= leastControls {
				return
			}
			if si.Anchor != anchors || si.memberOf(d) || !si.inAny(families) || si.swept != 0 && e.now.sub(si.swept) < e.p.SweepEvery {
				continue
			}
			si.swept = e.now
			e.sweepSite(s, where, sweepControlsAt/2, sweepControlsAt, families)
			asked++
		}
	}
}

// isLate notes that a probe of site s in lane l is under way and slow, or that it has ended.
func (e *Engine) isLate(s int, c *cell, since stamp) {
	was := c.late != 0
	c.late = since
	n := btoi(since != 0) - btoi(was)
	e.sites[s].late += n
	e.late += n
}

// lateSlack is how much longer than two timeouts a probe may be under way.
const lateSlack = 10 * time.Second

// giveUpLate ends the lateness of probes that cannot be under way any more: nobody has told how they ended.
func (e *Engine) giveUpLate() {
	if e.late == 0 || e.now < e.ripe {
		return
	}
	e.ripe = e.now.add(e.p.SweepEvery)
	for s := range e.sites {
		for l := 0; l < len(e.lanes) && e.sites[s].late > 0; l++ {
			if c := e.cell(s, l); c.late != 0 && e.now.sub(c.late) > 2*e.sites[s].Timeout+lateSlack {
				e.isLate(s, c, 0)
			}
		}
	}
}

// lateAnswer takes a pending result.
func (e *Engine) lateAnswer(s, l int, c *cell, r *probe.Result, at stamp) {
	if c.late != 0 {
		return
	}
	e.checkup(s, l, r, at)
	if e.lanes[l].sick || !e.isNews(c) {
		return
	}
	e.isLate(s, c, at.add(-r.Time.Total))
	e.suspect(s, l, whenLate)
	e.touched = e.touched || e.late > 1
}
