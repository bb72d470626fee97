package probe

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Bounds of what is read of a response.
const (
	maxHeader   = 256 << 10
	maxBody     = 64 << 10
	maxInterim  = 5 // 1xx responses before the real one
	maxRest     = time.Hour
	framingRoom = 64 << 10 // for the framing of a chunked body
)

// headers are those of the request for u. They ask for what keeps the evidence: HTML, not compressed, and what makes CDNs say
// whose failure it is. The site's own headers, which can be secrets, go to the
// site only.
func (a *attempt) headers(u *url.URL) ([]Header, error) {
	own := a.t.Site.Headers
	if home := a.t.Site.URL; foreign(home.Hostname(), u.Hostname()) || home.Scheme == "https" && u.Scheme != "https" {
		own = nil
	}
	var all []Header
	for _, h := range append([]Header{
		{"User-Agent", a.p.c.UserAgent},
		{"Accept", "text/html,application/xhtml+xml,*/*;q=0.8"},
		{"Accept-Encoding", "identity"},
	}, a.p.c.Ask...) {
		if !slices.ContainsFunc(own, func(o Header) bool { return strings.EqualFold(o.Name, h.Name) }) {
			all = append(all, h)
		}
	}
	for _, h := range own {
		if strings.ContainsAny(h.Name, "\r\n:\x00") || strings.ContainsAny(h.Value, "\r\n\x00") {
			return nil, fmt.Errorf("the header %q cannot be sent; write it on one line", h.Name)
		}
	}
	return append(all, own...), nil
}

// request is the request for u over HTTP/1.1, as bytes.
func (a *attempt) request(u *url.URL) ([]byte, error) {
	headers, err := a.headers(u)
	if err != nil {
		return nil, err
	}
	target, auth := u.RequestURI(), ""
	if a.absolute(u) {
		target, auth = "http://"+u.Host+target, a.t.Vantage.Proxy.authorization()
	}
	var b bytes.Buffer
	b.WriteString(a.t.Site.Method + " " + target + " HTTP/1.1\r\nHost: " + u.Host + "\r\n" + auth)
	for _, h := range headers {
		b.WriteString(h.Name + ": " + h.Value + "\r\n")
	}
	b.WriteString("Connection: close\r\n\r\n")
	return b.Bytes(), nil
}

// fetch makes one request over conn. With a class other than ok there may still be a response: its body failed.
func (a *attempt) fetch(conn net.Conn, u *url.URL) (Class, string) {
	req, err := a.request(u)
	if err != nil {
		return ClassUnknown, clip(err.Error())
	}
	started := time.Now()
	if _, err := conn.Write(req); err != nil {
		return a.headClass(err), clip(err.Error())
	}
	from := &io.LimitedReader{R: conn, N: maxHeader}
	br := bufio.NewReader(from)
	_, err = br.Peek(1)
	a.r.Time.TTFB += time.Since(started)
	if err != nil {
		a.silent = a.absolute(u) && isTimeout(err)
		return a.headClass(err), clip(err.Error())
	}
	return a.receive(from, br, u)
}

// receive reads the response that br, which reads from `from`, begins. Its body is not closed, which would read the rest of it:
// the connection ends with it.
func (a *attempt) receive(from *io.LimitedReader, br *bufio.Reader, u *url.URL) (Class, string) {
	h, err := readHead(br, a.t.Site.Method)
	if err != nil {
		if from.N <= 0 {
			return ClassHTTPMalformed, "a header of more than 256 KiB"
		}
		return a.headClass(err), clip(err.Error())
	}
	from.N = maxBody + framingRoom
	if class := proxySays(h.StatusCode, h.Header.Get); class != ClassOK && a.absolute(u) {
		return class, fmt.Sprintf("the vantage's proxy %v answers %s %s", a.t.Vantage.Proxy, clip(h.Status), clip(h.Header.Get("X-Squid-Error")))
	}
	err = a.takeBody(h)
	if err != nil && from.N > 0 {
		return a.bodyClass(err), clip(err.Error())
	}
	return ClassOK, ""
}

// takeBody enters a response and what is read of its body, as far as the bound goes.
func (a *attempt) takeBody(h *http.Response) error {
	resp := newResponse(h)
	body, err := io.ReadAll(io.LimitReader(h.Body, maxBody))
	resp.Body = DecodeBody(h.Header.Get("Content-Encoding"), body)
	a.e.Response = resp
	return err
}

// readHead reads the header of the response, past such as only say that it will come.
func readHead(br *bufio.Reader, method string) (*http.Response, error) {
	for range maxInterim {
		h, err := http.ReadResponse(br, &http.Request{Method: method})
		if err != nil {
			return nil, err
		}
		switch {
		case h.StatusCode < 100:
			return nil, fmt.Errorf("malformed HTTP status code %q", h.Status)
		case h.StatusCode >= 200, h.StatusCode == http.StatusSwitchingProtocols:
			return h, nil
		}
	}
	return nil, errors.New("malformed HTTP: interim responses without end")
}

func newResponse(h *http.Response) *Response {
	resp := &Response{Proto: h.Proto, Status: h.StatusCode}
	_, resp.Reason, _ = strings.Cut(h.Status, " ")
	for name, values := range h.Header {
		for _, v := range values {
			resp.Headers = append(resp.Headers, Header{name, v})
		}
	}
	slices.SortStableFunc(resp.Headers, func(a, b Header) int { return strings.Compare(a.Name, b.Name) })
	return resp
}

// headClass judges an error before the header is whole.
func (a *attempt) headClass(err error) Class {
	switch {
	case errors.Is(a.ctx.Err(), context.Canceled):
		return ClassLocalCancelled
	case isTimeout(err):
		return ClassHTTPTimeoutHeaders
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return ClassHTTPReset
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return ClassHTTPEOF
	case isAlert(err): // in TLS 1.3 the server judges our half of the handshake when we believe it over
		return ClassTLSAlert
	default: // the library has no type for what is not HTTP
		return ClassHTTPMalformed
	}
}

// bodyClass judges an error in the body.
func (a *attempt) bodyClass(err error) Class {
	switch {
	case errors.Is(a.ctx.Err(), context.Canceled):
		return ClassLocalCancelled
	case isTimeout(err):
		return ClassHTTPBodyTimeout
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), byServer(err):
		return ClassHTTPBodyTruncated
	default:
		return ClassHTTPMalformed
	}
}

// DecodeBody undoes a content encoding that was not asked for: gzip and deflate, and at most 64 KiB of what they hold. What
// cannot be decoded stays as it is.
func DecodeBody(encoding string, body []byte) []byte {
	var r io.Reader
	var err error
	switch strings.ToLower(strings.TrimSpace(encoding)) {
	case "gzip", "x-gzip":
		r, err = gzip.NewReader(bytes.NewReader(body))
	case "deflate":
		if r, err = zlib.NewReader(bytes.NewReader(body)); err != nil {
			r, err = flate.NewReader(bytes.NewReader(body)), nil
		}
	default:
		return body
	}
	if err != nil {
		return body
	}
	plain, _ := io.ReadAll(io.LimitReader(r, maxBody)) // cut at the bound, or where the body was
	if len(plain) == 0 {
		return body
	}
	return plain
}

// retryAfter is how long a response asks to be left alone; 0 = it does not.
func retryAfter(resp *Response, now time.Time) time.Duration {
	if resp.Status != http.StatusTooManyRequests && resp.Status != http.StatusServiceUnavailable {
		return 0
	}
	v := strings.TrimSpace(resp.Get("Retry-After"))
	if s, err := strconv.Atoi(v); err == nil || errors.Is(err, strconv.ErrRange) {
		return time.Duration(min(max(s, 0), int(maxRest/time.Second))) * time.Second
	}
	if t, err := http.ParseTime(v); err == nil {
		return min(max(t.Sub(now), 0), maxRest)
	}
	return 0
}
