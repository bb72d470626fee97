package notify

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

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
	url    *url.URL
	secret string
	client *http.Client
}

// The limits of one attempt, beside that of its ctx.
const (
	webhookTimeout = 30 * time.Second
	maxAnswer      = 64 << 10 // bytes of an answer's header, and of its body, that are read
	maxErrorLen    = 300
)

// NewWebhook makes a channel of a URL, http or https, which may carry user and password. secret may be empty.
func NewWebhook(rawURL, secret string) (*Webhook, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, errors.New("the webhook's URL cannot be read; write it as https://host/path")
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return nil, fmt.Errorf("the webhook's URL has scheme %q and host %q; write it as https://host/path", u.Scheme, u.Hostname())
	}
	dialer := &net.Dialer{Timeout: 5 * time.Second}
	return &Webhook{url: u, secret: secret, client: &http.Client{
		Timeout:       webhookTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            dialer.DialContext,
			TLSHandshakeTimeout:    5 * time.Second,
			MaxResponseHeaderBytes: maxAnswer,
			DisableKeepAlives:      true, // messages are rare: an idle connection would be dead when it is needed
			ForceAttemptHTTP2:      true,
		},
	}}, nil
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
	req, err := w.request(ctx, &m)
	if err != nil {
		return Permanent(err)
	}
	resp, err := w.client.Do(req)
	if err != nil {
		return w.unanswered(err)
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, io.LimitReader(resp.Body, maxAnswer)) //nolint:errcheck // the status is the answer
	return w.judge(resp)
}

func (w *Webhook) request(ctx context.Context, m *Message) (*http.Request, error) {
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
		return nil, fmt.Errorf("encoding message: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url.String(), bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("making a request to %s: its URL cannot be used", w.where())
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "faultline")
	req.Header.Set("Idempotency-Key", url.PathEscape(m.ID())) // names come from a config: a header takes only part of what they may hold
	if w.secret != "" {
		req.Header.Set("X-Faultline-Signature", signature(w.secret, body))
	}
	return req, nil
}

func signature(secret string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}

func (w *Webhook) judge(resp *http.Response) error {
	status := resp.StatusCode
	if status >= 200 && status < 300 {
		return nil
	}
	err := fmt.Errorf("posting to %s: it answered %d %s", w.where(), status, http.StatusText(status))
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusProxyAuthRequired:
		return fmt.Errorf("%w; check the webhook's URL and its token", err)
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
	default:
		if status >= 300 && status < 400 {
			return fmt.Errorf("%w, a redirect, which is not followed; set the webhook's URL to where it leads", err)
		}
		if status >= 400 && status < 500 {
			return Permanent(err)
		}
	}
	if after, ok := retryAfter(resp.Header.Get("Retry-After"), time.Now()); ok {
		return &RetryError{After: after, Err: err}
	}
	return err
}

// retryAfter reads seconds or a date. Nonsense is as if it were not there.
func retryAfter(s string, now time.Time) (time.Duration, bool) {
	if n, err := strconv.ParseUint(s, 10, 31); err == nil {
		return time.Duration(n) * time.Second, true
	}
	if at, err := http.ParseTime(s); err == nil {
		return max(at.Sub(now), 0), true
	}
	return 0, false
}

// unanswered is err without what must not be seen: net/http puts the whole URL into its errors, and a receiver that
// speaks something else can echo the request.
func (w *Webhook) unanswered(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	s := err.Error()
	for _, secret := range w.secrets() {
		s = strings.ReplaceAll(s, secret, "…")
	}
	if r := []rune(s); len(r) > maxErrorLen {
		s = string(r[:maxErrorLen]) + "…"
	}
	return fmt.Errorf("posting to %s: %s", w.where(), s)
}

func (w *Webhook) secrets() []string {
	password, _ := w.url.User.Password()
	var out []string
	for _, s := range []string{w.url.RequestURI(), w.url.RawQuery, strings.Trim(w.url.EscapedPath(), "/"), strings.Trim(w.url.Path, "/"), w.url.User.Username(), password, w.secret} {
		if len(s) > 2 {
			out = append(out, s)
		}
	}
	return out
}

// where is the part of the URL that may be shown.
func (w *Webhook) where() string { return w.url.Scheme + "://" + w.url.Host }
