// Package virtual plays a world in virtual time: the schedule and the engine are those of the daemon, the prober does what the
// real one does with what each look finds, and what a look finds the world makes up. Hours pass in a fraction of a second, and
// the same in gives the same out.
package virtual

import (
	"container/heap"
	"time"

	"faultline/alert"
	"faultline/probe"
)

// World says what probes meet. It is deterministic: the same arguments give the same answer.
type World interface {
	// Look is one look, which begins at a time.
	Look(at time.Time, p Probe) Look
	// Lost tells whether a vantage reports nothing at that time.
	Lost(at time.Time, vantage int) bool
}

// Probe is one look of a probe. Sites and vantages are numbered as in the Play, anchors after the sites.
type Probe struct {
	Site, Vantage int
	Draw          uint64    // the probe's own number, the same for each of its looks
	Begun         time.Time // the first of them
	Nth           int       // counts them from 0
	Timeout       time.Duration
}

// Look is what one look found, and how long that took. The result holds what is the same each time that this is found; it is
// copied, never changed.
type Look struct {
	Found *probe.Result
	Took  time.Duration
}

// Play is what is played. All its fields are set but the last two.
type Play struct {
	World    World
	Sites    []*probe.Site
	Anchors  []*probe.Site
	Vantages []*probe.Vantage
	Labels   []string // that are failure domains
	Policy   alert.Policy
	Pace     probe.Pace
	Recheck  time.Duration // timeout of the second look at a failure
	Habit    time.Duration // a probe that takes longer is told to be pending

	Decided func(now time.Time, out *alert.Effects) // called when anything was decided; out is its caller's
	Heard   func(now time.Time, r *probe.Result)    // called for every result; likewise
}

// told is a result on its way to the engine.
type told struct {
	at      time.Time
	order   uint64
	result  probe.Result
	vantage int
}

type queue []*told

func (q queue) Len() int      { return len(q) }
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q queue) Less(i, j int) bool {
	if q[i].at.Equal(q[j].at) {
		return q[i].order < q[j].order
	}
	return q[i].at.Before(q[j].at)
}
func (q *queue) Push(x any) { *q = append(*q, x.(*told)) }
func (q *queue) Pop() any {
	last := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return last
}

// player is a Play under way.
type player struct {
	*Play
	engine   *alert.Engine
	schedule *probe.Schedule
	siteNo   map[string]int
	vantNo   map[string]int
	queue    queue
	free     []*told
	order    uint64
	seq      uint64
	tasks    []probe.Task
	out      alert.Effects
}

// Run plays from one time to another, and gives the engine as it was then.
func (p *Play) Run(from, until time.Time) *alert.Engine {
	x := &player{
		Play: p, schedule: probe.NewSchedule(p.Pace, p.Vantages), siteNo: map[string]int{}, vantNo: map[string]int{},
		engine: alert.New(from, p.Policy, alert.World{Sites: p.Sites, Anchors: p.Anchors, Vantages: p.Vantages, Labels: p.Labels}, alert.Saved{}),
	}
	all := append(append([]*probe.Site{}, p.Sites...), p.Anchors...)
	for i, s := range all {
		x.siteNo[s.Name] = i
	}
	for i, v := range p.Vantages {
		x.vantNo[v.Name] = i
	}
	x.schedule.SetSites(from, all)
	for now := from; now.Before(until); {
		next := x.start(now)
		for len(x.queue) > 0 && !x.queue[0].at.After(now) {
			x.hear(now, heap.Pop(&x.queue).(*told))
		}
		asked := x.decide(now)
		if len(x.queue) > 0 && x.queue[0].at.Before(next) {
			next = x.queue[0].at
		}
		if at := x.engine.Next(); !at.IsZero() && at.Before(next) {
			next = at
		}
		if !asked { // what was asked for begins at once
			now = later(next, now)
		}
	}
	return x.engine
}

// later is next, but never the same moment again: an engine that always wants to be called would stop the time.
func later(next, now time.Time) time.Time {
	if least := now.Add(time.Millisecond); next.Before(least) {
		return least
	}
	return next
}

// start begins what is due and says when more is.
func (x *player) start(now time.Time) time.Time {
	var next time.Time
	x.tasks, next = x.schedule.Due(now, x.tasks[:0])
	for _, t := range x.tasks {
		x.probe(now, t)
	}
	return next
}

// probe is what probe.Prober does: one look, and at once a second one when the first fails.
func (x *player) probe(now time.Time, t probe.Task) {
	site, vantage := x.siteNo[t.Site.Name], x.vantNo[t.Vantage.Name]
	x.seq++
	look := Probe{Site: site, Vantage: vantage, Draw: x.seq, Begun: now, Timeout: t.FirstLook()}
	first := x.World.Look(now, look)
	found, total, looks := first.Found, first.Took, 1
	if again := t.SecondLook(x.Recheck, total); probe.Doubtful(found) && again > 0 {
		look.Nth, look.Timeout = 1, again
		second := x.World.Look(now.Add(total), look)
		looks = 2
		total += second.Took
		if probe.Settles(second.Found) {
			found = second.Found
		}
	}
	if total > x.Habit {
		p := x.newTold(now.Add(x.Habit), vantage)
		p.result = probe.Result{Pending: true}
		x.send(p, t, x.Habit, 1)
	}
	p := x.newTold(now.Add(total), vantage)
	p.result = *found
	x.send(p, t, total, looks)
}

func (x *player) newTold(at time.Time, vantage int) *told {
	var p *told
	if n := len(x.free); n > 0 {
		p, x.free = x.free[n-1], x.free[:n-1]
	} else {
		p = new(told)
	}
	x.order++
	p.at, p.order, p.vantage = at, x.order, vantage
	return p
}

func (x *player) send(p *told, t probe.Task, took time.Duration, looks int) {
	r := &p.result
	r.Site, r.Vantage, r.Region, r.Family = t.Site.Name, t.Vantage.Name, t.Vantage.Region, t.Family
	r.At, r.Seq, r.Sweep, r.Attempt, r.Time.Total = p.at, x.seq, t.Sweep, looks, took
	heap.Push(&x.queue, p)
}

// hear gives a result to the engine, unless its vantage is lost.
func (x *player) hear(now time.Time, p *told) {
	if !x.World.Lost(p.at, p.vantage) {
		if !p.result.Pending {
			x.schedule.Note(now, &p.result)
		}
		x.engine.Observe(now, &p.result)
		if x.Heard != nil {
			x.Heard(now, &p.result)
		}
	}
	x.free = append(x.free, p)
}

// decide lets the engine decide when it wants to, and asks for the probes that it wants. It tells whether any begins now.
func (x *player) decide(now time.Time) (asked bool) {
	if at := x.engine.Next(); at.IsZero() || at.After(now) {
		return false
	}
	x.out.Reset()
	x.engine.Advance(now, &x.out)
	for i := range x.out.Want {
		w := &x.out.Want[i]
		s, v := x.siteNo[w.Site], x.vantNo[w.Vantage]
		var site *probe.Site
		if s < len(x.Sites) {
			site = x.Sites[s]
		} else {
			site = x.Anchors[s-len(x.Sites)]
		}
		t := probe.Task{Site: site, Vantage: x.Vantages[v], Family: w.Family, Due: now, By: w.By, Timeout: w.Timeout, Sweep: w.ID}
		asked = x.schedule.Ask(now, t) || asked
	}
	if len(x.out.Incidents)+len(x.out.Notices) > 0 && x.Decided != nil {
		x.Decided(now, &x.out)
	}
	return asked
}
