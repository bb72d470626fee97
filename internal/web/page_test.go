package web

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"faultline/alert"
	"faultline/probe"
)

func page(t *testing.T, v *alert.View, target string) string {
	t.Helper()
	w := request(New(sampleConfig(v)), "GET", target)
	if w.Code != http.StatusOK {
		t.Fatalf("GET %s: got %d %s", target, w.Code, w.Body)
	}
	return w.Body.String()
}

// TestPageTellsEveryState: each state has its own style and word, and the shared failure comes first.
func TestPageTellsEveryState(t *testing.T) {
	got := page(t, sampleView(), "/")
	for _, want := range []string{
		`cdn:cloudflare is failing`, `class="cell failing" title="lihkg from hkg-1: failing, http_edge_error, fault edge, since 2 Jul, 13:46:00 UTC">✕ edge<`,
		`class="cell sick"`, `class="cell blocked"`, `class="cell stale"`, `class="cell none"`, `class="cell pending"`, `class="cell ok"`,
		`below quorum`, `/incidents/` + cloudflareID, `its uplink is gone`, `1 of 1 anchors answer`, `Resolved lately`, `Faultline 1.2.3`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("page lacks %q", want)
		}
	}
	order := []string{"Incidents now", "Failure domains", `id="h-sites"`, "Vantages"}
	for n := 1; n < len(order); n++ {
		if strings.Index(got, order[n-1]) > strings.Index(got, order[n]) {
			t.Errorf("%q comes after %q", order[n-1], order[n])
		}
	}
}

func TestVerdict(t *testing.T) {
	f := func(v *alert.View, tone, headline string) {
		t.Helper()
		s := newStatus(v, noon, filter{}, func(*alert.Incident) []string { return nil })
		if s.Tone != tone || s.Headline != headline {
			t.Errorf("got %s %q, want %s %q", s.Tone, s.Headline, tone, headline)
		}
	}
	f(sampleView(), toneBad, "cdn:cloudflare is failing")
	f(&alert.View{At: noon}, toneUnknown, "Nothing can be said yet")
	f(manySites(5, 0), toneWell, "Everything answers")
	f(manySites(5, 1), toneWarn, "Nothing shared is failing")

	sick := manySites(5, 0)
	for n := range sick.Sites {
		sick.Sites[n].Cells[0].State = alert.CellSick
	}
	f(sick, toneUnknown, "Nothing can be said yet")
	blocked := manySites(5, 0)
	blocked.Sites[0].Cells[0].State = alert.CellBlocked
	f(blocked, toneWell, "Nothing is failing")
	recovering := sampleView()
	recovering.Incidents[0].State = alert.StateRecovering
	f(recovering, toneWarn, "cdn:cloudflare is recovering")
}

func TestPageSaysWhenItIsOld(t *testing.T) {
	v := manySites(1, 0)
	if got := page(t, v, "/"); !strings.Contains(got, "has published nothing since") {
		t.Error("a view of 2019 is shown as if it were new")
	}
	v.At = time.Now()
	v.QuietTill = v.At.Add(time.Minute)
	got := page(t, v, "/")
	if strings.Contains(got, "has published nothing since") || !strings.Contains(got, "has just started") {
		t.Error("a fresh view of a daemon that has just started is not shown as that")
	}
}

// TestManySitesAreFolded: 10,000 sites make a small page that shows what is wrong, and the rest is found by searching.
func TestManySitesAreFolded(t *testing.T) {
	v := manySites(10_000, 7)
	got := page(t, v, "/")
	if len(got) > 60_000 {
		t.Errorf("page is %d bytes", len(got))
	}
	if n := strings.Count(got, "✕ origin"); n != 7 {
		t.Errorf("got %d failing cells, want 7", n)
	}
	if strings.Contains(got, ">site-1<") || !strings.Contains(got, "9993 more sites, none of them failing") {
		t.Error("the sites that are well are not folded")
	}
	if got := page(t, v, "/?q=Site-123"); !strings.Contains(got, ">site-1234<") || strings.Contains(got, ">site-99<") {
		t.Error("searching for site-123 does not find site-1234 only")
	}
	if got := page(t, v, "/?state=failing"); !strings.Contains(got, "7 of 10000 sites") {
		t.Error("choosing the failing ones does not")
	}
	if got := page(t, manySites(10_000, 9_000), "/"); len(got) > 300_000 || !strings.Contains(got, "8700 more that fit are not shown") {
		t.Errorf("with 9000 failing the page is %d bytes", len(got))
	}
}

var inline = regexp.MustCompile(`(?i)\sstyle=|\son[a-z]+=|<style|<script>|<script [^>]*>[^<]|javascript:|(src|href)="(https?:)?//`)

// TestHostileStringsAreText: whatever a remote or a site's name says is shown as text, and nothing on the page needs
// what the Content-Security-Policy forbids.
func TestHostileStringsAreText(t *testing.T) {
	v := sampleView()
	v.Domains[0].Name, v.Vantages[1].Name, v.Vantages[1].Why, v.Vantages[1].Region = hostile, hostile, hostile, hostile
	s := &v.Sites[1]
	s.Site, s.URL, s.Group, s.Owner, s.CDN = hostile, "javascript"+hostile, hostile, hostile, hostile
	i := &v.Incidents[0]
	i.Domain.Name, i.Why, i.Fine, i.Regions = hostile, []string{hostile}, []string{hostile}, []string{hostile}
	i.Members[0] = alert.Member{Site: hostile, Owner: hostile, Vantages: []string{hostile}, Class: hostile}
	r := &i.Evidence[0]
	r.Site, r.Vantage, r.Why, r.CDN, r.Final = hostile, hostile, hostile, hostile, strings.Repeat(hostile, 900)
	r.DNS = probe.DNSInfo{Rcode: hostile, CNAME: []string{hostile}}
	r.TLS.Issuer = hostile
	conf := sampleConfig(v)
	conf.Captures = func(string) ([]*probe.Capture, error) {
		return []*probe.Capture{{
			Site: hostile, Vantage: hostile, Status: hostile, Headers: []probe.Header{{Name: hostile, Value: hostile}},
			Body: []byte(strings.Repeat(hostile+"\xff", 900)), Chain: []string{hostile}, DNS: []string{hostile},
		}}, nil
	}
	page := func(t *testing.T, _ *alert.View, target string) string {
		t.Helper()
		return request(New(conf), "GET", target).Body.String()
	}
	if got := page(t, v, "/incidents/"+cloudflareID); !strings.Contains(got, "bytes more") || !strings.Contains(got, "DNS messages") {
		t.Error("the capture is not shown")
	}
	for _, target := range []string{"/", "/?q=" + "%22%3E%3Cscript%3E", "/?state=%22%3E%3Cscript%3E", "/incidents/" + cloudflareID} {
		got := page(t, v, target)
		if strings.Contains(got, "<script>alert") || strings.Contains(got, "<img src=x") {
			t.Errorf("%s: markup of a remote is on the page", target)
		}
		for _, tag := range regexp.MustCompile(`<[a-zA-Z][^<>]*>`).FindAllString(strings.ReplaceAll(got, hostileText, ""), -1) {
			if inline.MatchString(tag) {
				t.Errorf("%s: the policy forbids %s", target, tag)
			}
		}
	}
}

// hostileText is hostile as html/template writes it in an attribute.
var hostileText = func() string {
	return strings.NewReplacer(`"`, "&#34;", ">", "&gt;", "<", "&lt;", "'", "&#39;").Replace(hostile)
}()

func TestFragmentIsRevalidated(t *testing.T) {
	h := New(sampleConfig(sampleView()))
	w := request(h, "GET", "/?fragment=1")
	if strings.Contains(w.Body.String(), "<html") || !strings.Contains(w.Body.String(), "is failing") {
		t.Errorf("fragment is not the changing part: %.200s", w.Body)
	}
	r := httptest.NewRequest("GET", "/?fragment=1", http.NoBody)
	r.Header.Set("If-None-Match", w.Header().Get("ETag"))
	again := httptest.NewRecorder()
	if h.ServeHTTP(again, r); again.Code != http.StatusNotModified {
		t.Errorf("unchanged: got %d, want 304", again.Code)
	}
}

// TestResultsAloneDoNotChangeThePage: readers fetch it only when there is something to see.
func TestResultsAloneDoNotChangeThePage(t *testing.T) {
	v := manySites(3, 1)
	before := page(t, v, "/?fragment=1")
	for n := range v.Sites {
		v.Sites[n].Cells[0].At = noon.Add(time.Minute)
	}
	v.At, v.Vantages[0].LastAt = noon, noon.Add(time.Second)
	if page(t, v, "/?fragment=1") != before {
		t.Error("a newer answer of the same state changes the page")
	}
}

func TestManyIncidentsAreCut(t *testing.T) {
	v := manySites(1, 0)
	for n := range 100 {
		v.Incidents = append(v.Incidents, alert.Incident{ID: fmt.Sprint(n), State: alert.StateOpen, Severity: alert.SeverityNotice, OpenedAt: noon})
	}
	v.Incidents = append(v.Incidents, alert.Incident{ID: "last", State: alert.StateOpen, Severity: alert.SeverityPage, OpenedAt: noon.Add(-time.Hour)})
	got := page(t, v, "/")
	if n := strings.Count(got, "<article"); n != maxCards || !strings.Contains(got, "81 more are in") || !strings.Contains(got, `id="i-last"`) {
		t.Errorf("got %d cards, want %d with the page's among them", n, maxCards)
	}
}

// TestScriptFindsItsElements: an id that the page lacks would stop the script, and the page with it.
func TestScriptFindsItsElements(t *testing.T) {
	script := request(New(sampleConfig(sampleView())), "GET", "/assets/app.js").Body.String()
	got := page(t, sampleView(), "/")
	ids := regexp.MustCompile(`getElementById\('([^']*)'\)`).FindAllStringSubmatch(script, -1)
	if len(ids) == 0 {
		t.Fatal("the script looks for nothing")
	}
	for _, id := range ids {
		if !strings.Contains(got, `id="`+id[1]+`"`) {
			t.Errorf("the page has no element %q", id[1])
		}
	}
}
