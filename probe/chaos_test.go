package probe

import (
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// chaosProbes is how many probes a server that misbehaves at random gets.
const chaosProbes = 10000

// A server and a resolver that misbehave at random in all ways that they can: every result is of a known class, and
// nothing is left over: no goroutine, no descriptor, no memory.
func TestTenThousandProbesOfChaos(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes its time")
	}
	g := newRig(t)
	g.conf.DNSTry, g.conf.Recheck, g.task.Timeout = 100*time.Millisecond, 100*time.Millisecond, 200*time.Millisecond
	g.conf.Captures = NewCaptures()
	g.site.URL.Scheme = "https"
	g.serve(chaos)
	g.resolve(chaoticResolver)
	g.prober = NewProber(g.conf)
	run := func(n int) map[Class]int {
		seen := make([]map[Class]int, 64)
		var all sync.WaitGroup
		for w := range seen {
			seen[w] = map[Class]int{}
			all.Go(func() {
				for i := w; i < n; i += len(seen) {
					task, site := g.task, *g.site
					site.HTTP = []HTTPVersion{HTTP11, HTTP11, HTTP2}[i%3]
					site.Addresses = Addresses(i / 7 % 2)
					task.Site = &site
					r := g.prober.Probe(t.Context(), task, func(Result) {})
					seen[w][r.Class]++
				}
			})
		}
		all.Wait()
		sum := map[Class]int{}
		for _, m := range seen {
			for c, k := range m {
				sum[c] += k
			}
		}
		return sum
	}
	run(chaosProbes / 20) // what is made once is made now
	before := settled(footprint{1 << 30, 1 << 30, 1 << 62})
	seen := run(chaosProbes)
	after := settled(before)
	if after.goroutines > before.goroutines+2 || after.descriptors > before.descriptors+2 || after.heap > before.heap+8<<20 {
		t.Errorf("before %+v, after %+v", before, after)
	}
	if seen[ClassUnknown] > 0 || len(seen) < 20 {
		t.Errorf("got %d classes: %v", len(seen), seen)
	}
	t.Logf("before %+v, after %+v: %v", before, after, seen)
}

type footprint struct {
	goroutines, descriptors int
	heap                    uint64
}

// settled is what the process holds once it has come down to `to`, or after ten seconds.
func settled(to footprint) (f footprint) {
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		fds, _ := os.ReadDir("/proc/self/fd")
		f = footprint{runtime.NumGoroutine(), len(fds), m.HeapAlloc}
		if f.goroutines <= to.goroutines && f.descriptors <= to.descriptors && f.heap <= to.heap+1<<20 || time.Now().After(end) {
			return f
		}
	}
}

// chaos does one of many bad things, or a good one, with a connection that should be TLS.
func chaos(c net.Conn) {
	raw := []func(){
		func() {},
		func() { reset(c) },
		func() { hang(c) },
		func() { _, _ = c.Read(make([]byte, 4096)); reset(c) },
		func() {
			_, _ = c.Read(make([]byte, 4096))
			_, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n")
		},
		func() {
			_, _ = c.Read(make([]byte, 4096))
			_, _ = c.Write([]byte{21, 3, 3, 0, 2, 2, byte(rand.IntN(120))})
			hang(c)
		},
		func() { _, _ = c.Read(make([]byte, 4096)); _, _ = c.Write([]byte{22, 3, 3, 0, 100, 2}) },
		func() { _, _ = c.Read(make([]byte, 4096)); _, _ = c.Write(noise(1 + rand.IntN(3000))) },
	}
	if n := rand.IntN(4 * len(raw)); n < len(raw) {
		raw[n]()
		return
	}
	conf := []*tls.Config{
		{Certificates: []tls.Certificate{chaosLeaf()}, NextProtos: []string{"h2", "http/1.1"}},
		{Certificates: []tls.Certificate{chaosLeaf()}},
		{Certificates: []tls.Certificate{chaosOther()}},
		{Certificates: []tls.Certificate{chaosLeaf()}, MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10},
		{Certificates: []tls.Certificate{chaosLeaf()}, NextProtos: []string{"h2", "http/1.1"}, ClientAuth: tls.RequireAnyClientCert},
	}
	n := rand.IntN(2 * len(conf))
	if n >= len(conf) {
		n = 0
	}
	s := tls.Server(c, conf[n])
	if s.Handshake() != nil {
		return
	}
	defer s.Close()
	if s.ConnectionState().NegotiatedProtocol == "h2" {
		_, _ = s.Read(make([]byte, 4096))
		_, _ = s.Write(noise(rand.IntN(200)))
		return
	}
	chaoticAnswer(s)
}

var (
	chaosLeaf  = sync.OnceValue(func() tls.Certificate { return pki().leaf(host) })
	chaosOther = sync.OnceValue(func() tls.Certificate { return pki().leaf("other.example") })
)

func noise(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rand.Uint32())
	}
	return b
}

func chaoticAnswer(c net.Conn) {
	if _, err := readRequest(c); err != nil {
		return
	}
	const head = "HTTP/1.1 200 OK\r\n"
	answers := []string{
		good, good, good,
		"", "H", head, head + "Content-Length: 100\r\n\r\nsome", head + "Content-Length: 99999999999999999999\r\n\r\n",
		head + "Transfer-Encoding: chunked\r\n\r\n10\r\nsome", head + "Transfer-Encoding: chunked\r\n\r\nzz\r\n",
		head + "Content-Encoding: gzip\r\n\r\nno gzip", head + "X: " + strings.Repeat("x", maxHeader) + "\r\n\r\n",
		"SSH-2.0-x\r\n", "HTTP/1.1 999 Odd\r\n\r\n", "HTTP/1.1 503 Busy\r\nRetry-After: 1e99\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 429 Slow\r\nRetry-After: 5\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 302 F\r\nLocation: /" + fmt.Sprint(rand.Uint64()) + "\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 302 F\r\nLocation: //169.254.169.254/\r\n\r\n",
		"HTTP/1.1 302 F\r\nLocation: https://[::1%25lo]:99999/\r\n\r\n", strings.Repeat("HTTP/1.1 103 E\r\n\r\n", 50),
		head + "\r\n" + strings.Repeat("y", 3*maxBody), string(noise(500)),
	}
	_, _ = io.WriteString(c, answers[rand.IntN(len(answers))])
	switch rand.IntN(6) {
	case 0:
		reset(c)
	case 1:
		hang(c)
	}
}

// chaoticResolver is mostly honest.
func chaoticResolver(w dns.ResponseWriter, q *dns.Msg) {
	m := honestly(q)
	switch rand.IntN(30) {
	case 0:
		m.Rcode, m.Answer = rand.IntN(24), nil
	case 1:
		return
	case 2:
		m.Id++
	case 3:
		m.Truncated, m.Answer = true, nil
	case 4:
		m.Answer = records(q.Question[0].Name+" 1 IN CNAME b.example.", "b.example. 1 IN CNAME "+q.Question[0].Name)
	case 5:
		_, _ = w.Write(noise(rand.IntN(600)))
		return
	case 6:
		if q.Question[0].Qtype == dns.TypeA {
			m.Answer = records(q.Question[0].Name+" 1 IN A 127.0.0.1", q.Question[0].Name+" 1 IN A 127.0.0.66", q.Question[0].Name+" 1 IN A 10.0.0.1")
		}
	case 7:
		b, _ := m.Pack()
		_, _ = w.Write(b[:rand.IntN(len(b))])
		return
	}
	_ = w.WriteMsg(m)
}
