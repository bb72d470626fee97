package alert

import (
	"fmt"
	"strings"
	"time"

	"faultline/probe"
)

// lane is a place to look from, over one family, and how well it is.
type lane struct {
	*probe.Vantage
	label string // the vantage's name, with the family where that is IPv6 by itself
	six   bool
	last  stamp // the newest result from it
	ahead int   // results in a row that came from the future

	pace    [2]pace // of sites, of anchors
	dragged stamp   // the newest slow answer when the lane itself was slow

	// A check-up begins with a failing answer: anchors are asked, and what they answer decides whether the vantage's
	// other answers are to be believed.
	checking  bool
	check     stamp          // when the last check-up began
	good, bad int            // anchors that answer well, or not, to probes that began since
	spoke     [mostSpoke]int // these anchors, 1 + their numbers
	added     stamp          // since when there is one
	vouched   stamp          // when anchors last showed that the lane works
	losses    losses
	lossy     bool // it is sick because of that
	inARow    int  // anchors' good answers in a row since
	sick      bool
	since     stamp   // of sick, or of being well again
	ills      [2]span // the last two times that it was sick, the last one first
	why       string
	resolver  string // that is why it is sick; "" = it is not, or another thing
}

// anchorsPerCheck is how many anchors a check-up asks; enoughAnchors is how many must agree.
const (
	anchorsPerCheck = 3
	enoughAnchors   = 2
)

// checkup takes what a result says of its lane.
func (e *Engine) checkup(s, l int, r *probe.Result, at stamp) {
	la, c := &e.lanes[l], e.cell(s, l)
	accused, _ := weigh(r)
	bad := r.Pending || r.Fault == probe.FaultLocal || accused&partShared != 0
	if !bad && !la.checking && !la.sick {
		return
	}
	if bad && !la.sick && (la.check == 0 || e.now.sub(la.check) >= e.p.SweepEvery) && e.isNews(c) {
		e.beginCheck(l)
	}
	isControl := e.sites[s].Anchor || e.pools[e.family(l)].all
	if !isControl || !la.checking && !la.sick {
		return
	}
	began := at.add(-r.Time.Total) >= la.check
	switch {
	case c.late != 0 && bad: // counted when it was late
	case bad && (began || r.Fault == probe.FaultLocal):
		la.bad += btoi(la.speaks(s))
	case !bad && began && c.late != 0 && la.bad > 0:
		la.bad--
		la.good++
	case !bad && began:
		la.good += btoi(la.speaks(s))
	}
	e.settle(l, r)
}

// mostSpoke bounds the anchors of one check-up that are told apart.
const mostSpoke = 8

// speaks tells whether an anchor is heard for the first time in a check-up: each counts once.
func (la *lane) speaks(s int) bool {
	for i, x := range la.spoke {
		if x == s+1 {
			return false
		}
		if x == 0 {
			la.spoke[i] = s + 1
			return true
		}
	}
	return true
}

// isNews tells whether it would be news that a cell fails: it has not for long.
func (e *Engine) isNews(c *cell) bool { return c.since == 0 || e.now.sub(c.since) <= e.p.Window }

// vouch asks again for anchors of those lanes whose word is needed for a domain that began to fail at onset. A check-up
// under way is left to end: begun again and again, it would never hear an anchor that is slow to fail.
func (e *Engine) vouch(onset stamp) {
	for l := range e.lanes {
		e.vouchAt(l, onset)
	}
}

func (e *Engine) vouchAt(l int, onset stamp) {
	la := &e.lanes[l]
	if !la.sick && !la.checking && la.vouched < onset && e.now.sub(la.check) >= e.p.Hold {
		e.beginCheck(l)
	}
}

func (e *Engine) beginCheck(l int) {
	la := &e.lanes[l]
	la.checking, la.check, la.good, la.bad, la.spoke = true, e.now, 0, 0, [mostSpoke]int{}
	if p := &e.pools[e.family(l)]; p.all && len(p.sites) < enoughAnchors {
		la.checking, la.vouched = false, e.now // there is nobody to ask
		return
	}
	for n := range anchorsPerCheck {
		if a, ok := e.pickAnchor(l, n); ok {
			e.want(l, a, WhySelfCheck)
		}
	}
}

// pickAnchor chooses the n-th anchor for a check-up: in turn, but for those that fail from elsewhere too.
func (e *Engine) pickAnchor(l, n int) (int, bool) {
	p := &e.pools[e.family(l)]
	if p.all && n >= len(p.sites) {
		return 0, false
	}
	e.turn++
	if !p.all {
		for i := range p.sites {
			if a := p.sites[(e.turn+i)%len(p.sites)]; !e.failsElsewhere(a, l) {
				e.turn += i
				return a, true
			}
		}
	}
	return p.sites[e.turn%len(p.sites)], true
}

// failsElsewhere tells whether site a was last seen failing in another lane, or, where there is no other, in this one.
func (e *Engine) failsElsewhere(a, l int) bool {
	for u := range e.lanes {
		if (u != l || e.places == 1) && !e.lanes[u].sick && e.cell(a, u).since != 0 {
			return true
		}
	}
	return false
}

// settle ends a check-up when enough anchors have answered.
func (e *Engine) settle(l int, r *probe.Result) {
	la := &e.lanes[l]
	need := min(enoughAnchors, len(e.pools[e.family(l)].sites))
	if la.lossy {
		e.settleLossy(l)
		return
	}
	switch {
	case la.bad >= need && la.bad > la.good && !la.sick:
		e.fall(l, r)
	case la.good >= need && la.good > la.bad:
		la.checking = false
		la.vouched = la.check
		if la.sick && e.now.sub(la.since) >= e.p.Quarantine {
			e.heal(l)
		}
	}
}

// settleLossy ends the quarantine of a lane that lost answers when many anchors in a row have answered.
func (e *Engine) settleLossy(l int) {
	la := &e.lanes[l]
	la.inARow += la.good
	if la.bad > 0 {
		la.inARow = 0
	}
	la.good, la.bad = 0, 0
	if la.inARow >= lossAnswers && e.now.sub(la.since) >= e.p.Quarantine {
		la.checking, la.vouched = false, la.check
		e.heal(l)
	}
}

// lose declares a lane sick that loses part of its answers.
func (e *Engine) lose(l int) {
	la := &e.lanes[l]
	la.why = fmt.Sprintf("%.0f of the last %.0f answers were failures of the way to unrelated sites, which answer elsewhere at the same time", la.losses.lost, la.losses.answers)
	la.lossy, la.inARow, la.resolver = true, 0, ""
	e.quarantine(l, e.now)
}

// fall declares a lane sick: its results from the onset on do not count.
func (e *Engine) fall(l int, r *probe.Result) {
	la := &e.lanes[l]
	what := r.Class.String()
	if r.Pending {
		what = "no answer"
	}
	la.why = fmt.Sprintf("%d of %d anchors asked fail from here (%s)", la.bad, la.bad+la.good, what)
	la.resolver = ""
	if !r.Pending && r.Class.Phase() == probe.PhaseResolve && len(la.Resolvers) > 0 {
		la.resolver = la.Resolvers[0].String()
		la.why += e.whoAsks(la)
	}
	e.quarantine(l, la.check)
}

// whoAsks says which resolver a lane asks that does not answer it, and who else does.
func (e *Engine) whoAsks(la *lane) string {
	var others []string
	for p := range e.places {
		if o := &e.lanes[p]; o.Vantage != la.Vantage && len(o.Resolvers) > 0 && o.Resolvers[0].String() == la.resolver {
			others = append(others, o.Name)
		}
	}
	s := "; the resolver that it asks is " + la.resolver
	if len(others) > 0 {
		s += ", and so do " + strings.Join(others, ", ")
	}
	return s
}

// quarantine leaves a lane out from since on.
func (e *Engine) quarantine(l int, since stamp) {
	la := &e.lanes[l]
	la.sick, la.since, la.checking = true, since, false
	from := since.add(-e.p.SweepEvery)
	la.ills[1], la.ills[0] = la.ills[0], span{from: from}
	e.forget(l, from)
	e.tell(la.notice(fmt.Sprintf("vantage %s is sick%s: %s. Its results%s do not count, and no site is blamed for them; look at its network and resolver",
		la.Name, la.over(), la.why, la.over())))
}

func (e *Engine) heal(l int) {
	la := &e.lanes[l]
	n := la.notice(fmt.Sprintf("vantage %s is well again%s after %s", la.Name, la.over(), rough(e.now.sub(la.since))))
	n.Over = true
	e.tell(n)
	la.sick, la.lossy, la.since, la.why = false, false, e.now, ""
	la.ills[0].till = e.now
	e.lookAgain(e.now)
}

// span is a time; till is 0 while it lasts.
type span struct{ from, till stamp }

func (s span) touches(from, till stamp) bool {
	return s.from != 0 && s.from <= till && (s.till == 0 || from <= s.till)
}

// WasSick tells whether the vantage of a look that took from begun to known was sick meanwhile, as far as is known by now: it
// is found some seconds after the onset. Only the last two times that a vantage was sick are remembered.
func (e *Engine) WasSick(site, vantage string, f probe.Family, begun, known time.Time) bool {
	s, ok := e.siteNo[site]
	if !ok {
		return false
	}
	p, ok := e.vantageNo[vantage]
	if !ok {
		return false
	}
	l, ok := e.laneOf(s, p, f)
	if !ok {
		return false
	}
	from, till, ills := stampOf(begun), stampOf(known), &e.lanes[l].ills
	return ills[0].touches(from, till) || ills[1].touches(from, till)
}

func (la *lane) notice(text string) Notice {
	n := Notice{
		Kind: NoticeVantageUnhealthy, Key: NoticeVantageUnhealthy + "/" + la.label, Vantage: la.Name,
		Domain: Domain{KindVantage, la.label}, Text: text,
	}
	if la.resolver != "" {
		n.Domain = Domain{KindResolver, la.resolver}
	}
	return n
}

// clockInARow is how many results in a row must come from the future for the lane's clock to be wrong.
const clockInARow = 3

func (la *lane) clockNotice(format string, args ...any) Notice {
	return Notice{
		Kind: NoticeClock, Key: NoticeClock + "/" + la.label, Vantage: la.Name, Domain: Domain{KindVantage, la.label}, Text: fmt.Sprintf(format, args...),
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
