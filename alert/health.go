package alert

import (
	"fmt"
	"slices"

	"faultline/probe"
)

// vantage is a place to look from, and how well it is.
type vantage struct {
	*probe.Vantage
	last stamp // the newest result from it

	// A check-up begins with a failing answer: anchors are asked, and what they answer decides whether the vantage's
	// other answers are to be believed.
	checking  bool
	check     stamp // when the last check-up began
	good, bad int   // anchors' answers to probes that began since
	vouched   stamp // when anchors last showed that the vantage works
	sick      bool
	since     stamp // of sick, or of being well again
	why       string
}

// anchorsPerCheck is how many anchors a check-up asks; enoughAnchors is how many must agree.
const (
	anchorsPerCheck = 3
	enoughAnchors   = 2
)

// checkup takes what a result says of its vantage.
func (e *Engine) checkup(s, v int, r *probe.Result, at stamp) {
	va := &e.vantages[v]
	bad := r.Pending || r.Fault == probe.FaultLocal || weigh(trackSite, r) == accuses && r.Fault != probe.FaultNone
	if !bad && !va.checking && !va.sick {
		return
	}
	if bad && !va.sick && (va.check == 0 || e.now.sub(va.check) >= e.p.SweepEvery) {
		e.beginCheck(v)
	}
	isControl := e.sites[s].Anchor || e.controls
	if !isControl || !va.checking && !va.sick {
		return
	}
	c := e.cell(s, v)
	began := at.add(-r.Time.Total) >= va.check
	switch {
	case r.Pending && began:
		va.bad++
	case c.pending && bad: // counted when it was pending
	case bad && (began || r.Fault == probe.FaultLocal):
		va.bad++
	case !bad && began:
		va.good++
		if c.pending {
			va.bad--
		}
	}
	e.settle(v, r)
}

// vouch asks again for anchors of those vantages whose word is needed for a domain that began to fail at onset.
func (e *Engine) vouch(onset stamp) {
	for v := range e.vantages {
		va := &e.vantages[v]
		if !va.sick && va.vouched < onset && e.now.sub(va.check) >= e.p.Hold {
			e.beginCheck(v)
		}
	}
}

func (e *Engine) beginCheck(v int) {
	va := &e.vantages[v]
	va.checking, va.check, va.good, va.bad = true, e.now, 0, 0
	for n := range anchorsPerCheck {
		if a, ok := e.pickAnchor(v, n); ok {
			e.want(v, a, WhySelfCheck)
		}
	}
}

// pickAnchor chooses the n-th anchor for a check-up: in turn, those first that last answered.
func (e *Engine) pickAnchor(v, n int) (int, bool) {
	pool := e.anchors
	if e.controls {
		return e.turnedSite(n)
	}
	e.turn++
	for i := range pool {
		a := pool[(e.turn+i)%len(pool)]
		if e.cell(a, v).tracks[trackSite].since == 0 {
			return a, true
		}
	}
	return pool[e.turn%len(pool)], true
}

func (e *Engine) turnedSite(n int) (int, bool) {
	if n >= len(e.sites) {
		return 0, false
	}
	e.turn++
	return e.turn % len(e.sites), true
}

// settle ends a check-up when enough anchors have answered.
func (e *Engine) settle(v int, r *probe.Result) {
	va := &e.vantages[v]
	need := min(enoughAnchors, len(e.sites))
	switch {
	case va.bad >= need && va.bad > va.good && !va.sick:
		e.fall(v, r)
	case va.good >= need && va.good > va.bad:
		va.checking = false
		va.vouched = e.now
		if va.sick && e.now.sub(va.since) >= e.p.Quarantine {
			e.heal(v)
		}
	}
}

// fall declares a vantage sick: its results from the onset on do not count.
func (e *Engine) fall(v int, r *probe.Result) {
	va := &e.vantages[v]
	what := r.Class.String()
	if r.Pending {
		what = "no answer"
	}
	va.sick, va.since, va.checking = true, va.check, false
	va.why = fmt.Sprintf("%d of %d anchors asked fail from here (%s)", va.bad, va.bad+va.good, what)
	onset := va.check.add(-e.p.SweepEvery)
	for s := range e.sites {
		c := e.cell(s, v)
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
	e.tell(Notice{
		Kind: NoticeVantageUnhealthy, Key: NoticeVantageUnhealthy + "/" + va.Name, Vantage: va.Name, Domain: Domain{KindVantage, va.Name},
		Text: fmt.Sprintf("vantage %s is sick: %s. Its results do not count, and no site is blamed for them; look at its network and resolver", va.Name, va.why),
	})
}

func (e *Engine) heal(v int) {
	va := &e.vantages[v]
	key := NoticeVantageUnhealthy + "/" + va.Name
	e.tell(Notice{
		Kind: NoticeVantageUnhealthy, Key: key, Over: true, Vantage: va.Name, Domain: Domain{KindVantage, va.Name},
		Text: fmt.Sprintf("vantage %s is well again after %s", va.Name, rough(e.now.sub(va.since))),
	})
	va.sick, va.since, va.why = false, e.now, ""
}

// watchVantages looks again at the sick ones, and gives up check-ups that nobody answered.
func (e *Engine) watchVantages() {
	for v := range e.vantages {
		va := &e.vantages[v]
		if e.now.sub(va.check) < e.p.SweepEvery {
			continue
		}
		if va.sick {
			e.beginCheck(v)
		} else {
			va.checking = false
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

// want asks for an extra probe of site s from vantage v.
func (e *Engine) want(v, s int, why Reason) {
	e.wantID++
	e.wants = append(e.wants, Want{
		ID: e.wantID, Vantage: e.vantages[v].Name, Site: e.sites[s].Name, By: e.now.add(e.p.SweepBy).time(),
		Timeout: e.p.SweepTimeout, Why: why,
	})
}

// suspect asks about a site that has just failed, or is late, at v: the same site from elsewhere, and a few neighbours on
// its CDN.
func (e *Engine) suspect(s, v int) {
	si := &e.sites[s]
	if e.vantages[v].sick || si.asked != 0 && e.now.sub(si.asked) < e.p.SweepEvery || si.Anchor {
		return
	}
	if si.cdn != nil && si.cdn.open != nil {
		return
	}
	si.asked = e.now
	for u := range e.vantages {
		if u != v && !e.vantages[u].sick {
			e.want(u, s, WhyConfirm)
		}
	}
	if si.cdn == nil || len(e.vantages) == 0 {
		return
	}
	for range min(neighbours, len(si.cdn.members)-1) {
		e.turn++
		if n := si.cdn.members[e.turn%len(si.cdn.members)]; n != s {
			e.want(e.turn%len(e.vantages), n, WhyConfirm)
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

// sweep asks about all of a suspected domain, and about controls.
func (e *Engine) sweep(d *domain) {
	if d.swept != 0 && e.now.sub(d.swept) < e.p.SweepEvery || len(e.vantages) == 0 {
		return
	}
	d.swept = e.now
	var done []int
	for i := range d.members {
		s := d.members[(i+e.turn)%len(d.members)]
		if slices.Contains(done, e.sites[s].owner) {
			continue
		}
		done = append(done, e.sites[s].owner)
		for n := range min(sweepVantages, len(e.vantages)) {
			e.want((s+n+e.turn)%len(e.vantages), s, WhySweep)
		}
		if len(done) == sweepOwners {
			break
		}
	}
	e.sweepControls(d)
	e.turn++
}

func (e *Engine) sweepControls(d *domain) {
	asked := 0
	for i := range e.sites {
		s := (i + e.turn) % len(e.sites)
		if e.sites[s].domain(d.track) == d {
			continue
		}
		for v := range min(sweepControlsAt, len(e.vantages)) {
			e.want((v+e.turn)%len(e.vantages), s, WhySweep)
		}
		if asked++; asked == sweepControls {
			return
		}
	}
}
