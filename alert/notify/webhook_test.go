package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"faultline/alert"
	"faultline/probe"
)

var update = flag.Bool("update", false, "write the golden files anew")

func founding() alert.Incident {
	i := page("20190702T134202Z-cdn-cloudflare", 1)
	i.Key, i.Domain = "faultline/main/cdn/cloudflare", alert.Domain{Kind: "cdn", Name: "cloudflare"}
	i.Scope, i.Assessment, i.PagedAt, i.Waves = alert.ScopeGlobal, alert.ProviderOutage, t0, 1
	i.Why = []string{"4 of 5 sites on cloudflare fail, and their answers name its edge"}
	i.Failing, i.Of = alert.Counts{Sites: 4, Owners: 4, Vantages: 3}, alert.Counts{Sites: 5, Owners: 5, Vantages: 3}
	i.Regions = []string{"hk", "nl"}
	i.Members = []alert.Member{{Site: "lihkg", Owner: "lihkg.com", Since: t0, Vantages: []string{"hkg-1"}, Class: "http_edge_error", Status: 502, Now: true}}
	i.Fine = []string{"fastly: 10 of 10 owners answer"}
	i.Evidence = []probe.Result{{
		Site: "lihkg", URL: "https://lihkg.com/", Vantage: "hkg-1", At: t0, Status: 502, Attempt: 2,
		Verdict: probe.Verdict{Class: probe.ParseClass("http_edge_error"), Fault: probe.FaultEdge, CDN: "cloudflare", Why: "502 with Cloudflare's own page"},
	}}
	return i
}

type request struct {
	header http.Header
	body   []byte
}

// receiver answers as f does and notes the requests.
func receiver(t *testing.T, f http.HandlerFunc) (*httptest.Server, *[]request) {
	t.Helper()
	var got []request
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got = append(got, request{r.Header, b})
		if f != nil {
			f(w, r)
		}
	}))
	t.Cleanup(s.Close)
	return s, &got
}

func webhook(t *testing.T, url, secret string) *Webhook {
	t.Helper()
	w, err := NewWebhook(url, secret)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestWebhookJSON(t *testing.T) {
	f := func(m Message, golden string) {
		t.Helper()
		s, got := receiver(t, nil)
		if err := webhook(t, s.URL+"/hook", "").Deliver(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		var all map[string]any
		if err := json.Unmarshal((*got)[0].body, &all); err != nil {
			t.Fatal(err)
		}
		if all["title"] != m.Title() || all["text"] != m.Text() {
			t.Errorf("got title %q, text %q", all["title"], all["text"])
		}
		if n := utf8.RuneCountInString(m.Title()); n == 0 || n > 160 {
			t.Errorf("the title has %d characters", n)
		}
		all["title"], all["text"] = "…", "…" // their words are not of this package
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		if err := enc.Encode(all); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join("testdata", golden)
		if *update {
			if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(b.String(), string(want)); d != "" {
			t.Errorf("-got +want:\n%s", d)
		}
	}
	i := founding()
	f(Message{Incident: &i, First: true}, "page.json")
	end := over(i)
	f(Message{Incident: &end}, "resolved.json")
	n := alert.Notice{ID: "n1", Kind: alert.NoticeSite, At: t0, Key: "site/lihkg", Site: "lihkg", Text: "lihkg fails alone for 2 min"}
	f(Message{Notices: []alert.Notice{n}}, "notice.json")
	n.Text = strings.Repeat("界", 200)
	f(Message{Notices: []alert.Notice{n}, Test: true}, "test.json")
}

func TestWebhookHeaders(t *testing.T) {
	s, got := receiver(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) })
	hook := webhook(t, strings.Replace(s.URL, "http://", "http://user:pass@", 1)+"/hook?token=t0ken", "s3cret")
	i := founding()
	i.Key = "faultline/main/cdn/a b\nü"
	again := over(i)
	for _, m := range []Message{{Incident: &i, First: true}, {Incident: &i, First: true}, {Incident: &again}} {
		if err := hook.Deliver(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	r := (*got)[0]
	for k, want := range map[string]string{
		"Content-Type": "application/json", "User-Agent": "faultline", "Authorization": "Basic dXNlcjpwYXNz",
		"Idempotency-Key": "faultline%2Fmain%2Fcdn%2Fa%20b%0A%C3%BC%2F20190702T134202Z-cdn-cloudflare%2F1",
	} {
		if got := r.header.Get(k); got != want {
			t.Errorf("got %s %q, want %q", k, got, want)
		}
	}
	if (*got)[1].header.Get("Idempotency-Key") != r.header.Get("Idempotency-Key") || (*got)[2].header.Get("Idempotency-Key") == r.header.Get("Idempotency-Key") {
		t.Error("the idempotency key does not tell a repeat from a revision")
	}
}

func TestWebhookSignature(t *testing.T) {
	s, got := receiver(t, nil)
	i := founding()
	for _, secret := range []string{"", "key"} {
		if err := webhook(t, s.URL, secret).Deliver(t.Context(), Message{Incident: &i}); err != nil {
			t.Fatal(err)
		}
	}
	if sig := (*got)[0].header.Get("X-Faultline-Signature"); sig != "" {
		t.Errorf("got signature %q without a secret", sig)
	}
	// A well-known value, as other programs compute it.
	if got, want := signature("key", []byte("The quick brown fox jumps over the lazy dog")),
		"sha256=f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := (*got)[1].header.Get("X-Faultline-Signature"), signature("key", (*got)[1].body); got != want {
		t.Errorf("got %s, want that of the body, %s", got, want)
	}
}

func TestWebhookStatus(t *testing.T) {
	f := func(status int, header, want string) {
		t.Helper()
		s, got := receiver(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", header)
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(status)
		})
		i := founding()
		err := webhook(t, s.URL, "").Deliver(t.Context(), Message{Incident: &i})
		var retry *RetryError
		kind := "temporary"
		switch {
		case err == nil:
			kind = "accepted"
		case errors.As(err, new(*permanentError)):
			kind = "permanent"
		case errors.As(err, &retry):
			kind = "after " + retry.After.Round(time.Minute/2).String()
		}
		if kind != want || len(*got) != 1 {
			t.Errorf("%d: got %s (%v) in %d requests, want %s", status, kind, err, len(*got), want)
		}
		if err != nil && !strings.HasPrefix(err.Error(), "posting to "+s.URL+": ") {
			t.Errorf("got %v, want that it says where", err)
		}
	}
	for _, ok := range []int{200, 201, 202, 204} {
		f(ok, "", "accepted")
	}
	for _, later := range []int{301, 302, 307, 401, 403, 404, 407, 408, 425, 429, 500, 502, 503, 599} {
		f(later, "", "temporary")
	}
	for _, never := range []int{400, 405, 410, 413, 422} {
		f(never, "30", "permanent")
	}
	f(429, "30", "after 30s")
	f(503, time.Now().Add(10*time.Minute).UTC().Format(http.TimeFormat), "after 10m0s")
	f(503, time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat), "after 0s")
	f(503, "soon", "temporary")
	f(503, "-5", "temporary")
	f(503, "99999999999999999999", "temporary")
}

func TestWebhookHangs(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // the kernel accepts; nobody answers
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	i := founding()
	err = webhook(t, "http://"+l.Addr().String()+"/t0ken", "").Deliver(ctx, Message{Incident: &i})
	if err == nil || outcomeOf(err) != OutcomeFailed {
		t.Errorf("got %v, want a failure that can be tried again", err)
	}
}

func TestWebhookHugeAnswer(t *testing.T) {
	written := make(chan int, 1)
	s, _ := receiver(t, func(w http.ResponseWriter, _ *http.Request) {
		n, chunk := 0, make([]byte, 1<<16)
		for n < 1<<30 {
			m, err := w.Write(chunk)
			if n += m; err != nil {
				break
			}
		}
		written <- n
	})
	i := founding()
	if err := webhook(t, s.URL, "").Deliver(t.Context(), Message{Incident: &i}); err != nil {
		t.Error(err)
	}
	if n := <-written; n >= 1<<30 {
		t.Error("all of the answer was read")
	}
}

func TestWebhookErrorsHideSecrets(t *testing.T) {
	f := func(host string) {
		t.Helper()
		hook := webhook(t, "http://us3r:passw0rd@"+host+"/services/T0/t0ken?key=qu3ry", "s3cret")
		i := founding()
		err := hook.Deliver(t.Context(), Message{Incident: &i})
		if err == nil {
			t.Fatal("it was accepted")
		}
		if !strings.Contains(err.Error(), "http://"+host) {
			t.Errorf("%q does not say where", err)
		}
		for _, secret := range []string{"us3r", "passw0rd", "t0ken", "qu3ry", "s3cret", "services"} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%q shows %q", err, secret)
			}
		}
	}
	s, _ := receiver(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) })
	f(s.Listener.Addr().String())
	s.Close()
	f(s.Listener.Addr().String()) // refused
	f("name.invalid")
	f(echo(t)) // answers with the request itself

	_, err := NewWebhook("http://host:passw0rd/ t0ken", "")
	if err == nil || strings.Contains(err.Error(), "t0ken") || strings.Contains(err.Error(), "passw0rd") {
		t.Errorf("got %v", err)
	}
	for _, bad := range []string{"", "host/path", "ftp://host/", "https:///t0ken"} {
		if _, err := NewWebhook(bad, ""); err == nil || strings.Contains(err.Error(), "t0ken") {
			t.Errorf("%q: got %v, want what would be right", bad, err)
		}
	}
}

func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		buf := make([]byte, 64<<10)
		n, _ := c.Read(buf)
		c.Write(buf[:n]) //nolint:errcheck // the client looks no further than the first line
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String()
}

func TestLog(t *testing.T) {
	var b bytes.Buffer
	c := Log{zerolog.New(&b)}
	i := founding()
	n := alert.Notice{ID: "n", Kind: alert.NoticeSite, Key: "site/x", Text: "two\nlines"}
	for _, m := range []Message{{Incident: &i, First: true}, {Notices: []alert.Notice{n}}, {Notices: []alert.Notice{n}, Test: true}} {
		if err := c.Deliver(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for line := range strings.Lines(b.String()) {
		var e map[string]any
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		got = append(got, e["level"].(string)+" "+e["event"].(string)+" "+e["key"].(string))
		if e["title"] == "" || e["text"] == "" || e["message"] != "notification" {
			t.Errorf("got %v", e)
		}
	}
	if d := cmp.Diff(got, []string{"warn page faultline/main/cdn/cloudflare", "info notice site/x", "info test site/x"}); d != "" {
		t.Errorf("-got +want:\n%s", d)
	}
}
