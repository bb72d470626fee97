package virtual

import (
	"net/url"
	"testing"
	"time"

	"faultline/alert"
	"faultline/probe"
)

var (
	begin = time.Date(2019, 7, 2, 13, 0, 0, 0, time.UTC)
	fine  = &probe.Result{Verdict: probe.Verdict{Class: probe.ClassOK}}
	bad   = &probe.Result{Verdict: probe.Verdict{Class: probe.ClassConnectTimeout, Fault: probe.FaultOrigin}}
)

// fake is a world that one function makes.
type fake struct {
	look func(at time.Time, p Probe) Look
	lost func(at time.Time, vantage int) bool
}

func (f fake) Look(at time.Time, p Probe) Look { return f.look(at, p) }

func (f fake) Lost(at time.Time, vantage int) bool { return f.lost != nil && f.lost(at, vantage) }

// heard plays one site from two vantages for ten minutes.
func heard(w World) []probe.Result {
	var all []probe.Result
	p := &Play{
		World: w, Policy: alert.DefaultPolicy(), Pace: probe.DefaultPace(), Recheck: 3 * time.Second, Habit: time.Second,
		Sites: []*probe.Site{{
			Name: "s", Owner: "o", URL: &url.URL{Scheme: "https", Host: "s.example", Path: "/"}, Interval: 30 * time.Second, Timeout: 10 * time.Second,
		}},
		Vantages: []*probe.Vantage{{Name: "a"}, {Name: "b"}},
		Heard:    func(_ time.Time, r *probe.Result) { all = append(all, *r) },
	}
	p.Run(begin, begin.Add(10*time.Minute))
	return all
}

func TestEveryProbeIsHeardOnce(t *testing.T) {
	got := heard(fake{look: func(time.Time, Probe) Look { return Look{fine, 300 * time.Millisecond} }})
	if len(got) < 39 || len(got) > 41 {
		t.Errorf("got %d results in ten minutes of two vantages at 30 s, want 40", len(got))
	}
	for i, r := range got {
		if r.Attempt != 1 || r.Pending || r.Time.Total != 300*time.Millisecond || r.Site != "s" || i > 0 && r.At.Before(got[i-1].At) {
			t.Errorf("got %+v", r)
		}
	}
}

// A failing look is followed at once by another; a slow one is told to be pending first.
func TestLooksOfAFailure(t *testing.T) {
	var looks []Probe
	got := heard(fake{look: func(_ time.Time, p Probe) Look {
		if p.Vantage == 1 || p.Draw > 10 {
			return Look{fine, time.Millisecond}
		}
		looks = append(looks, p)
		return Look{bad, p.Timeout}
	}})
	if len(looks) < 2 || looks[0].Nth != 0 || looks[0].Timeout != 10*time.Second || looks[1].Nth != 1 || looks[1].Timeout != 3*time.Second || looks[1].Draw != looks[0].Draw {
		t.Fatalf("got the looks %+v", looks)
	}
	pending := map[uint64]time.Time{}
	for _, r := range got {
		switch {
		case r.Pending:
			pending[r.Seq] = r.At
		case !r.OK() && r.Sweep == 0 && (r.Attempt != 2 || r.Time.Total != 13*time.Second || !r.At.Equal(pending[r.Seq].Add(12*time.Second))):
			t.Errorf("got %+v, told to be pending at %v", r, pending[r.Seq])
		}
	}
	if len(pending) == 0 {
		t.Error("nothing was told to be pending")
	}
}

func TestALostVantageIsSilent(t *testing.T) {
	got := heard(fake{
		look: func(time.Time, Probe) Look { return Look{fine, time.Millisecond} },
		lost: func(_ time.Time, v int) bool { return v == 1 },
	})
	for _, r := range got {
		if r.Vantage == "b" {
			t.Fatalf("heard %+v", r)
		}
	}
	if len(got) < 19 {
		t.Errorf("got %d results", len(got))
	}
}
