package probe

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// Runner plays a Schedule in real time: one goroutine per probe in flight, none per site, so that a slow site delays
// no other.
type Runner struct {
	// Emit takes every result, pending ones too, from the probes' goroutines; it must not block for long. Results of
	// probes that our own end cut short are not emitted.
	Emit        func(Result)
	MaxInFlight int                              // bounded by file descriptors; beyond it probes start late
	OnStart     func(t Task, late time.Duration) // a probe begins
	OnSweep     func(outcome string, n int)      // "asked", "refused" or "dropped"

	mu       sync.Mutex // guards schedule and probe
	schedule *Schedule
	probe    Func
	wake     chan struct{}
	inFlight atomic.Int64
	turned   atomic.Int64 // Unix nanoseconds of the loop's last turn
}

// NewRunner is a runner of s; the caller sets its fields before Run.
func NewRunner(s *Schedule, f Func, emit func(Result)) *Runner {
	r := &Runner{
		schedule: s, probe: f, Emit: emit, MaxInFlight: 1000,
		OnStart: func(Task, time.Duration) {}, OnSweep: func(string, int) {}, wake: make(chan struct{}, 1),
	}
	r.turned.Store(time.Now().UnixNano())
	return r
}

// turn is the longest time between two turns of the loop, so that Turned tells whether it lives.
const turn = time.Second

// Run probes until ctx is done and returns when the last probe has ended.
func (r *Runner) Run(ctx context.Context) {
	var probes sync.WaitGroup
	defer probes.Wait()
	slots := make(chan struct{}, max(1, r.MaxInFlight))
	timer := time.NewTimer(0)
	defer timer.Stop()
	var due []Task
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-r.wake:
		}
		now := time.Now()
		r.turned.Store(now.UnixNano())
		var next time.Time
		r.mu.Lock()
		dropped := r.schedule.Dropped
		due, next = r.schedule.Due(now, due[:0])
		dropped = r.schedule.Dropped - dropped
		look := r.probe
		r.mu.Unlock()
		if dropped > 0 {
			r.OnSweep("dropped", int(dropped))
		}
		for _, t := range due {
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				return
			}
			probes.Go(func() {
				defer func() { <-slots }()
				r.one(ctx, look, t)
			})
		}
		timer.Reset(min(turn, max(0, time.Until(next))))
	}
}

func (r *Runner) one(ctx context.Context, look Func, t Task) {
	r.inFlight.Add(1)
	defer r.inFlight.Add(-1)
	late := max(0, time.Since(t.Due))
	r.OnStart(t, late)
	res := look(ctx, t, r.Emit)
	if ctx.Err() != nil {
		return
	}
	if t.Sweep == 0 {
		res.Time.Lag = late
	}
	r.mu.Lock()
	r.schedule.Note(time.Now(), &res)
	r.mu.Unlock()
	r.Emit(res)
}

// Ask wants a sweep probe now; see Schedule.Ask. It is safe for concurrent use.
func (r *Runner) Ask(t Task) bool {
	r.mu.Lock()
	ok := r.schedule.Ask(time.Now(), t)
	r.mu.Unlock()
	if !ok {
		r.OnSweep("refused", 1)
		return false
	}
	r.OnSweep("asked", 1)
	r.nudge()
	return true
}

// SetSites changes what is probed, and by what; see Schedule.SetSites. Probes under way end as they began. It is safe for
// concurrent use.
func (r *Runner) SetSites(sites []*Site, f Func) {
	r.mu.Lock()
	r.schedule.SetSites(time.Now(), sites)
	r.probe = f
	r.mu.Unlock()
	r.nudge()
}

// SetSchedule goes on with another schedule, for other vantages or another pace. It is safe for concurrent use.
func (r *Runner) SetSchedule(s *Schedule, f Func) {
	r.mu.Lock()
	r.schedule, r.probe = s, f
	r.mu.Unlock()
	r.nudge()
}

func (r *Runner) nudge() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// InFlight is the number of probes under way.
func (r *Runner) InFlight() int { return int(r.inFlight.Load()) }

// Turned is when the loop last turned: at least once a second while it lives and has descriptors to spare.
func (r *Runner) Turned() time.Time { return time.Unix(0, r.turned.Load()) }

// Missed counts the scheduled probes that were left out because the host slept or could not keep up, and those left out
// because their site had asked for rest.
func (r *Runner) Missed() (late, held uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.schedule.Missed, r.schedule.Held
}
