package alert

import (
	"slices"
	"time"

	"faultline/probe"
)

// Engine judges failure domains. It is a state machine of events and the time that its caller gives. One goroutine
// owns it.
type Engine struct {
	p     Policy
	start stamp // nothing is decided before start + Quiet
	now   stamp // the newest time seen

	lanes     []lane
	places    int            // how many vantages there are
	vantageNo map[string]int // vantages by name; the number is that of the main lane
	sites     []site
	siteNo    map[string]int
	pools     [numFamilies]pool
	cells     []cell // sites[s] in lanes[l] is cells[s*len(lanes)+l]

	domains   []*domain // in the order of their making
	domainOf  map[Domain]*domain
	owners    []string
	ownerNo   map[string]int
	ownerSeen []mark // scratch of a tally, by owner number

	incidents []*incident // not resolved, the oldest first
	resolved  []Incident  // the last ones, the newest first
	samples   []sample    // newest accusing answer per cell that has one, see remember

	wants    []Want // asked for since the last Advance
	wantID   uint64
	turn     int               // rotates whom sweeps choose
	notices  []Notice          // decided since the last Advance
	told     map[string]Notice // notices that are not over, by Key
	accusing int               // of all domains
	touched  bool              // something accused or recovered since the last scan
	scanned  stamp             // the last scan
	slow     stamp             // the last slow scan
	learned  map[uint64]string // what Dirty last gave, by site key

	odd      []int         // sites with an oddity
	review   stamp         // when those are to be looked at; 0 = not before something changes
	reviewed stamp         // when they were last
	settling time.Duration // how long a slow spell lasts before it is told: by then the anchors have been looked at too
}

// site is one watched site.
type site struct {
	*probe.Site
	key    uint64
	owner  int
	cdn    *domain // its edge; nil = none known
	origin *domain // its owner
	asked  stamp   // when other vantages were last asked about it
	odd    *oddity // what is unusual about it; nil = nothing
	lanes  [numFamilies]bool
}

// sample is the first accusing answer of a site's present spell, kept for evidence.
type sample struct {
	site   int
	result probe.Result
}

// maxSamples bounds the first failing answers that are kept for incidents to come.
const maxSamples = 256

// keptResolved is how many resolved incidents a View shows.
const keptResolved = 50

// New starts an engine on a world, with what an earlier one saved.
func New(now time.Time, p Policy, w World, saved Saved) *Engine {
	e := &Engine{
		p: p, start: stampOf(now), now: stampOf(now),
		domainOf: map[Domain]*domain{}, ownerNo: map[string]int{}, told: map[string]Notice{}, learned: map[uint64]string{},
	}
	e.setWorld(w)
	e.recall(saved.Learned)
	for i := range saved.Incidents {
		e.restore(saved.Incidents[i])
	}
	return e
}

// SetWorld changes what is watched; what is known of those that stay is kept.
func (e *Engine) SetWorld(now time.Time, w World) {
	e.now = max(e.now, stampOf(now))
	e.setWorld(w)
}

func (e *Engine) setWorld(w World) {
	all := slices.Concat(w.Sites, w.Anchors)
	oldCells, oldLanes := e.cells, len(e.lanes)
	from := e.setLanes(w, all)
	for _, d := range e.domains {
		d.members, d.owners, d.ownerSites, d.accusing = nil, nil, map[int]int{}, 0
	}
	e.accusing, e.samples = 0, nil
	old, oldNo := e.sites, e.siteNo
	e.sites, e.siteNo = make([]site, len(all)), make(map[string]int, len(all))
	e.cells = make([]cell, len(all)*len(e.lanes))
	for i, s := range all {
		e.siteNo[s.Name] = i
		e.sites[i] = site{Site: s, key: s.Key(), owner: e.owner(s.Owner), lanes: lanesOf(s)}
		var was *site
		if j, ok := oldNo[s.Name]; ok && old[j].key == e.sites[i].key {
			was = &old[j]
			e.keepCells(i, oldCells[j*oldLanes:(j+1)*oldLanes], from)
		}
		e.joinAll(i, was)
	}
	for _, i := range e.incidents {
		e.bind(i)
	}
	e.setPools()
	e.keepOdd(old, from)
	e.touched = true
}

// keepCells takes over what is known of site s; from tells the old number of each lane.
func (e *Engine) keepCells(s int, cells []cell, from []int) {
	for l := range e.lanes {
		if from[l] >= 0 && e.uses(s, l) {
			*e.cell(s, l) = cells[from[l]]
		}
	}
}

// joinAll makes site s a member of its domains; was is what it was in the world before, nil = no part of it.
func (e *Engine) joinAll(s int, was *site) {
	si := &e.sites[s]
	if si.Anchor {
		return
	}
	e.join(s, &si.origin, Domain{KindOrigin, si.Owner})
	switch {
	case si.CDN != "":
		e.join(s, &si.cdn, Domain{KindCDN, si.CDN})
	case was != nil && was.cdn != nil:
		e.join(s, &si.cdn, was.cdn.Domain)
	}
}

func (e *Engine) owner(name string) int {
	n, ok := e.ownerNo[name]
	if !ok {
		n = len(e.owners)
		e.owners, e.ownerSeen = append(e.owners, name), append(e.ownerSeen, mark{})
		e.ownerNo[name] = n
	}
	return n
}

func (e *Engine) cell(s, l int) *cell { return &e.cells[s*len(e.lanes)+l] }

// Observe takes one result. It is O(1), but for the fall or the recovery of a lane, and allocates nothing when all is
// well. Results of unknown sites and vantages, of lanes that the site does not use, and such as are older than what is
// known, are left out.
func (e *Engine) Observe(now time.Time, r *probe.Result) {
	e.now = max(e.now, stampOf(now))
	s, ok := e.siteNo[r.Site]
	if !ok {
		return
	}
	p, ok := e.vantageNo[r.Vantage]
	if !ok {
		return
	}
	l, ok := e.laneOf(s, p, r.Family)
	if !ok {
		return
	}
	c := e.cell(s, l)
	at := stampOf(r.At)
	if at < c.at || at > e.now.add(time.Minute) {
		return
	}
	e.lanes[l].last = at
	if r.Pending {
		if !c.pending {
			c.pending = true
			e.checkup(s, l, r, at)
			e.suspect(s, l)
		}
		return
	}
	e.checkup(s, l, r, at)
	c.pending = false
	if e.lanes[l].sick || r.Fault == probe.FaultLocal {
		return
	}
	e.hear(s, l, c, r)
	e.notice(s, l, c, r)
}

// hear enters a final result of a healthy lane into its cell and its domains.
func (e *Engine) hear(s, l int, c *cell, r *probe.Result) {
	at := stampOf(r.At)
	start := at.add(-r.Time.Total)
	c.at, c.class, c.fault = at, r.Class, r.Fault
	for k := range numTracks {
		heard := weigh(k, r)
		began, ended := c.tracks[k].hear(heard, start, at)
		d := e.sites[s].domain(k)
		switch {
		case d != nil:
			e.accuse(d, btoi(began)-btoi(ended))
		case heard == accuses && k == trackEdge && r.CDN != "" && !e.sites[s].Anchor:
			d = e.join(s, &e.sites[s].cdn, Domain{KindCDN, r.CDN}) // remembered by the prober from before our time
		}
		if d != nil && began {
			e.remember(s, r)
			e.suspect(s, l)
		}
		e.touched = e.touched || d != nil && (began || ended || heard == accuses && d.open == nil)
		if heard == speaks && k == trackEdge {
			e.learnCDN(s, r.CDN)
		}
	}
}

// accuse enters that n more cells, or fewer, accuse a domain.
func (e *Engine) accuse(d *domain, n int) {
	d.accusing += n
	e.accusing += n
}

func (s *site) domain(track int) *domain {
	if track == trackEdge {
		return s.cdn
	}
	return s.origin
}

// learnCDN moves a site to the CDN that a good answer shows. A failing answer never does: membership is frozen at the
// last healthy one.
func (e *Engine) learnCDN(s int, cdn string) {
	si := &e.sites[s]
	if si.CDN != "" || si.Anchor || (si.cdn == nil && cdn == "") || (si.cdn != nil && si.cdn.Name == cdn) {
		return
	}
	e.leave(s)
	if cdn != "" {
		e.join(s, &si.cdn, Domain{KindCDN, cdn})
	}
}

// remember keeps the first failing answer of a site for incidents to come.
func (e *Engine) remember(s int, r *probe.Result) {
	e.samples = slices.DeleteFunc(e.samples, func(x sample) bool {
		return x.site == s && e.now.sub(stampOf(x.result.At)) > e.p.Window
	})
	if slices.ContainsFunc(e.samples, func(x sample) bool { return x.site == s && x.result.Vantage == r.Vantage }) {
		return
	}
	if len(e.samples) >= maxSamples {
		e.samples = slices.Delete(e.samples, 0, 1)
	}
	e.samples = append(e.samples, sample{s, *r})
}

// Advance decides what there is to decide at now and appends it to out. It may be called at any time; domains are
// scanned at most every ScanEvery.
func (e *Engine) Advance(now time.Time, out *Effects) {
	e.now = max(e.now, stampOf(now))
	quiet := e.now.sub(e.start) < e.p.Quiet
	e.watchLanes()
	if e.now.sub(e.scanned) >= e.p.ScanEvery {
		slow := e.now.sub(e.slow) >= e.p.SlowEvery
		if slow {
			e.slow = e.now
		}
		if e.accusing > 0 && !quiet {
			e.judge(slow, out)
		}
		e.live(out)
		if at := e.reviewAt(); at != 0 && at <= e.now {
			e.reviewOdd()
		}
		e.touched, e.scanned = false, e.now
	}
	out.Want = append(out.Want, e.wants...)
	out.Notices = append(out.Notices, e.notices...)
	e.wants, e.notices = e.wants[:0], e.notices[:0]
}

// judge looks at every domain that is accused and has no incident. What only time can change is looked at when slow.
func (e *Engine) judge(slow bool, out *Effects) {
	for _, d := range e.domains {
		switch {
		case d.open != nil || d.accusing == 0:
		case d.Kind == KindOrigin:
			if slow {
				e.judgeAlone(d, out)
			}
		case e.touched || slow:
			e.judgeShared(d, out)
		}
	}
}

// Next is when Advance wants to be called at the latest; the zero time = not before the next Observe.
func (e *Engine) Next() time.Time {
	busy := len(e.incidents) > 0 || e.accusing > 0
	for l := range e.lanes {
		busy = busy || e.lanes[l].sick || e.lanes[l].checking
	}
	at := e.reviewAt()
	switch {
	case e.touched || len(e.wants) > 0 || len(e.notices) > 0:
		at = sooner(at, e.scanned.add(e.p.ScanEvery))
	case busy:
		at = sooner(at, e.scanned.add(e.p.SlowEvery))
	}
	return at.time()
}

// sooner is the earlier of two times; 0 = never.
func sooner(a, b stamp) stamp {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// SetPolicy changes the numbers by which the engine decides from now on.
func (e *Engine) SetPolicy(p Policy) { e.p = p }
