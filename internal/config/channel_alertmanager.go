package config

import (
	"net/url"
	"time"
)

// Alertmanager is what a channel of that kind needs.
type Alertmanager struct {
	URLs   []string // secrets, as they may hold a password
	Token  string   // bearer token, a secret; "" = none
	Resend time.Duration
}

func (r *reader) alertmanager(t *table) *Alertmanager {
	a := &Alertmanager{Resend: t.duration("resend", time.Minute, 5*time.Second, time.Hour)}
	a.URLs, a.Token = r.alertmanagers(t)
	return a
}

// alertmanagers reads where they are and what they ask for.
func (r *reader) alertmanagers(t *table) (urls []string, token string) {
	urls, token = t.strs("urls", "[]"), t.secret("token")
	if len(urls) == 0 {
		t.problem("urls", "there is none; write those of all your Alertmanagers, as in urls = [\"https://alertmanager.example:9093\"]")
	}
	for _, raw := range urls {
		r.postURL(t, "urls", raw)
		if u, err := url.Parse(raw); err == nil && u.User != nil && token != "" {
			t.problem("token", "a URL has a user too; give one of the two")
		}
	}
	t.token("token", token)
	return urls, token
}
