package notify

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"

	"github.com/rs/zerolog"
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
// A user's own template can make another body of it; see Form.
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
	form   *Form
	header map[string]string
	log    zerolog.Logger
}

// NewWebhook makes a channel of a URL, http or https, which may carry user and password. secret may be empty.
func NewWebhook(rawURL, secret string) (*Webhook, error) {
	p, err := newPlace("the webhook's", rawURL, secret)
	if err != nil {
		return nil, err
	}
	return &Webhook{place: p, secret: secret, log: zerolog.Nop()}, nil
}

// Shaped is a webhook that posts what form makes, nil = the JSON document, with more headers, whose values are secrets. log
// is told when the form fails.
func (w *Webhook) Shaped(form *Form, header map[string]string, log zerolog.Logger) *Webhook {
	p := *w.place
	p.hidden = slices.AppendSeq(slices.Clone(p.hidden), maps.Values(header))
	return &Webhook{&p, w.secret, form, header, log}
}

// Deliver posts m.
func (w *Webhook) Deliver(ctx context.Context, m Message) error {
	d := m.Document()
	body, contentType, err := w.body(&d)
	if err != nil {
		return Permanent(fmt.Errorf("encoding message: %w", err))
	}
	header := map[string]string{
		"Content-Type":    contentType,
		"Idempotency-Key": url.PathEscape(m.ID()), // names come from a config: a header takes only part of what they may hold
	}
	if w.secret != "" {
		header["X-Faultline-Signature"] = signature(w.secret, body)
	}
	maps.Copy(header, w.header)
	r, err := w.place.send(ctx, body, header)
	if err != nil {
		return err
	}
	return w.place.judge(r, "")
}

func (w *Webhook) body(d *Document) (body []byte, contentType string, err error) {
	if w.form == nil {
		body, err = json.Marshal(d)
		return body, "application/json", err
	}
	body, err = w.form.body(d)
	if err != nil {
		w.log.Error().Err(err).Str("key", d.Key).Msg("webhook template fails; sending the plain document")
		body, err = w.form.plain(d)
	}
	return body, w.form.contentType, err
}

func signature(secret string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}
