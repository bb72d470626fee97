package alert

import (
	"math"
	"slices"
	"time"
)

// assay is what the answers say of a domain at one moment.
type assay struct {
	onset  stamp     // when it began to fail, if it does: that of the best score
	score  float64   // see scorer
	owners float64   // of all members, by weight
	seen   float64   // owners with an answer for or against since the onset
	fails  float64   // owners that fail since then
	still  float64   // those of them that have not begun to answer well
	named  float64   // those of them with an answer that names the edge
	open   float64   // owners not seen since the onset that are being looked at, and are late
	sites  int       // failing sites
	places []int     // that show it, in their order
	mainly []int     // those of them that show at least half as much of it as any other
	onlyAt []float64 // by place: owners that fail there and, as far as is seen, nowhere else
}

// share is the part of the seen owners that fail.
func (a *assay) share() float64 {
	if a.seen == 0 {
		return 0
	}
	return a.fails / a.seen
}

// Bounds of what one assay looks at.
const (
	mostOnsets      = 12   // moments at which it may have begun
	mostOnsetsLarge = 4    // of a domain with many members
	manyMembers     = 1000 // which is such a one
	mostFailing     = 64   // failing owners that are weighed; of more, one in so many
	sampled         = 512  // owners of each kind, failing or well, that are looked at; of more, about one in so many
)

// sampling says how many owners one that is looked at stands for: failing ones, and others.
type sampling struct{ failing, well int }

func (e *Engine) sampling(d *domain) sampling {
	return sampling{max(1, d.failing/sampled), max(1, (len(d.members)-d.failing)/(2*sampled))}
}

// aCase is one failing site in an assay.
type aCase struct {
	member int // index in the domain's members
	onset  stamp
	witness
	named bool
	at    []int // places that show it
}

// newsFor is how long it is news that members of d fail. What was once found to fail together and lacked proof is so for
// longer: the proof may come when others, who failed by themselves, are well again.
func (e *Engine) newsFor(d *domain) time.Duration {
	if d.strange != 0 {
		return e.p.Leave
	}
	return e.p.Window
}

// newsOf is how long it is news that a site fails, for the domain for which it is so longest.
func (e *Engine) newsOf(si *site) time.Duration {
	for _, in := range si.in {
		if in.domain.strange != 0 {
			return e.p.Leave
		}
	}
	return e.p.Window
}

// suspects counts the owners of d that fail, or are late, at any vantage that is not sick, and for how long that is news.
func (e *Engine) suspects(d *domain) int {
	n, last := 0, -1
	for _, m := range d.members {
		si := &e.sites[m.site]
		late := si.late > 0 && d.part&whenLate != 0
		if si.owner == last || si.claimed(d) || !si.fails(d.part) && !late {
			continue
		}
		if sp := si.spell; late || e.now.sub(sp.since[d.part.index()]) <= e.newsFor(d) {
			n++
			last = si.owner
		}
	}
	return n
}

// assay weighs what the lanes that count say of d, but for those at the place without (-1 = all count). Inflate raises the
// noise of places at which the controls fail; nil = none do.
func (e *Engine) assay(d *domain, counts []bool, without int, inflate []float64) assay {
	e.tidy(d)
	cases := e.casesOf(d, counts, without, inflate)
	if len(cases) == 0 {
		return assay{}
	}
	onsets := onsetsOf(cases, len(d.members))
	scores := e.scorers[:len(onsets)]
	clear(scores)
	stretch := max(1, (ownersOf(e, d, cases)+mostFailing-1)/mostFailing)
	nth, times := 0, e.sampling(d).failing
	e.eachOwner(d, cases, func(members []membership, cases []aCase, stands int) {
		if len(cases) > 0 {
			if nth++; nth%stretch != 0 {
				return
			}
		}
		e.weighOwner(d, members, cases, onsets, scores, counts, without, stands)
	})
	best := assay{}
	for k := range scores {
		if score := scores[k].score(float64(stretch * times)); k == 0 || score > best.score {
			best = assay{onset: onsets[k], score: score}
		}
	}
	e.count(d, cases, &best, counts, without)
	return best
}

// casesOf are the failing sites of d, in the order of its members: those that began to fail at most a Window before the newest
// one did, and an interval, by which one may be seen later; if that is not longer ago.
func (e *Engine) casesOf(d *domain, counts []bool, without int, inflate []float64) []aCase {
	out := e.cases[:0]
	places := e.atPlaces[:0]
	k, every := d.part.index(), e.sampling(d).failing
	newest := stamp(0)
	for _, m := range d.members {
		if si := &e.sites[m.site]; si.fails(d.part) && !si.claimed(d) {
			newest = max(newest, si.spell.since[k])
		}
	}
	if e.now.sub(newest) > e.newsFor(d) {
		newest = math.MaxInt64 // what fails is no news
	}
	for i, m := range d.members {
		si := &e.sites[m.site]
		if e.witness(d, m)%every != 0 || !si.fails(d.part) || newest.sub(si.spell.since[k]) > e.p.Window+si.Interval || si.claimed(d) {
			continue
		}
		c := aCase{member: i, onset: si.spell.since[k]}
		c.gap = si.Interval
		if before := si.spell.before[k]; before != 0 {
			c.gap = min(c.gap, max(time.Second, c.onset.sub(before)))
		}
		c.rate = si.baseline.rate(e.now)
		if places = e.hearNotes(d, si, &c, places, counts, without, inflate); c.witness.fails > 0 {
			out = append(out, c)
		}
	}
	e.cases, e.atPlaces = out, places
	return out
}

// hearNotes enters into c what the site's answers since its onset say. The places that show it are appended to places.
func (e *Engine) hearNotes(d *domain, si *site, c *aCase, places []int, counts []bool, without int, inflate []float64) []int {
	from := len(places)
	perSecond := float64(len(e.lanes)) / si.Interval.Seconds()
	noise := max(leastNoise, si.baseline.noise(e.now, perSecond))
	c.noise = 1
	for i := range si.spell.n {
		x := &si.spell.notes[i]
		place := e.place(int(x.lane))
		if x.begun < c.onset || place == without || !counts[x.lane] {
			continue
		}
		switch {
		case x.accused&d.part != 0:
			c.witness.fails++
			c.named = c.named || x.named
			before := 0
			for _, p := range places[from:] {
				before += btoi(p == place)
			}
			if before < mostNoise {
				here := noise
				if inflate != nil {
					here = min(1, here+inflate[place])
				}
				c.noise *= here
				places = append(places, place)
			}
		case x.well&d.part != 0:
			c.witness.fine++
			c.noise *= 1 - noise
		}
	}
	c.at = places[from:len(places):len(places)]
	return places
}

// onsetsOf are the moments at which the domain may have begun to fail: onsets of its sites, the earliest one always.
func onsetsOf(cases []aCase, members int) []stamp {
	var all [4 * mostOnsets]stamp
	out := all[:0]
	step := (len(cases) + len(all) - 1) / len(all)
	for i := 0; i < len(cases); i += step {
		if len(out) < len(all) {
			out = append(out, cases[i].onset)
		}
	}
	first := slices.MinFunc(cases, func(a, b aCase) int { return int(max(-1, min(1, a.onset-b.onset))) }).onset
	out[0] = min(out[0], first)
	slices.Sort(out)
	out = slices.Compact(out)
	most := mostOnsets
	if members > manyMembers {
		most = mostOnsetsLarge
	}
	if len(out) <= most {
		return slices.Clone(out)
	}
	kept := make([]stamp, most)
	for i := range kept {
		kept[i] = out[i*(len(out)-1)/(most-1)]
	}
	return kept
}

func ownersOf(e *Engine, d *domain, cases []aCase) int {
	n, last := 0, -1
	for i := range cases {
		if o := e.sites[d.members[cases[i].member].site].owner; o != last || !d.shared() {
			n, last = n+1, o
		}
	}
	return n
}

// witness is the number of the witness that a member of d belongs to: its owner, or itself in the domain of one owner.
func (e *Engine) witness(d *domain, m membership) int {
	if d.shared() {
		return e.sites[m.site].owner
	}
	return m.site
}

// eachOwner calls f for each witness of d: the members of one owner, with those of the cases that are theirs, and for how many
// owners it stands. In the domain of one owner each site is a witness.
func (e *Engine) eachOwner(d *domain, cases []aCase, f func(members []membership, cases []aCase, stands int)) {
	every := e.sampling(d)
	for i := 0; i < len(d.members); {
		j := i + 1
		for d.shared() && j < len(d.members) && e.sites[d.members[j].site].owner == e.sites[d.members[i].site].owner {
			j++
		}
		n := 0
		for n < len(cases) && cases[n].member < j {
			n++
		}
		w := e.witness(d, d.members[i])
		switch {
		case n > 0:
			f(d.members[i:j], cases[:n], every.failing)
		case every.well > 1 && w%every.well != 0, every.failing > 1 && w%every.failing != 0 && e.anyFails(d, d.members[i:j]):
		default:
			f(d.members[i:j], nil, every.well)
		}
		cases = cases[n:]
		i = j
	}
}

func (e *Engine) anyFails(d *domain, members []membership) bool {
	return slices.ContainsFunc(members, func(m membership) bool { return e.sites[m.site].fails(d.part) })
}

// weighOwner enters one witness, who stands for so many, into the score of every onset.
func (e *Engine) weighOwner(d *domain, members []membership, cases []aCase, onsets []stamp, scores []scorer, counts []bool, without, stands int) {
	var fine [mostOnsets]int
	var newest stamp
	weight := 1.0
	for _, m := range members {
		si := &e.sites[m.site]
		if si.claimed(d) {
			continue
		}
		weight = min(weight, m.weight)
		if si.fails(d.part) { // it is a case, or was bad before: no evidence either way
			continue
		}
		newest = max(newest, e.wellSince(d.part, m.site, onsets, fine[:], counts, without))
	}
	for k, onset := range onsets {
		ws := e.witnesses[:0]
		for i := range cases {
			c := &cases[i]
			if c.onset < onset {
				continue
			}
			w := c.witness
			w.late = c.onset.sub(onset)
			sp := e.sites[d.members[c.member].site].spell
			w.before = btoi(sp.before[d.part.index()] >= onset)
			ws = append(ws, w)
		}
		e.witnesses = ws
		switch age := newest.sub(onset); {
		case len(ws) > 0:
			si := &e.sites[members[0].site]
			scores[k].ownerFails(ws, fine[k], age, si.Interval/time.Duration(max(1, e.places)), weight)
		case fine[k] > 0:
			scores[k].ownerWell(fine[k], age, weight*float64(stands))
		}
	}
}

// wellSince counts, for each onset, the lanes whose newest answer about site s came after it and showed the part at work.
// It gives when the newest of them began.
func (e *Engine) wellSince(p parts, s int, onsets []stamp, fine []int, counts []bool, without int) (newest stamp) {
	for l := range e.lanes {
		if !counts[l] || e.place(l) == without {
			continue
		}
		c := e.cell(s, l)
		if !c.seenWell(p, onsets[0]) {
			continue
		}
		newest = max(newest, c.begun)
		for k, onset := range onsets {
			if c.begun < onset {
				break
			}
			fine[k]++
		}
	}
	return newest
}

// count counts the owners and places of an assay, for its onset.
func (e *Engine) count(d *domain, cases []aCase, a *assay, counts []bool, without int) {
	shows := e.shows[:e.places]
	clear(shows)
	onset := []stamp{a.onset}
	var families [numFamilies]bool
	for l := range counts {
		families[e.family(l)] = families[e.family(l)] || counts[l]
	}
	a.onlyAt = make([]float64, e.places)
	e.eachOwner(d, cases, func(members []membership, cases []aCase, stands int) {
		weight, seen, late, looked := 1.0, false, false, false
		at := -1 // where it fails; -2 = at several places
		var fine [1]int
		for _, m := range members {
			si := &e.sites[m.site]
			if si.claimed(d) {
				continue
			}
			weight = min(weight, m.weight)
			looked = looked || si.inAny(families)
			late = late || si.late > 0
			if !si.fails(d.part) {
				seen = seen || e.wellSince(d.part, m.site, onset, fine[:], counts, without) != 0
			}
		}
		fails, named, still := false, false, false
		for i := range cases {
			if c := &cases[i]; c.onset >= a.onset {
				fails, named = true, named || c.named
				s := d.members[c.member].site
				still = still || !e.sites[s].spell.calms(d.part, e.lanesUsed(s))
				a.sites += stands
				for j, p := range c.at {
					shows[p] += stands * btoi(!slices.Contains(c.at[:j], p))
					if at == -1 {
						at = p
					} else if at != p {
						at = -2
					}
				}
			}
		}
		if !looked {
			return
		}
		weight *= float64(stands)
		a.owners += weight
		switch {
		case fails:
			a.fails += weight
			a.seen += weight
			if at >= 0 {
				a.onlyAt[at] += weight
			}
			if named {
				a.named += weight
			}
			if still {
				a.still += weight
			}
		case seen:
			a.seen += weight
		case late:
			a.open += weight
		}
	})
	most := slices.Max(shows)
	for p, n := range shows {
		if n > 0 {
			a.places = append(a.places, p)
		}
		if n > 0 && 2*n >= most {
			a.mainly = append(a.mainly, p)
		}
	}
}

// pathOf tells how many failing owners of d answer well, since they fail, at a place that does not mainly show it, and how
// many fail from more places than one.
func (e *Engine) pathOf(d *domain, a *assay, counts []bool) (split, wide float64) {
	cases := e.casesOf(d, counts, -1, nil)
	e.eachOwner(d, cases, func(members []membership, cases []aCase, stands int) {
		var splits, widely bool
		for i := range cases {
			if c := &cases[i]; c.onset >= a.onset {
				splits = splits || e.wellElsewhere(c, d, a.mainly, counts)
				widely = widely || slices.ContainsFunc(c.at, func(p int) bool { return p != c.at[0] })
			}
		}
		split += float64(btoi(splits)*stands) * members[0].weight
		wide += float64(btoi(widely)*stands) * members[0].weight
	})
	return split, wide
}

// wellElsewhere tells whether the site of a case answers well since its onset at a place that is none of those.
func (e *Engine) wellElsewhere(c *aCase, d *domain, places []int, counts []bool) bool {
	s := d.members[c.member].site
	for l := range e.lanes {
		if p := e.place(l); counts[l] && !slices.Contains(places, p) && e.cell(s, l).seenWell(d.part, c.onset) {
			return true
		}
	}
	return false
}

// control is how the sites outside a domain fare since an onset.
type control struct {
	of            int // owners there are
	seen, failing int // of them
	places        int // from where they were seen
	inflate       []float64
}

// controlLate is how long a control may be slower than its habit before it counts as failing.
const controlLate = 2 * time.Second

// controls looks at the sites outside d at the places that mainly show its failure. Those that an incident explains are left
// out, unless it is one of the way: that may be what fails here. If it may be, anchors count only where there are too few
// sites: they are chosen for being reached by every way.
func (e *Engine) controls(d *domain, a *assay, counts []bool) control {
	if e.mayBeTheWay(d) {
		if k := e.controlsOf(d, a, counts, false); k.seen >= leastControls {
			return k
		}
	}
	return e.controlsOf(d, a, counts, true)
}

// mayBeTheWay tells whether most failing members of d fail by what the way to them can do.
func (e *Engine) mayBeTheWay(d *domain) bool {
	way := 0
	for _, m := range d.members {
		si := &e.sites[m.site]
		way += btoi(si.fails(d.part) && si.fails(partPath))
	}
	return 2*way > d.failing
}

func (e *Engine) controlsOf(d *domain, a *assay, counts []bool, anchors bool) control {
	out := control{}
	seenAt, failsAt := e.seenAt[:e.places], e.failsAt[:e.places]
	clear(seenAt)
	clear(failsAt)
	e.epoch++
	for s := range e.sites {
		si := &e.sites[s]
		if si.claim != nil && si.claim.d != e.way || si.Anchor && !anchors || si.memberOf(d) {
			continue
		}
		saw, bad := e.controlAt(s, a, counts, seenAt, failsAt)
		bad = bad || saw && si.spell.confirmedSince(partShared, a.onset.add(-e.p.ClearAfter))
		m := &e.marks[si.owner]
		if m.epoch != e.epoch {
			*m = mark{epoch: e.epoch}
		}
		out.of += btoi(!m.there)
		m.there = true
		out.seen += btoi(saw && !m.seen)
		out.failing += btoi(bad && !m.fails)
		m.seen, m.fails = m.seen || saw, m.fails || bad
	}
	for p, n := range seenAt {
		out.places += btoi(n > 0)
		if failsAt[p] >= 2 && failsAt[p]*10 >= n {
			if out.inflate == nil {
				out.inflate = make([]float64, e.places)
			}
			out.inflate[p] = float64(failsAt[p]) / float64(n)
		}
	}
	return out
}

// mark is the scratch of a count for one owner.
type mark struct {
	epoch              int
	there, seen, fails bool
}

func (e *Engine) controlAt(s int, a *assay, counts []bool, seenAt, failsAt []int) (saw, bad bool) {
	for l := range e.lanes {
		c, p := e.cell(s, l), e.place(l)
		if !counts[l] || !slices.Contains(a.mainly, p) {
			continue
		}
		late := c.late != 0 && e.now.sub(c.late) >= controlLate && c.late >= a.onset
		if c.begun < a.onset && !late {
			continue
		}
		saw = true
		seenAt[p]++
		fresh := c.since != 0 && c.since >= a.onset.add(-e.p.ClearAfter) && c.accused&partShared != 0
		if fresh || late {
			bad = true
			failsAt[p]++
		}
	}
	return saw, bad
}
