package alert

import (
	"testing"
	"time"

	"faultline/probe"
)

// A site that fails by halves is well for a while now and then. That ends no failure, and makes no further onsets.
func TestAFailureGoesOnAfterALull(t *testing.T) {
	fails := func(since time.Duration) bool {
		return since >= 0 && since < time.Minute || since >= 150*time.Second && since < 3*time.Minute || since >= 20*time.Minute && since < 21*time.Minute
	}
	st := tell(t, world(20, 4), func(s *probe.Site, _ *probe.Vantage, since time.Duration) probe.Verdict {
		if s.Name == "bare00" && fails(since) {
			return origin5
		}
		return well
	})
	s := st.e.siteNo["bare00"]
	want := func(at, since time.Duration, onsets float64) {
		t.Helper()
		st.until(at)
		si := &st.e.sites[s]
		if failing := si.fails(partSite); failing != (since >= 0) {
			t.Fatalf("after %v: got failing %v", at, failing)
		} else if failing {
			if got := si.spell.since[partSite.index()].time().Sub(st.onset.Add(since)); got < 0 || got > 10*time.Second {
				t.Errorf("after %v: got a failure that began %v after its onset", at, got)
			}
		}
		if si.baseline.onsets != onsets {
			t.Errorf("after %v: got %g onsets learned, want %g", at, si.baseline.onsets, onsets)
		}
	}
	const well = -1
	want(time.Minute, 0, 0)
	want(145*time.Second, well, 1)
	want(3*time.Minute, 0, 0)
	want(19*time.Minute, well, 1)
	want(21*time.Minute, 20*time.Minute, 1)
	want(30*time.Minute, well, 2)
	st.wantCalm()
}

// What began so long ago that it is of no event of now may be part of what begins now.
func TestAFailureBeginsAnewWhenItIsNoNews(t *testing.T) {
	st := tell(t, world(20, 4), func(s *probe.Site, _ *probe.Vantage, since time.Duration) probe.Verdict {
		if s.Name == "bare00" && since >= 0 && (since < 6*time.Minute || since >= 450*time.Second) {
			return origin5
		}
		return well
	}).until(8 * time.Minute)
	si := &st.e.sites[st.e.siteNo["bare00"]]
	if got := si.spell.since[partSite.index()].time().Sub(st.onset); got < 450*time.Second || got > 460*time.Second {
		t.Errorf("got a failure that began after %v, want 450 s", got)
	}
}

// What a vantage's own trouble looked like does not go on either.
func TestNoFailureGoesOnFromASickVantage(t *testing.T) {
	st := tell(t, world(20, 4), func(s *probe.Site, _ *probe.Vantage, since time.Duration) probe.Verdict {
		if s.Name == "bare00" && since >= 0 && since < time.Minute {
			return origin5
		}
		return well
	}).until(145 * time.Second)
	s := st.e.siteNo["bare00"]
	if st.e.sites[s].rests == nil {
		t.Fatal("the failure is not kept")
	}
	st.e.forget(0, st.e.now.add(-time.Minute))
	if st.e.sites[s].rests != nil {
		t.Error("a failure goes on that a sick vantage may have made up")
	}
}
