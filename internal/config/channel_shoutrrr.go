package config

import (
	"faultline/alert/notify/chat"
)

// Shoutrrr is what a channel of that kind needs.
type Shoutrrr struct {
	URL string // a secret
}

func (r *reader) shoutrrr(t *table) *Shoutrrr {
	s := &Shoutrrr{t.secret("url")}
	if s.URL == "" {
		r.problem(t.path, "it has no url; write url = \"ntfy://…\", or url_file = \"…\" to keep it out of this file")
	} else if err := chat.Check(s.URL); err != nil {
		t.problem("url", "%v", err)
	}
	return s
}
