package web

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"faultline/alert"
	"faultline/probe"
)

func usedMetrics(v *alert.View) *Metrics {
	m := NewMetrics("1.2.3", func() *alert.View { return v }, true)
	r := probe.Result{Vantage: "hkg-1", Verdict: probe.Verdict{Class: probe.ClassHTTPEdgeError, Fault: probe.FaultEdge}}
	r.Time = probe.Timings{Resolve: 3 * time.Millisecond, Connect: time.Millisecond, Total: 50 * time.Millisecond}
	m.Result(&r)
	m.Start("hkg-1", noon, 30*time.Second)
	m.ScheduleLag(time.Millisecond)
	m.Sweep("done")
	m.Notification("pager", "delivered", time.Second)
	m.Pending(func() int { return 2 })
	m.InFlight(func() int { return 3 })
	m.Reloaded(true)
	return m
}

// TestMetricNames holds the names and labels that others build dashboards and rules on.
func TestMetricNames(t *testing.T) {
	families, err := usedMetrics(sampleView()).reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "faultline_") {
			continue
		}
		var labels []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, l.GetName())
		}
		got = append(got, fmt.Sprintf("%s{%s} %s", f.GetName(), strings.Join(labels, ","), f.GetType()))
	}
	want := []string{
		"faultline_build_info{goversion,version} GAUGE",
		"faultline_config_last_reload_successful{} GAUGE",
		"faultline_deliveries_pending{} GAUGE",
		"faultline_domain_failing_ratio{kind,name} GAUGE",
		"faultline_domain_score{kind,name} GAUGE",
		"faultline_domain_sites{kind,name} GAUGE",
		"faultline_domain_threshold{kind,name} GAUGE",
		"faultline_incident_open{kind,name,scope,severity} GAUGE",
		"faultline_notification_latency_seconds{} HISTOGRAM",
		"faultline_notifications_total{channel,outcome} COUNTER",
		"faultline_probe_phase_seconds{phase,vantage} HISTOGRAM",
		"faultline_probe_results_total{class,fault,vantage} COUNTER",
		"faultline_probe_starts_total{vantage} COUNTER",
		"faultline_probes_in_flight{} GAUGE",
		"faultline_schedule_lag_seconds{} HISTOGRAM",
		"faultline_schedule_phase_ratio{} HISTOGRAM",
		"faultline_site_info{cdn,group,site} GAUGE",
		"faultline_site_up{group,site,vantage} GAUGE",
		"faultline_sweeps_total{outcome} COUNTER",
		"faultline_vantage_healthy{vantage} GAUGE",
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("metrics (-got +want):\n%s", diff)
	}
}

func TestMetricsFromTheView(t *testing.T) {
	err := testutil.GatherAndCompare(usedMetrics(sampleView()).reg, strings.NewReader(`
# HELP faultline_domain_failing_ratio Share of the failure domain's owners that are failing.
# TYPE faultline_domain_failing_ratio gauge
faultline_domain_failing_ratio{kind="cdn",name="cloudflare"} 1
faultline_domain_failing_ratio{kind="cdn",name="fastly"} 0
# HELP faultline_incident_open Incidents that are not resolved.
# TYPE faultline_incident_open gauge
faultline_incident_open{kind="cdn",name="cloudflare",scope="global",severity="page"} 1
faultline_incident_open{kind="origin",name="example.org",scope="none",severity="notice"} 1
# HELP faultline_site_up 1 when the site answered as it should, 0 when not; absent when the newest answer does not count.
# TYPE faultline_site_up gauge
faultline_site_up{group="forums",site="lihkg",vantage="hkg-1"} 0
faultline_site_up{group="news",site="well",vantage="hkg-1"} 1
# HELP faultline_vantage_healthy 1 when the vantage is well, 0 when its results do not count.
# TYPE faultline_vantage_healthy gauge
faultline_vantage_healthy{vantage="ams-1"} 0
faultline_vantage_healthy{vantage="hkg-1"} 1
`), "faultline_domain_failing_ratio", "faultline_incident_open", "faultline_site_up", "faultline_vantage_healthy")
	if err != nil {
		t.Error(err)
	}
}

// TestExpositionIsClean reads what a scraper reads, hostile names included.
func TestExpositionIsClean(t *testing.T) {
	v := sampleView()
	v.Sites[0].Site = "bad \xff\xfe\n\"name\""
	v.Sites[1].Site, v.Sites[2].Site = strings.Repeat("é", 500)+"1", strings.Repeat("é", 500)+"2"
	v.Sites[2].Cells[0].State = alert.CellOK
	c := sampleConfig(v)
	c.Metrics = usedMetrics(v)
	w := request(New(c), "GET", "/metrics")
	got := w.Body.String()
	problems, err := promlint.New(strings.NewReader(got)).Lint()
	if err != nil || len(problems) > 0 || w.Code != 200 {
		t.Errorf("got %d, %v, %v", w.Code, err, problems)
	}
	if n := strings.Count(got, "faultline_site_up{"); n != 3 {
		t.Errorf("got %d sites, want 3: two long names are two series", n)
	}
	for l := range strings.Lines(got) {
		if len(l) > 1000 {
			t.Errorf("a line of %d bytes", len(l))
		}
	}
}

func TestPerSiteSeriesAreBounded(t *testing.T) {
	f := func(sites int, perSite bool, want int) {
		t.Helper()
		v := manySites(sites, 0)
		m := NewMetrics("", func() *alert.View { return v }, perSite)
		if got, err := testutil.GatherAndCount(m.reg, "faultline_site_up"); got != want || err != nil {
			t.Errorf("%d sites: got %d series, %v; want %d", sites, got, err, want)
		}
	}
	f(2000, true, 2000)
	f(2001, true, 0)
	f(10, false, 0)
}

func TestResultMetrics(t *testing.T) {
	m := NewMetrics("", func() *alert.View { return &alert.View{} }, true)
	ok := probe.Result{Vantage: "v", Verdict: probe.Verdict{Class: probe.ClassOK}, Time: probe.Timings{Resolve: time.Millisecond, Total: time.Second}}
	pending := probe.Result{Vantage: "v", Pending: true, Time: probe.Timings{Total: time.Second}}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 25 {
				m.Result(&ok)
				m.Result(&pending)
			}
		})
	}
	wg.Wait()
	if got := testutil.ToFloat64(m.results.WithLabelValues("v", "ok", "none")); got != 100 {
		t.Errorf("got %v finished probes, want 100", got)
	}
	if n := testutil.CollectAndCount(m.results); n != 1 {
		t.Errorf("got %d series of results, want 1: pending ones do not count", n)
	}
	if got := phaseCounts(t, m); !slices.Equal(got, []string{"connect 0", "resolve 100", "tls 0", "total 100", "ttfb 0"}) {
		t.Errorf("got phases %v", got)
	}
	if n := testing.AllocsPerRun(100, func() { m.Result(&ok) }); n > 0 {
		t.Errorf("a result costs %v allocations, want none", n)
	}
}

func phaseCounts(t *testing.T, m *Metrics) []string {
	t.Helper()
	families, err := m.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, f := range families {
		if f.GetName() != "faultline_probe_phase_seconds" {
			continue
		}
		for _, x := range f.GetMetric() {
			out = append(out, fmt.Sprintf("%s %d", x.GetLabel()[0].GetValue(), x.GetHistogram().GetSampleCount()))
		}
	}
	return out
}

// TestEvenScheduleFillsBucketsAlike: the phase metric shows at a glance whether starts are spread.
func TestEvenScheduleFillsBucketsAlike(t *testing.T) {
	m := NewMetrics("", func() *alert.View { return &alert.View{} }, true)
	for n := range 60 {
		m.Start("v", noon.Add(time.Duration(n)*time.Second+time.Millisecond), time.Minute)
	}
	m.Start("v", noon, 0) // a sweep has no phase
	families, err := m.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "faultline_schedule_phase_ratio" {
			continue
		}
		for n, b := range f.GetMetric()[0].GetHistogram().GetBucket() {
			if want := uint64(6 * (n + 1)); b.GetCumulativeCount() != want {
				t.Errorf("bucket %v: got %d, want %d", b.GetUpperBound(), b.GetCumulativeCount(), want)
			}
		}
	}
	if got := testutil.ToFloat64(m.starts.WithLabelValues("v")); got != 61 {
		t.Errorf("got %v starts, want 61", got)
	}
}
