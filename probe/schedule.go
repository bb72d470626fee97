package probe

import (
	"encoding/binary"
	"hash/fnv"
	"io"
	"slices"
	"time"
)

// Pace holds the rules of politeness and of thrift that a Schedule keeps.
type Pace struct {
	// PerSite is the least average time between two probes of one site, from all vantages and sweeps together; a burst of
	// one per vantage is allowed on top. Scheduled probes always go: a config must leave them room.
	PerSite time.Duration
	// Refill is the time in which the common budget of sweeps, which grows with the list, fills up again.
	Refill time.Duration
}

// DefaultPace is polite to strangers' sites.
func DefaultPace() Pace { return Pace{PerSite: 2 * time.Second, Refill: 10 * time.Second} }

// leastBudget is the number of sweep probes that even a short list may ask for at once.
const leastBudget = 200

// Schedule says what is to be probed when. Each site × vantage × family has its own phase within the interval, from a hash: it
// survives restarts and changes of the list, and spreads the probes evenly. It is a pure state machine; its
// owner calls it from one goroutine at a time.
type Schedule struct {
	pace     Pace
	vantages []*Vantage
	vantage  map[string]int
	sites    []*Site
	site     map[string]int
	first    []int32 // the first cell of each site: a vantage's for each of its families, the next vantage's, …
	cells    []cell
	heap     []int32 // cell numbers, by due
	rooms    []room  // per site
	budget   room    // of all sweeps
	sweeps   []Task  // asked for and not yet given out
	last     int64   // the newest now seen

	Missed  uint64 // scheduled probes left out: the host slept, or could not keep up
	Held    uint64 // scheduled probes left out because the site had asked for rest (Retry-After)
	Dropped uint64 // sweeps given up because their By had passed
}

// cell is the schedule of one site at one vantage over one family. Times are nanoseconds of Unix time.
type cell struct {
	site    int32
	vantage uint16
	family  Family
	due     int64
	held    int64 // Retry-After: nothing before
	blocked bool  // the last answer was: sweeps leave it alone
	asked   bool  // a sweep is queued or under way
}

// room is a token bucket. What it refills to, and how fast, its user knows.
type room struct {
	tokens float64
	at     int64
}

func (r *room) refill(now int64, size float64, whole time.Duration) {
	if whole > 0 {
		r.tokens = min(size, r.tokens+size*float64(max(0, now-r.at))/float64(whole))
	} else {
		r.tokens = size
	}
	r.at = now
}

// NewSchedule is a schedule without sites. The vantages are fixed.
func NewSchedule(p Pace, vantages []*Vantage) *Schedule {
	s := &Schedule{pace: p, vantages: vantages, vantage: make(map[string]int, len(vantages))}
	for i, v := range vantages {
		s.vantage[v.Name] = i
	}
	return s
}

// SetSites changes what is watched. Sites that stay, by Key and Interval, keep their place in the round and their rest.
func (s *Schedule) SetSites(now time.Time, sites []*Site) {
	t, nv := now.UnixNano(), len(s.vantages)
	old := make(map[uint64]int, len(s.sites))
	for i, site := range s.sites {
		old[site.Key()] = i
	}
	cells := make([]cell, 0, len(sites)*nv)
	first, rooms := make([]int32, len(sites)), make([]room, len(sites))
	index := make(map[string]int, len(sites))
	for i, site := range sites {
		index[site.Name], first[i] = i, int32(len(cells))
		j, kept := old[site.Key()]
		if kept {
			rooms[i] = s.rooms[j]
		} else {
			rooms[i] = room{tokens: float64(nv * len(site.families())), at: t}
		}
		for v := range nv {
			for _, f := range site.families() {
				c := cell{vantage: uint16(v), family: f}
				if was := s.lookup(j, v, f); kept && was != nil {
					c = *was
				}
				c.site = int32(i)
				if c.due == 0 || s.sites[j].Interval != site.Interval {
					c.due = nextDue(site, s.vantages[v], f, t)
				}
				cells = append(cells, c)
			}
		}
	}
	s.sites, s.site, s.first, s.cells, s.rooms = sites, index, first, cells, rooms
	if s.last == 0 {
		s.budget, s.last = room{tokens: s.budgetSize(), at: t}, t
	}
	s.dropStrangers()
	s.order()
}

// dropStrangers forgets sweeps of sites that are no longer watched and points the others at the newest Site.
func (s *Schedule) dropStrangers() {
	kept := s.sweeps[:0]
	for _, t := range s.sweeps {
		if i, ok := s.site[t.Site.Name]; ok && s.lookup(i, s.vantage[t.Vantage.Name], t.Family) != nil {
			t.Site = s.sites[i]
			kept = append(kept, t)
		}
	}
	s.sweeps = kept
}

// Due appends to dst what is to be probed now, sweeps first, and says when to ask again.
func (s *Schedule) Due(now time.Time, dst []Task) (due []Task, next time.Time) {
	t := now.UnixNano()
	if t < s.last-int64(time.Second) { // the clock was set back: what was due by the old one would wait for it
		s.rephase(t)
	}
	s.last = t
	dst = s.dueSweeps(now, dst)
	for len(s.heap) > 0 {
		c := &s.cells[s.heap[0]]
		if c.due > t {
			return dst, time.Unix(0, c.due)
		}
		site, v := s.sites[c.site], s.vantages[c.vantage]
		switch {
		case t < c.held:
			s.Held++
		case t-c.due > tooLate(site.Interval):
			s.Missed++
		default:
			r := &s.rooms[c.site]
			s.refill(int(c.site), t)
			r.tokens = max(r.tokens-1, -s.roomSize(int(c.site)))
			dst = append(dst, Task{Site: site, Vantage: v, Family: c.family, Due: time.Unix(0, c.due), Timeout: site.Timeout})
		}
		c.due += int64(site.Interval)
		if c.due <= t {
			c.due = nextDue(site, v, c.family, t+1)
		}
		s.down(0)
	}
	return dst, now.Add(time.Hour)
}

func (s *Schedule) dueSweeps(now time.Time, dst []Task) []Task {
	for _, task := range s.sweeps {
		if task.By.Before(now) {
			s.Dropped++
			s.cell(task).asked = false
			continue
		}
		task.Due = now
		dst = append(dst, task)
	}
	s.sweeps = s.sweeps[:0]
	return dst
}

// tooLate is how late a probe may start. Beyond it the round goes on without it, so that a host that has slept does not
// burst when it wakes.
func tooLate(interval time.Duration) int64 {
	return int64(max(interval/10, min(interval, 2*time.Second)))
}

// Ask takes in a sweep probe, to be given out by the next Due. A task without a family means the first one of its site. False = not now: unknown, too late, the site blocks us or
// asked for rest, one is under way, or it is over the budget.
func (s *Schedule) Ask(now time.Time, t Task) bool {
	i, known := s.site[t.Site.Name]
	if !known {
		return false
	}
	v, known := s.vantage[t.Vantage.Name]
	if !known || t.By.Before(now) {
		return false
	}
	if t.Family == FamilyAny {
		t.Family = s.sites[i].families()[0]
	}
	n := now.UnixNano()
	c, r := s.lookup(i, v, t.Family), &s.rooms[i]
	if c == nil {
		return false
	}
	s.refill(i, n)
	s.budget.refill(n, s.budgetSize(), s.pace.Refill)
	if c.asked || c.blocked || n < c.held || r.tokens < 1 || s.budget.tokens < 1 {
		return false
	}
	c.asked = true
	r.tokens--
	s.budget.tokens--
	s.sweeps = append(s.sweeps, t)
	return true
}

// Note takes what a final result says of the pace: a wish for rest, a block, a second look that was made.
func (s *Schedule) Note(now time.Time, r *Result) {
	i, known := s.site[r.Site]
	if !known {
		return
	}
	v, known := s.vantage[r.Vantage]
	if !known {
		return
	}
	c := s.lookup(i, v, r.Family)
	if c == nil {
		c = s.lookup(i, v, FamilyAny)
	}
	if c == nil {
		return
	}
	c.blocked = r.Fault == FaultBlocked
	if r.Sweep != 0 {
		c.asked = false
	}
	if r.RetryAfter > 0 {
		c.held = now.Add(r.RetryAfter).UnixNano()
	}
	if r.Attempt > 1 {
		s.refill(i, now.UnixNano())
		s.rooms[i].tokens--
	}
}

// roomSize is the burst that site i allows: one for each vantage and family.
func (s *Schedule) roomSize(i int) float64 {
	return float64(len(s.vantages) * len(s.sites[i].families()))
}

func (s *Schedule) refill(i int, now int64) {
	size := s.roomSize(i)
	s.rooms[i].refill(now, size, time.Duration(size)*s.pace.PerSite)
}

// lookup finds the cell of site i; nil = it has none there.
func (s *Schedule) lookup(i, v int, f Family) *cell {
	if i >= len(s.sites) {
		return nil
	}
	fams := s.sites[i].families()
	k := slices.Index(fams, f)
	if k < 0 {
		return nil
	}
	return &s.cells[int(s.first[i])+v*len(fams)+k]
}

func (s *Schedule) budgetSize() float64 { return float64(max(leastBudget, 2*len(s.sites))) }

func (s *Schedule) cell(t Task) *cell {
	return s.lookup(s.site[t.Site.Name], s.vantage[t.Vantage.Name], t.Family)
}

func (s *Schedule) rephase(now int64) {
	for id := range s.cells {
		c := &s.cells[id]
		c.due = nextDue(s.sites[c.site], s.vantages[c.vantage], c.family, now)
		c.held = 0
	}
	s.budget.at = now
	for i := range s.rooms {
		s.rooms[i].at = now
	}
	s.order()
}

// nextDue is the first time from now on that lies on the phase of a site at a vantage over a family.
func nextDue(site *Site, v *Vantage, f Family, now int64) int64 {
	h := fnv.New64a()
	_ = binary.Write(h, binary.LittleEndian, site.Key())
	_, _ = io.WriteString(h, v.Name+f.String())
	interval := int64(site.Interval)
	phase := int64(mix(h.Sum64()) % uint64(interval))
	wait := (phase - now%interval + interval) % interval
	return now + wait
}

// mix spreads the bits of an FNV hash (the finaliser of splitmix64), whose low ones alone are not even.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// The heap is a binary one, written out because it holds bare numbers and only ever changes at its top.

func (s *Schedule) order() {
	s.heap = s.heap[:0]
	for id := range s.cells {
		s.heap = append(s.heap, int32(id))
	}
	for i := len(s.heap)/2 - 1; i >= 0; i-- {
		s.down(i)
	}
}

func (s *Schedule) down(i int) {
	for {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(s.heap); child++ {
			if s.cells[s.heap[child]].due < s.cells[s.heap[least]].due {
				least = child
			}
		}
		if least == i {
			return
		}
		s.heap[i], s.heap[least] = s.heap[least], s.heap[i]
		i = least
	}
}
