package alert

import (
	"testing"
	"time"

	"faultline/alert/history"
	"faultline/probe"
)

// counted plays the story to its end with a counter beside the engine and gives what it counted in all, by site.
func (st *story) counted(until time.Duration) map[uint64]history.Counts {
	c := history.NewCounter(st.e)
	c.SetSites(st.w.Sites)
	st.told = c.Heard
	st.until(until)
	sum := map[uint64]history.Counts{}
	for _, b := range c.TakeAll() {
		for _, s := range b.Sites {
			x := sum[s.Key]
			x.Add(s.Counts)
			sum[s.Key] = x
		}
	}
	return sum
}

// A vantage that loses its network, in whichever way, dents no site's uptime: what it said before it was found sick is no data.
func TestASickVantageDentsNoUptime(t *testing.T) {
	f := func(v probe.Verdict, w World, six bool) {
		t.Helper()
		st := tell(t, w, lostAt("v1", v, 0, 5*time.Minute))
		if six {
			st.fault, st.fault6 = always(well), st.fault
		}
		sum := st.counted(20 * time.Minute)
		if len(sum) != len(w.Sites) {
			t.Errorf("got counts of %d sites, want %d", len(sum), len(w.Sites))
		}
		for _, s := range w.Sites {
			c := sum[s.Key()]
			if c.Failed != 0 || c.None < 10 || c.None > 16 || c.OK < 100 {
				t.Errorf("%v: %s has %+v, want nothing failed and the five minutes of one vantage as no data", v.Class, s.Name, c)
			}
		}
	}
	f(noNet, world(20, 5), false)
	f(silence, world(20, 5), false)
	f(probe.Verdict{Class: probe.ClassConnectUnreachable, Fault: probe.FaultPath}, world(20, 5), false) // failed before that is known
	f(silence, dual(20, 3), true)
}

// An outage of the sites themselves is counted, whatever sweeps it causes.
func TestAnOutageIsCountedAsLongAsItLasts(t *testing.T) {
	st := tell(t, world(20, 5), outage(edge502, 0, 5*time.Minute))
	sum := st.counted(10 * time.Minute)
	if st.wanted == 0 {
		t.Fatal("the outage asked for no sweep")
	}
	for _, s := range st.w.Sites {
		c, want := sum[s.Key()], uint32(0)
		if on("nimbus", s) {
			want = 5 * 60 / 30 * 5 // minutes, interval, vantages
		}
		if c.Failed > want+5 || c.Failed+5 < want || c.None != 0 {
			t.Errorf("%s has %+v, want %d failed", s.Name, c, want)
		}
	}
}

func TestWasSick(t *testing.T) {
	st := tell(t, world(20, 5), lostAt("v1", noNet, 0, 5*time.Minute))
	f := func(want bool, vantage string, from, to time.Duration) {
		t.Helper()
		if got := st.e.WasSick("nimbus00", vantage, probe.FamilyAny, st.onset.Add(from), st.onset.Add(to)); got != want {
			t.Errorf("%s from %v to %v: got %v, want %v", vantage, from, to, got, want)
		}
	}
	st.until(2 * time.Minute)
	f(true, "v1", time.Second, 2*time.Second)
	f(true, "v1", -30*time.Second, 2*time.Second) // it ends then
	f(false, "v1", -30*time.Second, -20*time.Second)
	f(false, "v2", time.Second, 2*time.Second)
	f(false, "v9", time.Second, 2*time.Second)
	st.until(15 * time.Minute)
	f(true, "v1", time.Second, 2*time.Second)
	f(false, "v1", 10*time.Minute, 11*time.Minute)
	if st.e.WasSick("no such site", "v1", probe.FamilyAny, st.onset, st.onset) {
		t.Error("a vantage was sick for a site that is not watched")
	}
}

// What counting adds to the judge's work on one result.
func BenchmarkCount(b *testing.B) {
	w := world(10_000, 5)
	c := history.NewCounter(New(t0, DefaultPolicy(), w, Saved{}))
	c.SetSites(w.Sites)
	now := t0
	r := probe.Result{Vantage: "v3", Verdict: well}
	next := func(i int) {
		now = now.Add(time.Millisecond)
		r.Site, r.At = w.Sites[i%10_000].Name, now
		c.Heard(now, &r)
	}
	for i := range 200_000 {
		next(i)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		next(i)
	}
}
