package alert

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"io"
	"slices"
	"strings"
	"time"

	"faultline/probe"
)

// incident is an open incident and what is needed to follow it.
type incident struct {
	Incident
	d        *domain
	members  []member
	memberNo map[int]int       // site number to index in members, see at
	shown    map[int]bool      // lanes that show it, or did
	showing  []int             // how many members each place showed
	over     [numFamilies]bool // those of the lanes that show it
	left     map[int]bool      // sites that stayed bad when the others were well again
	changed  stamp             // its members, or its state, did last
	next     stamp             // when it is to be followed again
	toldAt   stamp
	told     Counts
	toldAs   Scope
	cleared  stamp         // when Recovering was decided
	unrest   stamp         // when, since then, too many failed for it to be resolved
	because  string        // the reason that assess added last
	charted  time.Duration // least time between two points of Course
}

// member is a failing site of an open incident.
type member struct {
	Member
	site   int
	last   stamp    // its newest accusing answer
	bad    stamp    // since when it answers well nowhere that showed it failing; 0 = it does
	places []uint64 // that show it, or did, as a set of numbers
}

// open begins an incident of d, under a name.
func (e *Engine) open(d *domain, name Domain, onset stamp, severity Severity, reasons []string) *incident {
	i := &incident{d: d, memberNo: map[int]int{}, shown: map[int]bool{}, left: map[int]bool{}, showing: make([]int, e.places)}
	i.Incident = Incident{
		ID: incidentID(onset, name), Key: "faultline/" + e.p.Fleet + "/" + name.Kind + "/" + name.Name, Rev: 1, Domain: name,
		State: StateOpen, Severity: severity, Onset: onset.time(), OpenedAt: e.now.time(), Waves: 1, Why: reasons,
	}
	if severity == SeverityPage {
		i.PagedAt = i.OpenedAt
	}
	d.first, d.strange = 0, 0
	e.untell(strangeKey(d), "it is an incident now")
	e.enter(i)
	e.follow(i)
	return i
}

// announce tells of an incident for the first time.
func (e *Engine) announce(i *incident, out *Effects) {
	i.Assessment = e.assess(i)
	i.Fine = e.fine(i.d)
	e.emit(i, out)
}

// incidentID names an incident by its onset and its domain, with a hash of the domain's name where that cannot stand in a
// file's name or a URL as it is.
func incidentID(onset stamp, d Domain) string {
	name := strings.Map(func(r rune) rune {
		if r == '-' || r == '.' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' {
			return r
		}
		return '_'
	}, d.Name)
	if name != d.Name {
		h := fnv.New32a()
		_, _ = io.WriteString(h, d.Name) // never fails
		name += fmt.Sprintf("-%08x", h.Sum32())
	}
	return onset.time().Format("20060102T150405Z") + "-" + d.Kind + "-" + name
}

func (e *Engine) enter(i *incident) {
	i.d.open = i
	e.incidents = append(e.incidents, i)
}

// calmLook is how many times SlowEvery passes between two looks at an incident that has not changed for a Window.
const calmLook = 4

// live follows every open incident and moves it on in its life.
func (e *Engine) live(out *Effects) {
	for _, i := range e.incidents {
		if i.d.Kind == KindSelf {
			continue
		}
		if e.now < i.next {
			continue
		}
		if e.now.sub(i.changed) > e.p.Window {
			i.next = e.now.add(calmLook * e.p.SlowEvery) // hardly anything happens any more
		}
		e.follow(i)
		e.letGo(i)
		switch i.State {
		case StateOpen:
			if e.recovers(i) {
				i.State, i.RecoveringAt, i.cleared, i.unrest = StateRecovering, i.end().time(), e.now, 0
				e.change(i, out)
			} else if e.worthTelling(i) {
				e.change(i, out)
			}
		case StateRecovering:
			e.recovering(i, out)
		}
	}
	e.incidents = slices.DeleteFunc(e.incidents, func(i *incident) bool { return i.State == StateResolved })
}

// A member that fails now and then keeps an incident from being resolved until it has not failed for calmFor times
// ClearAfter, but at most for restless times Leave.
const (
	calmFor  = 3
	restless = 12
)

// recovering decides whether a recovering incident returns, or is over: hardly anything has failed for long enough, and
// nothing does now.
func (e *Engine) recovering(i *incident, out *Effects) {
	if !e.mostAreWell(i) {
		i.unrest = e.now
	}
	calm := e.now.sub(max(stampOf(i.RecoveringAt), i.unrest)) >= e.p.Resolve
	quiet := e.flickering(i) == 0 || e.now.sub(stampOf(i.RecoveringAt)) >= restless*e.p.Leave
	switch {
	case e.returns(i):
		i.State, i.RecoveringAt = StateOpen, stamp(0).time()
		i.Waves++
		e.change(i, out)
	case calm && quiet && e.isWitnessed(i):
		i.State, i.ResolvedAt = StateResolved, e.now.time()
		e.change(i, out)
		e.close(i)
	}
}

// failingSince counts the members that still fail: the newest answer of one of their cells accuses, or did less than ago
// ago.
func (e *Engine) failingSince(i *incident, ago time.Duration) int {
	n := 0
	for k := range i.members {
		m := &i.members[k]
		n += btoi(m.Now || e.now.sub(m.last) < ago)
	}
	return n
}

// flickering counts the members that fail now and then. One that fails all the time has a trouble of its own by now.
func (e *Engine) flickering(i *incident) int {
	n := 0
	for k := range i.members {
		m := &i.members[k]
		n += btoi(!e.failsForGood(m) && (m.Now || e.now.sub(m.last) < calmFor*e.p.ClearAfter))
	}
	return n
}

// mostAreWell tells whether fewer than a tenth of the members have failed for ClearAfter. A single one of several may go on,
// and few that began anew after the others were well and have failed ever since: these have troubles of their own.
func (e *Engine) mostAreWell(i *incident) bool {
	n, own := e.failingSince(i, e.p.ClearAfter), 0
	for k := range i.members {
		own += btoi(i.State == StateRecovering && e.failsForGood(&i.members[k]) && i.members[k].bad > stampOf(i.RecoveringAt))
	}
	if own < e.p.MinOwners {
		n -= own
	}
	return n*10 < max(1, len(i.members)) || n == 1 && len(i.members) >= 2*e.p.MinOwners
}

// failsForGood tells whether a member has failed wherever it did for so long that it is no flicker.
func (e *Engine) failsForGood(m *member) bool {
	return m.bad != 0 && e.now.sub(m.bad) >= e.p.ClearAfter
}

// recovers tells whether most members are well, by fresh good answers: silence is no recovery.
func (e *Engine) recovers(i *incident) bool { return e.mostAreWell(i) && e.isWitnessed(i) }

// isWitnessed tells whether two thirds of the vantages that showed the failure have seen a member well since its end.
func (e *Engine) isWitnessed(i *incident) bool {
	end, shown, witnesses := i.end(), 0, 0
	for p := range e.places {
		showed, answers := false, false
		for l := range e.lanesAt(p) {
			showed = showed || i.shown[l]
			answers = answers || i.shown[l] && !e.lanes[l].sick && e.answersWell(i, l, end)
		}
		shown += btoi(showed)
		witnesses += btoi(answers)
	}
	return witnesses*3 >= shown*2
}

// answersWell tells whether a member of an incident has answered well in lane l since the end of its failure.
func (e *Engine) answersWell(i *incident, l int, end stamp) bool {
	return slices.ContainsFunc(i.members, func(m member) bool {
		c := e.cell(m.site, l)
		return c.said&c.well&i.d.part != 0 && c.at > end
	})
}

// end is when the last member that recovered failed last. Without members, because none is watched any more, it is when
// the incident was last told.
func (i *incident) end() stamp {
	if len(i.members) == 0 {
		return i.toldAt
	}
	last := stamp(0)
	for k := range i.members {
		if m := &i.members[k]; !m.Now {
			last = max(last, m.last)
		}
	}
	return max(last, stampOf(i.Onset))
}

// letGo lets members go that have stayed bad long after the others were well again: they are judged by themselves. One
// that answers now and then is none of these.
func (e *Engine) letGo(i *incident) {
	if !i.d.shared() {
		return
	}
	bad, leaving := 0, 0
	for k := range i.members {
		m := &i.members[k]
		bad += btoi(m.Now)
		switch {
		case !m.Now || !e.badEverywhere(i, m):
			m.bad = 0
		case m.bad == 0:
			m.bad = e.now
		default:
			leaving += btoi(e.now.sub(m.bad) >= e.p.Leave)
		}
	}
	if leaving == 0 || bad*3 > len(i.members) || e.now.sub(i.end()) < e.p.Leave {
		return
	}
	members := i.members
	i.members, i.memberNo = nil, map[int]int{}
	for _, m := range members {
		if m.bad != 0 && e.now.sub(m.bad) >= e.p.Leave {
			i.left[m.site] = true
			e.sites[m.site].claim = nil
			continue
		}
		i.memberNo[m.site] = len(i.members)
		i.members = append(i.members, m)
	}
}

// badEverywhere tells whether every place that showed a member failing still does.
func (e *Engine) badEverywhere(i *incident, m *member) bool {
	for l := range e.lanes {
		c := e.cell(m.site, l)
		if has(m.places, e.place(l)) && !e.lanes[l].sick && c.said&c.well&i.d.part != 0 {
			return false
		}
	}
	return true
}

// returns tells whether a recovering incident fails again: enough of its owners, or a fifth of its members, anew.
func (e *Engine) returns(i *incident) bool {
	e.epoch++
	n, owners := 0, 0
	for k := range i.members {
		m := &i.members[k]
		if !m.Now || m.last <= i.cleared {
			continue
		}
		n++
		if o := &e.marks[e.sites[m.site].owner]; o.epoch != e.epoch {
			*o = mark{epoch: e.epoch}
			owners++
		}
	}
	if !i.d.shared() {
		return n > 0
	}
	return owners >= e.p.MinOwners && n*5 >= len(i.members)
}

// worthTelling tells whether an open incident has grown enough, or become global, since it was last told.
func (e *Engine) worthTelling(i *incident) bool {
	if e.now.sub(i.toldAt) < e.p.Update {
		return false
	}
	return i.Failing.Owners >= 2*max(1, i.told.Owners) || i.Failing.Sites >= 2*max(1, i.told.Sites) ||
		i.Scope == ScopeGlobal && i.toldAs != ScopeGlobal
}

func (e *Engine) change(i *incident, out *Effects) {
	i.Rev++
	i.changed, i.next = e.now, 0
	i.Fine = e.fine(i.d)
	i.Assessment = e.assess(i)
	e.emit(i, out)
}

func (e *Engine) emit(i *incident, out *Effects) {
	i.toldAt, i.told, i.toldAs = e.now, i.Failing, i.Scope
	out.Incidents = append(out.Incidents, i.snapshot())
}

// snapshot is a copy of an incident that the engine never touches again.
func (i *incident) snapshot() Incident {
	c := i.Incident
	c.Why, c.Regions, c.Fine, c.Or = slices.Clone(c.Why), slices.Clone(c.Regions), slices.Clone(c.Fine), slices.Clone(c.Or)
	c.Evidence, c.Course = slices.Clone(c.Evidence), slices.Clone(c.Course)
	c.Members = make([]Member, 0, min(len(i.members), MaxMembers))
	for k := range min(len(i.members), MaxMembers) {
		m := i.members[k].Member
		m.Vantages = slices.Clone(m.Vantages)
		c.Members = append(c.Members, m)
	}
	slices.SortStableFunc(c.Members, func(a, b Member) int { return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Site, b.Site)) })
	return c
}

func (e *Engine) close(i *incident) {
	i.d.open, i.d.score = nil, 0
	for k := range i.members {
		if si := &e.sites[i.members[k].site]; si.claim == i {
			si.claim = nil
		}
	}
	e.resolved = slices.Insert(e.resolved, 0, i.snapshot())
	e.resolved = e.resolved[:min(len(e.resolved), keptResolved)]
}

// keptResolved is how many resolved incidents a View shows.
const keptResolved = 50

// restore takes up an incident that was open when the engine ended. It cannot recover before its members have
// answered anew.
func (e *Engine) restore(in Incident) {
	if in.State == StateResolved {
		e.resolved = slices.Insert(e.resolved, 0, in)
		return
	}
	i := &incident{
		Incident: in, d: e.domainFor(in.Domain), left: map[int]bool{},
		toldAt: e.now, told: in.Failing, toldAs: in.Scope, cleared: e.now,
	}
	last := e.now
	if in.State == StateRecovering {
		last = stampOf(in.RecoveringAt)
	}
	for _, m := range in.Members {
		i.members = append(i.members, member{Member: m, last: last})
	}
	for n := range in.Evidence {
		r := &in.Evidence[n]
		s, known := e.siteNo[r.Site]
		i.over[btoi(known && r.Family == probe.FamilyIP6 && e.sites[s].lanes[1])] = true
	}
	i.over[0] = i.over[0] || !i.over[1]
	e.bind(i)
	e.incidents = append(e.incidents, i)
	if in.Domain == blindDomain {
		e.blind.open = i
	}
}

// domainFor is the domain that an incident of that name is about.
func (e *Engine) domainFor(name Domain) *domain {
	if name.Kind == KindPath {
		return e.way
	}
	return e.domain(name)
}

// bind finds an incident's domain, members and vantages in the world as it is now; those that are no longer watched drop
// out.
func (e *Engine) bind(i *incident) {
	i.d = e.domainFor(i.Domain)
	i.d.open = i
	members := i.members
	i.members, i.memberNo, i.shown, i.left = nil, map[int]int{}, map[int]bool{}, map[int]bool{}
	i.showing = make([]int, e.places)
	for _, m := range members {
		s, ok := e.siteNo[m.Site]
		if !ok {
			continue
		}
		e.bindMember(i, s)
		m.site, m.places = s, nil
		i.memberNo[s] = len(i.members)
		for _, name := range m.Vantages {
			p, ok := e.vantageNo[name]
			if !ok {
				continue
			}
			m.places = put(m.places, p)
			i.showing[p]++
			for l := range e.lanesAt(p) {
				if i.over[e.family(l)] {
					i.shown[l] = true
				}
			}
		}
		i.members = append(i.members, m)
	}
}

// bindMember sees to it that a site is a member of the domain of an incident that it was part of.
func (e *Engine) bindMember(i *incident, s int) {
	si := &e.sites[s]
	if i.d.shared() {
		si.claim = i
	}
	for k, kind := range traitKinds {
		if t := &si.traits[k]; i.Domain.Kind == kind && t[0].seen == 0 && i.Domain.Name != "" {
			t[0].name, t[0].seen = i.Domain.Name, e.now
			e.enlist(s)
		}
	}
}

// A set of small numbers.

func has(set []uint64, n int) bool { return n/64 < len(set) && set[n/64]&(1<<(n%64)) != 0 }

func put(set []uint64, n int) []uint64 {
	for len(set) <= n/64 {
		set = append(set, 0)
	}
	set[n/64] |= 1 << (n % 64)
	return set
}
