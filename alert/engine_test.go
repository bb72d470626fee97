package alert

import (
	"bytes"
	"container/heap"
	"encoding/json"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"faultline/probe"
)

var t0 = time.Date(2019, 7, 2, 13, 0, 0, 0, time.UTC)

// story is an engine with a schedule around it, in virtual time. Every site answers well unless fault says otherwise.
type story struct {
	t       *testing.T
	w       World
	e       *Engine
	sched   *probe.Schedule
	now     time.Time
	queue   events
	seq     uint64
	fault   func(s *probe.Site, v *probe.Vantage, since time.Duration) probe.Verdict
	fault6  func(s *probe.Site, v *probe.Vantage, since time.Duration) probe.Verdict // over IPv6; nil = fault
	shape   func(r *probe.Result, since time.Duration)                               // gives results more than a verdict; nil = nothing
	skew    func(r *probe.Result)                                                    // changes results as they are told; nil = not
	told    func(now time.Time, r *probe.Result)                                     // is told of results after the engine; nil = nobody
	onset   time.Time
	lost    func(vantage string, since time.Duration) bool // a vantage's results never come; nil = they do
	deaf    bool                                           // wants are dropped
	effects Effects
	wanted  int
}

type event struct {
	at time.Time
	r  probe.Result
	n  uint64
}

type events []event

func (q events) Len() int { return len(q) }
func (q events) Less(i, j int) bool {
	return q[i].at.Before(q[j].at) || q[i].at.Equal(q[j].at) && q[i].n < q[j].n
}
func (q events) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *events) Push(x any)   { *q = append(*q, x.(event)) }
func (q *events) Pop() any     { x := (*q)[len(*q)-1]; *q = (*q)[:len(*q)-1]; return x }

func aSite(name, owner string) *probe.Site {
	return &probe.Site{
		Name: name, Owner: owner, URL: &url.URL{Scheme: "https", Host: name + ".example", Path: "/"},
		Interval: 30 * time.Second, Timeout: 10 * time.Second, Alert: probe.AlertNotice,
	}
}

// world has n sites on the CDN "nimbus", 10 on "cirrus", 10 on none, and 12 anchors.
func world(n, vantages int) World {
	var w World
	for i := range n {
		w.Sites = append(w.Sites, aSite(fmt.Sprintf("nimbus%02d", i), fmt.Sprintf("owner%02d", i)))
	}
	for i := range 10 {
		w.Sites = append(w.Sites, aSite(fmt.Sprintf("cirrus%02d", i), fmt.Sprintf("cowner%02d", i)))
		w.Sites = append(w.Sites, aSite(fmt.Sprintf("bare%02d", i), fmt.Sprintf("bowner%02d", i)))
	}
	for i := range 12 {
		a := aSite(fmt.Sprintf("anchor%02d", i), fmt.Sprintf("aowner%02d", i))
		a.Anchor, a.Interval = true, time.Minute
		w.Anchors = append(w.Anchors, a)
	}
	regions := []string{"us-east", "us-west", "eu-west", "ap-east", "ap-northeast"}
	for i := range vantages {
		w.Vantages = append(w.Vantages, &probe.Vantage{Name: fmt.Sprintf("v%d", i+1), Region: regions[i%len(regions)]})
	}
	return w
}

func cdnOf(s *probe.Site) string {
	for _, c := range []string{"nimbus", "cirrus"} {
		if strings.HasPrefix(s.Name, c) {
			return c
		}
	}
	return ""
}

func on(cdn string, s *probe.Site) bool { return cdnOf(s) == cdn }

var (
	well    = probe.Verdict{Class: probe.ClassOK}
	edge502 = probe.Verdict{Class: probe.ClassHTTPEdgeError, Fault: probe.FaultEdge, Why: "the edge says so"}
	origin5 = probe.Verdict{Class: probe.ClassHTTPOriginError, Fault: probe.FaultOrigin, Why: "the edge names the origin"}
	blocked = probe.Verdict{Class: probe.ClassHTTPChallenged, Fault: probe.FaultBlocked}
	silence = probe.Verdict{Class: probe.ClassConnectTimeout, Fault: probe.FaultAmbiguous, Candidates: []probe.Fault{probe.FaultEdge, probe.FaultPath}}
	noNet   = probe.Verdict{Class: probe.ClassDNSUnreachable, Fault: probe.FaultLocal}
)

func tell(t *testing.T, w World, fault func(s *probe.Site, v *probe.Vantage, since time.Duration) probe.Verdict) *story {
	st := &story{t: t, w: w, now: t0, fault: fault, sched: probe.NewSchedule(probe.DefaultPace(), w.Vantages)}
	st.e = New(t0, DefaultPolicy(), w, Saved{})
	st.sched.SetSites(t0, slices.Concat(w.Sites, w.Anchors))
	st.onset = t0.Add(10 * time.Minute)
	return st
}

// restart ends the engine and starts another with what it had saved.
func (st *story) restart() {
	saved := Saved{Learned: map[string][]byte{}}
	st.e.Dirty(func(key string, b []byte) { saved.Learned[key] = b })
	newest := map[string]Incident{}
	for _, i := range st.effects.Incidents {
		newest[i.ID] = i
	}
	for _, i := range newest {
		if i.State != StateResolved {
			saved.Incidents = append(saved.Incidents, i)
		}
	}
	st.e = New(st.now, DefaultPolicy(), st.w, saved)
}

// change changes what is watched.
func (st *story) change(w World) {
	st.w = w
	st.e.SetWorld(st.now, w)
	st.sched = probe.NewSchedule(probe.DefaultPace(), w.Vantages)
	st.sched.SetSites(st.now, slices.Concat(w.Sites, w.Anchors))
}

func addrPort(n byte) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, n}), 443)
}

// until plays to `since` after the onset.
func (st *story) until(since time.Duration) *story {
	end := st.onset.Add(since)
	due, next := st.sched.Due(st.now, nil)
	for {
		for _, task := range due {
			st.probe(task)
		}
		st.advance()
		if n := st.e.Next(); !n.IsZero() && n.Before(next) {
			next = n
		}
		if len(st.queue) > 0 && st.queue[0].at.Before(next) {
			next = st.queue[0].at
		}
		if next.Before(st.now.Add(time.Millisecond)) {
			next = st.now.Add(time.Millisecond)
		}
		if next.After(end) {
			st.now = end
			return st
		}
		st.now = next
		for len(st.queue) > 0 && !st.queue[0].at.After(st.now) {
			ev := heap.Pop(&st.queue).(event)
			if !ev.r.Pending {
				st.sched.Note(st.now, &ev.r)
			}
			if st.skew != nil {
				st.skew(&ev.r)
			}
			st.e.Observe(st.now, &ev.r)
			if st.told != nil {
				st.told(st.now, &ev.r)
			}
		}
		due, next = st.sched.Due(st.now, due[:0])
	}
}

func (st *story) probe(task probe.Task) {
	fault := st.fault
	if task.Family == probe.FamilyIP6 && st.fault6 != nil {
		fault = st.fault6
	}
	v := fault(task.Site, task.Vantage, st.now.Sub(st.onset))
	took := 100 * time.Millisecond
	if v.Class == probe.ClassConnectTimeout {
		took = task.Timeout
	}
	if v.CDN == "" {
		v.CDN = cdnOf(task.Site)
	}
	st.seq++
	r := probe.Result{Site: task.Site.Name, Vantage: task.Vantage.Name, Family: task.Family, Seq: st.seq, Sweep: task.Sweep, Attempt: 1, Verdict: v}
	if v.Class.Phase() >= probe.PhaseHTTP && v.Class != probe.ClassOK {
		r.Status = 502
	}
	if took > time.Second {
		late := r
		late.Pending, late.Verdict, late.At, late.Time.Total = true, probe.Verdict{}, st.now.Add(time.Second), time.Second
		heap.Push(&st.queue, event{late.At, late, st.seq})
	}
	r.At, r.Time.Total = st.now.Add(took), took
	if st.shape != nil {
		st.shape(&r, st.now.Sub(st.onset))
		r.At = st.now.Add(r.Time.Total)
	}
	if st.lost == nil || !st.lost(task.Vantage.Name, st.now.Sub(st.onset)) {
		heap.Push(&st.queue, event{r.At, r, st.seq})
	}
}

func (st *story) advance() {
	before := len(st.effects.Want)
	st.e.Advance(st.now, &st.effects)
	wants := st.effects.Want[before:]
	st.wanted += len(wants)
	for _, want := range wants {
		if st.deaf {
			continue
		}
		i := slices.IndexFunc(st.w.Vantages, func(v *probe.Vantage) bool { return v.Name == want.Vantage })
		all := slices.Concat(st.w.Sites, st.w.Anchors)
		j := slices.IndexFunc(all, func(s *probe.Site) bool { return s.Name == want.Site })
		if fams := all[j].Families; want.Family != probe.FamilyAny && !slices.Contains(fams, want.Family) {
			st.t.Errorf("got a wish for %s over %v, want one of %v", want.Site, want.Family, fams)
		}
		st.sched.Ask(st.now, probe.Task{Site: all[j], Vantage: st.w.Vantages[i], Family: want.Family, By: want.By, Timeout: want.Timeout, Sweep: want.ID})
	}
	st.effects.Want = st.effects.Want[:before]
}

// ids are the distinct incidents of that severity, in order.
func (st *story) ids(severity Severity) []string {
	var ids []string
	for _, i := range st.effects.Incidents {
		if i.Severity == severity && !slices.Contains(ids, i.ID) {
			ids = append(ids, i.ID)
		}
	}
	return ids
}

func (st *story) wantPages(n int, domain string) {
	st.t.Helper()
	ids := st.ids(SeverityPage)
	if len(ids) != n {
		st.t.Fatalf("got %d pages %v, want %d", len(ids), ids, n)
	}
	for _, i := range st.effects.Incidents {
		if i.Severity == SeverityPage && i.Domain.String() != domain {
			st.t.Errorf("got a page for %v, want %s", i.Domain, domain)
		}
	}
}

func (st *story) wantNotice(kind string, want bool) {
	st.t.Helper()
	got := slices.ContainsFunc(st.effects.Notices, func(n Notice) bool { return n.Kind == kind })
	if got != want {
		st.t.Errorf("notice %s: got %v, want %v; all: %+v", kind, got, want, st.effects.Notices)
	}
}

// wantCalm wants nothing to be counted as failing.
func (st *story) wantCalm() {
	st.t.Helper()
	if st.e.failing != 0 || st.e.late != 0 {
		st.t.Errorf("got %d failing sites and %d late cells when all is well", st.e.failing, st.e.late)
	}
	for _, d := range st.e.domains {
		if d.failing != 0 {
			st.t.Errorf("got %d failing members of %v when all is well", d.failing, d.Domain)
		}
	}
}

func outage(v probe.Verdict, from, to time.Duration) func(*probe.Site, *probe.Vantage, time.Duration) probe.Verdict {
	return func(s *probe.Site, _ *probe.Vantage, since time.Duration) probe.Verdict {
		if on("nimbus", s) && from <= since && since < to {
			return v
		}
		return well
	}
}

// The founding case: every site of one CDN answers with the CDN's own 502 for 27 minutes.
func TestOnePageFromOnsetToResolution(t *testing.T) {
	st := tell(t, world(20, 5), outage(edge502, 0, 27*time.Minute)).until(time.Hour)
	st.wantPages(1, "cdn:nimbus")
	var states []State
	for _, i := range st.effects.Incidents {
		states = append(states, i.State)
	}
	first, last := st.effects.Incidents[0], st.effects.Incidents[len(st.effects.Incidents)-1]
	if d := first.PagedAt.Sub(st.onset); d > 5*time.Second {
		t.Errorf("got the page %v after the onset, want 5 s at most", d)
	}
	if d := first.Onset.Sub(st.onset); d < 0 || d > 2*time.Second {
		t.Errorf("got the onset %v after the true one", d)
	}
	if first.Failing.Owners < 3 || first.Of.Owners > 20 || len(first.Evidence) < 3 || len(first.Members) < 3 {
		t.Errorf("a page without substance: %+v", first)
	}
	if len(states) < 3 || states[len(states)-2] != StateRecovering || last.State != StateResolved {
		t.Fatalf("got the states %v, want … recovering, resolved", states)
	}
	told := st.effects.Incidents[len(st.effects.Incidents)-2]
	ended := st.onset.Add(27 * time.Minute)
	if d := told.RecoveringAt.Sub(ended); d < -35*time.Second || d > 5*time.Second {
		t.Errorf("got the end %v after the true one", d)
	}
	if d := last.ResolvedAt.Sub(last.RecoveringAt); d != 10*time.Minute && d > 10*time.Minute+time.Second {
		t.Errorf("got the resolution %v after the recovery, want 10 min", d)
	}
	if last.Scope != ScopeGlobal || last.Assessment != ProviderOutage || last.Failing.Sites != 20 || last.Failing.Vantages != 5 {
		t.Errorf("got scope %s, assessment %s, failing %+v", last.Scope, last.Assessment, last.Failing)
	}
	for n, i := range st.effects.Incidents {
		if i.Rev != uint64(n+1) {
			t.Errorf("revision %d of %s came as number %d", i.Rev, i.ID, n+1)
		}
	}
	t.Logf("page %v after the onset; %d wants\n%s\n%s", first.PagedAt.Sub(st.onset), st.wanted, first.Title(), first.Text())
}

func TestRecoveryIsToldWithin90s(t *testing.T) {
	st := tell(t, world(20, 5), outage(edge502, 0, 10*time.Minute)).until(10*time.Minute + 90*time.Second)
	last := st.effects.Incidents[len(st.effects.Incidents)-1]
	if last.State != StateRecovering {
		t.Errorf("got %s 90 s after the end, want recovering", last.State)
	}
}

func TestALongOutageIsOneIncident(t *testing.T) {
	st := tell(t, world(20, 3), outage(edge502, 0, 2*time.Hour)).until(3 * time.Hour)
	st.wantPages(1, "cdn:nimbus")
	last := st.effects.Incidents[len(st.effects.Incidents)-1]
	if d := last.RecoveringAt.Sub(st.onset); d < 2*time.Hour-time.Minute || last.State != StateResolved {
		t.Errorf("got %s with the end %v after the onset, want resolved and two hours", last.State, d)
	}
}

// In an outage owners move their sites to another CDN. Those must neither keep the incident open nor upset the counts.
func TestSitesMoveAwayInAnOutage(t *testing.T) {
	moved := func(s *probe.Site, since time.Duration) bool {
		return on("nimbus", s) && s.Name < "nimbus08" && since > 5*time.Minute
	}
	st := tell(t, world(20, 3), func(s *probe.Site, _ *probe.Vantage, since time.Duration) probe.Verdict {
		switch {
		case moved(s, since):
			return probe.Verdict{Class: probe.ClassOK, CDN: "cirrus"}
		case on("nimbus", s) && since >= 0 && since < 20*time.Minute:
			return edge502
		}
		return well
	}).until(time.Hour)
	st.wantPages(1, "cdn:nimbus")
	if last := st.effects.Incidents[len(st.effects.Incidents)-1]; last.State != StateResolved {
		t.Errorf("got %s at the end, want resolved", last.State)
	}
	st.wantCalm()
}

func TestAStragglerLeaves(t *testing.T) {
	st := tell(t, world(20, 3), func(s *probe.Site, _ *probe.Vantage, since time.Duration) probe.Verdict {
		if on("nimbus", s) && since >= 0 && (since < 10*time.Minute || s.Name < "nimbus03") {
			return edge502
		}
		return well
	}).until(2 * time.Hour)
	st.wantPages(1, "cdn:nimbus")
	i := slices.IndexFunc(st.effects.Incidents, func(i Incident) bool { return i.Domain.Kind == KindCDN && i.State == StateResolved })
	if i < 0 {
		t.Fatal("three sites that stayed bad keep the incident of twenty open")
	}
	if d := st.effects.Incidents[i].ResolvedAt.Sub(st.onset); d > 55*time.Minute {
		t.Errorf("got the resolution %v after the onset, want within 55 min", d)
	}
	if ids := st.ids(SeverityNotice); len(ids) != 3 {
		t.Errorf("got %v, want that each of the three is told by itself", ids)
	}
}

func TestSilentEdgePages(t *testing.T) {
	st := tell(t, world(20, 5), outage(silence, 0, time.Hour)).until(time.Minute)
	st.wantPages(1, "cdn:nimbus")
	if d := st.effects.Incidents[0].PagedAt.Sub(st.onset); d > 20*time.Second {
		t.Errorf("got the page after %v, want 20 s at most", d)
	}
}

func TestAFewSitesOnOneVantagePageToo(t *testing.T) {
	st := tell(t, world(4, 1), outage(edge502, 0, time.Hour)).until(2 * time.Minute)
	st.wantPages(1, "cdn:nimbus")
}

func TestAChallengeIsASignOfLife(t *testing.T) {
	st := tell(t, world(20, 3), func(s *probe.Site, _ *probe.Vantage, since time.Duration) probe.Verdict {
		switch {
		case !on("nimbus", s):
			return well
		case since >= 0 && since < 20*time.Minute:
			return edge502
		default:
			return blocked
		}
	}).until(time.Hour)
	st.wantPages(1, "cdn:nimbus")
	if last := st.effects.Incidents[len(st.effects.Incidents)-1]; last.State != StateResolved {
		t.Errorf("got %s at the end, want resolved: a challenge shows that the edge works again", last.State)
	}
}

func TestBlocksAndOriginsNeverPageACDN(t *testing.T) {
	tell(t, world(20, 3), outage(blocked, 0, 20*time.Minute)).until(20*time.Minute).wantPages(0, "")
	tell(t, world(20, 3), outage(origin5, 0, 20*time.Minute)).until(20*time.Minute).wantPages(1, "cdn-origin:nimbus")
}

func TestASickVantageIsNoOutage(t *testing.T) {
	for _, v := range []probe.Verdict{silence, noNet} {
		st := tell(t, world(20, 5), func(_ *probe.Site, va *probe.Vantage, since time.Duration) probe.Verdict {
			if va.Name == "v1" && since >= 0 && since < 10*time.Minute {
				return v
			}
			return well
		}).until(20 * time.Minute)
		st.wantPages(0, "")
		if ids := st.ids(SeverityNotice); len(ids) != 0 {
			t.Errorf("got incidents %v, want none", ids)
		}
		st.wantNotice(NoticeVantageUnhealthy, true)
		if n := st.effects.Notices; len(n) != 2 || !n[1].Over {
			t.Errorf("got %+v, want that it fell sick and that it is over", n)
		}
	}
}

// The only vantage of a host without network.
func TestNoNetworkAtAll(t *testing.T) {
	st := tell(t, world(20, 1), func(*probe.Site, *probe.Vantage, time.Duration) probe.Verdict { return noNet }).until(0)
	st.wantPages(1, "self:blind")
	if n := st.effects.Notices; len(n) != 1 || n[0].Vantage != "v1" || n[0].At.Sub(t0) > time.Minute {
		t.Errorf("got %+v, want one notice that v1 is sick, within an interval", n)
	}
}

func TestSickFromTheStartStaysOut(t *testing.T) {
	st := tell(t, world(20, 2), func(_ *probe.Site, va *probe.Vantage, since time.Duration) probe.Verdict {
		if va.Name == "v1" {
			return silence
		}
		return well
	}).until(10 * time.Minute)
	st.wantPages(1, "self:blind") // one vantage of two is not enough to tell its own trouble from an outage
}

func TestUnreachableFromOneVantageOnly(t *testing.T) {
	st := tell(t, world(20, 4), func(s *probe.Site, va *probe.Vantage, since time.Duration) probe.Verdict {
		if va.Name == "v2" && on("nimbus", s) && since >= 0 {
			return silence
		}
		return well
	}).until(10 * time.Minute)
	st.wantPages(0, "")
	st.wantNotice(NoticeUnreachableFrom, true)
	st.wantNotice(NoticeVantageUnhealthy, false)
}

func TestEverythingFailsIsNoCDN(t *testing.T) {
	st := tell(t, world(20, 4), func(s *probe.Site, _ *probe.Vantage, since time.Duration) probe.Verdict {
		if since >= 0 && s.Key()%5 < 3 && !s.Anchor {
			return silence
		}
		return well
	}).until(10 * time.Minute)
	for _, i := range st.effects.Incidents {
		if i.Domain.Kind == KindCDN {
			t.Errorf("got an incident of %v, want none: sites outside fail alike", i.Domain)
		}
	}
}

func TestOneOwnerIsOneWitness(t *testing.T) {
	w := world(20, 4)
	for i := range 7 {
		w.Sites[i].Owner = "conglomerate"
	}
	st := tell(t, w, func(s *probe.Site, _ *probe.Vantage, since time.Duration) probe.Verdict {
		if s.Owner == "conglomerate" && since >= 0 {
			return silence
		}
		return well
	}).until(10 * time.Minute)
	st.wantPages(0, "")
	if ids := st.ids(SeverityNotice); len(ids) != 1 || !strings.HasSuffix(ids[0], "origin-conglomerate") {
		t.Errorf("got %v, want one incident of the owner", ids)
	}
}

func TestASiteAloneIsToldAsItAsks(t *testing.T) {
	f := func(a probe.Alert, pages, notices int) {
		t.Helper()
		w := world(20, 3)
		w.Sites[0].Alert = a
		st := tell(t, w, func(s *probe.Site, _ *probe.Vantage, since time.Duration) probe.Verdict {
			if s.Name == "nimbus00" && since >= 0 && since < 15*time.Minute {
				return origin5
			}
			return well
		}).until(40 * time.Minute)
		if got := len(st.ids(SeverityPage)); got != pages {
			t.Errorf("alert %v: got %d pages, want %d", a, got, pages)
		}
		if got := len(st.ids(SeverityNotice)); got != notices {
			t.Errorf("alert %v: got %d notices, want %d", a, got, notices)
		}
		if pages+notices > 0 {
			first, last := st.effects.Incidents[0], st.effects.Incidents[len(st.effects.Incidents)-1]
			if last.State != StateResolved || first.Assessment != SingleOwner || first.Domain.Kind != KindOrigin {
				t.Errorf("alert %v: got %s %s %v", a, last.State, first.Assessment, first.Domain)
			}
		}
	}
	f(probe.AlertNone, 0, 0)
	f(probe.AlertNotice, 0, 1)
	f(probe.AlertPage, 1, 0)
}

func TestSitesOfAnOutageAreNotToldAlone(t *testing.T) {
	st := tell(t, world(20, 4), outage(edge502, 0, 20*time.Minute)).until(50 * time.Minute)
	if ids := st.ids(SeverityNotice); len(ids) != 0 {
		t.Errorf("got %v beside the shared incident, want nothing", ids)
	}
}

func TestWavesAreOneIncident(t *testing.T) {
	st := tell(t, world(20, 4), func(s *probe.Site, _ *probe.Vantage, since time.Duration) probe.Verdict {
		if on("nimbus", s) && since >= 0 && since < 30*time.Minute && since%(10*time.Minute) < 5*time.Minute {
			return edge502
		}
		return well
	}).until(time.Hour)
	st.wantPages(1, "cdn:nimbus")
	if last := st.effects.Incidents[len(st.effects.Incidents)-1]; last.Waves != 3 || last.State != StateResolved {
		t.Errorf("got %d waves and %s, want 3 and resolved", last.Waves, last.State)
	}
}

func TestRestartInAnOutageDoesNotPageAgain(t *testing.T) {
	st := tell(t, world(20, 4), outage(edge502, 0, 20*time.Minute)).until(5 * time.Minute)
	st.wantPages(1, "cdn:nimbus")
	onset := st.effects.Incidents[0].Onset
	st.restart()
	st.until(time.Hour)
	st.wantPages(1, "cdn:nimbus")
	last := st.effects.Incidents[len(st.effects.Incidents)-1]
	if last.State != StateResolved || !last.Onset.Equal(onset) {
		t.Errorf("got %s with onset %v, want resolved with %v", last.State, last.Onset, onset)
	}
}

func TestMissingDataResolvesNothing(t *testing.T) {
	st := tell(t, world(20, 4), outage(edge502, 0, time.Hour)).until(5 * time.Minute)
	n := len(st.effects.Incidents)
	var v View
	for now := st.now; now.Before(st.now.Add(2 * time.Hour)); now = now.Add(10 * time.Second) {
		st.e.Advance(now, &st.effects)
	}
	st.e.View(st.now.Add(2*time.Hour), &v)
	if len(v.Incidents) != 2 || v.Incidents[0].State != StateOpen || v.Incidents[1].Domain != (Domain{KindSelf, "blind"}) {
		t.Errorf("got %+v after two hours of silence, want the incident open, and that nothing is seen", st.effects.Incidents[n:])
	}
	if v.Sites[0].Cells[0].State != CellStale {
		t.Errorf("got the state %q, want stale", v.Sites[0].Cells[0].State)
	}
}

// An outage that began while the daemon was down is known by what was well before.
func TestAnOutageAtTheStartIsKnownFromBefore(t *testing.T) {
	st := tell(t, world(20, 4), outage(edge502, 0, time.Hour)).until(-time.Minute)
	st.restart()
	st.queue = nil
	st.now = st.onset.Add(2 * time.Minute)
	st.sched.SetSites(st.now, slices.Concat(st.w.Sites, st.w.Anchors))
	st.until(6 * time.Minute)
	st.wantPages(1, "cdn:nimbus")
}

func TestSitesBadAllAlongAreNoEvidence(t *testing.T) {
	st := tell(t, world(20, 4), func(s *probe.Site, _ *probe.Vantage, _ time.Duration) probe.Verdict {
		if on("nimbus", s) {
			return edge502
		}
		return well
	}).until(10 * time.Minute)
	st.wantPages(0, "")
}

func TestWithEveryWantDroppedItIsSlowerNotWrong(t *testing.T) {
	st := tell(t, world(20, 4), outage(edge502, 0, 10*time.Minute))
	st.deaf = true
	st.until(time.Hour)
	st.wantPages(1, "cdn:nimbus")
	if d := st.effects.Incidents[0].PagedAt.Sub(st.onset); d > 45*time.Second {
		t.Errorf("got the page after %v, want 45 s at most", d)
	}
}

func TestSameEventsSameDecisions(t *testing.T) {
	tale := func() []byte {
		st := tell(t, world(20, 5), outage(edge502, 0, 5*time.Minute)).until(30 * time.Minute)
		var v View
		st.e.View(st.now, &v)
		b, err := json.Marshal([]any{st.effects.Incidents, st.effects.Notices, st.wanted, v})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	if a, b := tale(), tale(); !bytes.Equal(a, b) {
		t.Error("two runs of the same story differ")
	}
}

func TestALateOrForeignResultChangesNothing(t *testing.T) {
	st := tell(t, world(20, 2), outage(edge502, time.Hour, time.Hour)).until(0)
	var before, after View
	st.e.View(st.now, &before)
	a := fmt.Sprintf("%+v", before)
	old := probe.Result{Site: "nimbus00", Vantage: "v1", At: st.now.Add(-10 * time.Minute), Verdict: edge502}
	st.e.Observe(st.now, &old)
	st.e.Observe(st.now, &probe.Result{Site: "stranger", Vantage: "v1", At: st.now, Verdict: edge502})
	st.e.Observe(st.now, &probe.Result{Site: "nimbus00", Vantage: "stranger", At: st.now, Verdict: edge502})
	st.e.Observe(st.now, &probe.Result{Site: "nimbus00", Vantage: "v1", At: st.now.Add(time.Hour), Verdict: edge502})
	st.e.View(st.now, &after)
	if b := fmt.Sprintf("%+v", after); a != b {
		t.Errorf("the view changed:\n%s\n%s", a, b)
	}
}

func TestTheListMayChangeInAnOutage(t *testing.T) {
	st := tell(t, world(20, 4), outage(edge502, 0, 10*time.Minute)).until(2 * time.Minute)
	st.wantPages(1, "cdn:nimbus")
	st.w.Sites = st.w.Sites[5:]
	st.e.SetWorld(st.now, st.w)
	st.sched.SetSites(st.now, slices.Concat(st.w.Sites, st.w.Anchors))
	st.until(40 * time.Minute)
	st.wantPages(1, "cdn:nimbus")
	if last := st.effects.Incidents[len(st.effects.Incidents)-1]; last.State != StateResolved {
		t.Errorf("got %s at the end, want resolved", last.State)
	}
}

func TestTitleFitsAnSMS(t *testing.T) {
	i := Incident{Domain: Domain{KindCDN, strings.Repeat("x", 300)}, State: StateOpen}
	if got := len([]rune(i.Title())); got > 160 {
		t.Errorf("got %d runes, want 160 at most", got)
	}
}

func TestObserveAllocatesNothingWhenAllIsWell(t *testing.T) {
	st := tell(t, world(20, 2), outage(well, 0, 0)).until(0)
	r := probe.Result{Site: "nimbus03", Vantage: "v2", Verdict: probe.Verdict{Class: probe.ClassOK, CDN: "nimbus"}}
	r.Time.Total, r.TLS.NotAfter, r.Addresses = 100*time.Millisecond, t0.Add(60*day), fourLooks()
	if n := testing.AllocsPerRun(100, func() {
		r.At = r.At.Add(time.Second)
		st.e.Observe(st.now, &r)
	}); n != 0 {
		t.Errorf("got %v allocations, want none", n)
	}
}

func BenchmarkObserve(b *testing.B) {
	w := world(10000, 4)
	e := New(t0, DefaultPolicy(), w, Saved{})
	r := probe.Result{Vantage: "v2", Verdict: probe.Verdict{Class: probe.ClassOK, CDN: "nimbus"}}
	r.Time.Total, r.TLS.NotAfter = 100*time.Millisecond, t0.Add(60*day)
	b.ReportAllocs()
	for i := range b.N {
		r.Site, r.At = w.Sites[i%10000].Name, t0.Add(time.Duration(i)*time.Microsecond)
		e.Observe(r.At, &r)
	}
}

// failingWorld is an engine whose n sites on one CDN fail, everything that could be asked having been answered.
func failingWorld(b *testing.B, n int, v probe.Verdict) (e *Engine, now time.Time, all []probe.Result) {
	w := world(n, 4)
	e = New(t0, DefaultPolicy(), w, Saved{})
	now = t0.Add(2 * time.Minute)
	var out Effects
	for round := range 2 {
		for _, s := range slices.Concat(w.Sites, w.Anchors) {
			for _, from := range w.Vantages {
				r := probe.Result{Site: s.Name, Vantage: from.Name, Attempt: 1, Verdict: well}
				r.CDN, r.Time.Total = cdnOf(s), 100*time.Millisecond
				if round == 1 && on("nimbus", s) {
					r.Verdict = v
				}
				now = now.Add(time.Second / time.Duration(n))
				r.At = now
				e.Observe(now, &r)
				all = append(all, r)
			}
		}
		e.Advance(now, &out)
	}
	return e, now, all[len(all)/2:]
}

// The outage itself is the peak: every member fails, and answers go on coming in. Proven is an incident that is followed; unproven
// is one that is weighed again and again.
func BenchmarkAdvance(b *testing.B) {
	for _, x := range []struct {
		name string
		v    probe.Verdict
	}{{"proven", edge502}, {"unproven", silence}} {
		b.Run(x.name, func(b *testing.B) {
			e, now, all := failingWorld(b, 10000, x.v)
			var out Effects
			worst := time.Duration(0)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				b.StopTimer()
				now = now.Add(50 * time.Millisecond)
				for k := range 66 { // as many as come in that time
					r := all[(i*66+k)%len(all)]
					r.At = now
					e.Observe(now, &r)
				}
				out.Reset()
				b.StartTimer()
				began := time.Now()
				e.Advance(now, &out)
				worst = max(worst, time.Since(began))
			}
			b.ReportMetric(float64(worst.Microseconds())/1000, "worst-ms")
		})
	}
}
