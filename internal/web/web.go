// Package web is everything that Faultline answers over HTTP: the status page, the API, the event stream, metrics and
// management. It reads the engine's published view and a feed, and decides nothing.
package web

import (
	"context"
	"net/http"
	"time"

	"github.com/rs/zerolog"

	"faultline/alert"
	"faultline/alert/history"
	"faultline/alert/notify"
	"faultline/probe"
)

// Config is what the handler shows and may do. Every function must be set and safe for concurrent use.
type Config struct {
	View    func() *alert.View // the newest published view; never nil, and never changed once given
	Reload  func() error       // POST /-/reload: reads the config anew; an error means that nothing changed
	Ready   func() error       // nil = ready; else the text is shown with 503
	Healthy func() error       // likewise
	// Captures gives what the failing looks of an incident saw.
	Captures func(incident string) ([]*probe.Capture, error)
	// Told gives how the deliveries of an incident went.
	Told func(incident string) ([]notify.Told, error)
	// Silenced names the silences that keep an incident quiet now.
	Silenced func(*alert.Incident) []string
	// Acknowledge notes that someone has taken an open incident on.
	Acknowledge func(ctx context.Context, incident, by, comment string) error

	Silences      func() []alert.Silence
	AddSilence    func(now time.Time, s alert.Silence) (alert.Silence, error)
	ExpireSilence func(now time.Time, id string) (alert.Silence, error)

	// History gives what was counted of the site with that probe.Site.Key in each time of [from, to) that there are counts of.
	History   func(site uint64, step history.Step, from, to int64) ([]history.Item, error)
	Metrics   *Metrics
	Feed      *Feed
	Recording string // the directory that results are recorded in; "" = none
	Writes    bool   // true on the control socket; false where anybody may come: what changes something is refused there
	Guard     *Guard // what the web config file asks for; nil = there is none
	Version   string
	Log       zerolog.Logger
}

type server struct {
	Config
	status cache
}

// New returns the handler for one listener.
func New(c Config) http.Handler {
	s := &server{Config: c}
	mux := http.NewServeMux()
	for path, h := range map[string]http.HandlerFunc{
		"/":               s.noPage,
		"/{$}":            s.statusPage,
		"/incidents/{id}": s.incidentPage,
		"/assets/{name}":  serveAsset,
		"/metrics":        c.Metrics.handler(c.Log).ServeHTTP,
		"/-/healthy":      probeable(c.Healthy, "Faultline is healthy.\n"),
		"/-/ready":        probeable(c.Ready, "Faultline is ready.\n"),

		"/api/":                           noEndpoint,
		"/api/v1/incidents":               s.listIncidents,
		"/api/v1/incidents/{id}":          s.getIncident,
		"/api/v1/incidents/{id}/captures": s.listCaptures,
		"/api/v1/sites":                   s.listSites,
		"/api/v1/sites/{name}/history":    s.listHistory,
		"/api/v1/sites/{name}/uptime":     s.listUptime,
		"/api/v1/vantages":                s.listVantages,
		"/api/v1/domains":                 s.listDomains,
		"/api/v1/stream":                  s.stream,
		"/api/v1/recording":               s.recording,
	} {
		mux.Handle(path, readOnly(h))
	}
	mux.HandleFunc("/api/v1/incidents/{id}/ack", s.write(http.MethodPost, s.acknowledge))
	mux.HandleFunc("/api/v1/silences/{id}", s.write(http.MethodDelete, s.expireSilence))
	mux.Handle("/api/v1/silences", readOnly(s.listSilences))
	mux.HandleFunc("POST /api/v1/silences", s.write(http.MethodPost, s.addSilence))
	mux.HandleFunc("/-/reload", s.reload)
	return secure(http.NewCrossOriginProtection().Handler(c.Guard.Wrap(mux)))
}

// policy lets the page load its own style and script, talk to its own host, and nothing else.
const policy = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; " +
	"base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

func secure(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-cache") // a few handlers know better
		next.ServeHTTP(w, r)
	})
}

func readOnly(next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			problem(w, http.StatusMethodNotAllowed, "this can only be read: use GET")
			return
		}
		next(w, r)
	})
}

func probeable(check func() error, fine string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := check(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		text(w, fine)
	}
}

func (s *server) reload(w http.ResponseWriter, r *http.Request) {
	_, mayWrite := s.writer(r)
	switch {
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", "POST")
		http.Error(w, "reloading changes something: use POST", http.StatusMethodNotAllowed)
	case !mayWrite:
		http.Error(w, "nobody may change anything at this address. To reload, send SIGHUP to the daemon (systemctl reload faultline) or POST "+
			"/-/reload to its control socket: curl --unix-socket /run/faultline/control.sock -X POST http://faultline/-/reload; "+
			"or name users in the web config file", http.StatusForbidden)
	default:
		if err := s.Reload(); err != nil {
			http.Error(w, "the running config is kept: "+err.Error(), http.StatusInternalServerError)
			return
		}
		text(w, "The config was read anew.\n")
	}
}

func text(w http.ResponseWriter, body string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte(body)) // the client has gone: nobody to tell
}
