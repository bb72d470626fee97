package alert

import (
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"faultline/probe"
)

var both = []probe.Family{probe.FamilyIP4, probe.FamilyIP6}

// dual is world, with every site looked at over both families.
func dual(n, vantages int) World {
	w := world(n, vantages)
	for _, s := range slices.Concat(w.Sites, w.Anchors) {
		s.Families = both
	}
	return w
}

func always(v probe.Verdict) func(*probe.Site, *probe.Vantage, time.Duration) probe.Verdict {
	return func(*probe.Site, *probe.Vantage, time.Duration) probe.Verdict { return v }
}

func lostAt(vantage string, v probe.Verdict, from, to time.Duration) func(*probe.Site, *probe.Vantage, time.Duration) probe.Verdict {
	return func(_ *probe.Site, va *probe.Vantage, since time.Duration) probe.Verdict {
		if va.Name == vantage && from <= since && since < to {
			return v
		}
		return well
	}
}

func TestALaneWithoutIPv6IsNoOutage(t *testing.T) {
	for _, v := range []probe.Verdict{silence, noNet} {
		st := tell(t, dual(20, 5), always(well))
		st.fault6 = lostAt("v1", v, 0, 10*time.Minute)
		st.until(20 * time.Minute)
		if n := st.effects.Incidents; len(n) != 0 {
			t.Errorf("got %+v, want no incident", n)
		}
		n := st.effects.Notices
		if len(n) != 2 || !n[1].Over {
			t.Fatalf("got %+v, want that the lane fell sick and that it is over", n)
		}
		for _, x := range n {
			if x.Kind != NoticeVantageUnhealthy || x.Vantage != "v1" || !strings.Contains(x.Text, "over IPv6") {
				t.Errorf("got %+v, want a notice that v1 is sick, or well, over IPv6", x)
			}
		}
	}
}

// Where IPv6 is lost, at one vantage or at all, a real outage over IPv4 still pages.
func TestAnOutagePagesWhileIPv6IsLost(t *testing.T) {
	f := func(six func(*probe.Site, *probe.Vantage, time.Duration) probe.Verdict) {
		t.Helper()
		st := tell(t, dual(20, 3), outage(edge502, 5*time.Minute, 15*time.Minute))
		st.fault6 = six
		st.until(40 * time.Minute)
		st.wantPages(1, "cdn:nimbus")
		first, last := st.effects.Incidents[0], st.effects.Incidents[len(st.effects.Incidents)-1]
		if d := first.PagedAt.Sub(st.onset.Add(5 * time.Minute)); d > 5*time.Second {
			t.Errorf("got the page %v after the onset, want 5 s at most", d)
		}
		if last.State != StateResolved || last.Failing.Vantages != 3 {
			t.Errorf("got %s and %+v, want resolved and 3 vantages", last.State, last.Failing)
		}
	}
	f(lostAt("v1", silence, 0, time.Hour))
	f(always(noNet))
}

func TestTwoLanesOfAVantageAreOneWitness(t *testing.T) {
	f := func(fails func(*probe.Site) bool) *story {
		t.Helper()
		st := tell(t, dual(20, 3), func(s *probe.Site, va *probe.Vantage, since time.Duration) probe.Verdict {
			if va.Name == "v2" && since >= 0 && fails(s) {
				return silence
			}
			return well
		}).until(15 * time.Minute)
		if n := st.effects.Incidents; len(n) != 0 {
			t.Errorf("got %+v, want no incident: one vantage sees it", n)
		}
		return st
	}
	f(func(s *probe.Site) bool { return on("nimbus", s) }).wantNotice(NoticeUnreachableFrom, true)
	f(func(s *probe.Site) bool { return s.Name == "bare03" })
}

func TestAVantageIsCountedOnce(t *testing.T) {
	st := tell(t, dual(20, 4), outage(edge502, 0, 10*time.Minute)).until(30 * time.Minute)
	st.wantPages(1, "cdn:nimbus")
	last := st.effects.Incidents[len(st.effects.Incidents)-1]
	if last.Failing.Vantages != 4 || last.Of.Vantages != 4 || last.State != StateResolved || last.Scope != ScopeGlobal {
		t.Errorf("got %s, %s, %+v of %+v, want resolved, global and 4 vantages", last.State, last.Scope, last.Failing, last.Of)
	}
	for _, m := range last.Members {
		if v := slices.Sorted(slices.Values(m.Vantages)); len(v) > 4 || len(slices.Compact(v)) != len(m.Vantages) {
			t.Errorf("got the vantages %v of %s, want each once", m.Vantages, m.Site)
		}
	}
}

// A CDN loses IPv6 alone, and only some of its sites are looked at over it.
func TestAnOutageOverIPv6Alone(t *testing.T) {
	w := dual(20, 3)
	for i, s := range w.Sites {
		if i%3 != 0 {
			s.Families = nil
		}
	}
	st := tell(t, w, always(well))
	st.fault6 = outage(silence, 0, 10*time.Minute)
	st.until(2 * time.Minute)
	st.wantPages(1, "cdn:nimbus")
	why := strings.Join(st.effects.Incidents[0].Why, "; ")
	if !strings.Contains(why, "over IPv6 only") {
		t.Errorf("got %q, want that it is seen over IPv6 only", why)
	}
	st.until(40 * time.Minute)
	st.wantPages(1, "cdn:nimbus")
	if last := st.effects.Incidents[len(st.effects.Incidents)-1]; last.State != StateResolved {
		t.Errorf("got %s, want resolved", last.State)
	}
}

// A lane is checked by what is looked at in it: anchors that have IPv6, or, where there are too few, its own sites.
func TestCheckupsOfIPv6LanesAskWhatHasIPv6(t *testing.T) {
	f := func(anchors, sites int, sick bool) {
		t.Helper()
		w := world(20, 3)
		for _, s := range slices.Concat(w.Anchors[:anchors], w.Sites[:sites]) {
			s.Families = both
		}
		st := tell(t, w, always(well))
		st.fault6 = lostAt("v1", silence, 0, time.Hour)
		st.until(10 * time.Minute) // the story sees that nothing is asked over what it does not have
		st.wantNotice(NoticeVantageUnhealthy, sick)
		if n := st.effects.Incidents; len(n) != 0 {
			t.Errorf("got %+v, want no incident", n)
		}
	}
	f(12, 5, true)
	f(0, 5, true)
	f(2, 2, true)
}

func TestASiteOverIPv6Only(t *testing.T) {
	w := world(20, 2)
	w.Sites[0].Families = []probe.Family{probe.FamilyIP6}
	for _, a := range w.Anchors {
		a.Families = both
	}
	st := tell(t, w, always(well))
	st.fault6 = outage(origin5, 0, 10*time.Minute)
	st.until(30 * time.Minute)
	ids := st.ids(SeverityNotice)
	if len(ids) != 1 || !strings.HasSuffix(ids[0], "-origin-owner00") {
		t.Fatalf("got %v, want one incident of owner00", ids)
	}
	if last := st.effects.Incidents[len(st.effects.Incidents)-1]; last.State != StateResolved || last.Failing.Vantages != 2 {
		t.Errorf("got %s and %+v, want resolved and 2 vantages", last.State, last.Failing)
	}
	if c := st.e.cell(0, 0); c.at != 0 {
		t.Errorf("got an answer in the main lane: %+v", c)
	}
}

func TestTheViewShowsIPv6LanesAsVantages(t *testing.T) {
	w := world(20, 2)
	w.Sites[1].Families = both
	st := tell(t, w, always(well)).until(0)
	var v View
	st.e.View(st.now, &v)
	var names []string
	for _, x := range v.Vantages {
		names = append(names, x.Name)
	}
	if got, want := strings.Join(names, ","), "v1,v2,v1 (ip6),v2 (ip6)"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	f := func(site int, want ...CellState) {
		t.Helper()
		for n, c := range v.Sites[site].Cells {
			if c.State != want[n] {
				t.Errorf("%s at %s: got %q, want %q", v.Sites[site].Site, names[n], c.State, want[n])
			}
		}
	}
	f(0, CellOK, CellOK, CellNone, CellNone)
	f(1, CellOK, CellOK, CellOK, CellOK)
}

func TestFamiliesMayChange(t *testing.T) {
	st := tell(t, dual(20, 3), outage(edge502, 0, 10*time.Minute)).until(2 * time.Minute)
	for _, list := range [][]*probe.Site{st.w.Sites, st.w.Anchors} {
		for i, s := range list {
			plain := *s
			plain.Families = nil
			list[i] = &plain
		}
	}
	st.e.SetWorld(st.now, st.w)
	st.sched.SetSites(st.now, slices.Concat(st.w.Sites, st.w.Anchors))
	if got := len(st.e.lanes); got != 3 {
		t.Errorf("got %d lanes without IPv6, want 3", got)
	}
	st.until(30 * time.Minute)
	st.wantPages(1, "cdn:nimbus")
	if last := st.effects.Incidents[len(st.effects.Incidents)-1]; last.State != StateResolved {
		t.Errorf("got %s, want resolved", last.State)
	}
	st.wantCalm()
}

func TestASickLaneThatGoesIsOver(t *testing.T) {
	st := tell(t, dual(5, 2), always(well))
	st.fault6 = lostAt("v2", silence, 0, time.Hour)
	st.until(5 * time.Minute)
	st.e.SetWorld(st.now, world(5, 2))
	st.advance()
	st.wantTold(NoticeVantageUnhealthy, "vantage_unhealthy/v2 (ip6)", "-vantage_unhealthy/v2 (ip6)")
}

func TestRestartInAnOutageOverIPv6(t *testing.T) {
	st := tell(t, dual(20, 3), always(well))
	st.fault6 = outage(edge502, 0, 20*time.Minute)
	st.until(5 * time.Minute)
	st.wantPages(1, "cdn:nimbus")
	st.restart()
	st.until(15 * time.Minute)
	if last := st.effects.Incidents[len(st.effects.Incidents)-1]; last.State != StateOpen {
		t.Errorf("got %s while IPv6 still fails, want open", last.State)
	}
	st.until(45 * time.Minute)
	st.wantPages(1, "cdn:nimbus")
	if last := st.effects.Incidents[len(st.effects.Incidents)-1]; last.State != StateResolved {
		t.Errorf("got %s, want resolved", last.State)
	}
}

func TestACellIsSmall(t *testing.T) {
	if got := unsafe.Sizeof(cell{}); got > 64 {
		t.Errorf("got %d bytes, want 64 at most", got)
	}
}

// Sites that failed from everywhere are seen well again at one vantage later than at others. That is no path's fault.
func TestARecoveryIsNoUnreachability(t *testing.T) {
	tell(t, world(20, 4), func(s *probe.Site, v *probe.Vantage, since time.Duration) probe.Verdict {
		end := 10 * time.Minute
		if v.Name == "v1" {
			end += 25 * time.Second
		}
		if on("nimbus", s) && s.Name < "nimbus07" && since >= 0 && since < end {
			return silence
		}
		return well
	}).until(20*time.Minute).wantNotice(NoticeUnreachableFrom, false)
}
