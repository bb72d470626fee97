package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"faultline/alert"
	"faultline/probe"
)

// judge is the one goroutine that owns the engine. Results come in, decisions go out, and whoever wants to look at the
// engine or change its world does so in its turn.
type judge struct {
	engine  *alert.Engine
	results chan probe.Result
	turns   chan func(*alert.Engine)
	decided func(*alert.Effects)                 // called in the judge's goroutine; must not block
	heard   func(now time.Time, r *probe.Result) // likewise, for every result

	world  func() alert.World // the present one, for when the engine has to begin anew; nil = it never has
	clock  clockwatch
	turned atomic.Int64 // Unix nanoseconds of the last turn
}

// resultsAhead is how many results may wait for the judge; he takes a microsecond for each.
const resultsAhead = 4096

func newJudge(e *alert.Engine, heard func(time.Time, *probe.Result), decided func(*alert.Effects)) *judge {
	j := &judge{
		engine: e, results: make(chan probe.Result, resultsAhead), turns: make(chan func(*alert.Engine)),
		decided: decided, heard: heard,
	}
	j.turned.Store(time.Now().UnixNano())
	return j
}

// clockwatch notices when the order of things in time is lost.
type clockwatch struct {
	wall   time.Time
	steady time.Duration
}

// Bounds of what is no jump: the judge takes a turn every second.
const (
	mostSet   = 5 * time.Second  // that the wall clock and the steady one differ by, from one turn to the next
	mostPause = 10 * time.Second // between two turns
)

// jumped says what happened to the clock, or to this process, since the last turn; "" = nothing. steady is time that nobody
// sets, since any beginning.
func (c *clockwatch) jumped(now time.Time, steady time.Duration) string {
	was := *c
	c.wall, c.steady = now.Round(0), steady
	if was.wall.IsZero() {
		return ""
	}
	steady -= was.steady
	switch set := c.wall.Sub(was.wall) - steady; {
	case set.Abs() > mostSet && steady <= mostPause:
		return fmt.Sprintf("this host's clock was set by %s, or the host slept", set.Round(time.Second))
	case steady > mostPause:
		return fmt.Sprintf("this process stood still for %s", steady.Round(time.Second))
	}
	return ""
}

// run judges until ctx is done.
func (j *judge) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var out alert.Effects
	began := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case r := <-j.results:
			j.observe(&r)
		case f := <-j.turns:
			f(j.engine)
		case <-timer.C:
		}
		now := time.Now()
		if why := j.clock.jumped(now, now.Sub(began)); why != "" && j.world != nil {
			j.engine.Jumped(now, j.world(), why)
		}
		j.drain()
		now = time.Now()
		j.turned.Store(now.UnixNano())
		out.Reset()
		j.engine.Advance(now, &out)
		if len(out.Incidents)+len(out.Notices)+len(out.Want) > 0 {
			j.decided(&out)
		}
		wait := time.Second
		if next := j.engine.Next(); !next.IsZero() {
			wait = min(wait, max(0, time.Until(next)))
		}
		timer.Reset(wait)
	}
}

// drain takes in what has come meanwhile, so that a flood of results is judged at once and not one by one.
func (j *judge) drain() {
	for range resultsAhead {
		select {
		case r := <-j.results:
			j.observe(&r)
		default:
			return
		}
	}
}

func (j *judge) observe(r *probe.Result) {
	now := time.Now()
	j.engine.Observe(now, r)
	j.heard(now, r)
}

// do runs f on the engine, in the judge's turn, and waits for it. It gives up when ctx is done.
func (j *judge) do(ctx context.Context, f func(*alert.Engine)) error {
	done := make(chan struct{})
	select {
	case j.turns <- func(e *alert.Engine) { f(e); close(done) }:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// emit takes a result from a prober. It waits when the judge is far behind, which slows the probes and loses none.
func (j *judge) emit(ctx context.Context, r probe.Result) {
	select {
	case j.results <- r:
	case <-ctx.Done():
	}
}
