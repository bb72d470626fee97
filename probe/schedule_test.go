package probe

import (
	"fmt"
	"math"
	"net/url"
	"testing"
	"time"
)

var t0 = time.Date(2019, 7, 2, 13, 0, 0, 0, time.UTC)

func testSites(n int, interval time.Duration) []*Site {
	sites := make([]*Site, n)
	for i := range sites {
		sites[i] = &Site{
			Name: fmt.Sprintf("s%d", i), URL: &url.URL{Scheme: "https", Host: fmt.Sprintf("s%d.example", i), Path: "/"},
			Interval: interval, Timeout: min(interval, 10*time.Second),
		}
	}
	return sites
}

func testVantages(n int) []*Vantage {
	v := make([]*Vantage, n)
	for i := range v {
		v[i] = &Vantage{Name: fmt.Sprintf("v%d", i)}
	}
	return v
}

// play runs s from `from` for `long`, waking when it asks to, and gives what was due.
func play(s *Schedule, from time.Time, long time.Duration) []Task {
	var all []Task
	for now := from; now.Before(from.Add(long)); {
		var next time.Time
		all, next = s.Due(now, all)
		now = next
	}
	return all
}

func TestEverySiteOncePerInterval(t *testing.T) {
	s := NewSchedule(DefaultPace(), testVantages(3))
	s.SetSites(t0, testSites(200, 30*time.Second))
	count := map[string]int{}
	for _, task := range play(s, t0, 90*time.Second) {
		count[task.Site.Name+task.Vantage.Name]++
		if task.Due.Before(t0) || task.Timeout != 10*time.Second || task.Sweep != 0 {
			t.Fatalf("a strange task: %+v", task)
		}
	}
	if len(count) != 600 {
		t.Errorf("got %d cells probed, want all 600", len(count))
	}
	for k, n := range count {
		if n != 3 {
			t.Errorf("%s: got %d probes in three intervals, want 3", k, n)
		}
	}
}

func TestStartsAreSpreadEvenly(t *testing.T) {
	s := NewSchedule(DefaultPace(), testVantages(1))
	s.SetSites(t0, testSites(10000, 30*time.Second))
	var perSecond [30]float64
	for _, task := range play(s, t0, 30*time.Second) {
		perSecond[int(task.Due.Sub(t0).Seconds())]++
	}
	var sum, sq float64
	for _, n := range perSecond {
		sum += n
		sq += n * n
	}
	mean := sum / 30
	if cv := math.Sqrt(sq/30-mean*mean) / mean; cv > 0.1 {
		t.Errorf("got a coefficient of variation of %.3f, want at most 0.1 (%v)", cv, perSecond)
	}
}

func TestPhasesSurviveRestartAndReload(t *testing.T) {
	dues := func(s *Schedule, from time.Time) map[string]int64 {
		m := map[string]int64{}
		for _, task := range play(s, from, 30*time.Second) {
			m[task.Site.Name+task.Vantage.Name] = task.Due.UnixNano() % int64(30*time.Second)
		}
		return m
	}
	sites := testSites(50, 30*time.Second)
	a := NewSchedule(DefaultPace(), testVantages(2))
	a.SetSites(t0, sites)
	first := dues(a, t0)
	a.SetSites(t0.Add(31*time.Second), sites[10:])
	reloaded := dues(a, t0.Add(31*time.Second))
	b := NewSchedule(DefaultPace(), testVantages(2))
	b.SetSites(t0.Add(time.Hour), sites)
	restarted := dues(b, t0.Add(time.Hour))
	if len(reloaded) != 80 || len(restarted) != 100 {
		t.Fatalf("got %d and %d cells, want 80 and 100", len(reloaded), len(restarted))
	}
	for k, phase := range reloaded {
		if first[k] != phase || restarted[k] != phase {
			t.Errorf("%s: phases %d, %d, %d differ", k, first[k], phase, restarted[k])
		}
	}
}

func TestASleepingHostDoesNotBurst(t *testing.T) {
	s := NewSchedule(DefaultPace(), testVantages(1))
	s.SetSites(t0, testSites(1000, 30*time.Second))
	play(s, t0, 10*time.Second)
	woke := t0.Add(3 * time.Hour)
	due, _ := s.Due(woke, nil)
	if len(due) > 120 { // at most what lies within a tenth of the interval
		t.Errorf("got %d probes at once after the sleep, want at most 120", len(due))
	}
	if got := len(play(s, woke, 30*time.Second)); got < 850 {
		t.Errorf("got %d probes in the next interval, want nearly all 1000", got)
	}
	if s.Missed == 0 {
		t.Error("nothing was counted as missed")
	}
}

func TestAClockSetBackDoesNotStopProbing(t *testing.T) {
	s := NewSchedule(DefaultPace(), testVantages(1))
	s.SetSites(t0, testSites(100, 30*time.Second))
	play(s, t0, 10*time.Second)
	if got := len(play(s, t0.Add(-time.Hour), 30*time.Second)); got < 99 {
		t.Errorf("got %d probes in the interval after, want 100", got)
	}
}

func ask(s *Schedule, now time.Time, site *Site, v *Vantage) bool {
	return s.Ask(now, Task{Site: site, Vantage: v, By: now.Add(2 * time.Second), Timeout: time.Second, Sweep: 7})
}

func TestSweepsKeepTheSitesPace(t *testing.T) {
	vs := testVantages(3)
	s := NewSchedule(DefaultPace(), vs)
	sites := testSites(2, time.Hour)
	s.SetSites(t0, sites)
	now := t0
	for i, want := range []bool{true, true, true} {
		if got := ask(s, now, sites[0], vs[i]); got != want {
			t.Errorf("sweep %d: got %v, want %v", i, got, want)
		}
	}
	due, _ := s.Due(now, nil)
	if len(due) != 3 || due[0].Sweep != 7 {
		t.Fatalf("got %d sweeps due, want 3 of want 7", len(due))
	}
	for i := range due {
		s.Note(now, &Result{Site: due[i].Site.Name, Vantage: due[i].Vantage.Name, Sweep: 7, Attempt: 1})
	}
	if ask(s, now, sites[0], vs[0]) {
		t.Error("a fourth probe of the site was let through at once")
	}
	if !ask(s, now, sites[1], vs[0]) {
		t.Error("another site was refused")
	}
	now = now.Add(1900 * time.Millisecond)
	if ask(s, now, sites[0], vs[0]) {
		t.Error("a probe was let through before 2 s")
	}
	now = now.Add(200 * time.Millisecond)
	if !ask(s, now, sites[0], vs[0]) {
		t.Error("after 2 s it was still refused")
	}
	if ask(s, now, sites[0], vs[0]) {
		t.Error("a second sweep of the same site from the same vantage was taken while one is under way")
	}
}

func TestSweepsLeaveAloneWhoBlocksOrAsksForRest(t *testing.T) {
	vs := testVantages(1)
	s := NewSchedule(DefaultPace(), vs)
	sites := testSites(2, 30*time.Second)
	s.SetSites(t0, sites)
	s.Note(t0, &Result{Site: "s0", Vantage: "v0", Verdict: Verdict{Fault: FaultBlocked}})
	s.Note(t0, &Result{Site: "s1", Vantage: "v0", RetryAfter: 5 * time.Minute})
	if ask(s, t0, sites[0], vs[0]) || ask(s, t0, sites[1], vs[0]) {
		t.Error("a sweep was taken for a site that blocks, or wants rest")
	}
	var blocked, resting int
	for _, task := range play(s, t0, 5*time.Minute) {
		switch task.Site.Name {
		case "s0":
			blocked++
		case "s1":
			resting++
		}
	}
	if blocked != 10 || resting != 0 {
		t.Errorf("got %d scheduled probes of the blocked site and %d of the resting one, want 10 and 0", blocked, resting)
	}
	if s.Held != 10 {
		t.Errorf("got %d counted as held, want 10", s.Held)
	}
	if got := len(play(s, t0.Add(5*time.Minute), 30*time.Second)); got != 2 {
		t.Errorf("got %d probes after the rest, want 2", got)
	}
}

func TestSweepsHaveABudgetAndADeadline(t *testing.T) {
	vs := testVantages(1)
	s := NewSchedule(DefaultPace(), vs)
	sites := testSites(leastBudget+50, time.Hour)
	s.SetSites(t0, sites)
	taken := 0
	for i := range 2 {
		for _, site := range sites {
			if ask(s, t0.Add(time.Duration(i)), site, vs[0]) {
				taken++
			}
		}
	}
	if want := len(sites); taken != want { // one each: the budget is twice the list
		t.Errorf("got %d sweeps taken, want %d", taken, want)
	}
	due, _ := s.Due(t0.Add(3*time.Second), nil)
	if len(due) != 0 || s.Dropped != uint64(taken) {
		t.Errorf("got %d sweeps due and %d dropped past their time, want 0 and %d", len(due), s.Dropped, taken)
	}
	small := NewSchedule(DefaultPace(), testVantages(5))
	few := testSites(60, time.Hour)
	small.SetSites(t0, few)
	taken = 0
	for _, site := range few {
		for _, v := range small.vantages {
			if ask(small, t0, site, v) {
				taken++
			}
		}
	}
	if taken != leastBudget {
		t.Errorf("got %d sweeps taken of 300 asked for, want the budget of %d", taken, leastBudget)
	}
}

func BenchmarkScheduleDue(b *testing.B) {
	for _, n := range []int{1000, 100000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := NewSchedule(DefaultPace(), testVantages(1))
			s.SetSites(t0, testSites(n, 300*time.Second))
			b.ReportAllocs()
			var due []Task
			given := 0
			for now := t0; given < b.N; {
				due, now = s.Due(now, due[:0])
				given += len(due)
			}
		})
	}
}
