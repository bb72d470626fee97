package web

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"faultline/alert"
	"faultline/alert/history"
	"faultline/alert/notify"
	"faultline/probe"
)

var noon = time.Date(2019, 7, 2, 13, 46, 0, 0, time.UTC)

const cloudflareID = "20190702T134202Z-cdn-cloudflare"

// hostile is what a remote may put wherever it is asked for a name.
const hostile = `"><script>alert(1)</script><img src=x onerror=alert(2)>'{{.}}`

// sampleView has an open page, an open notice, a resolved incident, and a cell in every state.
func sampleView() *alert.View {
	evidence := probe.Result{
		Site: "lihkg", URL: "https://lihkg.com/", Vantage: "hkg-1", At: noon, Seq: 41, Status: 502,
		Verdict: probe.Verdict{Class: probe.ClassHTTPEdgeError, Fault: probe.FaultEdge, CDN: "cloudflare", Why: "502 with the edge's own page"},
	}
	page := alert.Incident{
		ID: cloudflareID, Key: "faultline/main/cdn/cloudflare", Rev: 1, Domain: alert.Domain{Kind: alert.KindCDN, Name: "cloudflare"},
		State: alert.StateOpen, Severity: alert.SeverityPage, Scope: alert.ScopeGlobal, Assessment: alert.ProviderOutage,
		Why: []string{"no owner elsewhere fails"}, Onset: noon.Add(-4 * time.Minute), OpenedAt: noon.Add(-3 * time.Minute),
		PagedAt: noon.Add(-3 * time.Minute), Waves: 1, Failing: alert.Counts{Sites: 3, Owners: 3, Vantages: 2}, Of: alert.Counts{Sites: 3, Owners: 3, Vantages: 2},
		Members:  []alert.Member{{Site: "lihkg", Owner: "lihkg.com", Since: noon, Vantages: []string{"hkg-1"}, Class: "http_edge_error", Status: 502, Now: true}},
		Evidence: []probe.Result{evidence},
	}
	alone := alert.Incident{
		ID: "20190702T134000Z-origin-example", Domain: alert.Domain{Kind: alert.KindOrigin, Name: "example.org"}, State: alert.StateOpen,
		Severity: alert.SeverityNotice, Scope: alert.ScopeNone, Assessment: alert.SingleOwner, Onset: noon, OpenedAt: noon,
	}
	old := page
	old.ID, old.State, old.Domain.Name, old.OpenedAt = "20190701T000000Z-cdn-fastly", alert.StateResolved, "fastly", noon.Add(-24*time.Hour)
	cell := func(s alert.CellState) alert.CellView { return alert.CellView{State: s, At: noon, Since: noon} }
	failing := alert.CellView{State: alert.CellFailing, Class: probe.ClassHTTPEdgeError, Fault: probe.FaultEdge, At: noon, Since: noon}
	return &alert.View{
		At:        noon,
		Incidents: []alert.Incident{page, alone, old},
		Domains: []alert.DomainView{
			{Domain: alert.Domain{Kind: "cdn", Name: "akamai"}, Sites: 1, Owners: 1, Failing: 1, Ratio: 1},
			{Domain: alert.Domain{Kind: "cdn", Name: "cloudflare"}, Sites: 3, Owners: 3, Failing: 3, Ratio: 1, Quorum: true, Open: cloudflareID},
			{Domain: alert.Domain{Kind: "cdn", Name: "fastly"}, Sites: 3, Owners: 3, Quorum: true},
			{Domain: alert.Domain{Kind: "origin", Name: "tiny.example"}, Sites: 1, Owners: 1},
		},
		Vantages: []alert.VantageView{
			{Name: "hkg-1", Region: "ap-east", Healthy: true, LastAt: noon},
			{Name: "ams-1", Region: "eu-west", Why: "its uplink is gone", LastAt: noon},
		},
		Sites: []alert.SiteView{
			{Site: "well", URL: "https://well.example/", Group: "news", Owner: "well.example", CDN: "fastly", Cells: []alert.CellView{cell(alert.CellOK), cell(alert.CellSick)}},
			{Site: "lihkg", URL: "https://lihkg.com/", Group: "forums", Owner: "lihkg.com", CDN: "cloudflare", Cells: []alert.CellView{failing, cell(alert.CellSick)}},
			{Site: "odd", URL: "https://odd.example/", Owner: "odd.example", Cells: []alert.CellView{cell(alert.CellBlocked), cell(alert.CellStale)}},
			{Site: "new", URL: "https://new.example/", Owner: "new.example", Cells: []alert.CellView{cell(alert.CellNone), cell(alert.CellPending)}},
			{Site: "anchor", Anchor: true, Cells: []alert.CellView{cell(alert.CellOK), cell(alert.CellFailing)}},
		},
	}
}

func sampleConfig(v *alert.View) Config {
	view := func() *alert.View { return v }
	fine := func() error { return nil }
	return Config{
		View: view, Reload: fine, Ready: fine, Healthy: fine, Metrics: NewMetrics("1.2.3", view, true), Feed: &Feed{},
		Captures: func(string) ([]*probe.Capture, error) { return nil, nil },
		Told:     func(string) ([]notify.Told, error) { return nil, nil },
		Silenced: func(*alert.Incident) []string { return nil },
		Silences: func() []alert.Silence { return nil },
		History:  func(uint64, history.Step, int64, int64) ([]history.Item, error) { return nil, nil },
		Version:  "1.2.3", Log: zerolog.Nop(),
	}
}

func request(h http.Handler, method, target string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, target, http.NoBody))
	return w
}

func TestEveryAnswerIsGuarded(t *testing.T) {
	h := New(sampleConfig(sampleView()))
	for _, path := range []string{"/", "/nowhere", "/api/v1/sites", "/api/nowhere", "/metrics", "/-/healthy", "/assets/app.js"} {
		got := request(h, "GET", path).Header()
		for name, want := range map[string]string{
			"Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY",
		} {
			if got.Get(name) != want {
				t.Errorf("%s: %s: got %q, want %q", path, name, got.Get(name), want)
			}
		}
	}
}

func TestOnlyReadingMethods(t *testing.T) {
	h := New(sampleConfig(sampleView()))
	f := func(method, path string, want int) {
		t.Helper()
		if got := request(h, method, path).Code; got != want {
			t.Errorf("%s %s: got %d, want %d", method, path, got, want)
		}
	}
	f("GET", "/", 200)
	f("HEAD", "/", 200)
	f("POST", "/", 405)
	f("DELETE", "/api/v1/incidents/"+cloudflareID, 405)
	f("GET", "/-/reload", 405)
	f("GET", "/nowhere", 404)
	f("GET", "/incidents/none", 404)
	f("GET", "/assets/none.css", 404)
	f("GET", "/assets/..%2fweb.go", 404)
}

func TestReload(t *testing.T) {
	calls := 0
	c := sampleConfig(sampleView())
	c.Reload = func() error { calls++; return nil }
	w := request(New(c), "POST", "/-/reload")
	if w.Code != 403 || calls != 0 || !strings.Contains(w.Body.String(), "SIGHUP") {
		t.Errorf("where writes are off: got %d %q and %d reloads, want 403, advice and none", w.Code, w.Body, calls)
	}
	c.Writes = true
	if w := request(New(c), "POST", "/-/reload"); w.Code != 200 || calls != 1 {
		t.Errorf("where writes are on: got %d and %d reloads, want 200 and 1", w.Code, calls)
	}
	c.Reload = func() error { return errors.New("faultline.toml:3: site: no url") }
	if w := request(New(c), "POST", "/-/reload"); w.Code != 500 || !strings.Contains(w.Body.String(), "faultline.toml:3") {
		t.Errorf("a bad config: got %d %q, want 500 and the reason", w.Code, w.Body)
	}
	r := httptest.NewRequest("POST", "/-/reload", http.NoBody)
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	other := httptest.NewRecorder()
	if New(c).ServeHTTP(other, r); other.Code != 403 {
		t.Errorf("from another site's page: got %d, want 403", other.Code)
	}
}

func TestHealthyAndReady(t *testing.T) {
	c := sampleConfig(sampleView())
	c.Ready = func() error { return errors.New("no result yet from hkg-1") }
	h := New(c)
	if w := request(h, "GET", "/-/healthy"); w.Code != 200 {
		t.Errorf("healthy: got %d, want 200", w.Code)
	}
	if w := request(h, "GET", "/-/ready"); w.Code != 503 || !strings.Contains(w.Body.String(), "no result yet from hkg-1") {
		t.Errorf("not ready: got %d %q, want 503 and the reason", w.Code, w.Body)
	}
}

// manySites is a view of n sites that are well, of which the first bad fail.
func manySites(n, bad int) *alert.View {
	v := &alert.View{At: noon, Vantages: []alert.VantageView{{Name: "hkg-1", Healthy: true, LastAt: noon}}}
	for i := range n {
		c := alert.CellView{State: alert.CellOK, Class: probe.ClassOK, At: noon}
		if i >= n-bad {
			c = alert.CellView{State: alert.CellFailing, Class: probe.ClassConnectRefused, Fault: probe.FaultOrigin, At: noon}
		}
		v.Sites = append(v.Sites, alert.SiteView{
			Site: fmt.Sprintf("site-%d", i), URL: "https://example.org/", Group: fmt.Sprintf("group-%d", i%3), Cells: []alert.CellView{c},
		})
	}
	return v
}
