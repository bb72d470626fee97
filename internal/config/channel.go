package config

import (
	"net/url"
	"slices"
	"strings"
	"time"
)

// Channel is a way to reach people. Of the settings at its end, those of its kind are set.
type Channel struct {
	Name    string
	Kind    string // one of channelKinds
	Notices bool   // it takes notices too

	Fallback      string        // channel that takes over a page that this one has not taken; "" = none
	FallbackAfter time.Duration // … for so long
	Remind        time.Duration // a page that nobody has acknowledged is repeated so often; 0 = never
	PerMinute     int           // most messages; 0 = as many as there are
	Gather        time.Duration // least time between two messages of notices; 0 = each goes at once

	Webhook      *Webhook
	PagerDuty    *PagerDuty
	Alertmanager *Alertmanager
	Email        *Email
	Exec         *Exec
	Shoutrrr     *Shoutrrr
}

// Delivery holds the times of deliveries; see notify.Config.
type Delivery struct {
	Timeout, BackoffBase, BackoffCap time.Duration
}

// channelKinds are the kinds of channel; the zero value of what a kind sets by itself is the default.
var channelKinds = []string{"log", "webhook", "pagerduty", "alertmanager", "email", "exec", "shoutrrr"}

// channels reads every [[channel]].
func (r *reader) channels(ts []*table) []Channel {
	names := map[string]string{}
	var out []Channel
	for _, t := range ts {
		out = append(out, r.channel(t, names))
	}
	if len(out) == 0 {
		return []Channel{{Name: "log", Kind: "log", Notices: true}}
	}
	r.fallbacks(ts, out)
	return out
}

func (r *reader) channel(t *table, names map[string]string) Channel {
	c := Channel{Name: r.uniqueName(t, names, "channel")}
	if !t.has("kind") {
		r.problem(t.path, "it has no kind; write one of %s", strings.Join(channelKinds, ", "))
	}
	c.Kind = t.oneOf("kind", "log", channelKinds...)
	c.Notices = t.boolean("notices", c.Kind == "log")
	if c.Kind != "log" {
		c.Fallback = t.str("fallback", "")
		c.FallbackAfter = t.duration("fallback_after", 2*time.Minute, 5*time.Second, time.Hour)
		c.Remind = t.duration("remind", 0, 0, 24*time.Hour)
		c.PerMinute = t.integer("per_minute", 30, 1, 10000)
		c.Gather = t.duration("notices_every", 5*time.Minute, 0, 24*time.Hour)
	}
	switch c.Kind {
	case "webhook":
		c.Webhook = r.webhook(t, c.Notices)
	case "pagerduty":
		c.PagerDuty = r.pagerDuty(t)
	case "alertmanager":
		c.Alertmanager = r.alertmanager(t)
	case "email":
		c.Email = r.email(t)
	case "exec":
		c.Exec = r.exec(t)
	case "shoutrrr":
		c.Shoutrrr = r.shoutrrr(t)
	}
	t.done()
	return c
}

// fallbacks looks whether each fallback is there, and leads anywhere.
func (r *reader) fallbacks(ts []*table, channels []Channel) {
	next, hosts := map[string]string{}, map[string][]string{}
	for _, c := range channels {
		next[c.Name], hosts[c.Name] = c.Fallback, c.hosts()
	}
	for n := range channels {
		c := &channels[n]
		if c.Fallback == "" {
			continue
		}
		if _, known := next[c.Fallback]; !known {
			ts[n].problem("fallback", "there is no channel %q; write the name of another channel", clip(c.Fallback))
			continue
		}
		for _, host := range hosts[c.Name] {
			if slices.Contains(hosts[c.Fallback], host) {
				r.warn(ts[n].at("fallback"), "%s and %s both go to %s: what keeps one from taking a page keeps the other too", clip(c.Name), clip(c.Fallback), clip(host))
				break
			}
		}
		at, hops := c.Fallback, 0
		for at != "" && at != c.Name && hops <= len(channels) {
			at, hops = next[at], hops+1
		}
		if at == c.Name {
			ts[n].problem("fallback", "it leads back to %s itself; let the last of them have none", clip(c.Name))
		}
	}
}

// hosts are those that the messages of a channel go to, as far as that is known.
func (c *Channel) hosts() []string {
	var urls []string
	switch {
	case c.Webhook != nil:
		urls = []string{c.Webhook.URL}
	case c.PagerDuty != nil:
		urls = []string{c.PagerDuty.URL}
	case c.Alertmanager != nil:
		urls = c.Alertmanager.URLs
	case c.Shoutrrr != nil:
		urls = []string{c.Shoutrrr.URL}
	case c.Email != nil:
		urls = []string{"smtp://" + c.Email.Host}
	}
	var out []string
	for _, raw := range urls {
		if u, err := url.Parse(raw); err == nil && u.Hostname() != "" {
			out = append(out, u.Hostname())
		}
	}
	return out
}

// secret takes a value that is given in the file, or in another file that key_file names. It is never repeated in a message.
func (t *table) secret(key string) string { return strings.TrimSpace(t.fileOr(key)) }

// fileOr takes a text that is given in the file, or in another file that key_file names.
func (t *table) fileOr(key string) string {
	value, file := t.str(key, ""), t.r.path(t.str(key+"_file", ""))
	if file == "" {
		return value
	}
	if value != "" {
		t.problem(key+"_file", "%s is given too; write one of the two", key)
	}
	b, err := readFile(file)
	if err != nil {
		t.problem(key+"_file", "%v; write the path of a file that holds it", err)
	}
	return string(b)
}

// channelURL looks at a URL that must be there and that messages go to.
func (r *reader) channelURL(t *table, key, raw string) {
	if raw == "" {
		r.problem(t.path, "it has no %s; write %s = \"https://…\", or %s_file = \"…\" to keep it out of this file", key, key, key)
		return
	}
	r.postURL(t, key, raw)
}

// postURL looks at a URL that messages go to. It is a secret, and not repeated.
func (r *reader) postURL(t *table, key, raw string) {
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		t.problem(key, "it is no URL; write one as in \"https://pager.example/hook\"")
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		r.warn(t.at(key), "it goes over plain http: whoever is on the way can read and forge pages; https would be right")
	}
}

func isLoopback(host string) bool {
	return host == "localhost" || strings.HasPrefix(host, "127.") || host == "::1"
}
