package notify

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"

	"faultline/alert"
)

// Webhook is the channel that posts each message as JSON to a URL:
//
//	{
//	  "version": 1,
//	  "event": "page",            // page, update, acknowledged, reminder, recovering, resolved, notice or test
//	  "key": "faultline/main/cdn/cloudflare", // the same for all that is said of one thing; several notices have none
//	  "severity": "page",         // page or notice
//	  "title": "…",               // at most 160 characters
//	  "text": "…",                // in full, several lines
//	  "incident": {…},            // alert.Incident; of one ID, a higher rev is newer
//	  "notices": [{…}],           // alert.Notice, those of an interval; one of the two is there
//	  "link": "https://…"         // to the incident's page, if [daemon] url is set
//	}
//
// A message is sent until it is accepted, with any status 2xx, and can so arrive twice: Idempotency-Key is then the same.
// Updates that come faster than the receiver takes them are left out; what arrives is always the newest state. A
// receiver that was away sees an outage that has ended meanwhile as one "resolved", without a "page" before.
//
// With a secret, X-Faultline-Signature is "sha256=" and the HMAC-SHA256 of the body under it, in hex.
//
// Status 408, 425, 429 and 5xx, and whatever keeps an answer from coming, are tried again, with regard to Retry-After. So
// are redirects, which are not followed, and 401, 403, 404 and 407: those are mistakes that people mend while the outage
// lasts, and one attempt a minute harms nobody. The other statuses 4xx refuse the message for good.
type Webhook struct {
	place  *place
	secret string
}

// NewWebhook makes a channel of a URL, http or https, which may carry user and password. secret may be empty.
func NewWebhook(rawURL, secret string) (*Webhook, error) {
	p, err := newPlace("the webhook's", rawURL, secret)
	if err != nil {
		return nil, err
	}
	return &Webhook{p, secret}, nil
}

type webhookBody struct {
	Version  int             `json:"version"`
	Event    Event           `json:"event"`
	Key      string          `json:"key"`
	Severity alert.Severity  `json:"severity"`
	Title    string          `json:"title"`
	Text     string          `json:"text"`
	Incident *alert.Incident `json:"incident,omitempty"`
	Notices  []alert.Notice  `json:"notices,omitempty"`
	Link     string          `json:"link,omitempty"`
}

// Deliver posts m.
func (w *Webhook) Deliver(ctx context.Context, m Message) error {
	b := webhookBody{
		Version: 1, Event: m.Event(), Key: m.Key(), Severity: m.Severity(), Title: m.Title(), Text: m.Text(),
		Incident: m.Incident, Notices: m.Notices, Link: m.Link,
	}
	if m.Incident != nil {
		short := *m.Incident
		short.Course = nil // it is long, and for drawing
		b.Incident = &short
	}
	body, err := json.Marshal(b)
	if err != nil {
		return Permanent(fmt.Errorf("encoding message: %w", err))
	}
	header := map[string]string{
		"Content-Type":    "application/json",
		"Idempotency-Key": url.PathEscape(m.ID()), // names come from a config: a header takes only part of what they may hold
	}
	if w.secret != "" {
		header["X-Faultline-Signature"] = signature(w.secret, body)
	}
	r, err := w.place.send(ctx, body, header)
	if err != nil {
		return err
	}
	return w.place.judge(r, "")
}

func signature(secret string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}
