package alert

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"faultline/probe"
)

// incident is an open incident and what is needed to follow it.
type incident struct {
	Incident
	d        *domain
	members  []member
	memberNo map[int]int       // site number to index in members
	shown    map[int]bool      // lanes that show it, or did
	over     [numFamilies]bool // those of the lanes that show it
	toldAt   stamp
	told     Counts
	toldAs   Scope
	cleared  stamp  // when Recovering was decided
	because  string // the reason that assess added last
}

// member is a failing site of an open incident.
type member struct {
	Member
	site int
	last stamp // its newest accusing answer
}

// judgeShared decides whether a domain that spans owners fails as one.
func (e *Engine) judgeShared(d *domain, out *Effects) {
	if len(d.owners) < e.p.MinOwners {
		return
	}
	t := e.tally(d)
	if t.suspects >= min(2, e.p.MinOwners) {
		e.vouch(t.onset)
		e.sweep(d, t.fails)
	}
	p := e.prove(d, &t)
	if !p.page {
		e.strangely(d, &t, p)
		return
	}
	e.untell(p.noticeKey(d, NoticeCofailure), "it is an incident now")
	e.untell(p.noticeKey(d, NoticeUnreachableFrom), "it is an incident now")
	d.strange = 0
	e.open(d, t.onset, SeverityPage, p.reasons, out)
}

// strangely tells of owners that fail together without proof, once that has lasted for a whole window.
func (e *Engine) strangely(d *domain, t *tally, p proof) {
	if p.notice == "" {
		if t.suspects < e.p.MinOwners {
			d.strange = 0
			e.untell(p.noticeKey(d, NoticeCofailure), "no longer")
			e.untell(p.noticeKey(d, NoticeUnreachableFrom), "no longer")
		}
		return
	}
	if d.strange == 0 {
		d.strange = e.now
	}
	if e.now.sub(d.strange) < e.p.Window-e.p.ClearAfter {
		return
	}
	n := Notice{Kind: p.notice, Key: p.noticeKey(d, p.notice), Domain: d.Domain}
	if p.notice == NoticeUnreachableFrom && len(t.vantages) == 1 {
		n.Vantage = e.lanes[t.vantages[0]].Name
		over := ""
		if !t.fails[0] {
			over = " over IPv6"
		}
		n.Text = fmt.Sprintf("%s: %d of %d owners cannot be reached from %s%s, and can from elsewhere: look at that vantage's path to it", d.Domain, t.failing, t.seen, n.Vantage, over)
	} else {
		n.Text = fmt.Sprintf("%s: %d of %d owners fail together since %s UTC; the cause is not proven", d.Domain, t.failing, t.seen, clock(t.onset.time()))
	}
	e.tell(n)
}

func (p proof) noticeKey(d *domain, kind string) string { return kind + "/" + d.Domain.String() }

// judgeAlone decides whether an owner's sites fail by themselves: long enough, from enough places, and not because
// their CDN does.
func (e *Engine) judgeAlone(d *domain, out *Effects) {
	need := min(e.p.MinVantages, e.places)
	severity, onset := Severity(""), stamp(0)
	for _, s := range d.members {
		si := &e.sites[s]
		if c := si.cdn; si.Alert.String() == "none" || c != nil && c.open != nil {
			continue
		}
		places, first := e.alone(s)
		if first == 0 || e.now.sub(first) < e.p.Alone {
			continue
		}
		e.vouch(first)
		if places < need {
			continue
		}
		if severity != SeverityPage {
			severity = Severity(si.Alert.String())
		}
		if onset == 0 || first < onset {
			onset = first
		}
	}
	if severity == "" {
		return
	}
	e.open(d, onset, severity, []string{
		fmt.Sprintf("it lasts for %s and is seen from %s", rough(e.now.sub(onset)), plural(need, "vantage", "vantages at least")),
		"nothing that it shares with other owners' sites fails",
	}, out)
}

// alone counts the vantages from where site s fails, and says since when it does.
func (e *Engine) alone(s int) (places int, first stamp) {
	for p := range e.places {
		fails := false
		for l := range e.lanesAt(p) {
			t := &e.cell(s, l).tracks[trackSite]
			if t.since != 0 && !e.lanes[l].sick && e.lanes[l].vouched >= t.since {
				fails = true
				first = sooner(first, t.since)
			}
		}
		places += btoi(fails)
	}
	return places, first
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// open begins an incident.
func (e *Engine) open(d *domain, onset stamp, severity Severity, reasons []string, out *Effects) {
	i := &incident{d: d, memberNo: map[int]int{}, shown: map[int]bool{}}
	i.Incident = Incident{
		ID: incidentID(onset, d.Domain), Key: "faultline/" + e.p.Fleet + "/" + d.Kind + "/" + d.Name, Rev: 1, Domain: d.Domain,
		State: StateOpen, Severity: severity, Onset: onset.time(), OpenedAt: e.now.time(), Waves: 1, Why: reasons,
	}
	if severity == SeverityPage {
		i.PagedAt = i.OpenedAt
	}
	e.enter(i)
	e.follow(i)
	i.Assessment = e.assess(i)
	i.Fine = e.fine(d)
	e.emit(i, out)
}

func incidentID(onset stamp, d Domain) string {
	name := strings.Map(func(r rune) rune {
		if r == '-' || r == '.' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' {
			return r
		}
		return '_'
	}, d.Name)
	return onset.time().Format("20060102T150405Z") + "-" + d.Kind + "-" + name
}

func (e *Engine) enter(i *incident) {
	i.d.open = i
	e.incidents = append(e.incidents, i)
}

// follow brings an incident's members, counts and scope up to now.
func (e *Engine) follow(i *incident) {
	for n := range i.members {
		i.members[n].Now = false // one that has moved away is no longer followed
	}
	var failing, of Counts
	failOwners, ofOwners := map[int]bool{}, map[int]bool{}
	nowAt, seenAt := make([]bool, e.places), make([]int, e.places)
	for _, s := range i.d.members {
		bad, seen := e.followSite(i, s, nowAt, seenAt)
		of.Sites += btoi(seen)
		if seen {
			ofOwners[e.sites[s].owner] = true
		}
		if n, ok := i.memberNo[s]; ok {
			i.members[n].Now = bad
		}
		if bad {
			failing.Sites++
			failOwners[e.sites[s].owner] = true
		}
	}
	failing.Owners, of.Owners = len(failOwners), len(ofOwners)
	for v := range e.places {
		failing.Vantages += btoi(nowAt[v])
		of.Vantages += btoi(seenAt[v] > 0)
	}
	i.Of = Counts{max(i.Of.Sites, of.Sites), max(i.Of.Owners, of.Owners), max(i.Of.Vantages, of.Vantages)}
	if i.State == StateOpen && (failing.Sites > 0 || i.Failing == Counts{}) {
		i.worst(failing)
		i.scope(e, seenAt)
	}
}

// followSite brings up to now what an incident knows of site s: whether it fails, whether it was seen since the onset.
func (e *Engine) followSite(i *incident, s int, nowAt []bool, seenAt []int) (bad, seen bool) {
	onset := stampOf(i.Onset)
	for v := range e.places {
		here := false
		for l := range e.lanesAt(v) {
			t := &e.cell(s, l).tracks[i.d.track]
			if e.lanes[l].sick || max(t.good, t.last) < onset {
				continue
			}
			here = true
			if t.last >= onset {
				e.show(i, s, l, t)
			}
			if t.since != 0 && e.isMember(i, s) && !e.stale(s, e.cell(s, l)) {
				bad, nowAt[v] = true, true
			}
		}
		seen = seen || here
		seenAt[v] += btoi(here)
	}
	return bad, seen
}

// worst keeps the counts of the worst moment of a wave.
func (i *incident) worst(c Counts) {
	vantages := max(i.Failing.Vantages, c.Vantages)
	if c.Owners > i.Failing.Owners || c.Owners == i.Failing.Owners && c.Sites >= i.Failing.Sites {
		i.Failing = c
	}
	i.Failing.Vantages = vantages
}

func (e *Engine) isMember(i *incident, s int) bool { _, ok := i.memberNo[s]; return ok }

// show enters that site s fails in lane l. A site that was bad before the onset is no member.
func (e *Engine) show(i *incident, s, l int, t *track) {
	n, ok := i.memberNo[s]
	if !ok {
		if t.since != 0 && t.since < stampOf(i.Onset) {
			return
		}
		n = len(i.members)
		i.memberNo[s] = n
		c := e.cell(s, l)
		m := member{site: s, Member: Member{Site: e.sites[s].Name, Owner: e.sites[s].Owner, Since: max(t.since, stampOf(i.Onset)).time(), Class: c.class.String()}}
		e.evidence(i, s, &m)
		i.members = append(i.members, m)
	}
	m := &i.members[n]
	m.last = max(m.last, t.last)
	if name := e.lanes[l].Name; !slices.Contains(m.Vantages, name) {
		m.Vantages = append(m.Vantages, name)
	}
	i.shown[l], i.over[e.family(l)] = true, true
}

// evidence adds the first failing answer of a new member.
func (e *Engine) evidence(i *incident, s int, m *member) {
	for _, x := range e.samples {
		if x.site != s || weigh(i.d.track, &x.result) != accuses {
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

// scope judges from how much of the world it was seen so far: global when the failing share is at least half of the
// highest one in at least 80 % of the regions of healthy vantages.
func (i *incident) scope(e *Engine, seen []int) {
	type share struct{ failing, seen int }
	failing := make([]int, e.places)
	for k := range i.members {
		for _, name := range i.members[k].Vantages {
			if v, ok := e.vantageNo[name]; ok {
				failing[v]++
			}
		}
	}
	regions := map[string]share{}
	for v := range e.places {
		if r := e.lanes[v].Region; seen[v] > 0 {
			x := regions[r]
			regions[r] = share{x.failing + failing[v], x.seen + seen[v]}
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

// live follows every open incident and moves it on in its life.
func (e *Engine) live(out *Effects) {
	for _, i := range e.incidents {
		e.follow(i)
		switch i.State {
		case StateOpen:
			if e.recovers(i) {
				i.State, i.RecoveringAt, i.cleared = StateRecovering, i.end().time(), e.now
				e.change(i, out)
			} else if e.worthTelling(i) {
				e.change(i, out)
			}
		case StateRecovering:
			switch {
			case e.returns(i):
				i.State, i.RecoveringAt = StateOpen, stamp(0).time()
				i.Waves++
				e.change(i, out)
			case e.now.sub(stampOf(i.RecoveringAt)) >= e.p.Resolve:
				i.State, i.ResolvedAt = StateResolved, e.now.time()
				e.change(i, out)
				e.close(i)
			}
		}
	}
	e.incidents = slices.DeleteFunc(e.incidents, func(i *incident) bool { return i.State == StateResolved })
}

// failingNow counts the members that still fail: the newest answer of one of their cells accuses, or did less than
// ClearAfter ago. The few that are still bad long after the others leave: they are judged by themselves.
func (e *Engine) failingNow(i *incident) int {
	bad, fading := 0, 0
	for k := range i.members {
		m := &i.members[k]
		bad += btoi(m.Now)
		fading += btoi(!m.Now && e.now.sub(m.last) < e.p.ClearAfter)
	}
	if bad*3 <= len(i.members) && e.now.sub(i.end()) >= e.p.Leave {
		bad = 0
	}
	return bad + fading
}

// recovers tells whether fewer than a tenth of the members have failed for ClearAfter, by fresh good answers from two
// thirds of the vantages that showed the failure: silence is no recovery.
func (e *Engine) recovers(i *incident) bool {
	if e.failingNow(i)*10 >= max(1, len(i.members)) {
		return false
	}
	end, shown, witnesses := i.end(), 0, 0
	for v := range e.places {
		showed, answers := false, false
		for l := range e.lanesAt(v) {
			showed = showed || i.shown[l]
			answers = answers || i.shown[l] && !e.lanes[l].sick && e.answers(i, l, end)
		}
		shown += btoi(showed)
		witnesses += btoi(answers)
	}
	return witnesses*3 >= shown*2
}

// answers tells whether a member of an incident has answered well in lane l since the end of its failure.
func (e *Engine) answers(i *incident, l int, end stamp) bool {
	return slices.ContainsFunc(i.members, func(m member) bool { return e.cell(m.site, l).tracks[i.d.track].good > end })
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

// returns tells whether a recovering incident fails again: enough of its owners, or a fifth of its members, anew.
func (e *Engine) returns(i *incident) bool {
	owners := map[int]bool{}
	n := 0
	for k := range i.members {
		if m := &i.members[k]; m.Now && m.last > i.cleared {
			owners[e.sites[m.site].owner] = true
			n++
		}
	}
	if i.d.Kind == KindOrigin {
		return n > 0
	}
	return len(owners) >= e.p.MinOwners && n*5 >= len(i.members)
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
	c.Why, c.Regions, c.Fine = slices.Clone(c.Why), slices.Clone(c.Regions), slices.Clone(c.Fine)
	c.Evidence = slices.Clone(c.Evidence)
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
	i.d.open = nil
	e.resolved = slices.Insert(e.resolved, 0, i.snapshot())
	e.resolved = e.resolved[:min(len(e.resolved), keptResolved)]
}

// restore takes up an incident that was open when the engine ended. It cannot recover before its members have
// answered anew.
func (e *Engine) restore(in Incident) {
	if in.State == StateResolved {
		e.resolved = slices.Insert(e.resolved, 0, in)
		return
	}
	d := e.domainOf[in.Domain]
	if d == nil {
		d = e.newDomain(in.Domain)
	}
	i := &incident{Incident: in, d: d, toldAt: e.now, told: in.Failing, toldAs: in.Scope, cleared: e.now}
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
	e.enter(i)
}

// bind finds an incident's members and vantages in the world as it is now; those that are no longer watched drop out.
func (e *Engine) bind(i *incident) {
	members := i.members
	i.members, i.memberNo, i.shown = nil, map[int]int{}, map[int]bool{}
	for _, m := range members {
		s, ok := e.siteNo[m.Site]
		if !ok {
			continue
		}
		if e.sites[s].cdn == nil && i.Domain.Kind == KindCDN {
			e.join(s, &e.sites[s].cdn, i.Domain)
		}
		m.site = s
		i.memberNo[s] = len(i.members)
		i.members = append(i.members, m)
		for _, name := range m.Vantages {
			v, ok := e.vantageNo[name]
			if !ok {
				continue
			}
			for l := range e.lanesAt(v) {
				if i.over[e.family(l)] {
					i.shown[l] = true
				}
			}
		}
	}
}
