package probe

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func runFor(t *testing.T, r *Runner, d time.Duration) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { r.Run(ctx) })
	time.Sleep(d)
	cancel()
	wg.Wait()
}

// Peers stop probing when sites hang: a pool of three workers waits for its timeouts while the round goes on.
func TestHangingSitesDelayNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSchedule(DefaultPace(), testVantages(1))
		s.SetSites(time.Now(), testSites(500, 30*time.Second))
		hang := func(ctx context.Context, task Task, _ func(Result)) Result {
			ctx, cancel := context.WithTimeout(ctx, task.Timeout)
			defer cancel()
			<-ctx.Done()
			return Result{Site: task.Site.Name, Vantage: task.Vantage.Name}
		}
		var started, emitted atomic.Int64
		var worst time.Duration
		r := NewRunner(s, hang, func(Result) { emitted.Add(1) })
		var mu sync.Mutex
		r.OnStart = func(_ Task, late time.Duration) {
			started.Add(1)
			mu.Lock()
			worst = max(worst, late)
			mu.Unlock()
		}
		runFor(t, r, 90*time.Second)
		if got := started.Load(); got < 1499 || got > 1500 {
			t.Errorf("got %d probes started of 500 hanging sites in three intervals, want 1500", got)
		}
		if worst > time.Millisecond {
			t.Errorf("got a start %v late, want none", worst)
		}
		if got, least := emitted.Load(), int64(1300); got < least {
			t.Errorf("got %d results, want at least %d", got, least)
		}
	})
}

func TestOwnEndIsNoResult(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSchedule(DefaultPace(), testVantages(1))
		s.SetSites(time.Now(), testSites(10, 2*time.Second))
		r := NewRunner(s, func(ctx context.Context, _ Task, _ func(Result)) Result {
			<-ctx.Done()
			return Result{Verdict: Verdict{Class: ClassLocalCancelled}}
		}, func(res Result) { t.Errorf("got %v, want nothing", res.Class) })
		runFor(t, r, 5*time.Second)
	})
}

func TestBoundOfProbesInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSchedule(DefaultPace(), testVantages(1))
		s.SetSites(time.Now(), testSites(100, 2*time.Second))
		var now, most atomic.Int64
		r := NewRunner(s, func(context.Context, Task, func(Result)) Result {
			most.Store(max(most.Load(), now.Add(1)))
			time.Sleep(100 * time.Millisecond)
			now.Add(-1)
			return Result{}
		}, func(Result) {})
		r.MaxInFlight = 3
		runFor(t, r, 10*time.Second)
		if got := most.Load(); got != 3 {
			t.Errorf("got %d in flight at most, want 3", got)
		}
		if s.Missed == 0 {
			t.Error("what could not be probed was not counted as missed")
		}
	})
}

func TestASweepStartsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		vs := testVantages(1)
		s := NewSchedule(DefaultPace(), vs)
		sites := testSites(1, time.Hour)
		s.SetSites(time.Now(), sites)
		var got []Result
		r := NewRunner(s, func(_ context.Context, task Task, _ func(Result)) Result {
			return Result{Site: task.Site.Name, Sweep: task.Sweep, At: time.Now()}
		}, func(res Result) { got = append(got, res) })
		var asked time.Time
		go func() {
			time.Sleep(1300 * time.Millisecond)
			asked = time.Now()
			r.Ask(Task{Site: sites[0], Vantage: vs[0], By: asked.Add(time.Second), Sweep: 3})
		}()
		runFor(t, r, 5*time.Second)
		if len(got) != 1 || got[0].Sweep != 3 || !got[0].At.Equal(asked) {
			t.Errorf("got %+v, want one sweep at %v", got, asked)
		}
	})
}
