package probe

import (
	"encoding/binary"
	"hash/fnv"
	"io"
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

// Schedule says what is to be probed when. Each site × vantage has its own phase within the interval, from a hash: it
// survives restarts and changes of the list, and spreads the probes evenly. It is a pure state machine; its
// owner calls it from one goroutine at a time.
type Schedule struct {
	pace     Pace
	vantages []*Vantage
	vantage  map[string]int
	sites    []*Site
	site     map[string]int
	cells    []cell  // site × vantage: sites[i] at vantages[v] is cells[i*len(vantages)+v]
	heap     []int32 // cell numbers, by due
	rooms    []room  // per site
	budget   room    // of all sweeps
	sweeps   []Task  // asked for and not yet given out
	last     int64   // the newest now seen

	Missed  uint64 // scheduled probes left out: the host slept, or could not keep up
	Held    uint64 // scheduled probes left out because the site had asked for rest (Retry-After)
	Dropped uint64 // sweeps given up because their By had passed
}

// cell is the schedule of one site at one vantage. Times are nanoseconds of Unix time.
type cell struct {
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
	cells := make([]cell, len(sites)*nv)
	rooms := make([]room, len(sites))
	index := make(map[string]int, len(sites))
	for i, site := range sites {
		index[site.Name] = i
		j, kept := old[site.Key()]
		if kept {
			rooms[i] = s.rooms[j]
		} else {
			rooms[i] = room{tokens: float64(nv), at: t}
		}
		for v := range nv {
			c := &cells[i*nv+v]
			if kept {
				*c = s.cells[j*nv+v]
			}
			if !kept || s.sites[j].Interval != site.Interval {
				c.due = nextDue(site, s.vantages[v], t)
			}
		}
	}
	s.sites, s.site, s.cells, s.rooms = sites, index, cells, rooms
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
		if i, ok := s.site[t.Site.Name]; ok {
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
		id := int(s.heap[0])
		c := &s.cells[id]
		if c.due > t {
			return dst, time.Unix(0, c.due)
		}
		site, v := s.sites[id/len(s.vantages)], s.vantages[id%len(s.vantages)]
		switch {
		case t < c.held:
			s.Held++
		case t-c.due > tooLate(site.Interval):
			s.Missed++
		default:
			r := &s.rooms[id/len(s.vantages)]
			s.refill(r, t)
			r.tokens = max(r.tokens-1, -float64(len(s.vantages)))
			dst = append(dst, Task{Site: site, Vantage: v, Due: time.Unix(0, c.due), Timeout: site.Timeout})
		}
		c.due += int64(site.Interval)
		if c.due <= t {
			c.due = nextDue(site, v, t+1)
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

// Ask takes in a sweep probe, to be given out by the next Due. False = not now: unknown, too late, the site blocks us or
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
	n := now.UnixNano()
	c, r := &s.cells[i*len(s.vantages)+v], &s.rooms[i]
	s.refill(r, n)
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
	c := &s.cells[i*len(s.vantages)+v]
	c.blocked = r.Fault == FaultBlocked
	if r.Sweep != 0 {
		c.asked = false
	}
	if r.RetryAfter > 0 {
		c.held = now.Add(r.RetryAfter).UnixNano()
	}
	if r.Attempt > 1 {
		s.refill(&s.rooms[i], now.UnixNano())
		s.rooms[i].tokens--
	}
}

func (s *Schedule) refill(r *room, now int64) {
	size := float64(len(s.vantages))
	r.refill(now, size, time.Duration(size)*s.pace.PerSite)
}

func (s *Schedule) budgetSize() float64 { return float64(max(leastBudget, 2*len(s.sites))) }

func (s *Schedule) cell(t Task) *cell {
	return &s.cells[s.site[t.Site.Name]*len(s.vantages)+s.vantage[t.Vantage.Name]]
}

func (s *Schedule) rephase(now int64) {
	for id := range s.cells {
		c := &s.cells[id]
		c.due = nextDue(s.sites[id/len(s.vantages)], s.vantages[id%len(s.vantages)], now)
		c.held = 0
	}
	s.budget.at = now
	for i := range s.rooms {
		s.rooms[i].at = now
	}
	s.order()
}

// nextDue is the first time from now on that lies on the phase of a site at a vantage.
func nextDue(site *Site, v *Vantage, now int64) int64 {
	h := fnv.New64a()
	_ = binary.Write(h, binary.LittleEndian, site.Key())
	_, _ = io.WriteString(h, v.Name)
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
