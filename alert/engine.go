package alert

import (
	"maps"
	"net/netip"
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

	labels      []string  // that are domains
	domains     []*domain // in the order of their making
	domainOf    map[Domain]*domain
	way         *domain // all sites: the path to them
	couldPage   int     // domains with enough owners
	recount     bool    // that is to be counted anew
	owners      []string
	ownerNo     map[string]int
	allOwners   int               // distinct ones among the sites, anchors included
	together    map[pair]int      // how often two sites of different owners failed together
	authorities map[string]string // names of certificate authorities, by their organisations
	ended       []ended           // the last spells that are over, the oldest first
	regroup     bool              // sites may belong together otherwise than they do
	regrouped   stamp

	incidents []*incident // not resolved, the oldest first
	resolved  []Incident  // the last ones, the newest first
	samples   []sample    // first failing answers, see remember
	sampled   map[int]int // how many of them each site has

	wants   []Want // asked for since the last Advance
	wantID  uint64
	turn    int               // rotates whom sweeps choose
	swept   stamp             // the last sweep
	notices []Notice          // decided since the last Advance
	told    map[string]Notice // notices that are not over, by Key
	seems   map[string]stamp  // since when what may become a notice is so, by Key
	failing int               // sites with a spell
	late    int               // cells that are late
	ripe    stamp             // when late cells are to be looked at again
	unwell  bool              // something failed, or was late, when domains were last judged
	touched bool              // something began to fail or ended since the last scan
	scanned stamp             // the last scan
	slow    stamp             // the last slow scan
	learned map[uint64]string // what Dirty last gave, by site key

	odd      []int         // sites with an oddity
	review   stamp         // when those are to be looked at; 0 = not before something changes
	reviewed stamp         // when they were last
	settling time.Duration // how long a slow spell lasts before it is told: by then the anchors have been looked at too
	blind    blindness

	placesNext stamp // when every place is to be looked at by itself

	spare []*spell // spells for use
	scratch
}

// scratch is memory that is used again.
type scratch struct {
	belongs         []belonging
	cases           []aCase
	atPlaces        []int
	witnesses       []witness
	scorers         [mostOnsets]scorer
	counting        []bool // by lane
	shows           []int  // by place, as the next two
	seenAt, failsAt []int
	marks           []mark // by owner
	epoch           int
}

// site is one watched site.
type site struct {
	*probe.Site
	key      uint64
	owner    int
	in       []belonging // its domains
	traits   [numTraits]trait
	baseline baseline
	spell    *spell    // nil = it is well
	rests    *spell    // the last one, if that was confirmed; it may go on
	claim    *incident // the shared incident that it is part of; nil = none
	late     int       // cells that are late
	added    stamp     // since when it is watched
	asked    stamp     // when other vantages were last asked about it
	swept    stamp     // when a sweep last asked about it
	odd      *oddity   // what is unusual about it; nil = nothing
	lanes    [numFamilies]bool

	addr      netip.AddrPort    // of its own server, where no CDN is before it
	addrs     [4]netip.AddrPort // others that it was seen at
	nextAddr  int
	certNames uint64 // see probe.TLSInfo.Names
}

// fails tells whether a part of the site fails.
func (s *site) fails(p parts) bool { return s.spell != nil && s.spell.since[p.index()] != 0 }

// claimed tells whether the site's failure is explained by an incident of another domain than d.
func (s *site) claimed(d *domain) bool { return s.claim != nil && s.claim.d != d }

func (s *site) memberOf(d *domain) bool {
	for _, in := range s.in {
		if in.domain == d {
			return true
		}
	}
	return false
}

// New starts an engine on a world, with what an earlier one saved.
func New(now time.Time, p Policy, w World, saved Saved) *Engine {
	e := &Engine{
		p: p, start: stampOf(now), now: stampOf(now),
		domainOf: map[Domain]*domain{}, ownerNo: map[string]int{}, told: map[string]Notice{}, learned: map[uint64]string{},
		together: map[pair]int{}, authorities: map[string]string{},
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
	e.owners, e.ownerNo = nil, map[string]int{}
	old, oldNo := e.sites, e.siteNo
	e.sites, e.siteNo = make([]site, len(all)), make(map[string]int, len(all))
	e.cells = make([]cell, len(all)*len(e.lanes))
	e.labels = slices.Clone(w.Labels)
	e.domains, e.domainOf = nil, map[Domain]*domain{}
	e.way = e.domain(Domain{KindPath, ""})
	e.wants = e.wants[:0] // they may name what is gone
	e.samples, e.sampled, e.ended, e.failing, e.late = nil, map[int]int{}, nil, 0, 0
	e.seems = map[string]stamp{}
	for s, site := range all {
		e.siteNo[site.Name] = s
		e.sites[s] = newSite(e, site)
		if j, ok := oldNo[site.Name]; ok && old[j].key == e.sites[s].key {
			e.keepSite(s, &old[j], oldCells[j*oldLanes:(j+1)*oldLanes], from)
		}
	}
	e.keepPairs(old)
	e.regroupOwners()
	e.setPools()
	e.setScratch()
	for _, i := range e.incidents {
		e.bind(i)
	}
	e.keepOdd(old, from)
	e.endForeign()
	e.touched = true
}

// endForeign ends what was told of vantages and domains that there are no longer, and forgets what was learned of sites that
// are no longer watched.
func (e *Engine) endForeign() {
	for _, key := range slices.Sorted(maps.Keys(e.told)) {
		n := e.told[key]
		_, there := e.vantageNo[n.Vantage]
		gone := n.Vantage != "" && !there
		switch n.Kind {
		case NoticeCofailure, NoticeMassBlock, NoticeUnreachableFrom, NoticeVantageBlocked:
			gone = gone || e.domainOf[n.Domain] == nil && n.Domain.Kind != KindPath
		}
		if gone {
			e.untell(key, "what it was about is no longer watched")
		}
	}
	keys := map[uint64]bool{}
	for s := range e.sites {
		keys[e.sites[s].key] = true
	}
	maps.DeleteFunc(e.learned, func(key uint64, _ string) bool { return !keys[key] })
}

func newSite(e *Engine, s *probe.Site) site {
	x := site{Site: s, key: s.Key(), owner: e.owner(s.Owner), lanes: lanesOf(s), added: e.now}
	x.baseline.from = e.now
	if s.CDN != "" {
		x.traits[traitCDN][0].name, x.traits[traitCDN][0].seen = s.CDN, e.now
	}
	return x
}

// keepSite takes over what is known of site s; from tells the old number of each lane.
func (e *Engine) keepSite(s int, was *site, cells []cell, from []int) {
	si := &e.sites[s]
	configured := si.traits[traitCDN]
	si.traits, si.baseline, si.asked, si.swept, si.added = was.traits, was.baseline, was.asked, was.swept, was.added
	si.addr, si.addrs, si.nextAddr, si.certNames = was.addr, was.addrs, was.nextAddr, was.certNames
	if si.CDN != "" {
		si.traits[traitCDN] = configured
	} else if was.CDN != "" {
		si.traits[traitCDN] = trait{}
	}
	for l := range e.lanes {
		if from[l] < 0 || !e.uses(s, l) {
			continue
		}
		c := e.cell(s, l)
		*c = cells[from[l]]
		if was.Anchor != si.Anchor {
			c.habit, c.tempo = 0, 0
		}
		si.late += btoi(c.late != 0)
	}
	e.late += si.late
	if was.spell != nil {
		was.spell.renumber(from)
		if !was.spell.over() {
			si.spell = was.spell
			e.failing++
		}
	}
}

func (e *Engine) keepPairs(old []site) {
	was := e.together
	e.together = map[pair]int{}
	for p, n := range was {
		a, ok1 := e.siteNo[old[p[0]].Name]
		b, ok2 := e.siteNo[old[p[1]].Name]
		if ok1 && ok2 {
			e.together[pair{min(a, b), max(a, b)}] = n
		}
	}
}

func (e *Engine) setScratch() {
	e.counting = make([]bool, len(e.lanes))
	e.shows, e.seenAt, e.failsAt = make([]int, e.places), make([]int, e.places), make([]int, e.places)
	e.marks = make([]mark, len(e.owners))
	seen := make([]bool, len(e.owners))
	e.allOwners = 0
	for s := range e.sites {
		o := e.sites[s].owner
		e.allOwners += btoi(!seen[o])
		seen[o] = true
	}
}

func (e *Engine) cell(s, l int) *cell { return &e.cells[s*len(e.lanes)+l] }

// lanesUsed is how many lanes site s is looked at in.
func (e *Engine) lanesUsed(s int) int {
	return e.places * (btoi(e.sites[s].lanes[0]) + btoi(e.sites[s].lanes[1]))
}

// Bounds of when a result may be known.
const (
	mostAhead = 5 * time.Second // of now: the clocks of two hosts differ
	mostLate  = time.Minute     // an older one is history, and no evidence of what is so now
)

// onTime tells whether a result that became known at at is news. A lane whose results keep coming from the future has a
// clock that is wrong.
func (e *Engine) onTime(l int, at stamp) bool {
	la := &e.lanes[l]
	if at > e.now.add(mostAhead) {
		if la.ahead++; la.ahead == clockInARow {
			e.tell(la.clockNotice("the clock of vantage %s is ahead by %s: its results do not count until it is set right; see to NTP there", la.Name, rough(at.sub(e.now))))
		}
		return false
	}
	if la.ahead >= clockInARow {
		e.untell(la.clockNotice("").Key, "the clock of vantage "+la.Name+" is right again")
	}
	la.ahead = 0
	return e.now.sub(at) <= mostLate
}

// Observe takes one result. It is O(1), but for the fall or the recovery of a lane, and allocates nothing when all is
// well. Results of unknown sites and vantages, of lanes that the site does not use, and such as come from the future or
// too late, are left out.
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
	if !ok || !e.onTime(l, stampOf(r.At)) {
		return
	}
	c := e.cell(s, l)
	at := stampOf(r.At)
	e.lanes[l].last = max(e.lanes[l].last, at)
	if r.Pending {
		if at.add(-r.Time.Total) > c.begun {
			e.lateAnswer(s, l, c, r, at)
		}
		return
	}
	if at.add(-r.Time.Total) == c.begun {
		return // it is known already
	}
	e.checkup(s, l, r, at)
	if c.late != 0 {
		e.isLate(s, c, 0)
	}
	if e.lanes[l].sick || r.Fault == probe.FaultLocal {
		return
	}
	if e.hear(s, l, c, r) {
		e.notice(s, l, c, r)
	}
}

// hear enters a final result of a healthy lane. It tells whether it is the newest of its cell.
func (e *Engine) hear(s, l int, c *cell, r *probe.Result) (newest bool) {
	at := stampOf(r.At)
	begun := at.add(-r.Time.Total)
	accused, well := weigh(r)
	si := &e.sites[s]
	x := note{begun: begun, lane: uint16(l), accused: accused, well: well, named: r.Fault == probe.FaultEdge}
	for p := range (accused & c.accused).each {
		if c.chronic(p, begun, e.p.Window) {
			x.accused &^= p
		}
	}
	newest = begun > c.begun
	turned := c.turned
	var fresh parts
	if newest {
		hides := r.Fault == probe.FaultBlocked
		fresh = c.hear(accused, well, hides, begun, at)
		switch {
		case !hides:
			c.block = 0
		case c.class == probe.ClassOK:
			c.block = begun
		}
		c.class, c.fault = r.Class, r.Fault
		if hides && si.spell != nil {
			e.hide(s)
		}
	}
	e.heedLoss(s, l, fresh&partPath != 0 && turned != 0 && begun.sub(turned) <= e.p.Window)
	if si.spell != nil || fresh != 0 {
		e.hearSpell(s, l, x, fresh, r)
	}
	switch {
	case accused == 0 && newest && well&partSite != 0 && !si.Anchor:
		e.learn(s, r)
	case accused&partEdge != 0 && r.CDN != "" && !si.Anchor && si.CDN == "" && si.traits[traitCDN][0].seen == 0:
		si.traits[traitCDN].heed(r.CDN, e.now) // remembered by the prober from before our time
		e.enlist(s)
	case well&partEdge != 0 && r.CDN != "" && r.Fault == probe.FaultBlocked && newest && !si.Anchor && si.CDN == "" && si.traits[traitCDN][0].name != r.CDN:
		if si.traits[traitCDN].heed(r.CDN, e.now) { // a challenge shows whose edge it is
			e.enlist(s)
		}
	}
	return newest
}

// hearSpell enters an answer of a site that is not well, or just begins not to be.
func (e *Engine) hearSpell(s, l int, x note, fresh parts, r *probe.Result) {
	si := &e.sites[s]
	if si.spell == nil {
		e.beginSpell(si)
	}
	sp := si.spell
	began, ended := sp.hear(x, fresh, func(p parts) stamp { return e.newestWell(s, p, x.begun) }, e.lanesUsed(s), e.p.ClearAfter, e.newsOf(si))
	e.tick(si, began, ended, x.accused)
	if began != 0 {
		e.remember(s, r)
		e.suspect(s, l, began)
	}
	if sp.over() {
		e.endSpell(s)
	}
}

// tick counts in the domains of a site what began and what ended in it.
func (e *Engine) tick(si *site, began, ended, accused parts) {
	for _, in := range si.in {
		d := in.domain
		n := btoi(d.part&began != 0) - btoi(d.part&ended != 0)
		d.failing += n
		if n != 0 || d.part&accused != 0 {
			d.touched, e.touched = true, true
		}
		if d.part&began != 0 {
			d.began = e.now
		}
	}
}

// newestWell is when the newest answer before t that showed a part of site s at work began.
func (e *Engine) newestWell(s int, p parts, t stamp) stamp {
	var newest stamp
	for l := range e.lanes {
		if c := e.cell(s, l); c.said&c.well&p != 0 && c.begun < t {
			newest = max(newest, c.begun)
		}
	}
	return newest
}

// hide ends what a block hides, unless another lane still sees it fail: how the site is can no longer be seen.
func (e *Engine) hide(s int) {
	sp := e.sites[s].spell
	hidden := sp.failing() & wholeSite
	for l := range e.lanes {
		if c := e.cell(s, l); !e.lanes[l].sick {
			hidden &^= c.said & c.accused
		}
	}
	for p := range hidden.each {
		sp.since[p.index()] = 0
	}
	e.tick(&e.sites[s], noParts, hidden, noParts)
	if sp.over() {
		e.endSpell(s)
	}
}

// beginSpell begins a spell of a site, or goes on with the last one if that is over only just now.
func (e *Engine) beginSpell(si *site) {
	e.failing++
	if sp := si.rests; sp != nil && e.now.sub(sp.ended) <= e.p.ClearAfter && e.now.sub(sp.first) <= e.newsOf(si) {
		si.spell, si.rests = sp, nil
		si.baseline.unlearn(sp)
		return
	}
	si.spell = e.newSpell()
}

func (e *Engine) newSpell() *spell {
	if n := len(e.spare); n > 0 {
		sp := e.spare[n-1]
		e.spare = e.spare[:n-1]
		*sp = spell{}
		return sp
	}
	return new(spell)
}

// mostSpare bounds the spells that are kept for use.
const mostSpare = 1024

func (e *Engine) endSpell(s int) {
	si := &e.sites[s]
	sp := si.spell
	si.spell = nil
	e.failing--
	e.settleSpell(s, sp)
	sp.ended = e.now
	if sp.confirmed {
		sp, si.rests = si.rests, sp
	}
	if sp != nil && len(e.spare) < mostSpare {
		e.spare = append(e.spare, sp)
	}
}

// forget drops what a lane has said since from: it was the lane's own failure.
func (e *Engine) forget(l int, from stamp) {
	for s := range e.sites {
		c, si := e.cell(s, l), &e.sites[s]
		if c.late != 0 {
			e.isLate(s, c, 0)
		}
		if c.turned >= from && c.accused != 0 {
			c.accused, c.well, c.said, c.since = 0, c.well|c.accused, 0, 0 // as it was before
		}
		si.rests = nil
		if si.spell == nil {
			continue
		}
		e.tick(si, noParts, si.spell.forget(l, from), noParts)
		if si.spell.over() {
			si.spell.shared = true // it was no failure of the site
			e.endSpell(s)
		}
	}
}

// sample is the first accusing answer of a site's present spell at a vantage, kept for evidence.
type sample struct {
	site   int
	result probe.Result
}

// maxSamples bounds the first failing answers that are kept for incidents to come.
const maxSamples = 256

// remember keeps the first failing answer of a site for incidents to come.
func (e *Engine) remember(s int, r *probe.Result) {
	for n := 0; e.sampled[s] > 0 && n < len(e.samples); n++ {
		x := &e.samples[n]
		switch {
		case x.site != s:
		case e.now.sub(stampOf(x.result.At)) > e.p.Window:
			e.dropSample(n)
			n--
		case x.result.Vantage == r.Vantage:
			return
		}
	}
	if len(e.samples) >= maxSamples {
		e.dropSample(0)
	}
	e.samples = append(e.samples, sample{s, *r})
	e.sampled[s]++
}

func (e *Engine) dropSample(n int) {
	s := e.samples[n].site
	if e.sampled[s]--; e.sampled[s] == 0 {
		delete(e.sampled, s)
	}
	e.samples = slices.Delete(e.samples, n, n+1)
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
		e.tidyUp()
		if unwell := e.failing+e.late > 0; (unwell || e.unwell) && !quiet {
			e.unwell = unwell
			e.judge(slow, out)
		}
		if slow {
			e.live(out)
			e.lookAtPlaces()
			e.giveUpLate()
			if !quiet {
				e.watchBlind(out)
			}
		}
		if at := e.reviewAt(); at != 0 && at <= e.now {
			e.reviewOdd()
		}
		e.touched, e.scanned = false, e.now
	}
	slices.SortStableFunc(e.wants, func(a, b Want) int { return int(a.Why) - int(b.Why) }) // whether a vantage is well comes first
	out.Want = append(out.Want, e.wants...)
	out.Notices = append(out.Notices, e.notices...)
	e.wants, e.notices = e.wants[:0], e.notices[:0]
}

// Between two looks at who belongs together lies so much for each site, for a look takes as much longer; and at least a second.
const regroupEach = 6 * time.Millisecond

// tidyUp brings owners and the count of domains up to date.
func (e *Engine) tidyUp() {
	if e.regroup && e.now.sub(e.regrouped) >= max(time.Second, time.Duration(len(e.sites))*regroupEach) {
		e.regrouped = e.now
		e.regroupOwners()
		e.setScratch()
	}
	e.countDomains()
}

// Next is when Advance wants to be called at the latest; the zero time = not before the next Observe.
func (e *Engine) Next() time.Time {
	busy := len(e.incidents) > 0 || e.failing+e.late > 0
	for l := range e.lanes {
		busy = busy || e.lanes[l].sick || e.lanes[l].checking
	}
	at := e.reviewAt()
	for _, next := range [...]stamp{e.blindAt(), e.placesNext} {
		if next != 0 {
			at = sooner(at, max(next, e.slow.add(e.p.SlowEvery)))
		}
	}
	switch {
	case e.touched || len(e.wants) > 0 || len(e.notices) > 0:
		at = sooner(at, e.scanned.add(e.p.ScanEvery))
	case busy:
		at = sooner(at, e.scanned.add(e.p.SlowEvery))
	}
	return at.time()
}

// SetPolicy changes the numbers by which the engine decides from now on.
func (e *Engine) SetPolicy(p Policy) { e.p, e.recount = p, true }
