package history

import (
	"fmt"
	"net/url"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"faultline/probe"
)

var t0 = time.Date(2026, 7, 2, 13, 0, 0, 0, time.UTC)

// ill is a Health with one vantage that is sick since a time, as soon as that is known.
type ill struct {
	vantage string
	since   time.Time
}

func (h *ill) WasSick(_, vantage string, _ probe.Family, _, known time.Time) bool {
	return vantage == h.vantage && !known.Before(h.since)
}

func aSite(name string) *probe.Site {
	return &probe.Site{Name: name, URL: &url.URL{Scheme: "https", Host: "example.org", Path: "/" + name}}
}

func newCounter(names ...string) (*Counter, *ill) {
	h := new(ill)
	c := NewCounter(h)
	c.SetSites(sites(names...))
	return c, h
}

func sites(names ...string) []*probe.Site {
	list := []*probe.Site{{Name: "anchor", URL: &url.URL{Host: "a"}, Anchor: true}}
	for _, n := range names {
		list = append(list, aSite(n))
	}
	return list
}

func answer(site, vantage string, at time.Time, v probe.Verdict) *probe.Result {
	return &probe.Result{Site: site, Vantage: vantage, At: at, Verdict: v}
}

var (
	well      = probe.Verdict{Class: probe.ClassOK}
	edge502   = probe.Verdict{Class: probe.ClassHTTPEdgeError, Fault: probe.FaultEdge}
	client404 = probe.Verdict{Class: probe.ClassHTTPClientError}
	challenge = probe.Verdict{Class: probe.ClassHTTPChallenged, Fault: probe.FaultBlocked}
	noNet     = probe.Verdict{Class: probe.ClassLocalNoNetwork, Fault: probe.FaultLocal}
	newerPeer = probe.Verdict{Fault: probe.FaultEdge}
)

// checkTaken compares batches, as "slot/site" -> counts.
func checkTaken(t *testing.T, got []Batch, want map[string]Counts) {
	t.Helper()
	names, all := map[uint64]string{}, map[string]Counts{}
	for _, n := range []string{"a", "b", "anchor"} {
		names[aSite(n).Key()] = n
	}
	for _, b := range got {
		for _, s := range b.Sites {
			key := Slot.Start(b.Slot).Format("2006-01-02T15:04/") + names[s.Key]
			if _, twice := all[key]; twice {
				t.Errorf("%s is there twice", key)
			}
			all[key] = s.Counts
		}
	}
	if d := cmp.Diff(all, want); d != "" {
		t.Errorf("-got +want:\n%s", d)
	}
}

func TestWhatIsCounted(t *testing.T) {
	c, _ := newCounter("a", "b")
	for _, v := range []probe.Verdict{well, well, edge502, client404, challenge, noNet, newerPeer} {
		c.Heard(t0, answer("a", "v1", t0, v))
	}
	c.Heard(t0, answer("b", "v1", t0, well))
	pending, sweep := answer("a", "v1", t0, probe.Verdict{}), answer("a", "v1", t0, edge502)
	pending.Pending, sweep.Sweep = true, 7
	for _, r := range []*probe.Result{
		pending, sweep, answer("anchor", "v1", t0, well), answer("unknown", "v1", t0, well),
		answer("a", "v1", t0.Add(time.Minute), edge502), answer("a", "v1", t0.Add(-2*time.Minute), edge502), answer("a", "v1", time.Time{}, edge502),
	} {
		c.Heard(t0, r)
	}
	checkTaken(t, c.TakeAll(), map[string]Counts{"2026-07-02T13:00/a": {OK: 2, Failed: 2, Blocked: 1, None: 2}, "2026-07-02T13:00/b": {OK: 1}})
	checkTaken(t, c.TakeAll(), map[string]Counts{})
}

// A look waits for what is found out about its vantage meanwhile.
func TestLooksOfASickVantage(t *testing.T) {
	c, h := newCounter("a")
	h.vantage, h.since = "v1", t0.Add(time.Hour) // it is well so far
	for s := range 4 {
		at := t0.Add(time.Duration(s) * 20 * time.Second)
		c.Heard(at, answer("a", "v1", at, edge502))
		c.Heard(at, answer("a", "v2", at, well))
	}
	checkTaken(t, c.Take(t0.Add(Hold)), map[string]Counts{"2026-07-02T13:00/a": {OK: 1, Failed: 1}})
	h.since = t0.Add(20 * time.Second) // that is found at 60 s
	checkTaken(t, c.Take(t0.Add(3*time.Minute)), map[string]Counts{"2026-07-02T13:00/a": {OK: 3, None: 3}})
}

// What the engine knew when a look came is kept, though it may forget.
func TestHealthThatForgets(t *testing.T) {
	c, h := newCounter("a")
	h.vantage = "v1"
	c.Heard(t0, answer("a", "v1", t0, edge502))
	h.vantage = ""
	checkTaken(t, c.TakeAll(), map[string]Counts{"2026-07-02T13:00/a": {None: 1}})
}

func TestSlotsFollowTheClock(t *testing.T) {
	c, _ := newCounter("a")
	hear := func(at time.Time) { c.Heard(at, answer("a", "v1", at, well)) }
	for m := range 11 {
		hear(t0.Add(time.Duration(m) * time.Minute))
	}
	checkTaken(t, c.Take(t0.Add(12*time.Minute)), map[string]Counts{
		"2026-07-02T13:00/a": {OK: 5}, "2026-07-02T13:05/a": {OK: 5}, "2026-07-02T13:10/a": {OK: 1},
	})
	hear(t0.Add(time.Hour))
	hear(t0.Add(time.Minute)) // the clock was set back
	hear(t0.Add(2 * time.Minute))
	checkTaken(t, c.Take(t0.Add(3*time.Minute)), map[string]Counts{"2026-07-02T14:00/a": {OK: 1}, "2026-07-02T13:00/a": {OK: 2}})
	hear(time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC))
	hear(time.Date(1970, 1, 1, 0, 0, 1, 0, time.UTC)) // it was never set: nothing is counted
	hear(t0)
	checkTaken(t, c.TakeAll(), map[string]Counts{"2099-01-01T00:00/a": {OK: 1}, "2026-07-02T13:00/a": {OK: 1}})
}

func TestSetSites(t *testing.T) {
	c, h := newCounter("a", "b")
	c.Heard(t0, answer("a", "v1", t0, well))
	c.Heard(t0, answer("b", "v1", t0, edge502))
	h.vantage = "v1"
	c.SetSites(sites("a")) // what waits is counted by what is known now
	h.vantage = ""
	c.Heard(t0, answer("a", "v1", t0, well))
	c.Heard(t0, answer("b", "v1", t0, well))
	checkTaken(t, c.TakeAll(), map[string]Counts{"2026-07-02T13:00/a": {OK: 1, None: 1}, "2026-07-02T13:00/b": {None: 1}})

	moved := aSite("a")
	moved.URL.Path = "/elsewhere"
	c.SetSites([]*probe.Site{moved})
	c.Heard(t0, answer("a", "v1", t0, well))
	if got := c.TakeAll(); len(got) != 1 || got[0].Sites[0].Key != moved.Key() {
		t.Errorf("got %+v, want the counts of another site", got)
	}
}

func TestCounterIsBounded(t *testing.T) {
	c, _ := newCounter("a")
	for range 3 * mostHeld {
		c.Heard(t0, answer("a", "v1", t0, well))
	}
	if n := len(c.held) - c.first; n > mostHeld || cap(c.held) > 4*mostHeld {
		t.Errorf("%d looks wait in room for %d, want %d at most", n, cap(c.held), mostHeld)
	}
	n := uint32(0)
	for _, b := range c.TakeAll() {
		n += b.Sites[0].OK
	}
	if n != 3*mostHeld {
		t.Errorf("got %d looks counted, want all %d", n, 3*mostHeld)
	}
	for s := range 3 * mostFull { // nobody takes them
		at := t0.Add(time.Duration(s) * time.Duration(Slot))
		c.Heard(at, answer("a", "v1", at, well))
	}
	if got := c.TakeAll(); len(got) != mostFull || got[mostFull-1].Slot != Slot.Of(t0)+3*mostFull-1 {
		t.Errorf("got %d slots that wait, want the last %d", len(got), mostFull)
	}
}

// many is a counter in the middle of its work, and what gives it one more result.
func many(n int) (c *Counter, next func()) {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("site-%05d", i)
	}
	c, _ = newCounter(names...)
	r, i, now := answer("", "v1", t0, well), 0, t0
	next = func() {
		now = now.Add(time.Millisecond)
		if now.Sub(t0) >= time.Duration(Slot) {
			now = t0 // so that no slot ends: that is measured by itself
		}
		r.Site, r.At = names[i%n], now
		i++
		c.Heard(now, r)
	}
	for range 300_000 {
		next()
	}
	return c, next
}

func TestCountingNeedsNoMemory(t *testing.T) {
	_, next := many(1000)
	if n := testing.AllocsPerRun(10_000, next); n != 0 {
		t.Errorf("got %v allocations for each result", n)
	}
}

func BenchmarkHeard(b *testing.B) {
	_, next := many(10_000)
	b.ReportAllocs()
	for b.Loop() {
		next()
	}
}

// What the judge is kept from his work by a minute's taking.
func BenchmarkTake10000(b *testing.B) {
	c, _ := newCounter()
	list := make([]*probe.Site, 10_000)
	for i := range list {
		list[i] = aSite(fmt.Sprintf("site-%05d", i))
	}
	c.SetSites(list)
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		for _, s := range list {
			c.Heard(t0, answer(s.Name, "v1", t0, well))
		}
		b.StartTimer()
		c.TakeAll()
	}
}
