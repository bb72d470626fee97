package alert

import (
	"slices"

	"faultline/probe"
)

// follow brings an incident's members, counts and scope up to now.
func (e *Engine) follow(i *incident) {
	for n := range i.members {
		i.members[n].Now = false // one that has moved away is no longer followed
	}
	f := following{incident: i, onset: stampOf(i.Onset), nowAt: make([]int, e.places), seenAt: e.seenAt[:e.places]}
	clear(f.seenAt)
	e.epoch++
	for _, m := range i.d.members {
		if si := &e.sites[m.site]; !si.claimed(i.d) {
			e.followSite(&f, m.site)
		}
	}
	for p := range e.places {
		f.failing.Vantages += btoi(f.nowAt[p] > 0)
		f.of.Vantages += btoi(f.seenAt[p] > 0)
	}
	i.Of = Counts{max(i.Of.Sites, f.of.Sites), max(i.Of.Owners, f.of.Owners), max(i.Of.Vantages, f.of.Vantages)}
	if i.State == StateOpen && (f.failing.Sites > 0 || i.Failing == Counts{}) {
		i.worst(f.failing)
		i.scope(e, f.seenAt)
	}
	e.chart(&f)
}

// following is one look at an incident.
type following struct {
	*incident
	onset       stamp
	failing, of Counts
	nowAt       []int // by place: members that fail there
	seenAt      []int // by place: sites seen there since the onset
}

// followSite brings up to now what an incident knows of site s: whether it fails, whether it was seen since the onset.
func (e *Engine) followSite(f *following, s int) {
	n := f.at(s)
	bad, seen := false, false
	for l := range e.lanes {
		c := e.cell(s, l)
		if c.begun < f.onset || e.lanes[l].sick || c.said&f.d.part == 0 {
			continue
		}
		p := e.place(l)
		seen = true
		f.seenAt[p]++
		if c.accused&f.d.part == 0 {
			continue
		}
		if n < 0 && c.turned >= f.onset && !f.left[s] {
			n = e.enterMember(f.incident, s, c)
		}
		if n < 0 {
			continue
		}
		m := &f.members[n]
		m.last = max(m.last, c.at)
		e.show(f.incident, m, l)
		if !e.stale(s, c) {
			bad = true
			f.nowAt[p]++
		}
	}
	if n >= 0 {
		f.members[n].Now = bad
	} else if f.left[s] && seen && !e.sites[s].fails(f.d.part) {
		delete(f.left, s)
	}
	f.countSite(e, s, bad, seen)
}

// countSite counts a site and its owner, each once.
func (f *following) countSite(e *Engine, s int, bad, seen bool) {
	m := &e.marks[e.sites[s].owner]
	if m.epoch != e.epoch {
		*m = mark{epoch: e.epoch}
	}
	f.of.Sites += btoi(seen)
	f.of.Owners += btoi(seen && !m.seen)
	f.failing.Sites += btoi(bad)
	f.failing.Owners += btoi(bad && !m.fails)
	m.seen, m.fails = m.seen || seen, m.fails || bad
}

// at is the index of site s among the members; -1 = it is none.
func (i *incident) at(s int) int {
	if n, ok := i.memberNo[s]; ok {
		return n
	}
	return -1
}

// enterMember makes a failing site a member.
func (e *Engine) enterMember(i *incident, s int, c *cell) int {
	n := len(i.members)
	i.changed, i.next = e.now, 0
	i.memberNo[s] = n
	m := member{site: s, Member: Member{
		Site: e.sites[s].Name, Owner: e.owners[e.sites[s].owner], Since: max(c.turned, stampOf(i.Onset)).time(), Class: c.class.String(),
	}}
	e.evidence(i, s, &m)
	i.members = append(i.members, m)
	if i.d.shared() {
		e.sites[s].claim = i
		if sp := e.sites[s].spell; sp != nil {
			sp.shared = true
		}
	}
	return n
}

// show enters that a member fails in lane l.
func (e *Engine) show(i *incident, m *member, l int) {
	p := e.place(l)
	if has(m.places, p) && i.shown[l] {
		return
	}
	i.shown[l], i.over[e.family(l)] = true, true
	if !has(m.places, p) {
		m.places = put(m.places, p)
		m.Vantages = append(m.Vantages, e.lanes[l].Name)
		i.showing[p]++
	}
}

// evidence adds the first failing answer of a new member.
func (e *Engine) evidence(i *incident, s int, m *member) {
	for n := 0; e.sampled[s] > 0 && n < len(e.samples); n++ {
		x := &e.samples[n]
		if x.site != s {
			continue
		}
		if accused, _ := weigh(&x.result); accused&i.d.part == 0 {
			continue
		}
		m.Class, m.Status = x.result.Class.String(), x.result.Status
		if len(i.Evidence) < MaxEvidence {
			i.Evidence = append(i.Evidence, x.result)
			slices.SortStableFunc(i.Evidence, func(a, b probe.Result) int { return a.At.Compare(b.At) })
		}
		return
	}
}

// worst keeps the counts of the worst moment of a wave.
func (i *incident) worst(c Counts) {
	vantages := max(i.Failing.Vantages, c.Vantages)
	if c.Owners > i.Failing.Owners || c.Owners == i.Failing.Owners && c.Sites >= i.Failing.Sites {
		i.Failing = c
	}
	i.Failing.Vantages = vantages
}

// scope judges from how much of the world it was seen so far: global when the failing share is at least half of the
// highest one in at least 80 % of the regions of healthy vantages.
func (i *incident) scope(e *Engine, seen []int) {
	type share struct{ failing, seen int }
	regions := map[string]share{}
	for p := range e.places {
		if r := e.lanes[p].Region; seen[p] > 0 {
			x := regions[r]
			regions[r] = share{x.failing + i.showing[p], x.seen + seen[p]}
		}
	}
	highest := 0.0
	for _, x := range regions {
		highest = max(highest, float64(x.failing)/float64(x.seen))
	}
	wide := 0
	for name, x := range regions {
		if ratio := float64(x.failing) / float64(x.seen); ratio >= highest/2 && x.failing > 0 {
			wide++
			if name != "" && !slices.Contains(i.Regions, name) {
				i.Regions = append(i.Regions, name)
			}
		}
	}
	slices.Sort(i.Regions)
	i.Scope = ScopeRegional
	if wide*10 >= len(regions)*8 {
		i.Scope = ScopeGlobal
	}
}

// stale tells whether a cell has had no answer for three intervals.
func (e *Engine) stale(s int, c *cell) bool {
	return e.now.sub(c.at) > 3*e.sites[s].Interval+e.sites[s].Timeout
}
