package alert

import (
	"fmt"
	"slices"

	"faultline/probe"
)

// lane is a place to look from, over one family, and how well it is.
type lane struct {
	*probe.Vantage
	label string // the vantage's name, with the family where that is IPv6 by itself
	six   bool
	last  stamp // the newest result from it

	pace    [2]pace // of sites, of anchors
	dragged stamp   // the newest slow answer when the lane itself was slow

	// A check-up begins with a failing answer: anchors are asked, and what they answer decides whether the vantage's
	// other answers are to be believed.
	checking  bool
	check     stamp // when the last check-up began
	good, bad int   // anchors' answers to probes that began since
	vouched   stamp // when anchors last showed that the lane works
	sick      bool
	since     stamp // of sick, or of being well again
	why       string
}

// anchorsPerCheck is how many anchors a check-up asks; enoughAnchors is how many must agree.
const (
	anchorsPerCheck = 3
	enoughAnchors   = 2
)

// checkup takes what a result says of its lane.
func (e *Engine) checkup(s, l int, r *probe.Result, at stamp) {
	la := &e.lanes[l]
	bad := r.Pending || r.Fault == probe.FaultLocal || weigh(trackSite, r) == accuses && r.Fault != probe.FaultNone
	if !bad && !la.checking && !la.sick {
		return
	}
	if bad && !la.sick && (la.check == 0 || e.now.sub(la.check) >= e.p.SweepEvery) {
		e.beginCheck(l)
	}
	isControl := e.sites[s].Anchor || e.pools[e.family(l)].all
	if !isControl || !la.checking && !la.sick {
		return
	}
	c := e.cell(s, l)
	began := at.add(-r.Time.Total) >= la.check
	switch {
	case r.Pending && began:
		la.bad++
	case c.pending && bad: // counted when it was pending
	case bad && (began || r.Fault == probe.FaultLocal):
		la.bad++
	case !bad && began:
		la.good++
		if c.pending {
			la.bad--
		}
	}
	e.settle(l, r)
}

// vouch asks again for anchors of those lanes whose word is needed for a domain that began to fail at onset. A check-up
// under way is left to end: begun again and again, it would never hear an anchor that is slow to fail.
func (e *Engine) vouch(onset stamp) {
	for l := range e.lanes {
		la := &e.lanes[l]
		if !la.sick && !la.checking && la.vouched < onset && e.now.sub(la.check) >= e.p.Hold {
			e.beginCheck(l)
		}
	}
}

func (e *Engine) beginCheck(l int) {
	la := &e.lanes[l]
	la.checking, la.check, la.good, la.bad = true, e.now, 0, 0
	for n := range anchorsPerCheck {
		if a, ok := e.pickAnchor(l, n); ok {
			e.want(l, a, WhySelfCheck)
		}
	}
}

// pickAnchor chooses the n-th anchor for a check-up: in turn, those first that last answered.
func (e *Engine) pickAnchor(l, n int) (int, bool) {
	p := &e.pools[e.family(l)]
	if p.all && n >= len(p.sites) {
		return 0, false
	}
	e.turn++
	if !p.all {
		for i := range p.sites {
			a := p.sites[(e.turn+i)%len(p.sites)]
			if e.cell(a, l).tracks[trackSite].since == 0 {
				return a, true
			}
		}
	}
	return p.sites[e.turn%len(p.sites)], true
}

// settle ends a check-up when enough anchors have answered.
func (e *Engine) settle(l int, r *probe.Result) {
	la := &e.lanes[l]
	need := min(enoughAnchors, len(e.pools[e.family(l)].sites))
	switch {
	case la.bad >= need && la.bad > la.good && !la.sick:
		e.fall(l, r)
	case la.good >= need && la.good > la.bad:
		la.checking = false
		la.vouched = e.now
		if la.sick && e.now.sub(la.since) >= e.p.Quarantine {
			e.heal(l)
		}
	}
}

// fall declares a lane sick: its results from the onset on do not count.
func (e *Engine) fall(l int, r *probe.Result) {
	la := &e.lanes[l]
	what := r.Class.String()
	if r.Pending {
		what = "no answer"
	}
	la.sick, la.since, la.checking = true, la.check, false
	la.why = fmt.Sprintf("%d of %d anchors asked fail from here (%s)", la.bad, la.bad+la.good, what)
	onset := la.check.add(-e.p.SweepEvery)
	for s := range e.sites {
		c := e.cell(s, l)
		c.pending = false
		for k := range numTracks {
			t := &c.tracks[k]
			if t.since == 0 || t.since < onset {
				continue
			}
			t.since = 0
			if d := e.sites[s].domain(k); d != nil {
				e.accuse(d, -1)
			}
		}
	}
	e.tell(la.notice(fmt.Sprintf("vantage %s is sick%s: %s. Its results%s do not count, and no site is blamed for them; look at its network and resolver",
		la.Name, la.over(), la.why, la.over())))
}

func (e *Engine) heal(l int) {
	la := &e.lanes[l]
	n := la.notice(fmt.Sprintf("vantage %s is well again%s after %s", la.Name, la.over(), rough(e.now.sub(la.since))))
	n.Over = true
	e.tell(n)
	la.sick, la.since, la.why = false, e.now, ""
	e.lookAgain(e.now)
}

func (la *lane) notice(text string) Notice {
	return Notice{
		Kind: NoticeVantageUnhealthy, Key: NoticeVantageUnhealthy + "/" + la.label, Vantage: la.Name,
		Domain: Domain{KindVantage, la.label}, Text: text,
	}
}

// over says over which family a lane looks, in a sentence.
func (la *lane) over() string {
	if la.six {
		return " over IPv6"
	}
	return ""
}

// watchLanes looks again at the sick ones, and gives up check-ups that nobody answered.
func (e *Engine) watchLanes() {
	for l := range e.lanes {
		la := &e.lanes[l]
		if e.now.sub(la.check) < e.p.SweepEvery {
			continue
		}
		if la.sick {
			e.beginCheck(l)
		} else {
			la.checking = false
		}
	}
}

// tell emits a notice unless it says what is known already, or the end of what was never told.
func (e *Engine) tell(n Notice) {
	_, known := e.told[n.Key]
	if known != n.Over {
		return
	}
	n.At = e.now.time()
	n.ID = fmt.Sprintf("%s-%s", n.At.Format("20060102T150405Z"), n.Key)
	if n.Over {
		delete(e.told, n.Key)
	} else {
		e.told[n.Key] = n
	}
	e.notices = append(e.notices, n)
}

// untell ends the notice of that key, if it was told.
func (e *Engine) untell(key, text string) {
	if n, ok := e.told[key]; ok {
		n.Over, n.Text = true, text
		e.tell(n)
	}
}

// want asks for an extra probe of site s in lane l.
func (e *Engine) want(l, s int, why Reason) {
	e.wantID++
	e.wants = append(e.wants, Want{
		ID: e.wantID, Vantage: e.lanes[l].Name, Family: e.familyOf(s, l), Site: e.sites[s].Name, By: e.now.add(e.p.SweepBy).time(),
		Timeout: e.p.SweepTimeout, Why: why,
	})
}

// suspect asks about a site that has just failed, or is late, in lane l: the same site in the other lanes, and a few
// neighbours on its CDN over the same family.
func (e *Engine) suspect(s, l int) {
	si := &e.sites[s]
	if e.lanes[l].sick || si.asked != 0 && e.now.sub(si.asked) < e.p.SweepEvery || si.Anchor {
		return
	}
	if si.cdn != nil && si.cdn.open != nil {
		return
	}
	si.asked = e.now
	for u := range e.lanes {
		if u != l && e.uses(s, u) && !e.lanes[u].sick {
			e.want(u, s, WhyConfirm)
		}
	}
	if si.cdn == nil {
		return
	}
	for range min(neighbours, len(si.cdn.members)-1) {
		e.turn++
		if n := si.cdn.members[e.turn%len(si.cdn.members)]; n != s {
			e.want(e.laneAt(n, e.turn%e.places, e.family(l)), n, WhyConfirm)
		}
	}
}

// Bounds of what suspicion asks for: detection study, sections 0 and 3.
const (
	neighbours      = 3
	sweepOwners     = 32
	sweepVantages   = 2
	sweepControls   = 10
	sweepControlsAt = 4
)

// sweep asks about all of a suspected domain, over the families in which it fails, and about controls.
func (e *Engine) sweep(d *domain, fails [numFamilies]bool) {
	if d.swept != 0 && e.now.sub(d.swept) < e.p.SweepEvery || e.places == 0 {
		return
	}
	d.swept = e.now
	var done []int
	for i := range d.members {
		s := d.members[(i+e.turn)%len(d.members)]
		if slices.Contains(done, e.sites[s].owner) || !e.sites[s].inAny(fails) {
			continue
		}
		done = append(done, e.sites[s].owner)
		for n := range min(sweepVantages, e.places) {
			for l := range e.lanesAt((s + n + e.turn) % e.places) {
				if e.uses(s, l) && fails[e.family(l)] {
					e.want(l, s, WhySweep)
				}
			}
		}
		if len(done) == sweepOwners {
			break
		}
	}
	e.sweepControls(d, btoi(!fails[0]))
	e.turn++
}

// inAny tells whether a site is looked at over any of these families.
func (s *site) inAny(families [numFamilies]bool) bool {
	return s.lanes[0] && families[0] || s.lanes[1] && families[1]
}

func (e *Engine) sweepControls(d *domain, family int) {
	asked := 0
	for i := range e.sites {
		s := (i + e.turn) % len(e.sites)
		if e.sites[s].domain(d.track) == d {
			continue
		}
		for v := range min(sweepControlsAt, e.places) {
			e.want(e.laneAt(s, (v+e.turn)%e.places, family), s, WhySweep)
		}
		if asked++; asked == sweepControls {
			return
		}
	}
}
