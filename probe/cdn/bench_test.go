package cdn

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"

	"faultline/probe"
)

func healthy() *probe.Evidence {
	return &probe.Evidence{
		Class: probe.ClassOK, Host: "www.example.com", Addr: netip.MustParseAddrPort("104.16.0.1:443"),
		CNAME: []string{"www.example.com.cdn.cloudflare.net"}, NS: []string{"a.ns.cloudflare.com", "b.ns.cloudflare.com"},
		Response: &probe.Response{
			Proto: "HTTP/1.1", Status: 200, Reason: "OK",
			Headers: []probe.Header{
				{Name: "Date", Value: "Tue, 06 Jan 2026 10:00:00 GMT"},
				{Name: "Content-Type", Value: "text/html; charset=UTF-8"},
				{Name: "Connection", Value: "close"},
				{Name: "Cache-Control", Value: "max-age=60"},
				{Name: "Vary", Value: "Accept-Encoding"},
				{Name: "Set-Cookie", Value: "session=abcdef; path=/"},
				{Name: "CF-Cache-Status", Value: "HIT"},
				{Name: "Server", Value: "cloudflare"},
				{Name: "CF-RAY", Value: "8e1f00c0ffee1234-LHR"},
			},
			Body: page(2 << 10),
		},
	}
}

// page is n bytes of ordinary HTML, entities included.
func page(n int) []byte {
	const par = "<p class=\"text\">The Quick brown fox &amp; the lazy dog, an error occurred &copy; 2026; connection to the server.</p>\n"
	return bytes.Repeat([]byte(par), n/len(par)+1)[:n]
}

func benchmark(b *testing.B, e *probe.Evidence) {
	r := mustLoad(b)
	b.ReportAllocs()
	for b.Loop() {
		r.Judge(e, probe.Fronting{})
	}
}

func BenchmarkHealthy2K(b *testing.B) { benchmark(b, healthy()) }

func BenchmarkHealthy2KNoCDN(b *testing.B) {
	e := healthy()
	e.Addr, e.CNAME, e.Response.Headers = netip.AddrPort{}, nil, e.Response.Headers[:6]
	benchmark(b, e)
}

func BenchmarkError64K(b *testing.B) {
	e := healthy()
	e.Response.Status, e.Response.Body = 503, page(64<<10)
	benchmark(b, e)
}

func BenchmarkError64KNoCDN(b *testing.B) {
	e := healthy()
	e.Addr, e.CNAME, e.Response.Headers = netip.AddrPort{}, nil, e.Response.Headers[:6]
	e.Response.Status, e.Response.Body = 503, page(64<<10)
	benchmark(b, e)
}

func BenchmarkLoad(b *testing.B) {
	for b.Loop() {
		mustLoad(b)
	}
}

// Probes judge all the time: what a judgement allocates is held here.
func TestJudgeAllocates(t *testing.T) {
	if underRace {
		t.Skip("the race detector makes pools forget, so that regular expressions allocate")
	}
	r := mustLoad(t)
	f := func(e *probe.Evidence, most float64) {
		t.Helper()
		s := r.newState() // its buffer grows once
		r.judge(s, e, probe.Fronting{})
		if got := testing.AllocsPerRun(100, func() { r.judge(s, e, probe.Fronting{}) }); got > most {
			t.Errorf("got %v allocations, want at most %v", got, most)
		}
	}
	f(healthy(), 5)
	e := healthy()
	e.Response.Status, e.Response.Body = 503, page(64<<10)
	f(e, 6)
	e.Response.Body = []byte(strings.Repeat("a", 64<<10))
	f(e, 6)
}
