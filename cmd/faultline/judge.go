package main

import (
	"context"
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

	turned atomic.Int64 // Unix nanoseconds of the last turn
}

// resultsAhead is how many results may wait for the judge; he takes a microsecond for each.
const resultsAhead = 4096

func newJudge(e *alert.Engine, heard func(time.Time, *probe.Result), decided func(*alert.Effects)) *judge {
	return &judge{
		engine: e, results: make(chan probe.Result, resultsAhead), turns: make(chan func(*alert.Engine)),
		decided: decided, heard: heard,
	}
}

// run judges until ctx is done.
func (j *judge) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var out alert.Effects
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
		j.drain()
		now := time.Now()
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
