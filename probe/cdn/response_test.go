package cdn

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"faultline/probe"
)

func TestParseResponse(t *testing.T) {
	f := func(raw string, want *probe.Response) {
		t.Helper()
		got, err := ParseResponse([]byte(raw))
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Body) == 0 {
			got.Body = nil
		}
		if d := cmp.Diff(got, want); d != "" {
			t.Errorf("%q: got - want +\n%s", raw, d)
		}
	}
	h := func(s ...string) (hs []probe.Header) {
		for i := 0; i < len(s); i += 2 {
			hs = append(hs, probe.Header{Name: s[i], Value: s[i+1]})
		}
		return hs
	}
	f("HTTP/1.1 200 OK\r\nA: b\r\n\r\nbody\r\n", &probe.Response{Proto: "HTTP/1.1", Status: 200, Reason: "OK", Headers: h("A", "b"), Body: []byte("body\r\n")})
	f("HTTP/1.1 503 first byte timeout\nA:b\n c\nno colon\n\n", &probe.Response{Proto: "HTTP/1.1", Status: 503, Reason: "first byte timeout", Headers: h("A", "b c")})
	f("HTTP/2 522\nServer: x", &probe.Response{Proto: "HTTP/2", Status: 522, Headers: h("Server", "x")})
	f("HTTP/1.1 520 \n\nx", &probe.Response{Proto: "HTTP/1.1", Status: 520, Body: []byte("x")})
	f("HTTP/1.1 100 Continue\n\nHTTP/1.1 200 OK\n\nx", &probe.Response{Proto: "HTTP/1.1", Status: 200, Reason: "OK", Body: []byte("x")})
	chunked := h("Transfer-Encoding", "chunked")
	f("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n3\nabc\n2;x=y\nde\n0\n\n", &probe.Response{Proto: "HTTP/1.1", Status: 200, Reason: "OK", Headers: chunked, Body: []byte("abcde")})
	f("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n<html>", &probe.Response{Proto: "HTTP/1.1", Status: 200, Reason: "OK", Headers: chunked, Body: []byte("<html>")})
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	_, _ = w.Write([]byte("plain"))
	_ = w.Close()
	f("HTTP/1.1 200 OK\nContent-Encoding: gzip\n\n"+z.String(), &probe.Response{Proto: "HTTP/1.1", Status: 200, Reason: "OK", Headers: h("Content-Encoding", "gzip"), Body: []byte("plain")})
	f("HTTP/1.1 200 OK\nContent-Encoding: gzip\n\nplain", &probe.Response{Proto: "HTTP/1.1", Status: 200, Reason: "OK", Headers: h("Content-Encoding", "gzip"), Body: []byte("plain")})
}

func TestParseResponseIsBounded(t *testing.T) {
	r, err := ParseResponse([]byte("HTTP/1.1 200 OK\n\n" + strings.Repeat("x", 1<<20)))
	if err != nil || len(r.Body) != maxBody {
		t.Errorf("got %v, want a body of %d bytes", err, maxBody)
	}
	r, err = ParseResponse([]byte("HTTP/1.1 200 OK\n" + strings.Repeat("A: b\n", 1000) + "\nx"))
	if err != nil || len(r.Headers) != maxHeaders || string(r.Body) != "x" {
		t.Errorf("got %v, want %d headers and the body", err, maxHeaders)
	}
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	_, _ = w.Write(make([]byte, 1<<20))
	_ = w.Close()
	r, err = ParseResponse([]byte("HTTP/1.1 200 OK\nContent-Encoding: gzip\n\n" + z.String()))
	if err != nil || len(r.Body) != maxBody {
		t.Errorf("got %v, want a body of %d bytes from what unpacks to more", err, maxBody)
	}
	for _, bad := range []string{
		"", "garbage\n", "HTTP/1.1\n", "HTTP/1.1 abc\n", "HTTP/1.1 99 Low\n\n", "HTTP/1.1 200 OK\nA: " + strings.Repeat("x", 1<<20),
		"HTTP/1.1 200 OK\n" + strings.Repeat("A: b\n", 1<<15), strings.Repeat("HTTP/1.1 100 Continue\n\n", 10) + "HTTP/1.1 200 OK\n\n",
	} {
		if r, err := ParseResponse([]byte(bad)); err == nil {
			t.Errorf("%.40q: got %d, want an error", bad, r.Status)
		}
	}
}

func TestSaved(t *testing.T) {
	f := func(raw string, want probe.Class) {
		t.Helper()
		if e := Saved([]byte(raw)); e.Class != want {
			t.Errorf("%q: got %v, want %v", raw, e.Class, want)
		}
	}
	f("HTTP/1.1 200 OK\nContent-Length: 5000\n\nhello", probe.ClassHTTPBodyTruncated)
	f("HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\nhello\nworld\n!", probe.ClassOK) // saved with other line ends
	f("HTTP/1.1 200 OK\nContent-Length: 5000\n\n", probe.ClassOK)                    // as HEAD is answered
	f("HTTP/1.1 200 OK\nContent-Length: 5\n\nhello, and more", probe.ClassOK)
	f("not http at all\n", probe.ClassHTTPMalformed)
}

func TestSearchable(t *testing.T) {
	f := func(body, want string) {
		t.Helper()
		got, _ := searchable([]byte(body), nil, false)
		if string(got) != want {
			t.Errorf("%.60q: got %.60q, want %.60q", body, got, want)
		}
	}
	f("plain", "plain")
	f("Reference&#32;&#35;18&#46;eb&#x35;", "Reference #18.eb5")
	f("&amp;#35; &lt;b&gt; &unknown; & &; &#x110000000; &#;", "&#35; &lt;b> &unknown; & &; &#x110000000; &#;")
	f("that&rsquo;s", "that’s")
	long := strings.Repeat("a", headBytes) + strings.Repeat("b", 10_000) + strings.Repeat("c", tailBytes)
	f(long, strings.Repeat("a", headBytes)+"\x00"+strings.Repeat("c", tailBytes))
}

func TestMarks(t *testing.T) {
	var m marks
	for _, s := range []string{"she", "he", "hers", "his", "ushers", "that’s"} {
		m.add(s)
	}
	m.build()
	f := func(text string, want ...int32) {
		t.Helper()
		at := make([]int32, 6)
		m.scan([]byte(text), at)
		if d := cmp.Diff(at, want); d != "" {
			t.Errorf("%q: got - want +\n%s", text, d)
		}
	}
	f("uSHErs", 4, 4, 6, 0, 6, 0)
	f("this, that’s his he", 0, 21, 0, 4, 0, 14)
	f("", 0, 0, 0, 0, 0, 0)
	for n := range 20 { // across the middle, and on either side of it
		f(strings.Repeat(".", n)+"his"+strings.Repeat(".", 10)+"his", 0, 0, 0, int32(n+3), 0, 0)
	}
}

// Whatever is read is bounded, and reading what was read again gives the same.
func FuzzParseResponse(f *testing.F) {
	files, err := filepath.Glob("testdata/responses/*.http")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range files[:40] {
		raw, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Add([]byte("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200\r\nA: b\r\n c\r\nContent-Encoding: gzip\r\n\r\n\x1f\x8b\x08"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		resp, err := ParseResponse(raw)
		if err != nil {
			return
		}
		if len(resp.Body) > maxBody || len(resp.Headers) > maxHeaders || resp.Status < 100 || resp.Status > 999 {
			t.Fatalf("got %d with %d headers and %d bytes", resp.Status, len(resp.Headers), len(resp.Body))
		}
		if resp.Status < 200 { // an interim one, which is skipped where another follows
			return
		}
		var b bytes.Buffer
		fmt.Fprintf(&b, "%s %d %s\r\n\r\n%s", resp.Proto, resp.Status, resp.Reason, resp.Body)
		again, err := ParseResponse(b.Bytes())
		if err != nil || again.Status != resp.Status {
			t.Fatalf("got %v, %v of what was read before as %v", again, err, resp)
		}
	})
}

func FuzzJudge(f *testing.F) {
	files, err := filepath.Glob("testdata/responses/*.http")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range files {
		raw, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw, "d1.cloudfront.net", "cloudflare")
	}
	f.Add([]byte("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\nffffffff\nx"), "", "")
	r := mustLoad(f)
	f.Fuzz(func(t *testing.T, raw []byte, cname, was string) {
		e := Saved(raw)
		e.CNAME, e.NS, e.Addr = []string{cname}, []string{cname}, netip.AddrPortFrom(netip.AddrFrom4([4]byte{104, 16, 0, 1}), 443)
		v := r.Judge(e, probe.Fronting{CDN: was})
		if v.Class == probe.ClassUnknown || v.Why == "" || (v.Fault == probe.FaultAmbiguous) != (len(v.Candidates) > 0) {
			t.Errorf("got %+v", v)
		}
		if len(v.Why) > 1000 {
			t.Errorf("got a sentence of %d bytes", len(v.Why))
		}
	})
}
