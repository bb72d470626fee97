package notify

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/rs/zerolog"
)

func form(t *testing.T, text, kind string) *Form {
	t.Helper()
	f, err := NewForm(text, kind)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestForm(t *testing.T) {
	i := founding()
	m := Message{Incident: &i, First: true, Link: "https://x.example/?a&b"}
	f := func(text, kind, want string) {
		t.Helper()
		d := m.Document()
		got, err := form(t, text, kind).body(&d)
		if err != nil || string(got) != want {
			t.Errorf("%s: got %q, error %v, want %q", text, got, err, want)
		}
	}
	f(`{"content": {{json .Key}}, "l": {{json .Link}}}`, "application/json", `{"content": "faultline/main/cdn/cloudflare", "l": "https://x.example/?a&b"}`)
	f(`{{upper .Incident.Domain.Name}} {{lower "ÄB"}} {{title "élan vital"}} {{title ""}}`, "text/plain", "CLOUDFLARE äb Élan vital ")
	f(`{{join ", " .Incident.Regions}} {{clip 4 "abcdef"}} {{.Incident.Onset.Format "15:04"}}`, "text/plain; charset=utf-8", "hk, nl abc… "+i.Onset.Format("15:04"))
	f(`{{range .Notices}}x{{end}}{{with .Incident}}{{.Failing.Sites}}{{end}}`, "text/plain", "4")
}

func TestFormMistakes(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		if _, err := NewForm(text, "application/json"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
	f("a\nb {{.Title}", "line 2: ")
	f("{{nope .Title}}", `line 1: function "nope" not defined`)
	if _, err := NewForm("x", ";"); err == nil {
		t.Error("a content type that is none was taken")
	}
	try := func(text string, notices bool, want string) {
		t.Helper()
		err := form(t, text, "application/json").Try(notices)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
	try(`{"t": {{json .Title}}}`, true, "")
	try(`{"t": "{{.Title}}"}`, false, "with a page: what it makes is no JSON")
	try(`{"t": {{json .Titel}}}`, false, "line 1: ")
	try(`{{json .Incident.Domain}}`, false, "")
	try(`{{json .Incident.Domain}}`, true, "with a notice: line 1: ")
	try(`{{json (index .Incident.Evidence 0)}}`, false, "with a page that knows little")
}

// A page arrives whatever its template does.
func TestFormFails(t *testing.T) {
	i := founding()
	m := Message{Incident: &i, First: true}
	f := func(text, kind string, check func(body string) bool) {
		t.Helper()
		var log bytes.Buffer
		s, got := receiver(t, nil)
		w := webhook(t, s.URL, "key").Shaped(form(t, text, kind), nil, zerolog.New(&log))
		if err := w.Deliver(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		r := (*got)[0]
		if !check(string(r.body)) || r.header.Get("Content-Type") != kind {
			t.Errorf("%s: got %s %q", text, r.header.Get("Content-Type"), r.body)
		}
		if r.header.Get("X-Faultline-Signature") != signature("key", r.body) {
			t.Error("the signature is not that of the body")
		}
		if !strings.Contains(log.String(), "template fails") {
			t.Errorf("got the log %q", log.String())
		}
	}
	document := func(body string) bool {
		var d Document
		return json.Unmarshal([]byte(body), &d) == nil && d.Title == m.Title() && d.Incident.ID == i.ID
	}
	words := func(body string) bool { return body == m.Title()+"\n\n"+m.Text() }
	f(`{{index .Notices 7}}`, "application/json", document)
	f(`{"t": "{{.Text}}"}`, "application/vnd.x+json", document)
	f(`{{index .Notices 7}}`, "text/plain", words)
	f(`{{range 100000}}{{$.Text}}{{end}}`, "text/plain", words)
}

func TestWebhookShaped(t *testing.T) {
	s, got := receiver(t, nil)
	w := webhook(t, s.URL, "").Shaped(form(t, `{{.Title}}`, "text/plain"), map[string]string{"Authorization": "Bearer t0ken"}, zerolog.Nop())
	i := founding()
	m := Message{Incident: &i, First: true}
	if err := w.Deliver(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	r := (*got)[0]
	if string(r.body) != m.Title() || r.header.Get("Authorization") != "Bearer t0ken" || r.header.Get("Content-Type") != "text/plain" {
		t.Errorf("got %q with %v", r.body, r.header)
	}
	s.Close()
	shy := webhook(t, "http://"+echo(t)+"/", "").Shaped(nil, map[string]string{"Authorization": "Bearer t0ken"}, zerolog.Nop())
	if err := shy.Deliver(t.Context(), m); err == nil || strings.Contains(err.Error(), "t0ken") {
		t.Errorf("got %v", err)
	}
}
