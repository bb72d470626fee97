package alert

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"faultline/probe"
)

// of are the notices of that kind.
func (st *story) of(kind string) []Notice {
	var out []Notice
	for _, n := range st.effects.Notices {
		if n.Kind == kind {
			out = append(out, n)
		}
	}
	return out
}

// wantTold holds the notices of that kind against their keys, in order; an end has a minus before it.
func (st *story) wantTold(kind string, want ...string) {
	st.t.Helper()
	var got []string
	for _, n := range st.of(kind) {
		key := n.Key
		if n.Over {
			key = "-" + key
		}
		got = append(got, key)
	}
	if !slices.Equal(got, want) {
		st.t.Errorf("got %q, want %q", got, want)
	}
}

// daysLong is a world of few sites that are looked at once an hour.
func daysLong(vantages int) World {
	w := world(2, vantages)
	w.Sites, w.Anchors = w.Sites[:4], w.Anchors[:3]
	for _, s := range slices.Concat(w.Sites, w.Anchors) {
		s.Interval = time.Hour
	}
	return w
}

func withCert(st *story, site string, end func(vantage string, since time.Duration) time.Duration) {
	st.shape = func(r *probe.Result, since time.Duration) {
		r.TLS = probe.TLSInfo{Issuer: "Test CA", NotAfter: st.onset.Add(1000 * day)}
		if r.Site == site {
			r.TLS.NotAfter = st.onset.Add(end(r.Vantage, since))
		}
	}
}

func TestACertificateIsToldAtEachStep(t *testing.T) {
	w := daysLong(2)
	w.Sites[0].Alert = probe.AlertNone
	st := tell(t, w, always(well))
	withCert(st, "nimbus00", func(_ string, since time.Duration) time.Duration {
		if since > 29*day+12*time.Hour {
			return 120 * day
		}
		return 30 * day
	})
	st.until(9*day - time.Hour)
	st.wantTold(NoticeCertExpiry)
	st.until(32 * day)
	at := "cert_expiry/nimbus00/"
	st.wantTold(NoticeCertExpiry, at+"21d", at+"7d", at+"1d", "-"+at+"21d", "-"+at+"7d", "-"+at+"1d")
	for n, days := range []time.Duration{9, 23, 29} {
		if d := st.effects.Notices[n].At.Sub(st.onset.Add(days * day)); d < 0 || d > time.Hour {
			t.Errorf("step %d: got it %v after its time, want within an hour", n, d)
		}
	}
	if st.e.sites[0].odd != nil {
		t.Error("something is unusual about a site with a new certificate")
	}
	for _, x := range []string{"nimbus00", "ends in 6 days", "2019-08-01 13:10 UTC", "Test CA", "v1, v2", "renew"} {
		if text := st.effects.Notices[1].Text; !strings.Contains(text, x) {
			t.Errorf("got %q, want %q in it", text, x)
		}
	}
}

func TestACertificateIsToldOnceOverRestarts(t *testing.T) {
	st := tell(t, daysLong(2), always(well))
	withCert(st, "nimbus00", func(_ string, since time.Duration) time.Duration {
		if since > 3*day {
			return 90 * day
		}
		return 6 * day
	})
	for since := time.Duration(0); since < 4*day; since += 12 * time.Hour {
		st.until(since)
		st.restart()
	}
	st.until(5 * day)
	st.wantTold(NoticeCertExpiry, "cert_expiry/nimbus00/7d", "-cert_expiry/nimbus00/7d")
}

func TestAnOldRecordIsReadAsEver(t *testing.T) {
	w := daysLong(2)
	key := learnedKey(w.Sites[0].Key())
	e := New(t0, DefaultPolicy(), w, Saved{Learned: map[string][]byte{key: []byte(`{"cdn":["nimbus",""],"good":"2019-07-02T12:00:00Z","well":255}`)}})
	if cdn := e.cdn(0); cdn == nil || cdn.Name != "nimbus" || e.sites[0].odd != nil {
		t.Errorf("got %+v", e.sites[0])
	}
	e.Dirty(func(k string, b []byte) {
		if strings.Contains(string(b), "cert") {
			t.Errorf("got %s for a site without anything to tell", b)
		}
	})
}

// One edge still has the old certificate, and later shows it now and then.
func TestTheEarliestCertificateCounts(t *testing.T) {
	st := tell(t, daysLong(3), always(well))
	withCert(st, "nimbus00", func(vantage string, since time.Duration) time.Duration {
		if vantage == "v2" && (since < day || since%(6*time.Hour) < 2*time.Hour) {
			return 6 * day
		}
		return 80 * day
	})
	st.until(5*day - time.Hour)
	st.wantTold(NoticeCertExpiry, "cert_expiry/nimbus00/7d", "-cert_expiry/nimbus00/7d")
	if text := st.effects.Notices[0].Text; !strings.Contains(text, "seen from v2)") || !strings.Contains(text, "elsewhere a later one") {
		t.Errorf("got %q, want that v2 alone sees the old one", text)
	}
	st.until(6 * day)
	if n := len(st.of(NoticeCertExpiry)); n != 4 {
		t.Errorf("got %d notices, want that its last day is told, and its end", n)
	}
}

func TestShortLivedCertificatesAreNotToldEachTime(t *testing.T) {
	st := tell(t, daysLong(2), always(well))
	withCert(st, "nimbus00", func(_ string, since time.Duration) time.Duration {
		return (since.Truncate(3*day) + 6*day)
	})
	st.until(30 * day)
	st.wantTold(NoticeCertExpiry, "cert_expiry/nimbus00/7d", "-cert_expiry/nimbus00/7d")
}

func TestACertificateThatNeverEndsIsNoTrouble(t *testing.T) {
	st := tell(t, daysLong(2), always(well))
	st.shape = func(r *probe.Result, _ time.Duration) {
		r.TLS.NotAfter = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
		if strings.HasPrefix(r.Site, "anchor") {
			r.TLS.NotAfter = st.onset.Add(day)
		}
	}
	st.until(2 * day)
	st.wantTold(NoticeCertExpiry)
}

// slowly lets those results take three seconds, and all others 100 ms.
func (st *story) slowly(from, to time.Duration, which func(r *probe.Result) bool) *story {
	st.shape = func(r *probe.Result, since time.Duration) {
		if from <= since && since < to && which(r) {
			r.Time.Total = 3 * time.Second
		}
	}
	return st
}

func is(site string) func(r *probe.Result) bool {
	return func(r *probe.Result) bool { return r.Site == site }
}

func TestASlowSiteIsTold(t *testing.T) {
	st := tell(t, world(20, 3), always(well)).slowly(0, 20*time.Minute, is("bare03")).until(40 * time.Minute)
	st.wantTold(NoticeSlow, "slow/bare03", "-slow/bare03")
	n := st.of(NoticeSlow)
	if d := n[0].At.Sub(st.onset); d < 2*time.Minute || d > 4*time.Minute {
		t.Errorf("got it %v after the onset, want after five answers", d)
	}
	if d := n[1].At.Sub(st.onset); d < 22*time.Minute || d > 23*time.Minute {
		t.Errorf("got the end %v after the onset, want five answers after 20 min", d)
	}
	for _, x := range []string{"3.0 s from v", "usually 10", "13:1"} {
		if !strings.Contains(n[0].Text, x) {
			t.Errorf("got %q, want %q in it", n[0].Text, x)
		}
	}
	if st.e.sites[7].odd != nil || len(st.e.odd) != 0 {
		t.Error("something is unusual when all is over")
	}
}

func TestWhatIsSlowByItselfIsNotTold(t *testing.T) {
	f := func(name string, which func(r *probe.Result) bool, change func(st *story)) {
		t.Helper()
		w := world(20, 3)
		for _, a := range w.Anchors {
			a.Interval = 30 * time.Second // so that their habits are known in time
		}
		st := tell(t, w, always(well)).slowly(0, 20*time.Minute, which)
		change(st)
		st.until(40 * time.Minute)
		if n := st.of(NoticeSlow); len(n) != 0 {
			t.Errorf("%s: got %+v, want nothing", name, n)
		}
	}
	same := func(*story) {}
	f("one vantage", func(r *probe.Result) bool { return r.Site == "bare03" && r.Vantage == "v2" }, same)
	f("everything from two vantages", func(r *probe.Result) bool { return r.Vantage != "v3" }, same)
	f("with the anchors", func(r *probe.Result) bool { return r.Site == "bare03" || strings.HasPrefix(r.Site, "anchor") }, same)
	f("half of all sites", func(r *probe.Result) bool { return strings.HasPrefix(r.Site, "nimbus") }, same)
	f("by its wish", is("bare03"), func(st *story) {
		i := slices.IndexFunc(st.w.Sites, func(s *probe.Site) bool { return s.Name == "bare03" })
		st.w.Sites[i].Alert = probe.AlertNone
	})
	f("a little", is("bare03"), func(st *story) {
		st.shape = func(r *probe.Result, since time.Duration) {
			if since >= 0 && r.Site == "bare03" {
				r.Time.Total = 550 * time.Millisecond
			}
		}
	})
	f("now and then", is("bare03"), func(st *story) {
		shape := st.shape
		st.shape = func(r *probe.Result, since time.Duration) {
			if int(since/time.Minute)%2 == 0 {
				shape(r, since)
			}
		}
	})
}

func TestSlownessBecomesAHabit(t *testing.T) {
	st := tell(t, world(20, 2), always(well)).slowly(0, 1000*time.Hour, is("bare03"))
	p := DefaultPolicy()
	p.Accustom = 2 * time.Hour
	st.e.SetPolicy(p)
	st.until(5 * time.Hour)
	st.wantTold(NoticeSlow, "slow/bare03", "-slow/bare03")
	if d := st.of(NoticeSlow)[1].At.Sub(st.onset); d < 110*time.Minute || d > 125*time.Minute {
		t.Errorf("got the end %v after the onset, want two hours", d)
	}
}

func TestTempo(t *testing.T) {
	f := func(answers string, slow bool) {
		t.Helper()
		c := usual
		for _, a := range answers {
			c = c.next(a == 's')
		}
		if got := c >= slowed; got != slow {
			t.Errorf("%s: got %v, want %v", answers, got, slow)
		}
	}
	f("", false)
	f("ssss", false)
	f("sssss", true)
	f("ssssnsssss", true)
	f("ssssnssss", false)
	f("sssssnnnn", true)
	f("sssssnnnnn", false)
	f("sssssnnnnsnnnn", true)
	f("ssssssssssnnnnn", false)
	for c := tempo(0); c < usual; c++ {
		if got := c.next(true); got != c+1 {
			t.Errorf("got %d after %d, want that the habit is learned first", got, c)
		}
	}
}

func TestASiteThatOnlyBlocksIsTold(t *testing.T) {
	blocks := func(since time.Duration) bool { return since >= 0 && since < time.Hour }
	st := tell(t, world(20, 3), func(s *probe.Site, _ *probe.Vantage, since time.Duration) probe.Verdict {
		if s.Name == "nimbus04" && blocks(since) {
			return blocked
		}
		return well
	}).until(2 * time.Hour)
	st.wantTold(NoticeUnobservable, "unobservable/nimbus04", "-unobservable/nimbus04")
	n := st.of(NoticeUnobservable)
	if d := n[0].At.Sub(st.onset); d < 30*time.Minute || d > 32*time.Minute {
		t.Errorf("got it %v after the onset, want 30 min", d)
	}
	if d := n[1].At.Sub(st.onset); d < time.Hour || d > time.Hour+31*time.Second {
		t.Errorf("got the end %v after the onset, want with the first answer after an hour", d)
	}
	for _, x := range []string{"nimbus04 cannot be observed", "nimbus has blocked", "http_challenged", "3 vantages", "User-Agent", "another network", "another URL"} {
		if !strings.Contains(n[0].Text, x) {
			t.Errorf("got %q, want %q in it", n[0].Text, x)
		}
	}
}

func TestASiteThatBlocksSomeIsNotTold(t *testing.T) {
	f := func(a probe.Alert, fault func(s *probe.Site, v *probe.Vantage, since time.Duration) probe.Verdict) {
		t.Helper()
		w := world(20, 3)
		w.Sites[4].Alert = a
		st := tell(t, w, fault).until(2 * time.Hour)
		st.wantNotice(NoticeUnobservable, false)
	}
	f(probe.AlertPage, func(s *probe.Site, v *probe.Vantage, _ time.Duration) probe.Verdict {
		if s.Name == "nimbus04" && v.Name != "v2" {
			return blocked
		}
		return well
	})
	f(probe.AlertPage, func(s *probe.Site, _ *probe.Vantage, since time.Duration) probe.Verdict {
		if s.Name == "nimbus04" && since%(20*time.Minute) < 18*time.Minute {
			return blocked
		}
		return well
	})
	f(probe.AlertNone, func(s *probe.Site, _ *probe.Vantage, _ time.Duration) probe.Verdict {
		if s.Name == "nimbus04" {
			return blocked
		}
		return well
	})
	f(probe.AlertPage, func(s *probe.Site, _ *probe.Vantage, _ time.Duration) probe.Verdict {
		if s.Anchor {
			return blocked
		}
		return well
	})
}

// The vantage that is not blocked is sick: what it says, or said, does not count.
func TestASickVantageDoesNotObserve(t *testing.T) {
	st := tell(t, world(20, 3), func(s *probe.Site, v *probe.Vantage, since time.Duration) probe.Verdict {
		switch {
		case v.Name == "v2" && since >= 0:
			return noNet
		case s.Name == "nimbus04" && v.Name != "v2":
			return blocked
		}
		return well
	}).until(35 * time.Minute)
	st.wantTold(NoticeUnobservable, "unobservable/nimbus04")
	if text := st.of(NoticeUnobservable)[0].Text; !strings.Contains(text, "2 vantages") {
		t.Errorf("got %q, want two vantages", text)
	}
}

func fourLooks(dead ...int) []probe.AddressLook {
	var out []probe.AddressLook
	for n := range 4 {
		l := probe.AddressLook{Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(5 + n)}), 443), Class: probe.ClassOK}
		if slices.Contains(dead, n) {
			l.Class, l.Fault = probe.ClassConnectRefused, probe.FaultAmbiguous
		}
		out = append(out, l)
	}
	return out
}

func TestADeadAddressIsTold(t *testing.T) {
	f := func(dead func(r *probe.Result, since time.Duration) []int, a probe.Alert, want ...string) *story {
		t.Helper()
		w := world(20, 3)
		w.Sites[4].Alert = a
		st := tell(t, w, always(well))
		st.shape = func(r *probe.Result, since time.Duration) {
			if r.Site == w.Sites[4].Name {
				r.Addresses = fourLooks(dead(r, since)...)
			}
		}
		st.until(30 * time.Minute)
		st.wantTold(NoticeSite, want...)
		return st
	}
	told := []string{"site/" + world(20, 1).Sites[4].Name}
	over := append(told, "-"+told[0])
	st := f(func(r *probe.Result, since time.Duration) []int {
		if r.Vantage == "v2" && since >= 0 && since < 10*time.Minute {
			return []int{2}
		}
		return nil
	}, probe.AlertNotice, over...)
	n := st.of(NoticeSite)
	if want := "nimbus04: 1 of 4 addresses fails: 192.0.2.7:443 connect_refused, seen from v2."; !strings.HasPrefix(n[0].Text, want) {
		t.Errorf("got %q, want %q", n[0].Text, want)
	}
	for k, at := range []time.Duration{0, 10 * time.Minute} {
		if d := n[k].At.Sub(st.onset.Add(at)); d < 30*time.Second || d > 62*time.Second {
			t.Errorf("got it %v after the change, want after two answers", d)
		}
	}
	st = f(func(*probe.Result, time.Duration) []int { return []int{1, 3} }, probe.AlertNotice, told...)
	if text := st.of(NoticeSite)[0].Text; !strings.Contains(text, "2 of 4 addresses fail: 192.0.2.6:443 connect_refused, 192.0.2.8:443 connect_refused, seen from ") {
		t.Errorf("got %q", text)
	}
	f(func(*probe.Result, time.Duration) []int { return []int{2} }, probe.AlertNone)
	f(func(_ *probe.Result, since time.Duration) []int { // every other time
		if int((since+time.Hour)/(30*time.Second))%2 == 0 {
			return []int{2}
		}
		return nil
	}, probe.AlertNotice)
	f(func(*probe.Result, time.Duration) []int { return []int{0, 1, 2, 3} }, probe.AlertNotice)
}

func TestNoticesEndWithTheirSite(t *testing.T) {
	st := tell(t, world(20, 2), func(s *probe.Site, _ *probe.Vantage, _ time.Duration) probe.Verdict {
		if s.Name == "nimbus00" {
			return blocked
		}
		return well
	})
	st.shape = func(r *probe.Result, _ time.Duration) {
		switch r.Site {
		case "cirrus01":
			r.Addresses = fourLooks(1)
		case "cirrus02":
			r.TLS.NotAfter = st.onset.Add(5 * day)
		}
	}
	st.until(30 * time.Minute)
	before := len(st.effects.Notices)
	st.w.Sites = slices.DeleteFunc(st.w.Sites, func(s *probe.Site) bool { return s.Name == "nimbus00" || s.Name == "cirrus02" })
	st.e.SetWorld(st.now, st.w)
	st.sched.SetSites(st.now, slices.Concat(st.w.Sites, st.w.Anchors))
	st.until(40 * time.Minute)
	ended := st.effects.Notices[before:]
	if len(ended) != 2 || !ended[0].Over || !ended[1].Over {
		t.Errorf("got %+v, want the ends of two notices", ended)
	}
	st.wantTold(NoticeSite, "site/cirrus01")
}
