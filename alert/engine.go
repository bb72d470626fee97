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

	vantages  []vantage
	vantageNo map[string]int
	sites     []site
	siteNo    map[string]int
	anchors   []int  // site numbers
	controls  bool   // there are too few anchors: every site serves as one
	cells     []cell // sites[s] at vantages[v] is cells[s*len(vantages)+v]

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
}

// site is one watched site.
type site struct {
	*probe.Site
	key    uint64
	owner  int
	cdn    *domain // its edge; nil = none known
	origin *domain // its owner
	asked  stamp   // when other vantages were last asked about it
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
	oldCells, oldSites, oldVantages, oldNo := e.cells, e.siteNo, e.vantageNo, len(e.vantages)
	old, oldV := e.sites, e.vantages
	e.vantages, e.vantageNo = make([]vantage, len(w.Vantages)), make(map[string]int, len(w.Vantages))
	for i, v := range w.Vantages {
		e.vantages[i] = vantage{Vantage: v}
		if j, ok := oldVantages[v.Name]; ok {
			e.vantages[i] = oldV[j]
			e.vantages[i].Vantage = v
		}
		e.vantageNo[v.Name] = i
	}
	for _, d := range e.domains {
		d.members, d.owners, d.ownerSites, d.accusing = nil, nil, map[int]int{}, 0
	}
	e.accusing = 0
	all := slices.Concat(w.Sites, w.Anchors)
	e.sites, e.siteNo, e.anchors = make([]site, len(all)), make(map[string]int, len(all)), nil
	e.cells = make([]cell, len(all)*len(e.vantages))
	e.samples = nil
	for i, s := range all {
		e.siteNo[s.Name] = i
		e.sites[i] = site{Site: s, key: s.Key(), owner: e.owner(s.Owner)}
		if s.Anchor {
			e.anchors = append(e.anchors, i)
		}
		j, ok := oldSites[s.Name]
		kept := ok && old[j].key == e.sites[i].key
		if kept {
			for v := range e.vantages {
				if u, ok := oldVantages[e.vantages[v].Name]; ok {
					e.cells[i*len(e.vantages)+v] = oldCells[j*oldNo+u]
				}
			}
		}
		if s.Anchor {
			continue
		}
		e.join(i, &e.sites[i].origin, Domain{KindOrigin, s.Owner})
		switch {
		case s.CDN != "":
			e.join(i, &e.sites[i].cdn, Domain{KindCDN, s.CDN})
		case kept && old[j].cdn != nil:
			e.join(i, &e.sites[i].cdn, old[j].cdn.Domain)
		}
	}
	for _, i := range e.incidents {
		e.bind(i)
	}
	e.controls = len(e.anchors) < 3
	e.touched = true
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

func (e *Engine) cell(s, v int) *cell { return &e.cells[s*len(e.vantages)+v] }

// Observe takes one result. It is O(1), but for the fall or the recovery of a vantage, and allocates nothing when all is
// well. Results of unknown sites and vantages, and such as are older than what is known, are left out.
func (e *Engine) Observe(now time.Time, r *probe.Result) {
	e.now = max(e.now, stampOf(now))
	s, ok := e.siteNo[r.Site]
	if !ok {
		return
	}
	v, ok := e.vantageNo[r.Vantage]
	if !ok {
		return
	}
	c := e.cell(s, v)
	at := stampOf(r.At)
	if at < c.at || at > e.now.add(time.Minute) {
		return
	}
	e.vantages[v].last = at
	if r.Pending {
		if !c.pending {
			c.pending = true
			e.checkup(s, v, r, at)
			e.suspect(s, v)
		}
		return
	}
	e.checkup(s, v, r, at)
	c.pending = false
	if e.vantages[v].sick || r.Fault == probe.FaultLocal {
		return
	}
	e.hear(s, v, c, r)
}

// hear enters a final result of a healthy vantage into its cell and its domains.
func (e *Engine) hear(s, v int, c *cell, r *probe.Result) {
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
			e.suspect(s, v)
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
	e.watchVantages()
	if e.now.sub(e.scanned) >= e.p.ScanEvery {
		slow := e.now.sub(e.slow) >= e.p.SlowEvery
		if slow {
			e.slow = e.now
		}
		if e.accusing > 0 && !quiet {
			e.judge(slow, out)
		}
		e.live(out)
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
	busy := len(e.incidents) > 0 || len(e.wants) > 0 || len(e.notices) > 0
	for i := range e.vantages {
		busy = busy || e.vantages[i].sick || e.vantages[i].checking
	}
	busy = busy || e.accusing > 0
	switch {
	case e.touched || len(e.wants) > 0 || len(e.notices) > 0:
		return e.scanned.add(e.p.ScanEvery).time()
	case busy:
		return e.scanned.add(e.p.SlowEvery).time()
	}
	return time.Time{}
}

// SetPolicy changes the numbers by which the engine decides from now on.
func (e *Engine) SetPolicy(p Policy) { e.p = p }
