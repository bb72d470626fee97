package http3

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/quic-go/quic-go"
	h3 "github.com/quic-go/quic-go/http3"

	"faultline/probe"
)

// patience is for what must not come; whatever does come, comes long before.
const patience = 400 * time.Millisecond

func TestReply(t *testing.T) {
	addr := (&server{}).serve(t, handle(func(w http.ResponseWriter, r *http.Request) {
		for _, h := range []string{"z", "a 1", "a 2"} {
			name, value, _ := strings.Cut(h, " ")
			w.Header().Add(name, value)
		}
		w.Header()["Date"], w.Header()["Content-Type"] = nil, nil
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprint(w, r.Method, " ", r.Host, r.URL, " ", r.Header.Get("User-Agent"), " ", r.Header.Get("Accept-Encoding"))
	}))
	r := ask(t, within(t, 10*time.Second), addr)
	want := &probe.Response{
		Proto: "HTTP/3.0", Status: 503, Body: []byte("GET www.site.example/ faultline-test identity"),
		Headers: []probe.Header{{Name: "A", Value: "1"}, {Name: "A", Value: "2"}, {Name: "Content-Length", Value: "45"}, {Name: "Z", Value: ""}},
	}
	if diff := cmp.Diff(r.Response, want); diff != "" {
		t.Errorf("got -, want +:\n%s", diff)
	}
	if r.Class != probe.ClassOK || r.Detail != "" {
		t.Errorf("got %v (%s), want ok", r.Class, r.Detail)
	}
	if r.State.Version != tls.VersionTLS13 || r.State.NegotiatedProtocol != "h3" || len(r.Shown) != 1 || r.State.DidResume {
		t.Errorf("got version %x, protocol %q, %d certificates, resumed %v", r.State.Version, r.State.NegotiatedProtocol, len(r.Shown), r.State.DidResume)
	}
	if r.Handshake <= 0 || r.TTFB <= 0 {
		t.Errorf("got a handshake of %v and a first byte after %v, want both above 0", r.Handshake, r.TTFB)
	}
}

// Each answer, or what comes in its place, and its class.
func TestHTTPClasses(t *testing.T) {
	f := func(name string, h func(*quic.Conn), want probe.Class) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wait := 10 * time.Second
			if want == probe.ClassHTTPTimeoutHeaders || want == probe.ClassHTTPBodyTimeout {
				wait = patience
			}
			r := ask(t, within(t, wait), (&server{}).serve(t, h))
			if r.Class != want {
				t.Errorf("got %v (%s), want %v", r.Class, r.Detail, want)
			}
			if got, want := r.Response != nil, want == probe.ClassOK || strings.HasPrefix(want.String(), "http_body_"); got != want && want {
				t.Errorf("got a response: %v, want %v", got, want)
			}
			if len(r.Shown) == 0 || r.Handshake <= 0 || r.TTFB <= 0 {
				t.Errorf("got %d certificates, a handshake of %v, a first byte after %v", len(r.Shown), r.Handshake, r.TTFB)
			}
		})
	}
	ok := headers(":status", "200")
	long := headers(":status", "200", "content-length", "100")
	interim := headers(":status", "103")
	f("good", after(join(ok, data("hello")), nil), probe.ClassOK)
	f("no body", after(ok, nil), probe.ClassOK)
	f("five interim responses", after(join(bytes.Repeat(interim, 5), ok), nil), probe.ClassOK)
	f("frames of a kind unknown", after(join(frame(0x21, []byte("grease")), ok, frame(0x21, nil), data("hello")), nil), probe.ClassOK)
	f("the stream stays open after the body", after(join(headers(":status", "200", "content-length", "5"), data("hello")), hang), probe.ClassOK)
	f("a body without end", after(ok, func(_ *quic.Conn, str *quic.Stream) {
		for block := data(strings.Repeat("x", 32<<10)); ; {
			if _, err := str.Write(block); err != nil {
				return
			}
		}
	}), probe.ClassOK)
	f("a farewell, and then the answer", func(c *quic.Conn) {
		control, _ := c.OpenUniStream()
		_, _ = control.Write([]byte{0, 4, 0, 7, 1, 4}) // SETTINGS, and GOAWAY to all requests but the first
		str, err := c.AcceptStream(c.Context())
		if err != nil {
			return
		}
		_, _ = str.Write(join(ok, data("hello")))
		_ = str.Close()
		hang(c, str)
	}, probe.ClassOK)

	f("no header in time", after(nil, hang), probe.ClassHTTPTimeoutHeaders)
	f("half a header in time", after(ok[:3], hang), probe.ClassHTTPTimeoutHeaders)
	f("interim, and no header in time", after(interim, hang), probe.ClassHTTPTimeoutHeaders)
	f("the stream is reset", after(nil, resets(h3.ErrCodeInternalError)), probe.ClassHTTPReset)
	f("the request is rejected", after(nil, resets(h3.ErrCodeRequestRejected)), probe.ClassHTTPReset)
	f("the stream is reset in the header", after(ok[:3], resets(h3.ErrCodeInternalError)), probe.ClassHTTPReset)
	f("the connection is closed with an error", after(nil, closes(h3.ErrCodeInternalError)), probe.ClassHTTPReset)
	f("fallback to TCP is asked", after(nil, closes(h3.ErrCodeVersionFallback)), probe.ClassHTTPReset)
	f("the connection is closed", after(nil, closes(h3.ErrCodeNoError)), probe.ClassHTTPEOF)
	f("the connection is closed with zero", after(nil, closes(0)), probe.ClassHTTPEOF)
	f("the connection is closed at once", func(c *quic.Conn) { closes(h3.ErrCodeNoError)(c, nil) }, probe.ClassHTTPEOF)
	f("the stream ends", after(nil, nil), probe.ClassHTTPEOF)
	f("the stream ends in the header", after(ok[:3], nil), probe.ClassHTTPEOF)

	f("the body first", after(data("hello"), hang), probe.ClassHTTPMalformed)
	f("HTTP/1.1", after([]byte("HTTP/1.1 200 OK\r\n\r\n"), nil), probe.ClassHTTPEOF) // a frame of a kind unknown that ends too soon
	f("a frame of HTTP/2", after(join(frame(2, nil), ok), hang), probe.ClassHTTPMalformed)
	f("a header that is no QPACK", after(frame(1, []byte{0, 0, 0xff, 0xff, 0xff, 0xff}), hang), probe.ClassHTTPMalformed)
	f("no status", after(headers("server", "x"), hang), probe.ClassHTTPMalformed)
	f("a status of words", after(headers(":status", "fine"), hang), probe.ClassHTTPMalformed)
	f("a status too low", after(headers(":status", "99"), hang), probe.ClassHTTPMalformed)
	f("a status too high", after(headers(":status", "1000"), hang), probe.ClassHTTPMalformed)
	f("another protocol", after(headers(":status", "101"), hang), probe.ClassHTTPMalformed)
	f("upper case", after(headers(":status", "200", "Server", "x"), hang), probe.ClassHTTPMalformed)
	f("too large a frame for the header", after(frame(1, make([]byte, 16<<10+1))[:9], hang), probe.ClassHTTPMalformed)
	f("too large a header", after(headers(":status", "200", "x", strings.Repeat("x", 16<<10-30)), hang), probe.ClassHTTPMalformed)
	f("interim responses without end", after(bytes.Repeat(interim, 6), hang), probe.ClassHTTPMalformed)
	f("two control streams", after(nil, func(c *quic.Conn, str *quic.Stream) {
		again, _ := c.OpenUniStream()
		_, _ = again.Write([]byte{0, 4, 0})
		hang(c, str)
	}), probe.ClassHTTPMalformed)
	f("no settings", func(c *quic.Conn) {
		control, _ := c.OpenUniStream()
		_, _ = control.Write([]byte{0, 7, 1, 0}) // GOAWAY
		hang(c, nil)
	}, probe.ClassHTTPMalformed)
	f("a frame without end", after(nil, func(_ *quic.Conn, str *quic.Stream) {
		_, _ = str.Write([]byte{0x21, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
		for block := make([]byte, 32<<10); ; {
			if _, err := str.Write(block); err != nil {
				return
			}
		}
	}), probe.ClassHTTPMalformed)

	f("the body stalls", after(join(ok, data("some")), hang), probe.ClassHTTPBodyTimeout)
	f("the body stalls in a frame", after(join(ok, data("something")[:5]), hang), probe.ClassHTTPBodyTimeout)
	f("the body is cut", after(join(long, data("some")), nil), probe.ClassHTTPBodyTruncated)
	// When so much is sent, the header was read; before, a reset or a close can overtake it.
	most := join(ok, data(strings.Repeat("x", streamWindow+1<<10)))
	f("the body is reset", after(most, resets(h3.ErrCodeInternalError)), probe.ClassHTTPBodyTruncated)
	f("closed in the body", after(most, closes(h3.ErrCodeNoError)), probe.ClassHTTPBodyTruncated)
	f("more than was announced", after(join(headers(":status", "200", "content-length", "3"), data("hello")), nil), probe.ClassHTTPMalformed)
	f("a frame of HTTP/2 in the body", after(join(most, frame(2, nil)), hang), probe.ClassHTTPMalformed)
	f("trailers that are no QPACK", after(join(ok, frame(1, []byte{0, 0, 0xff, 0xff, 0xff, 0xff})), nil), probe.ClassHTTPMalformed)
	f("trailers", after(join(ok, data("hello"), headers("x", "y")), nil), probe.ClassOK)
}

// A request that cannot be sent to anybody says nothing about the site.
func TestBadRequest(t *testing.T) {
	addr := (&server{}).serve(t, after(headers(":status", "200"), nil))
	req := get()
	req.Header["X"] = []string{"a\nb"}
	r := Do(within(t, 10*time.Second), &probe.HTTP3Request{
		Conn: listen(t), Addr: addr, Host: host, Roots: pki().roots, Request: req, MaxHeader: 1 << 10, MaxBody: 1 << 10,
	})
	if r.Class != probe.ClassUnknown || r.Response != nil {
		t.Errorf("got %v (%s), want %v", r.Class, r.Detail, probe.ClassUnknown)
	}
}
