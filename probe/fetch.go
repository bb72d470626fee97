package probe

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"context"
	"errors"
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

// request is the request for u, as bytes. It asks for what keeps the evidence: HTML, not compressed, no connection kept,
// and the debugging headers of the one CDN that says on request whose failure it is.
func (a *attempt) request(u *url.URL) []byte {
	var b bytes.Buffer
	site := a.t.Site
	b.WriteString(site.Method + " " + u.RequestURI() + " HTTP/1.1\r\nHost: " + u.Host + "\r\n")
	given := func(name string) bool {
		return slices.ContainsFunc(site.Headers, func(h Header) bool { return strings.EqualFold(h.Name, name) })
	}
	for _, h := range []Header{
		{"User-Agent", a.p.c.UserAgent},
		{"Accept", "text/html,application/xhtml+xml,*/*;q=0.8"},
		{"Accept-Encoding", "identity"},
		{"X-Azure-DebugInfo", "1"},
	} {
		if !given(h.Name) {
			b.WriteString(h.Name + ": " + h.Value + "\r\n")
		}
	}
	for _, h := range site.Headers {
		b.WriteString(h.Name + ": " + h.Value + "\r\n")
	}
	b.WriteString("Connection: close\r\n\r\n")
	return b.Bytes()
}

// fetch makes one request over conn. With a class other than ok there may still be a response: its body failed.
func (a *attempt) fetch(conn net.Conn, u *url.URL) (resp *Response, class Class, detail string) {
	started := time.Now()
	if _, err := conn.Write(a.request(u)); err != nil {
		return nil, a.headClass(err), clip(err.Error())
	}
	from := &io.LimitedReader{R: conn, N: maxHeader}
	br := bufio.NewReader(from)
	_, err := br.Peek(1)
	a.r.Time.TTFB += time.Since(started)
	if err != nil {
		return nil, a.headClass(err), clip(err.Error())
	}
	h, err := readHead(br, a.t.Site.Method)
	if err != nil {
		if from.N <= 0 {
			return nil, ClassHTTPMalformed, "a header of more than 256 KiB"
		}
		return nil, a.headClass(err), clip(err.Error())
	}
	defer h.Body.Close()
	from.N = maxBody + framingRoom
	resp = newResponse(h)
	body, err := io.ReadAll(io.LimitReader(h.Body, maxBody))
	resp.Body = decode(h.Header.Get("Content-Encoding"), body)
	if err != nil && from.N > 0 {
		return resp, a.bodyClass(err), clip(err.Error())
	}
	return resp, ClassOK, ""
}

// readHead reads the header of the response, past such as only say that it will come.
func readHead(br *bufio.Reader, method string) (*http.Response, error) {
	for range maxInterim {
		h, err := http.ReadResponse(br, &http.Request{Method: method})
		if err != nil {
			return nil, err
		}
		if h.StatusCode >= 200 || h.StatusCode == http.StatusSwitchingProtocols {
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
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		return ClassHTTPBodyTruncated
	default:
		return ClassHTTPMalformed
	}
}

// decode undoes a content encoding that was not asked for, as far as the bound goes. What cannot be decoded stays as it is.
func decode(encoding string, body []byte) []byte {
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
	if s, err := strconv.Atoi(v); err == nil {
		return time.Duration(min(max(s, 0), int(maxRest/time.Second))) * time.Second
	}
	if t, err := http.ParseTime(v); err == nil {
		return min(max(t.Sub(now), 0), maxRest)
	}
	return 0
}
