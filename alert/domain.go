package alert

import (
	"cmp"
	"slices"
	"time"

	"faultline/probe"
)

// kind says how the domains of one kind are judged.
type kind struct {
	name string
	part parts // that they stand for
	// rank settles which of two domains with the same failing sites is named: the lower, which says more.
	rank int
	// share: it pages only when so many of its owners fail that it must be the domain, or when the answers name it. A CDN
	// has customers by the dozen whose own trouble looks like its own.
	share bool
}

// kinds are those that the engine knows by itself. Any other is a label that the config declares.
var kinds = []kind{
	{name: KindCDN, part: partEdge, rank: 1, share: true},
	{name: KindCA, part: partCA, rank: 2},
	{name: KindDNS, part: partDNS, rank: 3},
	{name: KindNetwork, part: partNetwork, rank: 5},
	{name: KindCDNOrigin, part: partBehind, rank: 6},
	{name: KindOrigin, part: partSite, rank: 7},
	{name: KindPath, part: partPath, rank: 8},
}

// IsKind tells whether a name is that of a kind of domain which is no label.
func IsKind(name string) bool {
	return slices.ContainsFunc(kinds, func(k kind) bool { return k.name == name }) || name == KindVantage || name == KindSelf || name == KindResolver
}

func kindOf(name string) kind {
	for _, k := range kinds {
		if k.name == name {
			return k
		}
	}
	return kind{name: name, part: partShared, rank: 4}
}

// domain is a failure domain and its members.
type domain struct {
	Domain
	kind
	members []membership // those of one owner stand together
	mixed   bool         // they do not, and are to be sorted
	owners  int          // distinct ones among the members
	failing int          // members whose part fails, by their spells
	rate    float64      // scheduled answers of its members a second

	touched bool  // something in it began to fail or ended since it was last judged
	began   stamp // when it was last told that something in it began to fail
	open    *incident
	first   stamp // when its score first sufficed; 0 = it does not
	score   float64
	swept   stamp // when all of it was last asked about
	strange stamp // since when its owners fail together without proof enough to page
}

// membership is one site's part in a domain. A site on two CDNs has half a weight in each.
type membership struct {
	site   int
	weight float64
}

// shared tells whether a domain spans owners.
func (d *domain) shared() bool { return d.kind.name != KindOrigin }

// domain finds the domain of that name, and makes it where there is none.
func (e *Engine) domain(name Domain) *domain {
	d, ok := e.domainOf[name]
	if !ok {
		d = &domain{Domain: name, kind: kindOf(name.Kind)}
		e.domainOf[name] = d
		e.domains = append(e.domains, d)
	}
	return d
}

// join makes site s a member of d.
func (e *Engine) join(s int, d *domain, weight float64) {
	si := &e.sites[s]
	si.in = append(si.in, belonging{d, weight})
	if d.mixed {
		d.members = append(d.members, membership{s, weight})
	} else {
		e.insert(d, membership{s, weight})
	}
	if si.fails(d.part) {
		d.failing++
		d.touched, d.began, e.touched = true, e.now, true
	}
}

// insert puts a member where it belongs.
func (e *Engine) insert(d *domain, m membership) {
	i, _ := slices.BinarySearchFunc(d.members, m, e.byOwner)
	o := e.sites[m.site].owner
	known := i > 0 && e.sites[d.members[i-1].site].owner == o || i < len(d.members) && e.sites[d.members[i].site].owner == o
	d.members = slices.Insert(d.members, i, m)
	d.owners += btoi(!known)
	d.rate += e.answers(m.site)
	e.recount = e.recount || d.owners == e.p.MinOwners
}

func (e *Engine) byOwner(a, b membership) int {
	return cmp.Or(cmp.Compare(e.sites[a.site].owner, e.sites[b.site].owner), cmp.Compare(a.site, b.site))
}

// answers is how many scheduled answers of site s come in a second.
func (e *Engine) answers(s int) float64 {
	return float64(e.lanesUsed(s)) / e.sites[s].Interval.Seconds()
}

// leave takes site s out of d.
func (e *Engine) leave(s int, d *domain) {
	d.members = slices.DeleteFunc(d.members, func(m membership) bool { return m.site == s })
	d.mixed, e.recount = true, true // its owner may have others there
	d.failing -= btoi(e.sites[s].fails(d.part))
}

// tidy sorts the members of d by owner, and counts anew, if they changed.
func (e *Engine) tidy(d *domain) {
	if !d.mixed {
		return
	}
	d.mixed = false
	slices.SortFunc(d.members, e.byOwner)
	d.owners, d.rate = 0, 0
	last := -1
	for _, m := range d.members {
		if o := e.sites[m.site].owner; o != last {
			last = o
			d.owners++
		}
		d.rate += e.answers(m.site)
	}
}

// threshold is the score that d must reach.
func (e *Engine) threshold(d *domain) float64 {
	return threshold(d.rate, e.couldPage, e.p.FalsePages)
}

// countDomains counts those that could page, after a change of members.
func (e *Engine) countDomains() {
	if !e.recount {
		return
	}
	e.recount = false
	e.couldPage = 0
	for _, d := range e.domains {
		e.tidy(d)
		e.couldPage += btoi(d.shared() && d.owners >= e.p.MinOwners)
	}
}

// The things that a good answer tells of a site, and that it has in common with others.
const (
	traitCDN = iota
	traitDNS
	traitNetwork
	traitCA
	numTraits
)

var traitKinds = [numTraits]string{KindCDN, KindDNS, KindNetwork, KindCA}

// trait is what good answers say of one of these: one name, or, where they differ or have changed, the two newest.
type trait [2]struct {
	name string
	seen stamp // when a good answer last said so
}

// bothFor is how long a name that is not seen any more counts beside the present one.
const bothFor = 24 * time.Hour

// takesTurns is how long the older of two names must not have been seen for a third to take its place.
const takesTurns = 10 * time.Minute

// heed takes what a good answer at now says; "" = nothing. It tells whether the trait changed.
func (t *trait) heed(name string, now stamp) bool {
	if name == t[0].name {
		t[0].seen = now
		if t[1].name == "" || now.sub(t[1].seen) < bothFor {
			return false
		}
		t[1].name = ""
		return true
	}
	switch {
	case name == t[1].name && name != "":
		t[0], t[1] = t[1], t[0]
		t[0].seen = now
		return false
	case t[1].name != "" && now.sub(t[1].seen) < takesTurns:
		return false // more than two take turns: two of them stand for all
	case t[0].name != "":
		t[1] = t[0]
	}
	t[0].name, t[0].seen = name, now
	return true
}

// count is how many names share the site's weight; none is one of them after it has left a CDN.
func (t *trait) count() int { return btoi(t[0].seen != 0) + btoi(t[1].name != "") }

// learn takes what a good answer shows the site to have in common with others. A failing answer never does: membership is
// frozen at the last healthy one.
func (e *Engine) learn(s int, r *probe.Result) {
	si := &e.sites[s]
	changed := false
	for k, name := range [numTraits]string{r.CDN, r.DNS.Operator, r.Network, e.authorityOf(r.TLS.Issuer)} {
		t := &si.traits[k]
		switch {
		case k == traitCDN && si.CDN != "", k != traitCDN && name == "": // the config knows better; or nothing is told
		case k == traitCDN && name == "" && t[0].name == "":
		default:
			changed = t.heed(name, e.now) || changed
		}
	}
	if e.learnAddress(s, r) {
		e.regroup = true
	}
	if changed {
		e.enlist(s)
	}
}

// enlist makes site s a member of what its traits, its labels and its owner say, and of nothing else.
func (e *Engine) enlist(s int) {
	si := &e.sites[s]
	if si.Anchor {
		return
	}
	want := e.belongs[:0]
	for k := range si.traits {
		t := &si.traits[k]
		weight := 1 / float64(max(1, t.count()))
		for i := range t {
			if t[i].name == "" {
				continue
			}
			want = append(want, belonging{e.domain(Domain{traitKinds[k], t[i].name}), weight})
			if k == traitCDN {
				want = append(want, belonging{e.domain(Domain{KindCDNOrigin, t[i].name}), weight})
			}
		}
	}
	for _, label := range e.labels {
		if name := labelOf(si.Site, label); name != "" {
			want = append(want, belonging{e.domain(Domain{label, name}), 1})
		}
	}
	want = append(want, belonging{e.domain(Domain{KindOrigin, e.owners[si.owner]}), 1}, belonging{e.way, 1})
	e.belongs = want
	for _, in := range si.in {
		if !slices.Contains(want, in) {
			e.leave(s, in.domain)
		}
	}
	had := slices.Clone(si.in)
	si.in = slices.DeleteFunc(si.in, func(in belonging) bool { return !slices.Contains(want, in) })
	for _, in := range want {
		if !slices.Contains(had, in) {
			e.join(s, in.domain, in.weight)
		}
	}
}

// labelOf is what a label says of a site; its group is one too.
func labelOf(s *probe.Site, label string) string {
	if name := s.Labels[label]; name != "" || label != "group" {
		return name
	}
	return s.Group
}

// ownerDomain is the name of the domain of the owner of site s.
func (e *Engine) ownerDomain(s int) Domain { return Domain{KindOrigin, e.owners[e.sites[s].owner]} }

// cdn is the CDN that site s was last seen behind; nil = none.
func (e *Engine) cdn(s int) *domain {
	return e.domainOf[Domain{KindCDN, e.sites[s].traits[traitCDN][0].name}]
}

// belonging is a membership seen from the site.
type belonging struct {
	domain *domain
	weight float64
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}
