package web

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"html/template"
	"net/http"
	"strings"
	"sync"
	"time"

	"faultline/alert"
	"faultline/alert/notify"
	"faultline/probe"
)

//go:embed templates
var templateFiles embed.FS

var pages = template.Must(template.New("").Funcs(template.FuncMap{
	"stamp":  func(t time.Time) string { return t.UTC().Format("2 Jan, 15:04:05 UTC") },
	"rfc":    func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
	"clip":   clip,
	"asset":  assetURL,
	"json":   indented,
	"answer": answerText,
	"word":   func(s any) string { return strings.ReplaceAll(fmt.Sprint(s), "_", " ") },
}).ParseFS(templateFiles, "templates/*.html"))

// frame is what is around every page.
type frame struct {
	Title   string
	At      time.Time // of the view
	Version string
	Body    template.HTML // a rendered fragment
}

// statusPage answers GET /, and with ?fragment=1 only the part that changes, for the script. ?q= and ?state= choose
// the sites that the matrix shows.
func (s *server) statusPage(w http.ResponseWriter, r *http.Request) {
	v, now, f := s.View(), time.Now(), parseFilter(r)
	render := func() ([]byte, error) { return execute("status", newStatus(v, now, f, s.Silenced)) }
	var body []byte
	var err error
	if f == (filter{}) {
		body, err = s.status.get(cacheKey{v, v.At, stalled(v, now)}, render)
	} else {
		body, err = render()
	}
	s.answer(w, r, http.StatusOK, "Faultline", body, err)
}

func (s *server) incidentPage(w http.ResponseWriter, r *http.Request) {
	i := findIncident(s.View(), r.PathValue("id"))
	if i == nil {
		s.errorPage(w, r, "There is no such incident", "It is neither open nor among those resolved last.")
		return
	}
	captures, err := s.Captures(i.ID)
	if err != nil { // the page is worth showing without them
		s.Log.Error().Err(err).Msg("captures not read")
	}
	told, err := s.Told(i.ID)
	if err != nil {
		s.Log.Error().Err(err).Msg("deliveries not read")
	}
	body, err := execute("incident", incidentData{i, evidence(i, captures), told, len(s.silencedBy(i)) > 0})
	s.answer(w, r, http.StatusOK, i.Title(), body, err)
}

// incidentData is what the incident page shows.
type incidentData struct {
	*alert.Incident
	Seen     []seen // in place of Evidence
	Told     []notify.Told
	Silenced bool
}

// seen is a failing answer and what was seen of it.
type seen struct {
	*probe.Result
	Capture *probe.Capture // nil = not kept
}

// evidence puts an incident's failing answers and their captures together.
func evidence(i *alert.Incident, captures []*probe.Capture) []seen {
	out := make([]seen, len(i.Evidence))
	for n := range i.Evidence {
		r := &i.Evidence[n]
		out[n].Result = r
		for _, c := range captures {
			if c.Site == r.Site && c.Vantage == r.Vantage && (out[n].Capture == nil || c.Seq == r.Seq) {
				out[n].Capture = c
			}
		}
	}
	return out
}

// shownBody is how much of a captured body the page shows, in bytes; the API has all.
const shownBody = 8 << 10

// answerText is a captured response as it came, cut for a page.
func answerText(c *probe.Capture) string {
	var b strings.Builder
	b.WriteString(c.Status + "\n")
	for _, h := range c.Headers {
		b.WriteString(h.Name + ": " + h.Value + "\n")
	}
	b.WriteString("\n")
	b.WriteString(strings.ToValidUTF8(string(c.Body[:min(len(c.Body), shownBody)]), "\uFFFD"))
	if n := len(c.Body) - shownBody; n > 0 {
		fmt.Fprintf(&b, "\n… %d bytes more", n)
	}
	return b.String()
}

func (s *server) noPage(w http.ResponseWriter, r *http.Request) {
	s.errorPage(w, r, "There is no such page", "The status page is at the root of this address.")
}

func (s *server) errorPage(w http.ResponseWriter, r *http.Request, title, detail string) {
	body, err := execute("error", struct{ Title, Detail string }{title, detail})
	s.answer(w, r, http.StatusNotFound, title, body, err)
}

// answer sends a rendered fragment, by itself when that was asked for, else in its frame.
func (s *server) answer(w http.ResponseWriter, r *http.Request, status int, title string, body []byte, err error) {
	if err == nil && r.URL.Query().Get("fragment") == "" {
		body, err = execute("frame", frame{title, s.View().At, s.Version, template.HTML(body)}) //nolint:gosec // made by a template of ours
	}
	if err != nil {
		s.Log.Error().Err(err).Str("path", r.URL.Path).Msg("page not rendered")
		http.Error(w, "This page could not be made; the daemon's log says why.", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	if status != http.StatusOK {
		w.WriteHeader(status)
		_, _ = w.Write(body) // the client has gone: nobody to tell
		return
	}
	h.Set("ETag", etag(body))
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
}

func execute(name string, data any) ([]byte, error) {
	var b bytes.Buffer
	if err := pages.ExecuteTemplate(&b, name, data); err != nil {
		return nil, fmt.Errorf("rendering %s: %w", name, err)
	}
	return b.Bytes(), nil
}

func etag(b []byte) string {
	h := fnv.New128a()
	_, _ = h.Write(b) // never fails
	return fmt.Sprintf(`"%x"`, h.Sum(nil))
}

// cache keeps the newest rendering of the plain status page: many readers ask for it at once when it changes.
type cache struct {
	mu   sync.Mutex
	key  cacheKey // guarded by mu
	body []byte   // guarded by mu
}

type cacheKey struct {
	view    *alert.View
	at      time.Time
	stalled bool
}

func (c *cache) get(k cacheKey, render func() ([]byte, error)) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.body != nil && c.key == k {
		return c.body, nil
	}
	body, err := render()
	if err != nil {
		return nil, err
	}
	c.key, c.body = k, body
	return body, nil
}

// indented is v as JSON for people; the template escapes it.
func indented(v any) (string, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return b.String(), err
}

// clip shortens s to n runes.
func clip(n int, s string) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}
