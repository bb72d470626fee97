package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"faultline/alert"
)

// fakeAlertmanager takes alerts as the real one does: what it does not like is answered with 400 and a JSON text.
type fakeAlertmanager struct {
	url    string
	answer func(w http.ResponseWriter, r *http.Request) bool // true = it has answered

	mu   sync.Mutex
	took [][]amAlert
	auth string // of the last
}

func newFakeAlertmanager(t *testing.T, answer func(http.ResponseWriter, *http.Request) bool) *fakeAlertmanager {
	t.Helper()
	f := &fakeAlertmanager{answer: answer}
	s := httptest.NewServer(f)
	t.Cleanup(s.Close)
	f.url = s.URL
	return f
}

func (f *fakeAlertmanager) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if f.answer != nil && f.answer(w, r) {
		return
	}
	var alerts []amAlert
	err = errors.Join(err, json.Unmarshal(body, &alerts))
	for _, a := range alerts {
		if a.Labels["alertname"] == "" {
			err = errors.Join(err, errors.New("at least one label pair required"))
		}
		if a.StartsAt.After(a.EndsAt) {
			err = errors.Join(err, errors.New("start time must be before end time"))
		}
	}
	if r.URL.Path != "/api/v2/alerts" || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" {
		err = errors.Join(err, fmt.Errorf("%s %s", r.Method, r.URL.Path))
	}
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		json.NewEncoder(w).Encode(err.Error()) //nolint:errcheck // the client's end of it is looked at
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.took, f.auth = append(f.took, alerts), r.Header.Get("Authorization")
}

func status(code int, body string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(code)
		io.WriteString(w, body) //nolint:errcheck // the client's end of it is looked at
		return true
	}
}

// never answers, until the client has gone.
func never(_ http.ResponseWriter, r *http.Request) bool {
	<-r.Context().Done()
	return true
}

func alertmanager(t *testing.T, log io.Writer, urls ...string) *Alertmanager {
	t.Helper()
	a, err := NewAlertmanager(AlertmanagerConfig{URLs: urls, Fleet: "main", Resend: time.Minute}, zerolog.New(log))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestAlertmanagerIncident(t *testing.T) {
	f := newFakeAlertmanager(t, nil)
	a := alertmanager(t, io.Discard, f.url)
	i := founding()
	i.OpenedAt = t0
	deliver(t, a, Message{Incident: &i, First: true, Link: "https://watch.example/incidents/1"})
	got := f.took[0][0]
	if d := cmp.Diff(got.Labels, map[string]string{
		"alertname": "FaultlineIncident", "fleet": "main", "kind": "cdn", "name": "cloudflare", "severity": "page",
	}); d != "" {
		t.Errorf("labels: -got +want:\n%s", d)
	}
	if d := cmp.Diff(got.Annotations, map[string]string{
		"summary": i.Title(), "description": strings.TrimSuffix(i.Text(), "\n") + "\nMore:        https://watch.example/incidents/1\n",
		"assessment": "provider_outage", "link": "https://watch.example/incidents/1", "runbook": i.WhereToLook(),
	}); d != "" {
		t.Errorf("annotations: -got +want:\n%s", d)
	}
	if left := time.Until(got.EndsAt); !got.StartsAt.Equal(i.Onset) || left < 3*time.Minute || left > 4*time.Minute || got.GeneratorURL != "https://watch.example/incidents/1" {
		t.Errorf("got %+v", got)
	}

	end := over(i)
	deliver(t, a, Message{Incident: &end})
	last := f.took[1][0]
	if d := cmp.Diff(last.Labels, got.Labels); d != "" || last.EndsAt.After(time.Now()) || time.Since(last.EndsAt) > time.Minute {
		t.Errorf("got the end %v, labels\n%s", last.EndsAt, d)
	}
	if len(f.took[0]) != 1 || len(f.took[1]) != 1 {
		t.Errorf("got %d and %d alerts, want one: it has been a page since it was opened", len(f.took[0]), len(f.took[1]))
	}
}

// The alert of a notice that has become a page is ended, and that only as long as it can be alive.
func TestAlertmanagerNoticeBecomesPage(t *testing.T) {
	a := alertmanager(t, io.Discard, "http://127.0.0.1:9")
	i := founding()
	i.OpenedAt, i.PagedAt = t0, t0.Add(10*time.Minute)
	f := func(after time.Duration, want string) {
		t.Helper()
		var got []string
		now := i.PagedAt.Add(after)
		for _, x := range a.incident(&Message{Incident: &i}, now) {
			got = append(got, fmt.Sprintf("%s until %v", x.Labels["severity"], x.EndsAt.Sub(i.PagedAt)))
		}
		if s := strings.Join(got, ", "); s != want {
			t.Errorf("%v after it became a page: got %s, want %s", after, s, want)
		}
	}
	f(0, "page until 4m0s, notice until 0s")
	f(time.Minute, "page until 5m0s, notice until 0s")
	f(4*time.Minute, "page until 8m0s, notice until 0s")
	f(5*time.Minute, "page until 9m0s")
	i.State = alert.StateResolved
	f(time.Minute, "page until 1m0s, notice until 0s")
	i.PagedAt = i.OpenedAt
	f(time.Minute, "page until 1m0s")
}

func TestAlertmanagerNotices(t *testing.T) {
	f := newFakeAlertmanager(t, nil)
	a := alertmanager(t, io.Discard, f.url)
	now := time.Now()
	n := alert.Notice{ID: "n", Kind: alert.NoticeSite, At: now, Key: "site/lihkg", Site: "lihkg", Text: "lihkg fails alone"}
	end := n
	end.Over = true
	deliver(t, a, Message{Notices: []alert.Notice{n, end}, Test: true})
	deliver(t, a, Message{Notices: []alert.Notice{n}})
	got := f.took[0]
	if d := cmp.Diff(got[0].Labels, map[string]string{
		"alertname": "FaultlineNotice", "fleet": "main", "kind": "site", "name": "site/lihkg", "site": "lihkg", "severity": "notice", "test": "true",
	}); d != "" || cmp.Diff(got[0].Labels, got[1].Labels) != "" {
		t.Errorf("labels: -got +want:\n%s", d)
	}
	if got[0].Annotations["summary"] != "TEST: lihkg fails alone" || got[0].EndsAt.Sub(now) > 5*time.Minute || got[1].EndsAt.Sub(now) > time.Minute || !got[1].StartsAt.IsZero() {
		t.Errorf("got %+v", got)
	}
	if d := f.took[1][0].EndsAt.Sub(now); d < noticeLasts || d > noticeLasts+time.Minute {
		t.Errorf("a notice lasts %v", d)
	}
}

func TestAlertmanagerBounds(t *testing.T) {
	f := newFakeAlertmanager(t, nil)
	i := founding()
	i.Domain.Name = strings.Repeat("界\xff", 1000)
	i.Why = []string{strings.Repeat("界\xff", 10000)}
	i.Onset = time.Now().Add(24 * time.Hour) // the clock was set meanwhile
	deliver(t, alertmanager(t, io.Discard, f.url), Message{Incident: &i, Link: "no link"})
	got := f.took[0][0]
	for _, all := range []map[string]string{got.Labels, got.Annotations} {
		for k, v := range all {
			if len(v) > amMaxAnnotation || !utf8.ValidString(v) {
				t.Errorf("%s has %d bytes", k, len(v))
			}
		}
	}
	if len(got.Labels["name"]) > amMaxLabel || got.GeneratorURL != "" {
		t.Errorf("got a name of %d bytes, URL %q", len(got.Labels["name"]), got.GeneratorURL)
	}
}

func TestAlertmanagerAuth(t *testing.T) {
	f := newFakeAlertmanager(t, nil)
	i := founding()
	deliver(t, alertmanager(t, io.Discard, strings.Replace(f.url, "http://", "http://user:pass@", 1)+"/"), Message{Incident: &i})
	if f.auth != "Basic dXNlcjpwYXNz" {
		t.Errorf("got %q", f.auth)
	}
	a, err := NewAlertmanager(AlertmanagerConfig{URLs: []string{f.url + "/api/v2/alerts"}, Token: "t0ken", Resend: time.Minute}, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	deliver(t, a, Message{Incident: &i})
	if f.auth != "Bearer t0ken" {
		t.Errorf("got %q", f.auth)
	}
}

func TestAlertmanagerOutcome(t *testing.T) {
	i := founding()
	f := func(want string, answers ...func(http.ResponseWriter, *http.Request) bool) {
		t.Helper()
		var urls []string
		for _, answer := range answers {
			urls = append(urls, newFakeAlertmanager(t, answer).url)
		}
		err := alertmanager(t, io.Discard, urls...).Deliver(t.Context(), Message{Incident: &i})
		got := string(outcomeOf(err))
		var retry *RetryError
		if errors.As(err, &retry) {
			got = "after " + retry.After.String()
		}
		if got != want {
			t.Errorf("got %s (%v), want %s", got, err, want)
		}
	}
	after := func(s string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Retry-After", s)
			w.WriteHeader(http.StatusServiceUnavailable)
			return true
		}
	}
	broken := func(w http.ResponseWriter, _ *http.Request) bool {
		c, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return true
		}
		c.Write([]byte("SSH-2.0-what\r\n\r\n")) //nolint:errcheck // the client looks no further than the first line
		c.Close()
		return true
	}
	bad := status(400, `"start time must be before end time"`)
	f("accepted", nil)
	f("accepted", status(200, "<html>"), bad)
	f("accepted", nil, bad, status(500, ""), broken)
	f("refused", bad)
	f("refused", bad, status(422, `{"code":602,"message":"alerts in body is required"}`))
	f("failed", bad, status(500, "{"))
	f("failed", broken)
	f("failed", status(401, ""))
	f("failed", status(302, ""))
	f("after 20s", after("30"), after("20"), after("40"))
	f("after 30s", after("30"), bad)
	f("failed", after("30"), status(500, ""))
}

// One that hangs takes its own time only, and little of that once another has taken the alert.
func TestAlertmanagerHangs(t *testing.T) {
	i := founding()
	var log bytes.Buffer
	hangs, works := newFakeAlertmanager(t, never), newFakeAlertmanager(t, nil)
	start := time.Now()
	deliver(t, alertmanager(t, &log, hangs.url, works.url), Message{Incident: &i})
	if took := time.Since(start); took > 3*time.Second || len(works.took) != 1 || !strings.Contains(log.String(), hangs.url) {
		t.Errorf("it took %v; log %s", took, &log)
	}
	log.Reset()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := alertmanager(t, &log, hangs.url).Deliver(ctx, Message{Incident: &i})
	if outcomeOf(err) != OutcomeFailed {
		t.Errorf("got %v, want a failure that can be tried again", err)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	log.Reset()
	if err := alertmanager(t, &log, works.url).Deliver(ended, Message{Incident: &i}); err == nil || log.Len() > 0 {
		t.Errorf("our own end: got %v, log %s", err, &log)
	}
}

func TestAlertmanagerLogsChanges(t *testing.T) {
	var mu sync.Mutex
	down := true
	f := newFakeAlertmanager(t, func(w http.ResponseWriter, _ *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		if down {
			w.WriteHeader(503)
		}
		return down
	})
	works := newFakeAlertmanager(t, nil)
	var log bytes.Buffer
	i := founding()
	a := alertmanager(t, &log, works.url, f.url)
	for n := range 6 {
		mu.Lock()
		down = n < 3
		mu.Unlock()
		deliver(t, a, Message{Incident: &i})
	}
	got := log.String()
	if strings.Count(got, "\n") != 2 || !strings.Contains(got, "503 Service Unavailable") || !strings.Contains(got, "takes alerts again") || strings.Contains(got, works.url) {
		t.Errorf("got the log\n%s", got)
	}
}

func TestAlertmanagerHidesSecrets(t *testing.T) {
	tell := func(w http.ResponseWriter, r *http.Request) bool { // as a proxy with a talkative error page does
		w.WriteHeader(400)
		fmt.Fprintf(w, "%s %s %s", r.Header.Get("Authorization"), r.URL, "us3r passw0rd")
		return true
	}
	f := newFakeAlertmanager(t, tell)
	host := strings.TrimPrefix(f.url, "http://")
	for _, token := range []string{"", "t0ken"} {
		for _, host := range []string{host, echo(t), "name.invalid"} {
			var log bytes.Buffer
			a, err := NewAlertmanager(AlertmanagerConfig{URLs: []string{"http://us3r:passw0rd@" + host + "/pr3fix"}, Token: token}, zerolog.New(&log))
			if err != nil {
				t.Fatal(err)
			}
			i := founding()
			err = a.Deliver(t.Context(), Message{Incident: &i})
			if err == nil {
				t.Fatal("it was accepted")
			}
			for _, secret := range []string{"us3r", "passw0rd", "t0ken", "pr3fix", "dXMzcjpwYXNzdzByZA"} {
				if strings.Contains(err.Error()+log.String(), secret) {
					t.Errorf("%q is shown in %v, or in the log %s", secret, err, &log)
				}
			}
			if !strings.Contains(err.Error(), "http://"+host) {
				t.Errorf("%v does not say where", err)
			}
		}
	}
	if _, err := NewAlertmanager(AlertmanagerConfig{URLs: []string{"us3r:passw0rd@host"}}, zerolog.Nop()); err == nil || strings.Contains(err.Error(), "passw0rd") {
		t.Errorf("got %v", err)
	}
	if _, err := NewAlertmanager(AlertmanagerConfig{}, zerolog.Nop()); err == nil {
		t.Error("none at all was accepted")
	}
}

// A wait that is longer than alerts live would let Alertmanager take what lasts to be over.
func TestAlertmanagerIsNotLeftToForget(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "600")
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer s.Close()
	a, err := NewAlertmanager(AlertmanagerConfig{URLs: []string{s.URL}, Fleet: "main", Resend: time.Minute}, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	i := founding()
	var retry *RetryError
	if err := a.Deliver(t.Context(), Message{Incident: &i, First: true}); !errors.As(err, &retry) || retry.After != time.Minute {
		t.Errorf("got %v", err)
	}
}
