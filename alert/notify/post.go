package notify

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// place is what a channel sends its messages to over HTTP. Its URL is a secret: errors show scheme and host alone.
type place struct {
	url    *url.URL
	whose  string   // URL it is, for people: "the webhook's"
	method string   // POST, or GET for a place that wants to hear no more than that
	hidden []string // what errors must not show, besides the parts of the URL
	client *http.Client
}

// The limits of one attempt, beside that of its ctx.
const (
	postTimeout = 30 * time.Second
	maxAnswer   = 64 << 10 // bytes of an answer's header, and of its body, that are read
	maxErrorLen = 300
)

// newPlace makes a place of a URL, http or https, which may carry user and password.
func newPlace(whose, rawURL string, hidden ...string) (*place, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, fmt.Errorf("%s URL cannot be read; write it as https://host/path", whose)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return nil, fmt.Errorf("%s URL has scheme %q and host %q; write it as https://host/path", whose, u.Scheme, u.Hostname())
	}
	dialer := &net.Dialer{Timeout: 5 * time.Second}
	return &place{url: u, whose: whose, method: http.MethodPost, hidden: hidden, client: &http.Client{
		Timeout:       postTimeout,
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

// reply is what a place answered.
type reply struct {
	status int
	header http.Header
	body   string // as much of it as came; at most maxAnswer bytes
}

func (r *reply) ok() bool { return r.status >= 200 && r.status < 300 }

// send makes one request. An error says where, and shows no secret.
func (p *place) send(ctx context.Context, body []byte, header map[string]string) (reply, error) {
	req, err := http.NewRequestWithContext(ctx, p.method, p.url.String(), bytes.NewReader(body))
	if err != nil {
		return reply{}, Permanent(fmt.Errorf("making a request to %s: its URL cannot be used", p.where()))
	}
	req.Header.Set("User-Agent", "faultline")
	for k, v := range header {
		req.Header.Set(k, v)
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return reply{}, p.unanswered(err)
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswer)) // the status is the answer
	return reply{resp.StatusCode, resp.Header, string(text)}, nil
}

// judge is nil for a reply that says that the message was taken. said is what is to be shown of its body.
//
// Status 408, 425, 429 and 5xx are worth another attempt, with regard to Retry-After. So are redirects, which are not
// followed, and 401, 403, 404 and 407: those are mistakes that people mend while the outage lasts, and one attempt a
// minute harms nobody. The other statuses 4xx refuse the message for good.
func (p *place) judge(r reply, said string) error {
	if r.ok() {
		return nil
	}
	err := fmt.Errorf("%s: it answered %d %s%s", p.doing(), r.status, http.StatusText(r.status), said)
	switch r.status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusProxyAuthRequired:
		return fmt.Errorf("%w; check %s URL and its token", err, p.whose)
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
	default:
		if r.status >= 300 && r.status < 400 {
			return fmt.Errorf("%w, a redirect, which is not followed; set %s URL to where it leads", err, p.whose)
		}
		if r.status >= 400 && r.status < 500 {
			return Permanent(err)
		}
	}
	if after, ok := retryAfter(r.header.Get("Retry-After"), time.Now()); ok {
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
func (p *place) unanswered(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	return fmt.Errorf("%s: %s", p.doing(), Hide(err.Error(), p.secrets()))
}

// said is what a place answered with, to be put behind a status; "" = nothing.
func (p *place) said(words string) string {
	if words = Hide(words, p.secrets()); words == "" {
		return ""
	}
	return fmt.Sprintf(": %q", words)
}

func (p *place) secrets() []string {
	user := p.url.User.Username()
	password, _ := p.url.User.Password()
	basic := base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
	return append([]string{
		p.url.RequestURI(), p.url.RawQuery, strings.Trim(p.url.EscapedPath(), "/"), strings.Trim(p.url.Path, "/"), basic, user, password,
	}, p.hidden...)
}

func (p *place) doing() string {
	if p.method == http.MethodGet {
		return "getting " + p.where()
	}
	return "posting to " + p.where()
}

// where is the part of the URL that may be shown.
func (p *place) where() string { return p.url.Scheme + "://" + p.url.Host }
