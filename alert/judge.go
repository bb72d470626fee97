package alert

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// What a shared failure must show before it pages, besides its score: detection study, sections 0 and 3.
const (
	suspicion     = 4       // score from which all of a domain is asked about
	withoutOne    = 8       // score that must be left without any one vantage
	carries       = 2.0 / 3 // part of the failing owners that one vantage alone shows, from which the others must suffice by themselves
	leastControls = 6       // owners outside that must have been seen since the onset
	mostByChance  = 1e-3    // chance that its members fail no more often than others
	mostAlone     = 0.05    // likewise, where nothing fails outside, or one that may do so by itself
	namesIt       = 0.6     // part of the failing owners whose answers name the edge, which makes the share no matter
	sigmas        = 2       // by which an estimated share may be too high while not all owners were seen
	asGood        = 3       // scores so near say the same
	asGoodPart    = 0.05    // likewise, as a part of the score
	ownersAtOnce  = 100     // owners' incidents opened in one scan; the rest in the next
	sameSites     = 0.8     // part of the failing owners that two domains have in common where either explains them
)

// candidate is a domain that has what a page needs.
type candidate struct {
	d       *domain
	name    Domain // of the incident: a path is named when it is found
	a       assay
	nearly  bool // its score does not quite suffice: it is one only beside another that explains the same
	reasons []string
}

// judge looks at every domain in which something fails, and opens incidents. What only time can change is looked at when
// slow.
func (e *Engine) judge(slow bool, out *Effects) {
	var found []candidate
	for _, d := range e.domains {
		if d.open != nil || d.failing == 0 && e.late == 0 {
			if d.open == nil && (d.score != 0 || d.strange != 0) {
				d.score = 0
				e.calmDown(d)
			}
			d.first = 0
			continue
		}
		if e.late == 0 && d.score == 0 && d.strange == 0 && e.now.sub(d.began) > e.p.Window {
			continue // what fails there is no news
		}
		if d.shared() && (d.touched || slow) {
			if c, ok := e.examine(d); ok {
				found = append(found, c)
			}
		}
		d.touched = false
	}
	if len(found) > 0 {
		e.localise(found, out)
	}
	if slow {
		told := len(out.Incidents)
		for _, d := range e.domains {
			if !d.shared() && d.open == nil && d.failing > 0 && len(out.Incidents)-told < ownersAtOnce {
				e.judgeOwner(d, out)
			}
		}
	}
}

// examine asks whether a domain that owners share fails as one. While that is not proven it asks for probes that will
// tell.
func (e *Engine) examine(d *domain) (candidate, bool) {
	d.score = 0
	n := e.suspects(d)
	if n == 0 || n == 1 && d.failing == 0 {
		e.calmDown(d)
		return candidate{}, false
	}
	a := e.assay(d, e.healthy(d), -1, nil)
	d.score = a.score
	if a.score < suspicion && a.fails > 0 {
		e.calmDown(d)
		return candidate{}, false
	}
	if a.onset != 0 {
		e.vouch(a.onset)
	}
	e.sweep(d, n)
	if d.owners < e.p.MinOwners || a.onset == 0 {
		return candidate{}, false
	}
	counts, all := e.trusted(d, a.onset)
	if !all {
		a = e.assay(d, counts, -1, nil)
		d.score = a.score
	}
	return e.prove(d, &a, counts)
}

// prove applies the gates. All must hold.
func (e *Engine) prove(d *domain, a *assay, counts []bool) (candidate, bool) {
	h := e.threshold(d)
	nearly := a.score < h
	if nearly {
		h -= asGood
	}
	if a.fails < float64(e.p.MinOwners) || !(a.score >= h) {
		e.calmDown(d)
		return candidate{}, false
	}
	if !e.seenFromSeveral(d, a, counts) {
		d.first = 0
		return candidate{}, false
	}
	if d == e.way {
		return e.proveWay(a, nearly, counts)
	}
	c := candidate{d: d, name: d.Domain, a: *a, nearly: nearly}
	if a.seen < min(12, a.owners/2) {
		return c, false // the sweep will show the rest
	}
	k := e.controls(d, a, counts)
	if k.seen < min(leastControls, k.of) || k.places < min(2, len(a.mainly)) && k.of > 0 {
		return c, false // wanted, on their way
	}
	if k.inflate != nil {
		if again := e.assay(d, counts, -1, k.inflate); again.score < h {
			e.strangely(&c)
			return c, false
		}
	}
	if !c.weigh(e, &k) {
		e.strangely(&c)
		return c, false
	}
	return c, true
}

// weigh asks whether it is the domain that fails, and not just as many of its owners.
func (c *candidate) weigh(e *Engine, k *control) bool {
	a := &c.a
	chance := 1.0
	if k.seen > 0 { // a member is done with sooner than a control: at the end of what all had, controls are looked at more often
		chance = enriched(int(a.still), int(a.seen), k.failing, k.seen)
	}
	switch {
	case c.d.share && a.named >= namesIt*a.fails:
		c.say("%.0f of %.0f failing owners get answers that name %s itself as the failing part", a.named, a.fails, c.d.Name)
	case c.d.share && !a.surely(e.p.MinShare):
		return false
	case c.d.share:
		c.say("%.0f of the %.0f owners seen since the onset fail together", a.fails, a.seen)
	case k.seen >= leastControls && chance > mostByChance && (k.failing > 1 || chance > mostAlone):
		return false
	default:
		c.say("%.0f of the %.0f owners seen since the onset, which share it, fail together", a.fails, a.seen)
	}
	if k.failing >= 2 && k.failing*10 >= k.seen && chance > mostByChance {
		return false
	}
	if k.seen < leastControls {
		c.say("there is no control group: fewer than %d owners outside %s are watched", leastControls, c.d.Domain)
	} else {
		c.say("%d of %d owners outside %s answer, from the same vantages", k.seen-k.failing, k.seen, c.d.Domain)
	}
	return true
}

func (c *candidate) say(format string, args ...any) {
	c.reasons = append(c.reasons, fmt.Sprintf(format, args...))
}

// surely tells whether the share of failing owners is at least so much, as far as those that were seen can show. Owners
// that are late count as seen and well: their answers are on the way.
func (a *assay) surely(share float64) bool {
	n := a.seen + a.open
	p := a.fails / n
	unseen := max(0, 1-n/a.owners)
	return p-sigmas*math.Sqrt(p*(1-p)/n*unseen) >= share
}

// seenFromSeveral tells whether more than one vantage shows it, and whether enough is left without any one of them.
func (e *Engine) seenFromSeveral(d *domain, a *assay, counts []bool) bool {
	if len(a.places) < min(e.p.MinVantages, e.places) {
		return false
	}
	if e.places == 1 {
		return true
	}
	for _, p := range a.places {
		if a.fails-a.onlyAt[p] >= mostFailing {
			continue // so many are left without it
		}
		least, owners := float64(withoutOne), min(2, e.p.MinOwners)
		if a.onlyAt[p] >= carries*a.fails { // the rest may well be what sites do by themselves
			least, owners = e.threshold(d), e.p.MinOwners
		}
		if rest := e.assay(d, counts, p, nil); !(rest.score >= least) || rest.fails < float64(owners) {
			return false
		}
	}
	return true
}

// proveWay asks whether it is the way to the sites that fails: they fail from some places and answer at others, or most of
// all there is fails from everywhere.
func (e *Engine) proveWay(a *assay, nearly bool, counts []bool) (candidate, bool) {
	split, wide := e.pathOf(e.way, a, counts)
	c := candidate{d: e.way, a: *a, nearly: nearly}
	switch {
	case split >= float64(e.p.MinOwners) && split >= namesIt*a.fails && len(a.mainly) >= min(e.p.MinVantages, e.places):
		c.name = Domain{KindPath, e.regionsOf(a.mainly)}
		c.say("%.0f owners cannot be reached from %s, and %.0f of them can from elsewhere at the same time", a.fails, e.names(a.mainly), split)
	case a.surely(e.p.MinShare) && a.seen >= a.owners/2 && (e.places == 1 || 2*wide >= a.fails):
		c.name = Domain{KindPath, everywhere}
		c.say("%.0f of all %.0f owners that were seen cannot be reached since the same moment, and nothing else that they share is known", a.fails, a.seen)
	default:
		return c, false
	}
	c.say("the anchors answer there, so the vantages' own networks work")
	return c, true
}

// everywhere is the name of a path that fails from all places.
const everywhere = "everywhere"

// regionsOf names a set of places by their regions, or by themselves where they have none.
func (e *Engine) regionsOf(places []int) string {
	var names []string
	for _, p := range places {
		name := e.lanes[p].Region
		if name == "" {
			name = e.lanes[p].Name
		}
		names = append(names, name)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	const most = 4
	if len(names) > most {
		names = append(names[:most], fmt.Sprintf("%d-more", len(names)-most))
	}
	return strings.Join(names, "+")
}

// localise opens an incident for the domain that explains the failures best. The rest of them are judged again, without
// those that are explained.
func (e *Engine) localise(found []candidate, out *Effects) {
	best := e.best(found)
	if best == nil {
		return
	}
	if wait := e.now.sub(best.d.first); wait < e.p.Hold && e.rival(best) || best.d == e.way && wait < pathHolds*e.p.Hold && e.mostlyOf(best) {
		return
	}
	for n := range found {
		if c := &found[n]; c.nearly && c.d != best.d && e.sameFailures(c.d, best) && e.explainsBetter(c, best) {
			best = c
		}
	}
	best.say("%s", howSure(best.a.score, e.threshold(best.d), e.p.FalsePages))
	i := e.open(best.d, best.name, best.a.onset, SeverityPage, best.reasons)
	for n := range found {
		if c := &found[n]; c.d != best.d && e.sameFailures(c.d, best) && near(c.a.score, best.a.score) {
			i.Or = append(i.Or, c.name)
		}
	}
	e.announce(i, out)
}

// best is the candidate of those that suffice by themselves which explains the failures best; nil = there is none.
func (e *Engine) best(found []candidate) (best *candidate) {
	for n := range found {
		c := &found[n]
		if c.nearly {
			continue
		}
		if c.d.first == 0 {
			c.d.first = e.now
		}
		if best == nil || e.explainsBetter(c, best) {
			best = c
		}
	}
	return best
}

func near(a, b float64) bool { return a >= b-max(asGood, asGoodPart*b) }

// explainsBetter compares two candidates: by what they explain, then by how much of them fails, then by how much the kind
// says.
func (e *Engine) explainsBetter(c, best *candidate) bool {
	switch {
	case e.onlyTheWay(best) && c.d == e.way:
		return true
	case e.onlyTheWay(c) && best.d == e.way:
		return false
	case !near(c.a.score, best.a.score):
		return false
	case !near(best.a.score, c.a.score):
		return true
	}
	if c.a.named > 0 != (best.a.named > 0) {
		return c.a.named > 0
	}
	if small := c.a.owners < 0.8*best.a.owners; small != (best.a.owners < 0.8*c.a.owners) && c.a.fails >= 0.9*best.a.fails {
		return small && c.a.share() >= 0.8
	}
	return c.d.rank < best.d.rank
}

// onlyTheWay tells whether a CDN seems to fail from one region only, by nothing that its edge said, while its sites answer
// elsewhere: that is interference there.
func (e *Engine) onlyTheWay(c *candidate) bool {
	if c.d.Kind != KindCDN || c.a.named > 0 || e.places < 2 {
		return false
	}
	region := e.lanes[c.a.places[0]].Region
	for _, p := range c.a.places {
		if e.lanes[p].Region != region {
			return false
		}
	}
	others := 0
	for p := range e.places {
		others += btoi(e.lanes[p].Region != region && !e.lanes[p].sick)
	}
	return others > 0
}

// sameFailures tells whether another domain holds the failing sites of a candidate, and hardly more.
func (e *Engine) sameFailures(d *domain, c *candidate) bool {
	common := e.common(d, c)
	return common >= sameSites*float64(c.a.sites) && common >= sameSites*float64(d.failing)
}

// common counts the failing sites of a candidate that are failing members of another domain too.
func (e *Engine) common(d *domain, c *candidate) float64 {
	n := 0
	for _, m := range c.d.members {
		si := &e.sites[m.site]
		n += btoi(si.fails(c.d.part) && si.fails(d.part) && si.memberOf(d))
	}
	return float64(n)
}

// rival tells whether another domain is still being looked at which holds the failing sites and either more of them, or the
// same and says more.
func (e *Engine) rival(c *candidate) bool {
	for _, d := range e.domains {
		if d == c.d || !d.shared() || d.open != nil || d.owners < e.p.MinOwners || d.score == 0 {
			continue
		}
		larger := d.failing >= c.d.failing+2 && 4*d.failing >= 5*c.d.failing && d.score > c.a.score
		says := d.rank < c.d.rank && near(d.score, c.a.score)
		if (larger || says) && e.common(d, c) >= sameSites*float64(c.a.sites) {
			return true
		}
	}
	return false
}

// pathHolds is how many times Hold a path waits for a domain that may explain the same better: it has no name, and the
// other has.
const pathHolds = 5

// mostlyOf tells whether most failing sites of a candidate lie in one other domain.
func (e *Engine) mostlyOf(c *candidate) bool {
	for _, d := range e.domains {
		if d == c.d || !d.shared() || d.open != nil || d.owners < e.p.MinOwners {
			continue
		}
		common := 0
		for _, m := range d.members {
			common += btoi(e.sites[m.site].fails(c.d.part))
		}
		if float64(common) >= sameSites*float64(c.a.sites) {
			return true
		}
	}
	return false
}

// calmDown ends what was told of a domain that owners share, where it is not that any more.
func (e *Engine) calmDown(d *domain) {
	d.first, d.strange = 0, 0
	if len(e.told) > 0 {
		e.untell(strangeKey(d), "no longer")
	}
}

func strangeKey(d *domain) string { return NoticeCofailure + "/" + d.Domain.String() }

// strangely tells of owners that fail together without proof, once that has lasted.
func (e *Engine) strangely(c *candidate) {
	d, a := c.d, &c.a
	d.first = 0
	if d.strange == 0 && !c.nearly {
		d.strange = e.now
	}
	if d.strange != 0 && e.now.sub(d.strange) >= e.p.Strange/4 {
		e.tell(Notice{Kind: NoticeCofailure, Key: strangeKey(d), Domain: d.Domain, Text: fmt.Sprintf(
			"%s: %.0f of %.0f owners fail together since %s UTC; the cause is not proven", d.Domain, a.fails, a.seen, clock(a.onset.time()))})
	}
}

// healthy are the lanes that are not sick, of the families over which d fails: a CDN may lose one of them alone.
func (e *Engine) healthy(d *domain) []bool {
	families := e.familiesOf(d)
	for l := range e.lanes {
		e.counting[l] = !e.lanes[l].sick && families[e.family(l)]
	}
	return e.counting
}

// trusted are those of them whose anchors have answered since the onset, and whether these are all. It is the same memory as
// that of healthy: the next call overwrites it.
func (e *Engine) trusted(d *domain, onset stamp) (counts []bool, all bool) {
	counts, all = e.healthy(d), true
	for l := range counts {
		if counts[l] && e.lanes[l].vouched < onset {
			counts[l], all = false, false
		}
	}
	return counts, all
}

// familiesOf are those over which answers of a window ago accuse d, or members are late.
func (e *Engine) familiesOf(d *domain) (f [numFamilies]bool) {
	if len(e.lanes) == e.places {
		return [numFamilies]bool{true, true}
	}
	for _, m := range d.members {
		sp := e.sites[m.site].spell
		for l := 0; l < len(e.lanes) && e.sites[m.site].late > 0; l++ {
			if e.cell(m.site, l).late != 0 {
				f[e.family(l)] = true
			}
		}
		if f[0] && f[1] {
			return f
		}
		if !e.sites[m.site].fails(d.part) {
			continue
		}
		for _, x := range sp.notes[:sp.n] {
			if x.accused&d.part != 0 && e.now.sub(x.begun) <= e.p.Window {
				f[e.family(int(x.lane))] = true
			}
		}
	}
	return f
}

// judgeOwner decides whether an owner's sites fail by themselves: several of them together, or any long enough.
func (e *Engine) judgeOwner(d *domain, out *Effects) {
	severity, onset := e.failTogether(d)
	how := "its sites fail together"
	if severity == "" {
		severity, onset = e.alone(d)
		how = "it lasts"
	}
	if severity == "" {
		return
	}
	i := e.open(d, d.Domain, onset, severity, []string{
		fmt.Sprintf("%s for %s and is seen from %s", how, rough(e.now.sub(onset)), plural(min(e.p.MinVantages, e.places), "vantage", "vantages at least")),
		"nothing that it shares with other owners' sites fails",
	})
	e.announce(i, out)
}

// ownerSites is how many sites of an owner must fail together to be told before any has failed for long.
const ownerSites = 3

// failTogether tells whether enough of an owner's sites fail together, and how loudly they ask to be told.
func (e *Engine) failTogether(d *domain) (severity Severity, onset stamp) {
	if d.failing < ownerSites || e.excused(d) {
		return "", 0
	}
	a := e.assay(d, e.healthy(d), -1, nil)
	if a.onset == 0 {
		return "", 0
	}
	e.vouch(a.onset)
	counts, _ := e.trusted(d, a.onset)
	a = e.assay(d, counts, -1, nil)
	if a.fails < ownerSites || !(a.score >= e.threshold(d)) || !e.seenFromSeveral(d, &a, counts) || e.now.sub(a.onset) < e.p.Hold {
		return "", 0
	}
	if k := e.controls(d, &a, counts); k.failing >= 2 && k.failing*10 >= k.seen {
		return "", 0
	}
	for _, m := range d.members {
		if si := &e.sites[m.site]; si.fails(partSite) && !si.claimed(d) {
			severity = louder(severity, Severity(si.Alert.String()))
		}
	}
	return severity, a.onset
}

// excused tells whether something that the owner's sites share with others is suspected: then they wait.
func (e *Engine) excused(d *domain) bool {
	for _, m := range d.members {
		si := &e.sites[m.site]
		if !si.fails(partSite) {
			continue
		}
		for _, in := range si.in {
			if x := in.domain; x.shared() && (x.open != nil && si.fails(x.part) || x.first != 0) {
				return true
			}
		}
	}
	return false
}

func louder(a, b Severity) Severity {
	if b != SeverityPage && b != SeverityNotice || a == SeverityPage {
		return a
	}
	return b
}

// alone tells whether any site of an owner has failed for long enough, from enough places, and not because of what it
// shares; and how loudly it asks to be told.
func (e *Engine) alone(d *domain) (severity Severity, onset stamp) {
	for _, m := range d.members {
		si := &e.sites[m.site]
		if louder("", Severity(si.Alert.String())) == "" || si.claim != nil || e.sharedFails(m.site) {
			continue
		}
		if since := e.vouchFor(m.site); since == 0 || e.now.sub(since) < e.p.Alone {
			continue
		}
		places, first := e.failsFrom(m.site)
		if first == 0 || places < min(e.p.MinVantages, e.places) {
			continue
		}
		severity = louder(severity, Severity(si.Alert.String()))
		onset = sooner(onset, first)
	}
	return severity, onset
}

// sharedFails tells whether a domain that site s shares with other owners, and that may be why it fails, has an incident.
func (e *Engine) sharedFails(s int) bool {
	for _, in := range e.sites[s].in {
		if d := in.domain; d.shared() && d.open != nil && e.sites[s].fails(d.part) && !d.open.left[s] {
			return true
		}
	}
	return false
}

// vouchFor says since when site s fails anywhere, and asks for anchors where it does, once that is long ago.
func (e *Engine) vouchFor(s int) (since stamp) {
	for l := range e.lanes {
		if c := e.cell(s, l); c.since != 0 && !e.lanes[l].sick {
			since = sooner(since, c.since)
			if e.now.sub(c.since) >= e.p.Alone {
				e.vouchAt(l, c.since)
			}
		}
	}
	return since
}

// failsFrom counts the vantages from where site s fails, and says since when it does.
func (e *Engine) failsFrom(s int) (places int, first stamp) {
	for p := range e.places {
		fails := false
		for l := range e.lanesAt(p) {
			c := e.cell(s, l)
			if c.since != 0 && !e.lanes[l].sick && e.lanes[l].vouched >= c.since {
				fails = true
				first = sooner(first, c.since)
			}
		}
		places += btoi(fails)
	}
	return places, first
}
