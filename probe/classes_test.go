package probe

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/netip"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// Each answer, or what comes in its place, as a real server gives it, and its class.
func TestHTTPClasses(t *testing.T) {
	f := func(name string, h func(net.Conn), want Class) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newRig(t)
			g.task.Timeout, g.conf.Recheck = time.Second, 500*time.Millisecond
			g.serve(h)
			g.wants(want)
		})
	}
	after := func(text string, then func(net.Conn)) func(net.Conn) {
		return func(c net.Conn) {
			if _, err := readRequest(c); err != nil {
				return
			}
			_, _ = c.Write([]byte(text))
			then(c)
		}
	}
	fin := func(net.Conn) {}
	const head = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"
	f("good", says("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"), ClassOK)
	f("a server error", says("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"), ClassHTTPOriginError)
	f("a client error", says("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"), ClassHTTPClientError)
	f("no header in time", after("", hang), ClassHTTPTimeoutHeaders)
	f("half a header in time", after("HTTP/1.1 200 OK\r\nServer: x", hang), ClassHTTPTimeoutHeaders)
	f("reset before the header", after("", reset), ClassHTTPReset)
	f("closed before the header", after("", fin), ClassHTTPEOF)
	f("closed in the header", after("HTTP/1.1 200 OK\r\nServer: x", fin), ClassHTTPEOF)
	f("no HTTP", says("SSH-2.0-OpenSSH_9.2\r\n"), ClassHTTPMalformed)
	f("a header without end", after("HTTP/1.1 200 OK\r\nX: "+strings.Repeat("x", maxHeader), hang), ClassHTTPMalformed)
	f("the body stalls", after(head+"some", hang), ClassHTTPBodyTimeout)
	f("the body is cut", after(head+"some", fin), ClassHTTPBodyTruncated)
	f("the body is reset", after(head+"some", reset), ClassHTTPBodyTruncated)
	f("a chunk is cut", after("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\nsome", fin), ClassHTTPBodyTruncated)
	f("a body without end", func(c net.Conn) {
		after("HTTP/1.1 200 OK\r\n\r\n", func(c net.Conn) {
			for block := bytes.Repeat([]byte("x"), 32<<10); ; {
				if _, err := c.Write(block); err != nil {
					return
				}
			}
		})(c)
	}, ClassOK)
	f("interim answers first", says("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), ClassOK)
	f("interim answers only", says(strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 20)), ClassHTTPMalformed)
	f("it redirects to itself", says("HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"), ClassHTTPRedirectLoop)
	f("it redirects to the metadata address", says("HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/latest\r\nContent-Length: 0\r\n\r\n"), ClassHTTPInterference)
}

func TestRedirectsWithoutEnd(t *testing.T) {
	g := newRig(t)
	var n atomic.Int64
	g.serve(func(c net.Conn) {
		says(fmt.Sprintf("HTTP/1.1 302 Found\r\nLocation: /%d\r\nContent-Length: 0\r\n\r\n", n.Add(1)))(c)
	})
	g.wants(ClassHTTPRedirectLoop)
}

func TestContentThatIsNotTheSites(t *testing.T) {
	f := func(x Expect, want Class) {
		t.Helper()
		g := newRig(t)
		g.site.Expect = x
		g.serve(says(good))
		g.wants(want)
	}
	f(Expect{Body: regexp.MustCompile(`^hello$`)}, ClassOK)
	f(Expect{Body: regexp.MustCompile(`log in`)}, ClassHTTPContentMismatch)
	f(Expect{NotBody: regexp.MustCompile(`hell`)}, ClassHTTPContentMismatch)
}

// A browser follows a redirect to a name that is not ASCII; on the wire it is asked for in Punycode.
func TestRedirectToAnInternationalName(t *testing.T) {
	g := newRig(t)
	var asked atomic.Value
	to := g.serve(func(c net.Conn) {
		r, err := readRequest(c)
		if err != nil {
			return
		}
		if r.URL.Path == "/" {
			_, _ = fmt.Fprintf(c, "HTTP/1.1 302 Found\r\nLocation: http://B\u00fccher.example:%d/x\r\nContent-Length: 0\r\n\r\n", c.LocalAddr().(*net.TCPAddr).Port)
			return
		}
		asked.Store(r.Host)
		_, _ = io.WriteString(c, good)
	})
	g.wants(ClassOK)
	if got, want := asked.Load(), fmt.Sprintf("xn--bcher-kva.example:%d", to.Port()); got != want {
		t.Errorf("got the host %v, want %s", got, want)
	}
}

func TestABombIsBounded(t *testing.T) {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write(make([]byte, 64<<20))
	_ = w.Close()
	if got := len(DecodeBody("gzip", b.Bytes())); got != maxBody {
		t.Errorf("got %d bytes of the bomb, want %d", got, maxBody)
	}
	if got := string(DecodeBody("gzip", []byte("no gzip"))); got != "no gzip" {
		t.Errorf("got %q of what cannot be decoded, want it as it came", got)
	}
}

func TestOneBadAnswerIsNoNews(t *testing.T) {
	g := newRig(t)
	var n atomic.Int64
	g.serve(func(c net.Conn) {
		if n.Add(1) == 1 {
			says("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")(c)
			return
		}
		says("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")(c)
	})
	if r := g.wants(ClassOK); r.Attempt != 2 {
		t.Errorf("got attempt %d, want 2", r.Attempt)
	}
}

func TestALateProbeIsPendingOnce(t *testing.T) {
	g := newRig(t)
	g.conf.Habit, g.task.Timeout = 50*time.Millisecond, time.Second
	release := make(chan struct{})
	g.serve(func(c net.Conn) {
		<-release
		says("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")(c)
	})
	var pending []Result
	r := g.probeIn(t.Context(), func(r Result) {
		pending = append(pending, r)
		close(release)
	})
	if len(pending) != 1 || !pending[0].Pending || pending[0].Seq != r.Seq || pending[0].Class != ClassUnknown || !r.OK() {
		t.Errorf("got %d pending results before %v, want one of the same Seq %d: %+v", len(pending), r.Class, r.Seq, pending)
	}
}

func TestRetryAfterIsBounded(t *testing.T) {
	now := time.Date(2019, 7, 2, 14, 0, 0, 0, time.UTC)
	f := func(status int, value string, want time.Duration) {
		t.Helper()
		if got := retryAfter(&Response{Status: status, Headers: []Header{{"retry-after", value}}}, now); got != want {
			t.Errorf("%d %q: got %v, want %v", status, value, got, want)
		}
	}
	f(429, "120", 2*time.Minute)
	f(503, "Tue, 02 Jul 2019 14:05:00 GMT", 5*time.Minute)
	f(429, "999999999999999999999", time.Hour)
	f(429, "-5", 0)
	f(429, "soon", 0)
	f(200, "120", 0)
}

// Each answer of a resolver, and its class.
func TestDNSClasses(t *testing.T) {
	f := func(name string, h dns.HandlerFunc, want Class) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newRig(t)
			g.conf.DNSTry, g.task.Timeout, g.conf.Recheck = 100*time.Millisecond, time.Second, 100*time.Millisecond
			g.serve(says("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
			g.resolve(h)
			g.wants(want)
		})
	}
	rcode := func(code int) dns.HandlerFunc {
		return with(func(_, m *dns.Msg) { m.Rcode, m.Answer = code, nil })
	}
	f("good", honest, ClassOK)
	f("NXDOMAIN", rcode(dns.RcodeNameError), ClassDNSNXDomain)
	f("NODATA", rcode(dns.RcodeSuccess), ClassDNSNoData)
	f("SERVFAIL", rcode(dns.RcodeServerFailure), ClassDNSServfail)
	f("REFUSED", rcode(dns.RcodeRefused), ClassDNSRefused)
	f("another code", rcode(dns.RcodeNotImplemented), ClassDNSOtherRcode)
	f("no answer", func(dns.ResponseWriter, *dns.Msg) {}, ClassDNSTimeout)
	f("nothing but foreign ids", with(func(_, m *dns.Msg) { m.Id++ }), ClassDNSTimeout)
	f("nothing but foreign questions", with(func(_, m *dns.Msg) { m.Question[0].Name = "other.example." }), ClassDNSTimeout)
	f("what cannot be read", func(w dns.ResponseWriter, q *dns.Msg) {
		b, _ := honestly(q).Pack()
		_, _ = w.Write(b[:len(b)-3])
	}, ClassDNSMalformed)
	f("a forged answer before the right one", func(w dns.ResponseWriter, q *dns.Msg) {
		forged := honestly(q)
		forged.Id++
		_ = w.WriteMsg(forged)
		honest(w, q)
	}, ClassOK)
	f("aliases in a circle", with(func(_, m *dns.Msg) {
		m.Answer = records(host+". 1 IN CNAME b.example.", "b.example. 1 IN CNAME "+host+".")
	}), ClassDNSMalformed)
	f("cut over UDP, whole over TCP", func(w dns.ResponseWriter, q *dns.Msg) {
		m := honestly(q)
		if w.LocalAddr().Network() == "udp" {
			m.Truncated, m.Answer = true, nil
		}
		_ = w.WriteMsg(m)
	}, ClassOK)
	f("a private address", with(func(q, m *dns.Msg) {
		if m.Answer = nil; q.Question[0].Qtype == dns.TypeA {
			m.Answer = records(host + ". 1 IN A 10.1.2.3")
		}
	}), ClassDNSBogusAnswer)
}

func TestExtendedErrorsAndTheSecondResolver(t *testing.T) {
	g := newRig(t)
	g.serve(says("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
	g.resolve(with(func(_, m *dns.Msg) {
		m.Rcode, m.Answer = dns.RcodeServerFailure, nil
		m.SetEdns0(udpSize, false)
		m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_EDE{InfoCode: 22})
	}))
	r := g.wants(ClassDNSServfail)
	if len(r.DNS.EDE) == 0 || r.DNS.EDE[0] != 22 {
		t.Errorf("got the extended errors %v, want 22", r.DNS.EDE)
	}
	bad := g.vantage.Resolvers
	g.vantage.Resolvers = nil
	g.resolve(honest)
	g.vantage.Resolvers = append(bad, g.vantage.Resolvers...)
	g.wants(ClassOK)
}

func TestNobodyAtTheResolversPort(t *testing.T) {
	g := newRig(t)
	g.conf.DNSTry = 200 * time.Millisecond
	g.serve(hang)
	l, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		t.Fatal(err)
	}
	at := l.LocalAddr().(*net.UDPAddr).AddrPort()
	_ = l.Close()
	g.vantage.Resolvers = []Resolver{{Addr: at}}
	if r := g.wants(ClassDNSUnreachable); r.Fault != FaultLocal {
		t.Errorf("got fault %v, want local: every resolver is away", r.Fault)
	}
}

func TestPublicAddresses(t *testing.T) {
	f := func(addr string, want bool) {
		t.Helper()
		if got := public(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: got %v, want %v", addr, got, want)
		}
	}
	for _, a := range []string{"104.16.0.1", "9.9.9.9", "2606:4700::1", "2a04:4e42::81", "64:ff9b::808:808", "::ffff:8.8.8.8"} {
		f(a, true)
	}
	for _, a := range []string{
		"0.0.0.0", "10.0.0.1", "100.64.0.1", "127.0.0.1", "169.254.169.254", "172.16.0.1", "192.0.2.1", "192.168.1.1", "198.18.0.1", "224.0.0.1",
		"255.255.255.255", "::", "::1", "::ffff:127.0.0.1", "64:ff9b::a00:1", "2002:a00:1::", "fc00::1", "fe80::1", "ff02::1", "2001:db8::1",
	} {
		f(a, false)
	}
}

func TestFrontingIsRememberedForAWhile(t *testing.T) {
	m := NewMemory()
	now := time.Date(2019, 7, 2, 13, 0, 0, 0, time.UTC)
	m.learn(7, Fronting{CDN: "nimbus", By: []string{"header x"}, At: now})
	saved := map[string][]byte{}
	m.Dirty(func(k string, b []byte) { saved[k] = b })
	if len(saved) != 1 {
		t.Fatalf("got %d records, want one", len(saved))
	}
	again := NewMemory()
	again.Load(saved)
	again.Load(map[string][]byte{"probe/zz": nil, "probe/0000000000000008": []byte("{")})
	if got := again.fronting(7, now.Add(time.Hour)).CDN; got != "nimbus" {
		t.Errorf("got %q after a restart, want nimbus", got)
	}
	if got := again.fronting(7, now.Add(8*24*time.Hour)).CDN; got != "" {
		t.Errorf("got %q after eight days without confirmation, want nothing", got)
	}
	m.Dirty(func(k string, _ []byte) { t.Errorf("%s is told again though nothing changed", k) })
	for range 2000 {
		m.took(7, "v", 100*time.Millisecond)
	}
	if got := m.habit(7, "v"); got < 50*time.Millisecond || got > 150*time.Millisecond {
		t.Errorf("got a habit of %v, want about 100 ms", got)
	}
}
