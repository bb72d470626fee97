package notify

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"regexp"
	"strings"
	"text/template"
	"time"
	"unicode"

	"faultline/alert"
	"faultline/probe"
)

// Form makes the body of a webhook from a message, by a user's template (text/template). What it is given is a Document:
// {{.Title}}, {{.Incident.Domain.Name}}, {{.Incident.Onset.Format "15:04"}}, {{range .Notices}}{{.Text}}{{end}}. Besides
// what text/template has there are: json (a value as JSON, so {{json .Title}} stands without quotes), upper, lower, title
// (the first letter), join (a list by a string) and clip (to so many characters).
//
// No page is lost by a bad template: when it fails, or makes no JSON although it should, the receiver gets the plain
// Document, or, where it wants no JSON, title and text.
type Form struct {
	text        string // the template; read anew for each message, so that two forms can be compared
	contentType string
	json        bool
}

// maxBody bounds what a template makes.
const maxBody = 1 << 20

var formFuncs = template.FuncMap{
	"json": func(v any) (string, error) {
		var b strings.Builder
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		err := enc.Encode(v)
		return strings.TrimSuffix(b.String(), "\n"), err
	},
	"upper": strings.ToUpper,
	"lower": strings.ToLower,
	"title": func(s string) string {
		r := []rune(s)
		if len(r) > 0 {
			r[0] = unicode.ToTitle(r[0])
		}
		return string(r)
	},
	"join": func(sep string, list []string) string { return strings.Join(list, sep) },
	"clip": func(n int, s string) (string, error) {
		if n < 1 {
			return "", fmt.Errorf("clip to %d characters", n)
		}
		return clip(s, n), nil
	},
}

// NewForm reads a template. A mistake is told with its line.
func NewForm(text, contentType string) (*Form, error) {
	kind, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return nil, fmt.Errorf("content type %q cannot be read; write one as in \"application/json\"", contentType)
	}
	f := &Form{text, contentType, kind == "application/json" || strings.HasSuffix(kind, "+json")}
	if _, err := f.template(); err != nil {
		return nil, err
	}
	return f, nil
}

func (f *Form) template() (*template.Template, error) {
	t, err := template.New("template").Funcs(formFuncs).Option("missingkey=error").Parse(f.text)
	if err != nil {
		return nil, placed(err)
	}
	return t, nil
}

var templatePlace = regexp.MustCompile(`^template: template:(\d+)(?::\d+)?: (?:executing "template" at )?`)

// placed is a template's error as people write of it.
func placed(err error) error {
	return errors.New(clip(templatePlace.ReplaceAllString(err.Error(), "line $1: "), maxErrorLen))
}

// body makes a body.
func (f *Form) body(d *Document) ([]byte, error) {
	var b bytes.Buffer
	t, err := f.template()
	if err != nil {
		return nil, err
	}
	if err := t.Execute(&boundedWriter{&b, maxBody}, d); err != nil {
		return nil, placed(err)
	}
	if f.json && !json.Valid(b.Bytes()) {
		return nil, fmt.Errorf("what it makes is no JSON; write {{json .Title}} and the like, without quotes around it: %s", clip(b.String(), 80))
	}
	return b.Bytes(), nil
}

// plain is what is sent when the template fails.
func (f *Form) plain(d *Document) ([]byte, error) {
	if f.json {
		return json.Marshal(d)
	}
	return []byte(d.Title + "\n\n" + d.Text), nil
}

type boundedWriter struct {
	b    *bytes.Buffer
	left int
}

func (w *boundedWriter) Write(p []byte) (int, error) {
	if w.left -= len(p); w.left < 0 {
		return 0, fmt.Errorf("it makes more than %d KiB", maxBody>>10)
	}
	return w.b.Write(p)
}

// Try makes bodies of messages such as may come, and says what goes wrong with which.
func (f *Form) Try(notices bool) error {
	var errs []error
	for _, s := range samples(notices) {
		d := s.m.Document()
		if _, err := f.body(&d); err != nil {
			errs = append(errs, fmt.Errorf("with %s: %w", s.what, err))
		}
	}
	return errors.Join(errs...)
}

type sample struct {
	what string
	m    Message
}

// samples hold what makes templates fail: quotes and line ends, lists that are empty, and messages without an incident.
func samples(notices bool) []sample {
	at := time.Date(2019, 7, 2, 13, 42, 2, 0, time.UTC)
	least := alert.Incident{
		ID: "20190702T134202Z-self-sight", Key: "faultline/main/self/sight", Rev: 1, Domain: alert.Domain{Kind: alert.KindSelf, Name: "sight"},
		State: alert.StateOpen, Severity: alert.SeverityPage, Onset: at, OpenedAt: at, PagedAt: at, Why: []string{`it says "no"`},
	}
	most := least
	most.Domain, most.Or = alert.Domain{Kind: alert.KindCDN, Name: `a "quoted" \ name`}, []alert.Domain{{Kind: alert.KindNetwork, Name: "AS64500"}}
	most.Of, most.Failing, most.Regions = alert.Counts{Sites: 2, Owners: 2, Vantages: 1}, alert.Counts{Sites: 1, Owners: 1, Vantages: 1}, []string{"eu"}
	most.Members = []alert.Member{{Site: "forum", Owner: "example.org", Since: at, Vantages: []string{"v1"}, Now: true}}
	most.Evidence = []probe.Result{{Site: "forum", Vantage: "v1", At: at, Verdict: probe.Verdict{Why: "a\nb\t\"c\""}}}
	end := most
	end.State, end.RecoveringAt, end.ResolvedAt = alert.StateResolved, at.Add(time.Minute), at.Add(time.Hour)
	out := []sample{
		{"a page", Message{Incident: &most, First: true, Link: "https://example.org/incidents/1"}},
		{"a page that knows little", Message{Incident: &least, First: true}},
		{"a resolution", Message{Incident: &end}},
	}
	if notices {
		n := alert.Notice{ID: "1", Kind: alert.NoticeSite, At: at, Key: "site/forum", Site: "forum", Text: "\"forum\" fails\nalone"}
		out = append(out, sample{"a notice", Message{Notices: []alert.Notice{n}}}, sample{"two notices", Message{Notices: []alert.Notice{n, n}}})
	}
	return out
}
