package alert

import (
	"fmt"
	"math"
	"slices"

	"faultline/probe"
)

// domain is a failure domain and its members.
type domain struct {
	Domain
	track      int
	members    []int       // site numbers
	owners     []int       // owner numbers, each once
	ownerSites map[int]int // how many members an owner has
	accusing   int         // cells of members with an accusing spell
	open       *incident
	swept      stamp // the last sweep
	strange    stamp // since when its owners fail together without proof enough to page
}

// join makes site s a member of the domain of that name and points *at to it.
func (e *Engine) join(s int, at **domain, name Domain) *domain {
	d, ok := e.domainOf[name]
	if !ok {
		d = e.newDomain(name)
	}
	*at = d
	d.members = append(d.members, s)
	o := e.sites[s].owner
	if d.ownerSites[o]++; d.ownerSites[o] == 1 {
		d.owners = append(d.owners, o)
	}
	e.accuse(d, e.accusingCells(s, d.track))
	return d
}

func (e *Engine) newDomain(name Domain) *domain {
	d := &domain{Domain: name, track: trackEdge, ownerSites: map[int]int{}}
	if name.Kind == KindOrigin {
		d.track = trackSite
	}
	e.domainOf[name] = d
	e.domains = append(e.domains, d)
	return d
}

func (e *Engine) accusingCells(s, track int) int {
	n := 0
	for l := range e.lanes {
		n += btoi(e.cell(s, l).tracks[track].since != 0)
	}
	return n
}

// leave takes site s out of its CDN.
func (e *Engine) leave(s int) {
	d := e.sites[s].cdn
	if d == nil {
		return
	}
	e.sites[s].cdn = nil
	d.members = slices.DeleteFunc(d.members, func(m int) bool { return m == s })
	e.accuse(d, -e.accusingCells(s, d.track))
	o := e.sites[s].owner
	if d.ownerSites[o]--; d.ownerSites[o] == 0 {
		delete(d.ownerSites, o)
		d.owners = slices.DeleteFunc(d.owners, func(x int) bool { return x == o })
	}
}

// tally is what is known of a domain's members at one moment. Sites of one owner are one witness, lanes of one vantage
// likewise. Only the families in which it fails count: a CDN may lose one of them alone.
type tally struct {
	onset    stamp             // of the earliest spell that counts; 0 = none
	fails    [numFamilies]bool // with such a spell
	owners   int               // of all members that are looked at over those
	seen     int               // owners with an answer for or against since the onset
	failing  int               // owners with a new accusing spell at a trusted vantage
	edge     int               // those of them whose newest answer names the edge
	sites    int               // failing sites
	ofSites  int               // sites seen
	vantages []int             // numbers of the vantages that show it
	witness  int               // vantages healthy and seen
	without  int               // failing owners, were the most telling vantage left out
	suspects int               // owners with a new accusing spell at any vantage that is not sick
}

// mark is the scratch of a tally for one owner.
type mark struct {
	member, seen, failing, edge, suspect bool
	only                                 int // the one vantage that shows him failing; -1 = several
}

// fresh tells whether a spell is a new one that followed good answers: an onset. Sites that were bad all along, or never
// seen well, are no evidence.
func (e *Engine) fresh(t *track) bool {
	return t.since != 0 && t.good != 0 && e.now.sub(t.since) <= e.p.Window
}

func (e *Engine) tally(d *domain) tally {
	t := tally{owners: len(d.owners)}
	e.tallyOnset(d, &t)
	if t.onset == 0 {
		return t
	}
	for _, o := range d.owners {
		e.ownerSeen[o] = mark{}
	}
	shows := make([]bool, e.places)
	sees := make([]bool, e.places)
	for _, s := range d.members {
		if e.sites[s].inAny(t.fails) {
			e.tallySite(d, s, &t, shows, sees)
		}
	}
	alone := make([]int, e.places)
	t.owners = 0
	for _, o := range d.owners {
		m := &e.ownerSeen[o]
		t.owners += btoi(m.member)
		t.seen += btoi(m.seen)
		t.failing += btoi(m.failing)
		t.edge += btoi(m.edge)
		t.suspects += btoi(m.suspect)
		if m.failing && m.only >= 0 {
			alone[m.only]++
		}
	}
	t.without = t.failing - slices.Max(alone)
	for v := range e.places {
		t.witness += btoi(sees[v])
		if shows[v] {
			t.vantages = append(t.vantages, v)
		}
	}
	return t
}

// tallyOnset finds when the domain began to fail, and over which families.
func (e *Engine) tallyOnset(d *domain, t *tally) {
	for _, s := range d.members {
		for l := range e.lanes {
			tr := &e.cell(s, l).tracks[d.track]
			if e.lanes[l].sick || !e.fresh(tr) {
				continue
			}
			t.onset = sooner(t.onset, tr.since)
			t.fails[e.family(l)] = true
		}
	}
}

func (e *Engine) tallySite(d *domain, s int, t *tally, shows, sees []bool) {
	m := &e.ownerSeen[e.sites[s].owner]
	m.member = true
	failing, seen := false, false
	for l := range e.lanes {
		c := e.cell(s, l)
		tr := &c.tracks[d.track]
		if e.lanes[l].sick || !t.fails[e.family(l)] || max(tr.good, tr.last) < t.onset {
			continue
		}
		v := e.place(l)
		seen, sees[v] = true, true
		if !e.fresh(tr) {
			continue
		}
		m.suspect = true
		if e.lanes[l].vouched < t.onset {
			continue
		}
		switch {
		case !m.failing:
			m.only = v
		case m.only != v:
			m.only = -1
		}
		m.failing, failing, shows[v] = true, true, true
		m.edge = m.edge || namesEdge(c)
	}
	m.seen = m.seen || seen
	t.sites += btoi(failing)
	t.ofSites += btoi(seen)
}

// controlTally counts the sites outside a domain that were seen since the onset at healthy vantages, and those of them
// that fail anew.
func (e *Engine) controlTally(d *domain, onset stamp) (seen, failing, vantages int) {
	at := make([]bool, e.places)
	for s := range e.sites {
		if e.sites[s].domain(d.track) == d {
			continue
		}
		saw, bad := false, false
		for l := range e.lanes {
			c := e.cell(s, l)
			if e.lanes[l].sick || c.at < onset {
				continue
			}
			saw, at[e.place(l)] = true, true
			tr := &c.tracks[trackSite]
			bad = bad || (e.fresh(tr) && tr.since >= onset.add(-e.p.ClearAfter))
		}
		seen += btoi(saw)
		failing += btoi(bad)
	}
	for v := range at {
		vantages += btoi(at[v])
	}
	return seen, failing, vantages
}

// enriched is the chance, under the hypergeometric law (Fisher's exact test, one-sided), that at least k of n members
// fail when k+c of all n+m do: small means that membership matters.
func enriched(k, n, c, m int) float64 {
	choose := func(a, b int) float64 {
		x, _ := math.Lgamma(float64(a + 1))
		y, _ := math.Lgamma(float64(b + 1))
		z, _ := math.Lgamma(float64(a - b + 1))
		return x - y - z
	}
	p := 0.0
	for j := k; j <= min(n, k+c); j++ {
		if k+c-j <= m {
			p += math.Exp(choose(n, j) + choose(m, k+c-j) - choose(n+m, k+c))
		}
	}
	return min(p, 1)
}

// proof is the answer to: does the domain fail as one?
type proof struct {
	page    bool
	notice  string // kind of the notice that is due if it stays so; "" = nothing to tell
	reasons []string
}

// prove applies the gates. All must hold for a page; each failure to hold is a reason, in words.
func (e *Engine) prove(d *domain, t *tally) proof {
	minV := min(e.p.MinVantages, e.places)
	if t.failing < e.p.MinOwners {
		return proof{}
	}
	if len(t.vantages) < minV || (e.places > 1 && t.without < min(2, e.p.MinOwners)) {
		return proof{notice: NoticeUnreachableFrom}
	}
	if t.seen < min(12, (t.owners+1)/2) {
		return proof{} // the sweep will show the rest
	}
	p := proof{page: true}
	say := func(format string, args ...any) { p.reasons = append(p.reasons, fmt.Sprintf(format, args...)) }
	share := float64(t.failing) / float64(t.seen)
	named := float64(t.edge) / float64(t.failing)
	switch {
	case named >= 0.6:
		say("%d of %d failing owners get answers that name %s itself as the failing part", t.edge, t.failing, d.Name)
	case share >= e.p.MinShare:
		say("%d of the %d owners seen since the onset fail together", t.failing, t.seen)
	default:
		return proof{notice: NoticeCofailure}
	}
	return e.proveByControls(d, t, p, say)
}

// leastControls is the number of sites outside a domain that must have been seen since the onset.
const leastControls = 6

func (e *Engine) proveByControls(d *domain, t *tally, p proof, say func(string, ...any)) proof {
	seen, failing, vantages := e.controlTally(d, t.onset)
	have := len(e.sites) - len(d.members)
	if have >= leastControls && (seen < leastControls || vantages < min(2, e.places)) {
		return proof{} // wanted, on their way
	}
	if failing >= 2 && failing*10 >= seen {
		if enriched(t.failing, t.seen, failing, seen) > 1e-3 {
			return proof{notice: NoticeCofailure}
		}
	}
	if have < leastControls {
		say("there is no control group: fewer than %d sites outside %s are watched", leastControls, d.Name)
	} else {
		say("%d of %d sites outside %s answer, from the same vantages", seen-failing, seen, d.Name)
	}
	return p
}

func namesEdge(c *cell) bool { return c.fault == probe.FaultEdge }

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}
