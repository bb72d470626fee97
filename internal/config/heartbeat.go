package config

import (
	"strings"
	"time"
)

// Heartbeat tells someone outside that all is well, until it is not.
type Heartbeat struct {
	Name  string
	Kind  string // one of heartbeatKinds
	Every time.Duration

	URL   string   // of a ping; a secret
	URLs  []string // of Alertmanagers; secrets, as they may hold a password
	Token string   // for those; "" = none
}

var heartbeatKinds = []string{"ping", "alertmanager"}

// heartbeats reads every [[heartbeat]].
func (r *reader) heartbeats(ts []*table) []Heartbeat {
	names := map[string]string{}
	var out []Heartbeat
	for _, t := range ts {
		out = append(out, r.heartbeat(t, names))
	}
	return out
}

func (r *reader) heartbeat(t *table, names map[string]string) Heartbeat {
	h := Heartbeat{Name: r.uniqueName(t, names, "heartbeat")}
	if !t.has("kind") {
		r.problem(t.path, "it has no kind; write one of %s", strings.Join(heartbeatKinds, ", "))
	}
	h.Kind = t.oneOf("kind", "ping", heartbeatKinds...)
	h.Every = t.duration("every", time.Minute, 10*time.Second, time.Hour)
	switch h.Kind {
	case "alertmanager":
		h.URLs, h.Token = r.alertmanagers(t)
	default:
		h.URL = t.secret("url")
		r.channelURL(t, "url", h.URL)
	}
	t.done()
	return h
}
