package config

import (
	"maps"
	"mime"
	"net/http"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	"faultline/alert/notify"
)

// Webhook is what a channel of that kind needs.
type Webhook struct {
	URL     string            // a secret
	Secret  string            // signs what is sent; "" = unsigned
	Form    *notify.Form      // makes the body; nil = the JSON document
	Headers map[string]string // that are sent besides; the values are secrets
}

func (r *reader) webhook(t *table, notices bool) *Webhook {
	w := &Webhook{URL: t.secret("url"), Secret: t.secret("secret"), Form: r.form(t, notices), Headers: t.words("headers")}
	r.channelURL(t, "url", w.URL)
	for _, name := range slices.Sorted(maps.Keys(w.Headers)) {
		r.webhookHeader(t, name, w.Headers[name])
	}
	return w
}

// webhookHeader looks at a header. Its value is a secret, and not repeated.
func (r *reader) webhookHeader(t *table, name, value string) {
	key := "headers." + name
	switch {
	case !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value):
		t.problem(key, "it is no header; write letters, digits and dashes as its name, and one line as its value")
	case strings.EqualFold(name, "Content-Type"):
		t.problem(key, "it has a key of its own; write content_type = \"…\"")
	case strings.EqualFold(name, "Host") || strings.EqualFold(name, "Content-Length") || strings.EqualFold(name, "Transfer-Encoding"):
		t.problem(key, "%s follows from the message; leave it out", http.CanonicalHeaderKey(name))
	}
}

// form reads a template, and tries it on made-up messages.
func (r *reader) form(t *table, notices bool) *notify.Form {
	key := "template"
	if t.has("template_file") {
		key = "template_file"
	}
	text, kind := t.fileOr("template"), t.str("content_type", "application/json")
	if text == "" {
		if t.has("content_type") {
			t.problem("content_type", "it goes with a template; without one the body is JSON")
		}
		return nil
	}
	if _, _, err := mime.ParseMediaType(kind); err != nil {
		t.problem("content_type", "%q cannot be read; write one as in \"application/json\"", clip(kind))
		return nil
	}
	f, err := notify.NewForm(text, kind)
	if err != nil {
		t.problem(key, "%v; see alert/notify/form.go", err)
		return nil
	}
	if err := f.Try(notices); err != nil {
		for line := range strings.Lines(err.Error()) {
			r.warn(t.at(key), "it fails %s; the plain document will be sent then", strings.TrimSpace(line))
		}
	}
	return f
}
