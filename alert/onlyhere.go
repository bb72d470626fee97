package alert

import (
	"fmt"
	"slices"
	"time"

	"faultline/probe"
)

// What single vantages see of a domain, and the others do not, is no outage of it; nor is a CDN that begins to challenge
// the probers. Both are told, once they last.

// onlyHere is how the owners of a domain fare at one place.
type onlyHere struct {
	seen    int // owners with a fresh answer there
	failing int // those that have failed there for long, and answer well from most other places
	blocked int // those whose answers there are blocks, and from most other places are none
	turned  int // those whose answers there are blocks since they were good ones
}

// lookAtPlaces looks now and then at every place by itself.
func (e *Engine) lookAtPlaces() {
	if e.now < e.placesNext {
		return
	}
	e.placesNext = e.now.add(e.p.Strange / 24)
	for l := range e.lanes {
		e.watchLoss(l)
	}
	if e.now.sub(e.start) < e.p.Strange {
		return
	}
	told := make([]bool, e.places) // what a CDN's sites show there
	for _, d := range e.domains {
		if d.Kind == KindCDN && len(d.members) > 0 {
			e.lookAtDomain(d, told)
		}
	}
	e.lookAtDomain(e.way, told)
}

func (e *Engine) lookAtDomain(d *domain, told []bool) {
	e.tidy(d)
	if d.owners < e.p.MinOwners {
		return
	}
	here := e.atEachPlace(d)
	turnedAt := 0
	for p := range here {
		h := &here[p]
		turnedAt += btoi(h.turned >= e.p.MinOwners && 2*h.turned > h.seen)
	}
	for p := range here {
		if len(e.told)+len(e.seems) == 0 && here[p].failing+here[p].blocked == 0 {
			continue // nothing to tell, and nothing that could end
		}
		e.tellUnreachable(d, p, &here[p], told)
		if d != e.way {
			e.tellBlocked(d, p, &here[p])
		}
	}
	if d != e.way {
		e.tellMassBlock(d, turnedAt, len(here))
	}
}

// atEachPlace counts the owners of d at each place.
func (e *Engine) atEachPlace(d *domain) []onlyHere {
	here := make([]onlyHere, e.places)
	last := make([]onlyHere, e.places) // of the present owner
	owner := -1
	add := func() {
		for p := range here {
			here[p].seen += min(1, last[p].seen)
			here[p].failing += min(1, last[p].failing)
			here[p].blocked += min(1, last[p].blocked)
			here[p].turned += min(1, last[p].turned)
			last[p] = onlyHere{}
		}
	}
	for _, m := range d.members {
		if si := &e.sites[m.site]; si.owner != owner {
			add()
			owner = si.owner
		}
		if e.sites[m.site].claim == nil {
			e.siteAtPlaces(d, m.site, last)
		}
	}
	add()
	return here
}

func (e *Engine) siteAtPlaces(d *domain, s int, here []onlyHere) {
	well, failing, blocked := 0, 0, 0
	for l := range e.lanes {
		c := e.cell(s, l)
		if !e.fresh(s, l) {
			continue
		}
		h := &here[e.place(l)]
		h.seen++
		switch {
		case c.fault == probe.FaultBlocked:
			blocked++
			h.turned += btoi(c.block != 0 && e.now.sub(c.block) >= e.p.ClearAfter)
		case e.failsHere(d, c):
			failing++
		case c.said&c.well&d.part != 0:
			well++
		}
	}
	for l := range e.lanes {
		c := e.cell(s, l)
		if failing+blocked == 0 || !e.fresh(s, l) {
			continue
		}
		h := &here[e.place(l)]
		h.failing += btoi(well >= 2*failing && e.failsHere(d, c))
		h.blocked += btoi(well >= 2*blocked && c.fault == probe.FaultBlocked)
	}
}

// fresh tells whether a lane that is well has lately looked at site s.
func (e *Engine) fresh(s, l int) bool {
	c := e.cell(s, l)
	return !e.lanes[l].sick && c.at != 0 && !e.stale(s, c)
}

// failsHere tells whether a cell has accused d for long.
func (e *Engine) failsHere(d *domain, c *cell) bool {
	return c.accused&d.part != 0 && c.turned != 0 && e.now.sub(c.turned) >= e.p.Strange
}

// fewest is how many owners must fail at one place to be worth a word: more where more are watched.
func (e *Engine) fewest(h *onlyHere) int { return max(e.p.MinOwners, h.seen/20) }

func (e *Engine) tellUnreachable(d *domain, p int, h *onlyHere, told []bool) {
	name := d.Domain.String()
	if d == e.way {
		name = "sites of several kinds"
	}
	n := Notice{Kind: NoticeUnreachableFrom, Key: fmt.Sprintf("%s/%s/%s", NoticeUnreachableFrom, d.Domain, e.lanes[p].Name), Domain: d.Domain, Vantage: e.lanes[p].Name}
	if d == e.way {
		n.Domain = Domain{KindPath, e.regionsOf([]int{p})}
	}
	switch {
	case h.failing >= e.fewest(h) && d.open == nil && !told[p] && e.places > 1:
		told[p] = true
		if !e.lasts(n.Key, e.allSeen(d)) {
			return
		}
		n.Text = fmt.Sprintf("%s: %d of %d owners cannot be reached from %s, and can from elsewhere: look at that vantage's path to it, or at who filters there", name, h.failing, h.seen, n.Vantage)
		e.tell(n)
	case h.failing < e.p.MinOwners || d.open != nil:
		delete(e.seems, n.Key)
		e.untell(n.Key, fmt.Sprintf("%s can be reached from %s again, or it is an incident now", name, n.Vantage))
	}
}

// lasts tells whether what a notice of that key would say has been so for long enough.
func (e *Engine) lasts(key string, long time.Duration) bool {
	if e.seems[key] == 0 {
		e.seems[key] = e.now
	}
	return e.now.sub(e.seems[key]) >= long
}

// allSeen is how long it takes until every member of d was looked at from every place. Where sites that failed from
// everywhere are well again, some places see that so much later than others.
func (e *Engine) allSeen(d *domain) (long time.Duration) {
	for _, m := range d.members {
		long = max(long, e.sites[m.site].Interval+e.sites[m.site].Timeout)
	}
	return long
}

func (e *Engine) tellBlocked(d *domain, p int, h *onlyHere) {
	n := Notice{Kind: NoticeVantageBlocked, Key: fmt.Sprintf("%s/%s/%s", NoticeVantageBlocked, d.Domain, e.lanes[p].Name), Domain: d.Domain, Vantage: e.lanes[p].Name}
	switch {
	case h.blocked >= e.p.MinOwners && 2*h.blocked > h.seen:
		n.Text = fmt.Sprintf("vantage %s is blocked by %s: %d of %d owners' sites answer it with a challenge or a denial, and not elsewhere. Their outages would be seen from there at the edge only; ask for the prober to be let in, or look from another address",
			n.Vantage, d.Name, h.blocked, h.seen)
		e.tell(n)
	case h.blocked < e.p.MinOwners:
		e.untell(n.Key, fmt.Sprintf("vantage %s is not blocked by %s any more", n.Vantage, d.Name))
	}
}

func (e *Engine) tellMassBlock(d *domain, turnedAt, places int) {
	if len(e.told) == 0 && turnedAt < 2 {
		return
	}
	key := NoticeMassBlock + "/" + d.Domain.String()
	switch {
	case turnedAt >= 2:
		e.tell(Notice{Kind: NoticeMassBlock, Key: key, Domain: d.Domain, Text: fmt.Sprintf(
			"%s answers most owners' sites with a challenge or a denial from %d of %d vantages, and did not before: a change of its rules, or an attack that it defends them against. Its edge works", d.Name, turnedAt, places)})
	case turnedAt == 0:
		e.untell(key, d.Name+" lets the probers in again")
	}
}

// Loss: a vantage that loses part of its packets passes many a check-up, for its anchors answer now and then. What shows it
// is that sites which have nothing in common fail from it now and then, while the others see them well.
const (
	lossLeast   = 10   // such failures within about a Window
	lossShare   = 0.02 // of all answers
	lossOwners  = 5    // owners behind them, not counting the CDN that most of them are behind
	lossAnswers = 30   // of anchors in a row, all good, that show that it is over
	lossLooks   = 30   // looks in a Window, after each of which older failures count less
)

// losses is what a lane lost lately.
type losses struct {
	answers, lost float64
	last          [16]int // sites, 1 + their numbers; the last ones
	n             int
}

// heedLoss counts an answer of lane l; lost = it says that the way to a site fails again, which answered in between.
func (e *Engine) heedLoss(s, l int, lost bool) {
	x := &e.lanes[l].losses
	x.answers++
	if lost && e.places > 1 && e.wellFromOthers(s, l) {
		x.lost++
		x.last[x.n%len(x.last)] = s + 1
		x.n++
	}
}

// watchLoss looks for a lane that fails now and then at many unrelated sites, while others see these well.
func (e *Engine) watchLoss(l int) {
	la := &e.lanes[l]
	x := &la.losses
	if !la.sick && x.lost >= lossLeast && x.lost >= lossShare*x.answers && e.unrelated(x.last[:]) >= lossOwners {
		e.lose(l)
		*x = losses{}
		return
	}
	const keep = 1 - 1.0/lossLooks
	x.answers *= keep
	x.lost *= keep
}

// unrelated counts the owners of sites, without those behind the CDN that most of them are behind.
func (e *Engine) unrelated(sites []int) int {
	behind := map[*domain]int{}
	var most *domain
	for _, s := range sites {
		if s == 0 || s > len(e.sites) {
			continue
		}
		if d := e.cdn(s - 1); d != nil {
			if behind[d]++; most == nil || behind[d] > behind[most] {
				most = d
			}
		}
	}
	var owners []int
	for _, s := range sites {
		if s == 0 || s > len(e.sites) || most != nil && e.cdn(s-1) == most {
			continue
		}
		if o := e.sites[s-1].owner; !slices.Contains(owners, o) {
			owners = append(owners, o)
		}
	}
	return len(owners)
}

// wellFromOthers tells whether most other lanes see site s well, by fresh answers.
func (e *Engine) wellFromOthers(s, l int) bool {
	well, of := 0, 0
	for u := range e.lanes {
		c := e.cell(s, u)
		if u == l || e.lanes[u].sick || c.at == 0 || e.stale(s, c) {
			continue
		}
		of++
		well += btoi(c.said&c.accused == 0)
	}
	return well*3 >= of*2 && of > 0
}
