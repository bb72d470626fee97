package alert

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"faultline/probe"
)

// What one vantage cannot see because it is blocked, the others still do.
func TestABlockedVantageHidesNoOutage(t *testing.T) {
	w := world(20, 4)
	w.Sites[0].Alert = probe.AlertPage
	tell(t, w, func(s *probe.Site, v *probe.Vantage, since time.Duration) probe.Verdict {
		switch {
		case s.Name != "nimbus00" || since < 0:
			return well
		case v.Name == "v4":
			return blocked
		default:
			return origin5
		}
	}).until(10*time.Minute).wantPages(1, "origin:owner00")
}

// An answer that is nobody's fault but the site's is told too when the site fails alone.
func TestAWrongAnswerAloneIsTold(t *testing.T) {
	for _, v := range []probe.Verdict{{Class: probe.ClassHTTPClientError}, {Class: probe.ClassHTTPContentMismatch}, {Class: probe.ClassHTTPConfigError, Fault: probe.FaultConfig}} {
		w := world(20, 4)
		w.Sites[0].Alert = probe.AlertPage
		tell(t, w, func(s *probe.Site, _ *probe.Vantage, since time.Duration) probe.Verdict {
			if s.Name == "nimbus00" && since >= 0 {
				return v
			}
			return well
		}).until(5*time.Minute).wantPages(1, "origin:owner00")
	}
}

func ownersOfNimbus(e *Engine) int {
	owners := map[int]bool{}
	for s := range e.sites {
		if on("nimbus", e.sites[s].Site) {
			owners[e.sites[s].owner] = true
		}
	}
	return len(owners)
}

// Failing together in what owners share is no sign that they are one, neither in waves nor when nobody knew what it was.
func TestASharedFailureMakesNoOwners(t *testing.T) {
	st := tell(t, world(20, 4), func(s *probe.Site, _ *probe.Vantage, since time.Duration) probe.Verdict {
		if on("nimbus", s) && since >= 0 && since < time.Hour && since%(10*time.Minute) < 5*time.Minute {
			return edge502
		}
		return well
	}).until(2 * time.Hour)
	if n := ownersOfNimbus(st.e); n != 20 || len(st.e.together) != 0 {
		t.Errorf("after waves: got %d owners and %d pairs, want 20 and none", n, len(st.e.together))
	}
	for r := range 3 {
		for s := range 20 { // they begin together, and end one by one
			st.e.sites[s].spell = &spell{confirmed: true, first: st.e.now.add(time.Duration(r) * time.Hour)}
		}
		for s := range 20 {
			sp := st.e.sites[s].spell
			st.e.sites[s].spell = nil
			st.e.settleSpell(s, sp)
		}
	}
	st.e.regroupOwners()
	if n := ownersOfNimbus(st.e); n != 20 {
		t.Errorf("after three bursts: got %d owners, want 20", n)
	}
}

// Two sites that always fail together are one witness, and are so after a restart.
func TestCoFailuresAreLearned(t *testing.T) {
	st := tell(t, world(20, 4), func(s *probe.Site, _ *probe.Vantage, since time.Duration) probe.Verdict {
		if (s.Name == "bare00" || s.Name == "bare01") && since >= 0 && since < 4*time.Hour && since%time.Hour < 5*time.Minute {
			return origin5
		}
		return well
	}).until(5 * time.Hour)
	same := func(e *Engine) bool { return e.sites[e.siteNo["bare00"]].owner == e.sites[e.siteNo["bare01"]].owner }
	if !same(st.e) {
		t.Error("two sites that failed together four times are two owners")
	}
	st.restart()
	if !same(st.e) {
		t.Error("what was learned of them is lost in a restart")
	}
	if n := ownersOfNimbus(st.e); n != 20 {
		t.Errorf("got %d owners of the others, want 20", n)
	}
}

// Sites that show the same certificate, or answer at the same address, are one owner's, unless the config says otherwise.
func TestOwnersByWhatTheyShare(t *testing.T) {
	w := world(4, 2)
	for _, s := range w.Sites {
		if s.Name == "bare04" {
			s.OwnerFixed = true
		}
	}
	st := tell(t, w, outage(well, 0, 0))
	st.shape = func(r *probe.Result, _ time.Duration) {
		switch r.Site {
		case "bare00", "bare01":
			r.TLS.Names = 77
		case "bare02", "bare03", "bare04":
			r.Addr = addrPort(9)
		case "nimbus00", "nimbus01": // a CDN's edge and certificate
			r.TLS.Names, r.Addr = 88, addrPort(10)
		}
	}
	st.until(5 * time.Minute)
	owner := func(name string) int { return st.e.sites[st.e.siteNo[name]].owner }
	if owner("bare00") != owner("bare01") || owner("bare02") != owner("bare03") {
		t.Error("sites that share a certificate, or an address, are two owners")
	}
	if owner("bare04") == owner("bare03") || owner("nimbus00") == owner("nimbus01") || owner("bare00") == owner("bare02") {
		t.Error("sites that the config keeps apart, or that share a CDN's edge, are one owner")
	}
}

// A page about blindness ends when it is over, though the engine began anew meanwhile.
func TestBlindnessEndsAfterAJump(t *testing.T) {
	st := tell(t, world(20, 2), func(_ *probe.Site, _ *probe.Vantage, since time.Duration) probe.Verdict {
		if since >= 0 && since < 10*time.Minute {
			return noNet
		}
		return well
	}).until(5 * time.Minute)
	st.wantPages(1, "self:blind")
	st.e.Jumped(st.now, st.w, "the clock was set")
	st.until(time.Hour)
	st.wantPages(1, "self:blind")
	if last := st.effects.Incidents[len(st.effects.Incidents)-1]; last.State != StateResolved || len(st.e.incidents) != 0 {
		t.Errorf("got %s, want resolved", last.State)
	}
}

// A list that grows is not seen at once, and that is no blindness.
func TestAGrownListIsNoBlindness(t *testing.T) {
	st := tell(t, world(20, 3), outage(well, 0, 0)).until(40 * time.Minute)
	w := world(20, 3)
	for i := range 100 {
		s := aSite(fmt.Sprintf("bare9%02d", i), fmt.Sprintf("xo%02d", i))
		s.Interval = 5 * time.Minute
		w.Sites = append(w.Sites, s)
	}
	st.change(w)
	if st.until(50 * time.Minute); len(st.ids(SeverityPage)) != 0 {
		t.Errorf("got pages %v", st.ids(SeverityPage))
	}
}

// A score is a number, however many sites of one owner fail.
func TestScoreOfManySites(t *testing.T) {
	for _, n := range []int{1, 10, 200, 5000} {
		for _, fails := range []int{1, 4, 8} {
			var s scorer
			ws := make([]witness, n)
			for i := range ws {
				ws[i] = witness{fails: fails, fine: 8 - fails, noise: 1e-6, rate: 1e-6, gap: 30 * time.Second}
			}
			s.ownerFails(ws, 3, 0, 10*time.Second, 1)
			if x := s.score(1); math.IsNaN(x) || math.IsInf(x, 0) {
				t.Errorf("%d sites with %d of 8 failing: got the score %g", n, fails, x)
			}
		}
	}
}

// A vantage that goes silent with probes under way causes no sweeps without end.
func TestProbesThatNeverEndAreGivenUp(t *testing.T) {
	st := tell(t, world(20, 3), outage(well, 0, 0)).until(0)
	for i := range 4 {
		r := probe.Result{Site: fmt.Sprintf("nimbus%02d", i), Vantage: "v1", Pending: true, At: st.now}
		r.Time.Total = time.Second
		st.e.Observe(st.now, &r)
	}
	st.sched = probe.NewSchedule(probe.DefaultPace(), st.w.Vantages[1:]) // v1 does nothing any more
	st.sched.SetSites(st.now, slices.Concat(st.w.Sites, st.w.Anchors))
	st.until(2 * time.Minute)
	st.wantCalm()
}

// Vantages are judged by what sites they lost: these are the same ones after the list has changed.
func TestLossesAreForgottenWithTheList(t *testing.T) {
	st := tell(t, world(20, 3), outage(well, 0, 0)).until(0)
	x := &st.e.lanes[0].losses
	x.answers, x.lost, x.n = 100, 16, 16
	for i := range 16 {
		x.last[i] = i + 1 // all behind one CDN
	}
	w := world(20, 3)
	slices.Reverse(w.Sites)
	st.change(w)
	if st.until(5 * time.Minute); st.e.lanes[0].sick {
		t.Error("a vantage is sick because the list was put in another order")
	}
}

// A slow site may become an anchor.
func TestASlowSiteBecomesAnAnchor(t *testing.T) {
	st := tell(t, world(20, 1), outage(well, 0, 0)).until(0)
	look := func(n int, took time.Duration) {
		for range n {
			st.now = st.now.Add(30 * time.Second)
			r := probe.Result{Site: "bare00", Vantage: "v1", At: st.now, Attempt: 1, Verdict: well}
			r.Time.Total = took
			st.e.Observe(st.now, &r)
		}
	}
	look(20, 100*time.Millisecond)
	look(8, 5*time.Second)
	look(4, 100*time.Millisecond)
	w := world(20, 1)
	i := slices.IndexFunc(w.Sites, func(s *probe.Site) bool { return s.Name == "bare00" })
	s := *w.Sites[i]
	s.Anchor = true
	w.Sites, w.Anchors = slices.Delete(w.Sites, i, i+1), append(w.Anchors, &s)
	st.e.SetWorld(st.now, w)
	look(30, 100*time.Millisecond)
}

// What is told of a vantage ends though the clock jumped meanwhile.
func TestNoticesEndAfterAJump(t *testing.T) {
	st := tell(t, world(20, 4), func(_ *probe.Site, v *probe.Vantage, since time.Duration) probe.Verdict {
		if v.Name == "v1" && since >= 0 && since < 6*time.Minute {
			return silence
		}
		return well
	}).until(5 * time.Minute)
	if len(st.e.told) == 0 {
		t.Fatal("nothing was told of a vantage without a network")
	}
	st.e.Jumped(st.now, st.w, "the clock was set")
	st.until(time.Hour)
	for key := range st.e.told {
		t.Errorf("still told: %s", key)
	}
	st.wantNotice(NoticeClock, true)
}

// The same answer twice is one answer.
func TestAnAnswerTwiceIsOne(t *testing.T) {
	st := tell(t, world(20, 3), outage(well, 0, 0)).until(0)
	twice := func(site string, at time.Duration, v probe.Verdict) {
		r := probe.Result{Site: site, Vantage: "v1", At: st.now.Add(at), Verdict: v}
		r.Time.Total = 50 * time.Millisecond
		st.e.Observe(r.At, &r)
		st.e.Observe(r.At, &r)
	}
	twice("bare00", 100*time.Millisecond, origin5)
	twice("anchor01", 200*time.Millisecond, edge502)
	if sp := st.e.sites[st.e.siteNo["bare00"]].spell; sp == nil || sp.confirmed || sp.n != 1 {
		t.Errorf("got the spell %+v", sp)
	}
	if st.e.lanes[0].sick {
		t.Error("one anchor, heard twice, has made a vantage sick")
	}
}

// Few sites and no anchors: a site's own failure is told as that.
func TestFewSitesWithoutAnchors(t *testing.T) {
	for n := 1; n <= 3; n++ {
		w := World{Vantages: world(1, 3).Vantages}
		for i := range n {
			w.Sites = append(w.Sites, aSite(fmt.Sprintf("bare%02d", i), fmt.Sprintf("o%d", i)))
		}
		st := tell(t, w, func(s *probe.Site, _ *probe.Vantage, since time.Duration) probe.Verdict {
			if s.Name == "bare00" && since >= 0 {
				return origin5
			}
			return well
		}).until(20 * time.Minute)
		if len(st.ids(SeverityPage)) != 0 {
			t.Errorf("%d sites: got pages %v", n, st.ids(SeverityPage))
		}
	}
}

// Worlds with nothing in them are no trouble.
func TestEmptyWorlds(t *testing.T) {
	for _, w := range []World{{}, {Vantages: world(1, 2).Vantages}, {Sites: world(3, 0).Sites}} {
		st := tell(t, world(5, 2), outage(edge502, 0, time.Hour)).until(5 * time.Minute)
		st.e.SetWorld(st.now, w)
		for i := range 1000 {
			st.e.Advance(st.now.Add(time.Duration(i)*5*time.Second), &st.effects)
		}
		var v View
		st.e.View(st.now, &v)
		if _, err := json.Marshal(v); err != nil {
			t.Error(err)
		}
	}
}

// When all is well again, no domain has a score.
func TestScoresEnd(t *testing.T) {
	st := tell(t, world(20, 4), outage(edge502, 0, 20*time.Minute)).until(2 * time.Hour)
	var v View
	st.e.View(st.now, &v)
	for _, d := range v.Domains {
		if d.Score != 0 || d.Suspect {
			t.Errorf("%v: got the score %g", d.Domain, d.Score)
		}
	}
}

// A site that is seen at three networks in turn is enlisted in two of them once, and not at every answer.
func TestMoreNamesThanTwo(t *testing.T) {
	st := tell(t, world(20, 3), outage(well, 0, 0))
	st.shape = func(r *probe.Result, _ time.Duration) { r.Network = "as" + r.Vantage }
	st.until(10 * time.Minute)
	if allocs := testing.AllocsPerRun(100, func() {
		for _, v := range []string{"v1", "v2", "v3"} {
			st.now = st.now.Add(time.Second)
			r := probe.Result{Site: "nimbus00", Vantage: v, At: st.now, Attempt: 1, Verdict: probe.Verdict{CDN: "nimbus"}, Network: "as" + v}
			r.Time.Total = 100 * time.Millisecond
			st.e.Observe(st.now, &r)
		}
	}); allocs > 3 {
		t.Errorf("got %.0f allocations", allocs) // three for the names made here
	}
}

// An owner's incident keeps its name when its sites turn out to belong to another's.
func TestAnOwnersIncidentKeepsItsName(t *testing.T) {
	w := world(20, 4)
	w.Sites[21].Alert = probe.AlertPage // bare00, of bowner00
	st := tell(t, w, func(s *probe.Site, _ *probe.Vantage, since time.Duration) probe.Verdict {
		if s.Name == "bare00" && since >= 0 && since < 40*time.Minute {
			return origin5
		}
		return well
	})
	st.shape = func(r *probe.Result, since time.Duration) {
		if since > 5*time.Minute && (r.Site == "bare00" || r.Site == "aaa") {
			r.TLS.Names = 7
		}
	}
	w.Sites[23].Owner = "aaa"
	st.until(2 * time.Hour)
	st.wantPages(1, "origin:bowner00")
}

// Whatever is thrown at it, in whatever order, it does not panic, lose its counts, or page for what is well.
func TestChaos(t *testing.T) {
	for seed := range uint64(6) {
		rng := rand.New(rand.NewPCG(seed, 0))
		st := tell(t, world(12, 3), outage(well, 0, 0)).until(0)
		verdicts := []probe.Verdict{well, edge502, origin5, blocked, silence, noNet, {Class: 200, Fault: 200}}
		for range 3000 {
			st.now = st.now.Add(time.Duration(rng.IntN(2000)) * time.Millisecond)
			s := st.w.Sites[rng.IntN(len(st.w.Sites))]
			r := probe.Result{
				Site: s.Name, Vantage: fmt.Sprintf("v%d", rng.IntN(5)), At: st.now.Add(time.Duration(rng.IntN(120)-90) * time.Second),
				Verdict: verdicts[rng.IntN(len(verdicts))], Pending: rng.IntN(10) == 0, Family: probe.Family(rng.IntN(4)),
			}
			r.CDN, r.Network, r.TLS.Names = []string{"", "nimbus", "cirrus", "x"}[rng.IntN(4)], []string{"", "as1", "as2"}[rng.IntN(3)], uint64(rng.IntN(3))
			r.Time.Total = time.Duration(rng.IntN(12000)) * time.Millisecond
			st.e.Observe(st.now, &r)
			if rng.IntN(3) == 0 {
				st.e.Advance(st.now, &st.effects)
			}
			switch rng.IntN(400) {
			case 0:
				st.w = world(8+rng.IntN(8), 1+rng.IntN(4))
				st.e.SetWorld(st.now, st.w)
			case 1:
				st.e.Jumped(st.now.Add(time.Duration(rng.IntN(7200)-3600)*time.Second), st.w, "chaos")
			case 2:
				st.restart()
			}
			st.effects.Reset()
		}
		st.w = world(12, 3)
		st.change(st.w)
		from := st.now.Sub(st.onset)
		st.until(from + 4*time.Hour)
		st.wantCalm()
		for _, i := range st.effects.Incidents {
			if i.Rev == 1 && i.OpenedAt.After(st.onset.Add(from+10*time.Minute)) {
				t.Errorf("seed %d: an incident %s when all is well", seed, i.ID)
			}
		}
		for _, i := range st.e.incidents {
			t.Errorf("seed %d: %s is still open hours after", seed, i.ID)
		}
	}
}

// A vantage whose clock is wrong by minutes, either way, pages nothing and holds up nothing.
func TestAWrongClock(t *testing.T) {
	for _, off := range []time.Duration{3 * time.Minute, -3 * time.Minute} {
		st := tell(t, world(20, 4), outage(edge502, 0, 20*time.Minute))
		st.skew = func(r *probe.Result) {
			if r.Vantage == "v1" {
				r.At = r.At.Add(off)
			}
		}
		if st.until(0); len(st.effects.Incidents) != 0 {
			t.Errorf("off by %v: got %v before anything failed", off, st.effects.Incidents[0].ID)
		}
		st.wantNotice(NoticeClock, off > 0)
		st.until(45 * time.Minute)
		st.wantPages(1, "cdn:nimbus")
		if first := st.effects.Incidents[0]; first.Onset.Before(st.onset.Add(-time.Second)) || first.PagedAt.Sub(st.onset) > 10*time.Second {
			t.Errorf("off by %v: got the onset %v, paged at %v", off, first.Onset.Sub(st.onset), first.PagedAt.Sub(st.onset))
		}
		if last := st.effects.Incidents[len(st.effects.Incidents)-1]; last.State != StateResolved {
			t.Errorf("off by %v: got %s at the end", off, last.State)
		}
	}
}

// A process that stood still in an outage neither loses its incident nor opens another.
func TestAPauseInAnOutage(t *testing.T) {
	st := tell(t, world(20, 4), outage(edge502, 0, 20*time.Minute)).until(5 * time.Minute)
	st.wantPages(1, "cdn:nimbus")
	st.now = st.now.Add(7 * time.Minute)
	st.e.Jumped(st.now, st.w, "this process stood still for 7m0s")
	st.until(45 * time.Minute)
	st.wantPages(1, "cdn:nimbus")
	if last := st.effects.Incidents[len(st.effects.Incidents)-1]; last.State != StateResolved {
		t.Errorf("got %s at the end", last.State)
	}
}

// hosted is a story in which the sites on nimbus are on one host, and fails tells whether an answer is a failure.
func hosted(t *testing.T, fails func(s *probe.Site, v *probe.Vantage, since time.Duration) bool) *story {
	w := world(20, 4)
	w.Labels = []string{"hosting"}
	for _, s := range w.Sites {
		s.Labels = map[string]string{"hosting": "elsewhere"}
		if on("nimbus", s) {
			s.Labels["hosting"] = "hostco"
		}
	}
	return tell(t, w, func(s *probe.Site, v *probe.Vantage, since time.Duration) probe.Verdict {
		if since >= 0 && fails(s, v, since) {
			return origin5
		}
		return well
	})
}

// One that fails by itself elsewhere may hide for longer than a window that the others have something in common.
func TestProofMayComeLate(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	st := hosted(t, func(s *probe.Site, _ *probe.Vantage, since time.Duration) bool {
		switch s.Name {
		case "nimbus03", "nimbus07", "nimbus11", "nimbus15":
			return rng.IntN(2) == 0
		case "bare00":
			return since < 7*time.Minute
		}
		return false
	})
	st.until(7*time.Minute).wantPages(0, "")
	st.until(9*time.Minute).wantPages(1, "hosting:hostco")
}

// What all sites had, of any host, is not blamed on the one whose sites are believed well last.
func TestNobodyIsBlamedWhenAllAreWellAgain(t *testing.T) {
	for n := 2; n <= 5; n++ {
		hosted(t, func(s *probe.Site, _ *probe.Vantage, since time.Duration) bool {
			i, _ := strconv.Atoi(s.Name[len(s.Name)-2:])
			return !s.Anchor && i%n == 0 && since < 4*time.Minute
		}).until(20*time.Minute).wantPages(0, "")
	}
}
