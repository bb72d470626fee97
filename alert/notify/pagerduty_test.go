package notify

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"faultline/alert"
	"faultline/probe"
)

const routingKey = "R0UT1NGK3Y0123456789abcdefABCDEF"

// fakePagerDuty takes events as PagerDuty does: what the documented schema does not allow is answered with 400, a trigger
// opens an incident unless one with its key is open, and the rest is about those that are.
type fakePagerDuty struct {
	t      *testing.T
	schema *schema
	url    string

	mu     sync.Mutex
	events []string // "trigger key"
	last   pdEvent
	size   int             // of the largest body
	open   map[string]bool // by key
	opened int             // incidents, ever
	refuse string          // key that gets 400
}

func newFakePagerDuty(t *testing.T) *fakePagerDuty {
	t.Helper()
	f := &fakePagerDuty{t: t, schema: readSchema(t, "testdata/pagerduty-events-v2.schema.json"), open: map[string]bool{}}
	s := httptest.NewServer(f)
	t.Cleanup(s.Close)
	f.url = s.URL + "/v2/enqueue"
	return f
}

func (f *fakePagerDuty) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil || r.URL.Path != "/v2/enqueue" || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" {
		f.t.Errorf("got %s %s, error %v", r.Method, r.URL, err)
	}
	var all any
	var e pdEvent
	if err := errors.Join(json.Unmarshal(body, &all), json.Unmarshal(body, &e)); err != nil {
		f.t.Errorf("got %q: %v", body, err)
	}
	wrong := f.schema.check("event", all)
	if e.Action != pdTrigger && e.DedupKey == "" || e.Action == pdTrigger && e.Payload == nil {
		wrong = append(wrong, "event lacks its dedup_key or payload")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if e.DedupKey == f.refuse || len(body) > 512<<10 || len(wrong) > 0 {
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprintf(w, `{"status":"invalid event","message":"Event object is invalid","errors":[%q]}`, fmt.Sprint(wrong))
		return
	}
	f.events, f.last, f.size = append(f.events, e.Action+" "+e.DedupKey), e, max(f.size, len(body))
	switch e.Action {
	case pdTrigger:
		if !f.open[e.DedupKey] {
			f.opened++
		}
		f.open[e.DedupKey] = true
	case pdResolve:
		f.open[e.DedupKey] = false
	}
	w.WriteHeader(http.StatusAccepted)
	fmt.Fprintf(w, `{"status":"success","message":"Event processed","dedup_key":%q}`, e.DedupKey)
}

func pagerDuty(t *testing.T, url string) *PagerDuty {
	t.Helper()
	p, err := NewPagerDuty(url, routingKey, "main")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func deliver(t *testing.T, c Channel, m Message) {
	t.Helper()
	if err := c.Deliver(t.Context(), m); err != nil {
		t.Fatal(err)
	}
}

func TestPagerDutyLife(t *testing.T) {
	f := newFakePagerDuty(t)
	p := pagerDuty(t, f.url)
	i := founding()
	end := over(i)
	soon := i
	soon.State, soon.RecoveringAt = alert.StateRecovering, t0.Add(time.Minute)
	for _, m := range []Message{
		{Incident: &i, First: true},
		{Incident: &i},
		{Incident: &i, Acked: true},
		{Incident: &i, Reminder: 1},
		{Incident: &soon},
		{Incident: &end},
	} {
		deliver(t, p, m)
	}
	const key = "faultline/main/cdn/cloudflare"
	if d := cmp.Diff(f.events, []string{"trigger " + key, "acknowledge " + key, "resolve " + key}); d != "" {
		t.Errorf("-got +want:\n%s", d)
	}
}

func TestPagerDutyTrigger(t *testing.T) {
	f := newFakePagerDuty(t)
	i := founding()
	deliver(t, pagerDuty(t, f.url), Message{Incident: &i, First: true, Link: "https://watch.example/incidents/1", Notes: []string{"it was silenced"}})
	e := f.last
	details, err := json.Marshal(e.Payload.Details)
	if err != nil {
		t.Fatal(err)
	}
	e.Payload.Details = nil
	want := pdEvent{
		RoutingKey: routingKey, Action: "trigger", DedupKey: "faultline/main/cdn/cloudflare", Client: "Faultline", ClientURL: "https://watch.example/incidents/1",
		Links: []pdLink{{"https://watch.example/incidents/1", "What is known now"}},
		Payload: &pdPayload{
			Summary: i.Title(), Source: "cloudflare", Severity: "critical", Timestamp: i.Onset.Format(time.RFC3339Nano), Component: "cdn", Group: "main",
			Class: "provider_outage",
		},
	}
	if d := cmp.Diff(e, want); d != "" {
		t.Errorf("-got +want:\n%s", d)
	}
	for _, s := range []string{i.ID, `"sites":["lihkg"]`, "lihkg from hkg-1: http_edge_error, fault edge: 502 with Cloudflare's own page", "fastly: 10 of 10", "it was silenced", "status page"} {
		if !strings.Contains(string(details), s) {
			t.Errorf("the details lack %q: %s", s, details)
		}
	}

	i.Severity = alert.SeverityNotice
	deliver(t, pagerDuty(t, f.url), Message{Incident: &i, First: true, Link: "not a link"})
	if got := f.last; got.Payload.Severity != "warning" || got.ClientURL != "" || got.Links != nil {
		t.Errorf("got %+v", got)
	}
	deliver(t, pagerDuty(t, f.url), Message{Incident: &i, First: true, Test: true})
	if got := f.last; !strings.HasPrefix(got.Payload.Summary, "TEST: ") || got.DedupKey != "test/faultline/main/cdn/cloudflare" {
		t.Errorf("got %+v", got)
	}
}

// Whoever has resolved the PagerDuty incident by hand is not woken for more of the same, but once when it fails anew.
func TestPagerDutyOpensNoSecondIncident(t *testing.T) {
	f := newFakePagerDuty(t)
	p := pagerDuty(t, f.url)
	i := founding()
	deliver(t, p, Message{Incident: &i, First: true})
	f.open[i.Key] = false // by hand
	for range 3 {
		i.Rev++
		deliver(t, p, Message{Incident: &i})
		deliver(t, p, Message{Incident: &i, Reminder: 1})
	}
	if f.opened != 1 {
		t.Errorf("got %d incidents, want the one", f.opened)
	}
	i.Waves = 2
	for range 3 {
		i.Rev++
		deliver(t, p, Message{Incident: &i})
	}
	if f.opened != 2 || len(f.events) != 2 {
		t.Errorf("got %d incidents by %q, want a second for the second wave", f.opened, f.events)
	}
	end := over(i)
	deliver(t, p, Message{Incident: &end})
	if f.open[i.Key] || len(p.waves) != 0 {
		t.Errorf("it is resolved, but open %v, remembered %v", f.open, p.waves)
	}
}

func TestPagerDutyNotices(t *testing.T) {
	f := newFakePagerDuty(t)
	p := pagerDuty(t, f.url)
	n := func(key string, over bool) alert.Notice {
		return alert.Notice{ID: key, Kind: alert.NoticeSite, At: t0, Key: "site/" + key, Site: key, Text: key + " fails alone", Over: over}
	}
	deliver(t, p, Message{Notices: []alert.Notice{n("a", false), n("b", false), n("c", true)}})
	deliver(t, p, Message{Notices: []alert.Notice{n("a", false), n("a", true)}})
	const prefix = "faultline/main/notice/site/"
	if f.opened != 2 || f.open[prefix+"a"] || !f.open[prefix+"b"] || len(f.events) != 4 {
		t.Errorf("got %q, open %v", f.events, f.open)
	}
	f.refuse = prefix + "x"
	err := p.Deliver(t.Context(), Message{Notices: []alert.Notice{n("x", false), n("y", false)}})
	if outcomeOf(err) != OutcomeRefused || !f.open[prefix+"y"] {
		t.Errorf("got %v, open %v; want a refusal, and the other taken", err, f.open)
	}
	if got := f.last.Payload; got.Severity != "info" || got.Source != "y" || got.Class != "site" || got.Summary != "y fails alone" {
		t.Errorf("got %+v", got)
	}
}

// PagerDuty would refuse what is too long.
func TestPagerDutyBounds(t *testing.T) {
	f := newFakePagerDuty(t)
	i := founding()
	long := strings.Repeat("界\xff\n", 2000)
	i.Key, i.Domain.Name, i.Domain.Kind = "faultline/main/hosting/"+long, long, "hosting"
	for range 200 {
		i.Why, i.Fine, i.Regions = append(i.Why, long), append(i.Fine, long), append(i.Regions, long)
		i.Or = append(i.Or, i.Domain)
		i.Members = append(i.Members, alert.Member{Site: long})
		i.Evidence = append(i.Evidence, probe.Result{Site: long, Vantage: long, Verdict: probe.Verdict{Why: long}})
	}
	deliver(t, pagerDuty(t, f.url), Message{Incident: &i, First: true, Notes: i.Why})
	deliver(t, pagerDuty(t, f.url), Message{Notices: []alert.Notice{{Key: long, Text: long, Site: long, Vantage: long}}})
	if f.opened != 2 || f.size > 200<<10 {
		t.Errorf("got %d incidents, the largest event with %d bytes", f.opened, f.size)
	}
}

func TestPagerDutyStatus(t *testing.T) {
	f := func(status int, header, body, want string) {
		t.Helper()
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", header)
			w.WriteHeader(status)
			io.WriteString(w, body) //nolint:errcheck // the client's end of it is looked at
		}))
		defer s.Close()
		i := founding()
		err := pagerDuty(t, s.URL+"/v2/enqueue").Deliver(t.Context(), Message{Incident: &i, First: true})
		got := string(outcomeOf(err))
		var retry *RetryError
		if errors.As(err, &retry) {
			got = "after " + retry.After.String()
		}
		if got != want {
			t.Errorf("%d %q: got %s (%v), want %s", status, body, got, err, want)
		}
		if err != nil && strings.Contains(err.Error(), routingKey) {
			t.Errorf("%q shows the routing key", err)
		}
	}
	f(202, "", `{"status":"success","message":"Event processed","dedup_key":"k"}`, "accepted")
	f(202, "", `no JSON`, "accepted")
	f(200, "", `{"status":"success"}`, "accepted")
	f(200, "", `<html>Welcome to the hotel's network</html>`, "failed")
	f(204, "", ``, "failed")
	f(400, "", `{"status":"invalid event","message":"Event object is invalid","errors":["Length of 'routing_key' `+routingKey+` is incorrect"]}`, "refused")
	f(400, "", `<html>`+routingKey, "refused")
	f(413, "", ``, "refused")
	f(429, "", ``, "failed")
	f(429, "7", `{"status":"throttle exceeded"}`, "after 7s")
	f(500, "", `{"status":`, "failed")
	f(503, "20", ``, "after 20s")
	for _, mistake := range []int{301, 307, 401, 403, 404, 407} {
		f(mistake, "", ``, "failed")
	}
}

func TestPagerDutyErrorsSayWhyAndHideTheKey(t *testing.T) {
	s, _ := receiver(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(400)
		fmt.Fprintf(w, `{"message":"Event object is invalid","errors":["no such key %s"]}`, routingKey)
	})
	f := func(url, want string) {
		t.Helper()
		i := founding()
		err := pagerDuty(t, url).Deliver(t.Context(), Message{Incident: &i, First: true})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), routingKey) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	f(s.URL, `400 Bad Request: "Event object is invalid; no such key …"`)
	f("http://"+echo(t)+"/"+routingKey, "posting to http://127.0.0.1:")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	f("http://"+l.Addr().String()+"/", "connection refused")
	if _, err := NewPagerDuty("https://host:"+routingKey+"/", routingKey, "main"); err == nil || strings.Contains(err.Error(), routingKey) {
		t.Errorf("got %v", err)
	}
}

// What someone had taken on while PagerDuty could not be reached is acknowledged there too.
func TestPagerDutyAcknowledgedBefore(t *testing.T) {
	f := newFakePagerDuty(t)
	i := takenOn(founding())
	deliver(t, pagerDuty(t, f.url), Message{Incident: &i, First: true, Acked: true})
	const key = "faultline/main/cdn/cloudflare"
	if d := cmp.Diff(f.events, []string{"trigger " + key, "acknowledge " + key}); d != "" {
		t.Errorf("-got +want:\n%s", d)
	}
}
