package config

import (
	"cmp"
	"regexp"
)

// PagerDuty is what a channel of that kind needs.
type PagerDuty struct {
	URL        string
	RoutingKey string // a secret
}

const pagerDutyURL = "https://events.pagerduty.com/v2/enqueue"

func (r *reader) pagerDuty(t *table) *PagerDuty {
	p := &PagerDuty{URL: cmp.Or(t.secret("url"), pagerDutyURL), RoutingKey: t.secret("routing_key")}
	r.channelURL(t, "url", p.URL)
	if p.RoutingKey == "" {
		r.problem(t.path, "it has no routing_key; write the integration key of an Events API v2 integration, or routing_key_file = \"…\" to keep it out of this file")
	}
	t.token("routing_key", p.RoutingKey)
	return p
}

// hasKeyLetters tells whether a header, and a JSON text, takes a key as it is.
var hasKeyLetters = regexp.MustCompile(`^[A-Za-z0-9._~+/=-]*$`).MatchString

// token looks at a secret that has no spaces or signs in it. It is not repeated.
func (t *table) token(key, value string) {
	if !hasKeyLetters(value) {
		t.problem(key, "it holds a space or another character that no key has; write it as it was given to you, on one line")
	}
}
