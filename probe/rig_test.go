package probe

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// host is the site's name in these tests. Its zone is site.example.
const host = "www.site.example"

var loopback = netip.MustParseAddr("127.0.0.1")

// rig is a prober, a site on loopback, and a resolver that knows it. Its fields may be changed before probe.
type rig struct {
	t       testing.TB
	conf    Config
	site    *Site
	vantage *Vantage
	task    Task
	prober  *Prober
}

func newRig(t testing.TB) *rig {
	g := &rig{
		t: t,
		conf: Config{
			Judge: judgeByStatus, UserAgent: "faultline-test (+https://example.org)", Roots: pki().roots, Memory: NewMemory(),
			Allow:   []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
			Recheck: 200 * time.Millisecond, Habit: time.Minute, DNSTry: 5 * time.Second,
		},
		site:    &Site{Name: "site", Method: "GET", Interval: time.Minute, URL: &url.URL{Scheme: "http", Host: host, Path: "/"}},
		vantage: &Vantage{Name: "here"},
	}
	g.task = Task{Site: g.site, Vantage: g.vantage, Timeout: 10 * time.Second}
	return g
}

// probe makes one probe. Without a resolver of its own the rig gets one that answers.
func (g *rig) probe() Result { return g.probeIn(context.Background(), nil) }

func (g *rig) probeIn(ctx context.Context, late func(Result)) Result {
	g.t.Helper()
	if g.vantage.Resolvers == nil {
		g.resolve(honest)
	}
	if g.prober == nil {
		g.prober = NewProber(g.conf)
	}
	r := g.prober.Probe(ctx, g.task, late)
	happened.Store(r.Class, g.t.Name())
	return r
}

// wants checks the class of one probe.
func (g *rig) wants(want Class) Result {
	g.t.Helper()
	r := g.probe()
	if r.Class != want {
		g.t.Errorf("got %v (%s), want %v", r.Class, r.Why, want)
	}
	return r
}

// happened are the classes that a probe of a real socket gave here, and the last test in which it did.
var happened sync.Map

// TestMain tells which classes of transport no test made happen, when all tests have run; with -v also which test did.
func TestMain(m *testing.M) {
	if os.Getenv(descriptorTest) != "" {
		os.Exit(probeWithoutDescriptors())
	}
	code := m.Run()
	partial := flag.Lookup("test.run").Value.String() != "" || flag.Lookup("test.skip").Value.String() != "" || os.Geteuid() != 0
	for c := range Classes {
		by, ok := happened.Load(c)
		if ok && testing.Verbose() {
			fmt.Printf("%-24v %v\n", c, by)
		}
		if !ok && !judged(c) && code == 0 && !partial {
			fmt.Fprintf(os.Stderr, "no test makes %v happen\n", c)
			code = 1
		}
	}
	os.Exit(code)
}

// judged tells whether a class is told from a whole response, or needs an accident that no test can arrange.
func judged(c Class) bool {
	switch c {
	case ClassHTTPInterference, ClassHTTPChallenged, ClassHTTPBlocked, ClassHTTPRateLimited, ClassHTTPConfigError, ClassHTTPEdgeError, ClassHTTPServerErrorUnattributed, ClassTLSOther:
		return true
	}
	return false
}

// judgeByStatus is as little of a Judge as these tests need.
func judgeByStatus(e *Evidence, _ Fronting) Verdict {
	v := Verdict{Class: e.Class, Why: e.Detail, Operator: strings.Join(e.NS, " ")}
	if e.Class == ClassOK {
		v.Class = classByStatus(e.Site, e.Response)
		v.CDN = e.Response.Get("X-Test-CDN")
		v.Learn = v.Class == ClassOK
	}
	v.Fault = v.Class.Fault()
	return v
}

func classByStatus(s *Site, resp *Response) Class {
	switch {
	case !s.Expect.OK(resp.Status) && resp.Status == 429:
		return ClassHTTPRateLimited
	case !s.Expect.OK(resp.Status) && resp.Status >= 500:
		return ClassHTTPOriginError
	case !s.Expect.OK(resp.Status):
		return ClassHTTPClientError
	case s.Expect.Body != nil && !s.Expect.Body.Match(resp.Body), s.Expect.NotBody != nil && s.Expect.NotBody.Match(resp.Body):
		return ClassHTTPContentMismatch
	}
	return ClassOK
}

// serve makes the site a TCP server that does with each connection what h says, and closes it.
func (g *rig) serve(h func(net.Conn)) netip.AddrPort {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		g.t.Fatal(err)
	}
	to := l.Addr().(*net.TCPAddr).AddrPort()
	g.site.URL.Host = net.JoinHostPort(g.site.URL.Hostname(), strings.TrimPrefix(to.String(), "127.0.0.1:"))
	var open sync.Map
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			open.Store(c, nil)
			all.Go(func() {
				defer open.Delete(c)
				defer c.Close()
				h(c)
			})
		}
	})
	g.t.Cleanup(func() {
		_ = l.Close()
		open.Range(func(c, _ any) bool { return c.(net.Conn).Close() == nil })
		all.Wait()
	})
	return to
}

// serveTLS is serve with TLS before it. A nil config is a good one.
func (g *rig) serveTLS(conf *tls.Config, h func(net.Conn)) {
	if conf == nil {
		conf = &tls.Config{Certificates: []tls.Certificate{pki().leaf(host)}}
	}
	g.site.URL.Scheme = "https"
	g.serve(func(c net.Conn) {
		s := tls.Server(c, conf)
		if s.Handshake() == nil {
			h(s)
			_ = s.Close()
		}
	})
}

// says answers each request with the raw response.
func says(raw string) func(net.Conn) {
	return func(c net.Conn) {
		if _, err := readRequest(c); err == nil {
			_, _ = io.WriteString(c, raw)
		}
	}
}

func readRequest(c net.Conn) (*http.Request, error) { return http.ReadRequest(bufio.NewReader(c)) }

const good = "HTTP/1.1 200 Fine\r\nContent-Length: 5\r\n\r\nhello"

// hang holds a connection until the peer leaves it.
func hang(c net.Conn) { _, _ = io.Copy(io.Discard, c) }

// reset ends a connection with an RST.
func reset(c net.Conn) { _ = rawConn(c).SetLinger(0) }

func rawConn(c net.Conn) *net.TCPConn {
	if s, ok := c.(*tls.Conn); ok {
		return rawConn(s.NetConn())
	}
	return c.(*net.TCPConn)
}

// resolve gives the vantage another resolver, over UDP and TCP at one port.
func (g *rig) resolve(h dns.HandlerFunc) *Resolver {
	for range 20 {
		pc, err := net.ListenPacket("udp4", "127.0.0.1:0")
		if err != nil {
			g.t.Fatal(err)
		}
		l, err := net.Listen("tcp4", pc.LocalAddr().String())
		if err != nil { // somebody has that TCP port
			_ = pc.Close()
			continue
		}
		servers := []*dns.Server{{PacketConn: pc, Handler: h}, {Listener: l, Handler: h}}
		var ready, done sync.WaitGroup
		for _, s := range servers {
			ready.Add(1)
			s.NotifyStartedFunc = ready.Done
			done.Go(func() { _ = s.ActivateAndServe() })
		}
		g.t.Cleanup(func() {
			for _, s := range servers {
				_ = s.Shutdown()
			}
			done.Wait()
		})
		ready.Wait()
		return g.addResolver(pc.LocalAddr().(*net.UDPAddr).AddrPort())
	}
	g.t.Fatal("no port is free for both UDP and TCP")
	return nil
}

func (g *rig) addResolver(at netip.AddrPort) *Resolver {
	g.vantage.Resolvers = append(g.vantage.Resolvers, Resolver{Addr: at})
	return &g.vantage.Resolvers[len(g.vantage.Resolvers)-1]
}

// honest answers for the test site: one address, no IPv6, two name servers.
func honest(w dns.ResponseWriter, q *dns.Msg) { _ = w.WriteMsg(honestly(q)) }

func honestly(q *dns.Msg) *dns.Msg {
	m := new(dns.Msg).SetReply(q)
	name := q.Question[0].Name
	switch q.Question[0].Qtype {
	case dns.TypeA:
		m.Answer = records(name + " 60 IN A 127.0.0.1")
	case dns.TypeNS:
		m.Answer = records(name+" 60 IN NS NS2.dns.example.", name+" 60 IN NS ns1.dns.example.")
	}
	return m
}

// with answers with what change makes of the honest answer.
func with(change func(q, m *dns.Msg)) dns.HandlerFunc {
	return func(w dns.ResponseWriter, q *dns.Msg) {
		m := honestly(q)
		change(q, m)
		_ = w.WriteMsg(m)
	}
}

func records(lines ...string) []dns.RR {
	var rrs []dns.RR
	for _, s := range lines {
		rr, err := dns.NewRR(s)
		if err != nil {
			panic(err)
		}
		rrs = append(rrs, rr)
	}
	return rrs
}

// authority signs certificates for these tests.
type authority struct {
	key   *ecdsa.PrivateKey
	cert  *x509.Certificate
	roots *x509.CertPool
}

var pki = sync.OnceValue(newAuthority)

func newAuthority() *authority {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	now := time.Now()
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Root", Organization: []string{"Test CA"}},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err2 := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	cert, err3 := x509.ParseCertificate(der)
	if err := errors.Join(err, err2, err3); err != nil {
		panic(err)
	}
	a := &authority{key: key, cert: cert, roots: x509.NewCertPool()}
	a.roots.AddCert(cert)
	return a
}

// leaf is a good certificate for name, but for what is changed.
func (a *authority) leaf(name string, change ...func(*x509.Certificate)) tls.Certificate {
	now := time.Now()
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, f := range change {
		f(tmpl)
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, &a.key.PublicKey, a.key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: a.key}
}

var noCancel = context.Background()

var quiet = log.New(io.Discard, "", 0)

func mustURL(s string) *url.URL {
	u, err := url.Parse(s)
	if err != nil {
		panic(err)
	}
	return u
}

func mustAddrs(list ...string) []netip.Addr {
	var out []netip.Addr
	for _, s := range list {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}
