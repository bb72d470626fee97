package alert

import (
	"strings"
	"testing"
	"time"

	"faultline/probe"
)

func TestAcknowledge(t *testing.T) {
	st := tell(t, world(20, 3), outage(edge502, 0, 20*time.Minute)).until(5 * time.Minute)
	first := st.effects.Incidents[len(st.effects.Incidents)-1]
	var out Effects
	ack := Ack{At: st.now, By: "anna", Comment: "calling them"}
	if !st.e.Acknowledge(first.ID, ack, &out) || len(out.Incidents) != 1 {
		t.Fatalf("got %+v, want the incident told anew", out.Incidents)
	}
	if got := out.Incidents[0]; got.Rev != first.Rev+1 || got.Ack == nil || *got.Ack != ack || !strings.Contains(got.Text(), "by anna at 13:15:00 UTC: calling them") {
		t.Errorf("got revision %d, %+v\n%s", got.Rev, got.Ack, got.Text())
	}
	out.Reset()
	if !st.e.Acknowledge(first.ID, Ack{By: "ben"}, &out) || len(out.Incidents) != 0 {
		t.Errorf("a second one tells %+v", out.Incidents)
	}
	if st.e.Acknowledge("nothing", ack, &out) {
		t.Error("an incident that is not there was taken on")
	}
	st.effects.Incidents = append(st.effects.Incidents, out.Incidents...)
	st.until(time.Hour)
	if last := st.effects.Incidents[len(st.effects.Incidents)-1]; last.State != StateResolved || last.Ack == nil || last.Ack.By != "anna" {
		t.Errorf("got %s, taken on by %+v, want resolved, and anna", last.State, last.Ack)
	}
}

func TestCourse(t *testing.T) {
	st := tell(t, world(20, 3), outage(edge502, 0, 2*time.Hour)).until(4 * time.Hour)
	last := st.effects.Incidents[len(st.effects.Incidents)-1]
	if n := len(last.Course); n < MaxCourse/2 || n > MaxCourse {
		t.Fatalf("got %d points", n)
	}
	for n, p := range last.Course {
		if n > 0 && !p.At.After(last.Course[n-1].At) {
			t.Fatalf("point %d at %v comes after one at %v", n, p.At, last.Course[n-1].At)
		}
		since := p.At.Sub(last.Onset)
		if want := 20; since > 2*time.Minute && since < 2*time.Hour-time.Minute && (p.Failing != want || p.Of != want || p.Vantages["v2"] != 100) {
			t.Fatalf("after %v: got %+v", since, p)
		}
		if since > 2*time.Hour+2*time.Minute && p.Failing != 0 {
			t.Fatalf("after %v: got %+v", since, p)
		}
	}
}

// A vantage that sends nothing any more is told once, and its return.
func TestLostVantage(t *testing.T) {
	st := tell(t, world(20, 3), func(*probe.Site, *probe.Vantage, time.Duration) probe.Verdict { return well })
	st.lost = func(v string, since time.Duration) bool { return v == "v2" && since >= 0 && since < 20*time.Minute }
	st.until(5*time.Minute - 10*time.Second)
	st.wantNotice(NoticeVantageUnhealthy, false)
	st.until(time.Hour)
	var told []string
	for _, n := range st.effects.Notices {
		if n.Vantage == "v2" {
			told = append(told, n.At.Sub(st.onset).Round(time.Minute).String()+" "+n.Text)
		}
	}
	if len(told) != 2 || !strings.HasPrefix(told[0], "5m0s vantage v2 is lost") || !strings.HasPrefix(told[1], "20m0s vantage v2 is back") {
		t.Errorf("got %q", told)
	}
	st.wantPages(0, "")
}

// Names that look alike once they are made fit for a URL still make different incidents.
func TestIncidentIDs(t *testing.T) {
	at := stamp(0)
	if got := incidentID(at, Domain{KindCDN, "fast-ly.9"}); !strings.HasSuffix(got, "-cdn-fast-ly.9") {
		t.Errorf("got %q", got)
	}
	a, b := incidentID(at, Domain{"hosting", "連登"}), incidentID(at, Domain{"hosting", "討論"})
	if a == b || !strings.Contains(a, "-hosting-__-") {
		t.Errorf("got %q and %q", a, b)
	}
}
