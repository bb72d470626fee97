package report

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"faultline/alert"
	"faultline/alert/notify"
	"faultline/probe"
)

var update = flag.Bool("update", false, "write the golden files anew")

// founding is the outage of 2 July 2019 as a drill played it, told in that day's time.
func founding(t *testing.T) *Report {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "founding.json"))
	if err != nil {
		t.Fatal(err)
	}
	var r Report
	if err := json.Unmarshal(b, &r); err != nil {
		t.Fatal(err)
	}
	return &r
}

func html(t *testing.T, r *Report) string {
	t.Helper()
	var b bytes.Buffer
	if err := r.HTML(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func md(t *testing.T, r *Report) string {
	t.Helper()
	var b bytes.Buffer
	if err := r.Markdown(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s is another now (go test -update writes it anew):\n%s", name, d)
	}
}

func TestTheFoundingCase(t *testing.T) {
	r := founding(t)
	golden(t, "founding.md", md(t, r))
	golden(t, "founding.html", html(t, r))
	var b bytes.Buffer
	if err := r.JSON(&b); err != nil {
		t.Fatal(err)
	}
	golden(t, "founding.json", b.String())
}

// both checks what both forms of a report say, and what they do not.
func both(t *testing.T, r *Report, has []string, lacks ...string) {
	t.Helper()
	for form, got := range map[string]string{"Markdown": md(t, r), "HTML": strings.ReplaceAll(html(t, r), "&#39;", "'")} {
		for _, want := range has {
			if !strings.Contains(got, strings.NewReplacer("+", map[string]string{"HTML": "&#43;", "Markdown": "+"}[form]).Replace(want)) {
				t.Errorf("%s lacks %q", form, want)
			}
		}
		for _, unwanted := range lacks {
			if strings.Contains(got, unwanted) {
				t.Errorf("%s says %q", form, unwanted)
			}
		}
	}
}

func TestOneThatIsOpen(t *testing.T) {
	r := founding(t)
	i := &r.Incident
	i.State, i.RecoveringAt, i.ResolvedAt = alert.StateOpen, time.Time{}, time.Time{}
	i.Members[0].Now = true
	r.Made, r.Deliveries = i.Onset.Add(5*time.Minute), r.Deliveries[:4]
	both(t, r, []string{
		"Cloudflare's edge failing since 2 July 2019, 13:42:02 UTC", "it still failed when this report was made, after 5 min", "yes",
		"this report is made, and it still fails", "status page and, if you can bypass it",
	}, "at worst 19 of", "answer again", "no longer")
}

func TestOneThatIsRecovering(t *testing.T) {
	r := founding(t)
	r.Incident.State, r.Incident.ResolvedAt, r.Incident.Waves = alert.StateRecovering, time.Time{}, 3
	both(t, r, []string{"in 3 waves; it is not over yet", "its members answer again, after 3 waves", "failed for 26 min 27 s"}, "resolved:")
}

func TestOneThatSaysLittle(t *testing.T) {
	onset := time.Date(2019, 7, 2, 13, 42, 2, 0, time.UTC)
	r := &Report{Made: onset.Add(time.Hour), Incident: alert.Incident{
		ID: "x", Domain: alert.Domain{Kind: alert.KindDNS, Name: "dnsco"}, State: alert.StateResolved, Severity: alert.SeverityNotice,
		Scope: alert.ScopeNone, Assessment: alert.Unclear, Onset: onset, OpenedAt: onset.Add(time.Second), ResolvedAt: onset.Add(time.Minute), Waves: 1,
	}}
	both(t, r, []string{"The DNS of dnsco failed for 1 min on 2 July 2019", "nobody was woken", "What it probably was"},
		"How much failed when", "Evidence", "Failing sites", "Deliveries", "What was not failing", "vantages", "0001")
}

func TestBlindness(t *testing.T) {
	r := founding(t)
	r.Incident = alert.Incident{
		Domain: alert.Domain{Kind: alert.KindSelf, Name: "blind"}, State: alert.StateOpen, Severity: alert.SeverityPage, Scope: alert.ScopeNone,
		Assessment: alert.ProberTrouble, Onset: r.Incident.Onset, OpenedAt: r.Incident.OpenedAt, PagedAt: r.Incident.PagedAt,
		Why: []string{"1 of 5 vantages is well, and 2 at least are needed"},
	}
	r.Captures, r.Made = nil, r.Incident.Onset.Add(90*time.Second)
	both(t, r, []string{"Faultline's own sight failing since", "1 of 5 vantages is well, and 2 at least are needed", "Trouble of the prober itself"}, "Failing sites", "0 of 0")
}

func TestTies(t *testing.T) {
	r := founding(t)
	r.Incident.Or = []alert.Domain{{Kind: "hosting", Name: "hostco"}}
	both(t, r, []string{"Cloudflare's edge or hosting hostco failed for", "cloudflare's edge (cdn:cloudflare)", "hosting hostco (hosting:hostco), which would explain it as well"})
}

func TestManyMembers(t *testing.T) {
	r := founding(t)
	i := &r.Incident
	m := i.Members[0]
	i.Members = nil
	for n := range alert.MaxMembers {
		m.Site = fmt.Sprintf("site-%03d", n)
		m.Vantages = []string{"a", "b", "c", "d", "e", "f", "g", "h"}
		i.Members = append(i.Members, m)
	}
	i.Failing.Sites, i.Of.Vantages = 340, 12
	both(t, r, []string{"site-049", "site-199", "140 more failed that are not listed", "a, b, c, d, e, f and 2 more"})
	if got := md(t, r); !strings.Contains(got, "And 150 more: site-050, site-051") {
		t.Error("Markdown does not fold what is over 50")
	}
	if got := html(t, r); !strings.Contains(got, "<details><summary>150 more</summary>") {
		t.Error("HTML does not fold what is over 50")
	}
}

func TestALongOne(t *testing.T) {
	r := founding(t)
	i := &r.Incident
	i.Course = nil
	for n := range alert.MaxCourse {
		i.Course = append(i.Course, alert.Point{At: i.OpenedAt.Add(time.Duration(n) * 450 * time.Second), Failing: n % 20, Of: 20, Vantages: map[string]int{"hkg-1": n % 101}})
	}
	i.RecoveringAt, i.ResolvedAt = i.Onset.Add(30*time.Hour), i.Onset.Add(30*time.Hour+9*time.Minute)
	r.Deliveries = nil
	for n := range 40 {
		r.Deliveries = append(r.Deliveries, notify.Told{At: i.PagedAt.Add(time.Duration(n) * 30 * time.Minute), Channel: "pager", Event: notify.EventReminder, Outcome: notify.OutcomeAccepted})
	}
	both(t, r, []string{"failed for 30 h from 2 July 2019", "2 July 2019, 13:42:02 to 3 July 2019, 19:42:02 UTC: 30 h", "3 Jul 19:42:02", "+30 h", "the first of 40 updates and reminders"})
	if got := strings.Count(md(t, r), "took a reminder"); got != 0 {
		t.Errorf("the timeline has %d reminders", got)
	}
	if got := html(t, r); !strings.Contains(got, ">3 Jul</text>") || !strings.Contains(got, ">UTC, 2 July 2019 to 3 July 2019</text>") {
		t.Error("the chart does not say where a day begins")
	}
	if rows := newCourse(i, clockOf(r)).Rows; len(rows) != maxRows || rows[0].Share != 0 || rows[maxRows-1].Share != 95 {
		t.Errorf("got the rows %v", rows)
	}
}

func clockOf(r *Report) func(time.Time) string {
	clock, _ := r.clock()
	return clock
}

func TestACaptureOfAnotherLook(t *testing.T) {
	r := founding(t)
	e := &r.Incident.Evidence[0]
	r.Captures[0].Seq = e.Seq + 7
	r.Captures = append(r.Captures, &probe.Capture{Site: "elsewhere", Vantage: "hkg-1", URL: "https://elsewhere.example/", Class: probe.ClassConnectTimeout, At: e.At})
	both(t, r, []string{"what came is of another failing look at this site from there", "elsewhere", "connect_timeout, fault ambiguous", "nothing of what came"})
}

func TestBoundsOfAnAnswer(t *testing.T) {
	r := founding(t)
	c := r.Captures[0]
	c.Body = bytes.Repeat([]byte("é"), 8<<10)
	for range 1000 {
		c.Headers = append(c.Headers, probe.Header{Name: "X-Long", Value: strings.Repeat("v", 5000)})
	}
	c.DNS = []string{strings.Repeat("d", 1<<20), "", "", "", "", "sixth"}
	both(t, r, []string{"12288 more bytes of the body are not shown"}, "sixth")
	if got := len(html(t, r)); got > 150_000 {
		t.Errorf("the page is %d bytes", got)
	}
}

func TestWhatCannotBeWrittenIsAnError(t *testing.T) {
	r := founding(t)
	for form, write := range map[string]func() error{
		"JSON": func() error { return r.JSON(broken{}) }, "HTML": func() error { return r.HTML(broken{}) }, "Markdown": func() error { return r.Markdown(broken{}) },
	} {
		if err := write(); err == nil || !strings.Contains(err.Error(), form) {
			t.Errorf("%s: got %v", form, err)
		}
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, os.ErrClosed }
