package probe

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

const resolverName = "dns.example"

// secureResolver gives the vantage a resolver over TLS or HTTPS, which does with each message what h says.
func (g *rig) secureResolver(via ResolverVia, leaf tls.Certificate, protocols []string, h func(q *dns.Msg) *dns.Msg) *Resolver {
	l, err := tls.Listen("tcp4", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{leaf}, NextProtos: protocols})
	if err != nil {
		g.t.Fatal(err)
	}
	if via == ViaTLS {
		s := &dns.Server{Listener: l, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) { _ = w.WriteMsg(h(q)) })}
		done := make(chan error, 1)
		go func() { done <- s.ActivateAndServe() }()
		g.t.Cleanup(func() { _ = l.Close(); <-done })
	} else {
		s := &http.Server{ErrorLog: quiet, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { answerOverHTTPS(w, r, h) })}
		s.Protocols = new(http.Protocols)
		s.Protocols.SetHTTP1(true)
		s.Protocols.SetHTTP2(true)
		done := make(chan error, 1)
		go func() { done <- s.Serve(l) }()
		g.t.Cleanup(func() { _ = s.Close(); <-done })
	}
	r := g.addResolver(l.Addr().(*net.TCPAddr).AddrPort())
	r.Via, r.Name = via, resolverName
	if via == ViaHTTPS {
		r.Path = "/dns-query"
	}
	return r
}

func answerOverHTTPS(w http.ResponseWriter, r *http.Request, h func(q *dns.Msg) *dns.Msg) {
	b, _ := io.ReadAll(r.Body)
	var q dns.Msg
	if r.Host != resolverName || r.URL.Path != "/dns-query" || r.Header.Get("Content-Type") != "application/dns-message" || q.Unpack(b) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	m := h(&q)
	if m == nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	b, _ = m.Pack()
	w.Header().Set("Content-Type", "application/dns-message")
	_, _ = w.Write(b)
}

func TestSecureResolvers(t *testing.T) {
	f := func(name string, via ResolverVia, leaf tls.Certificate, protocols []string, h func(q *dns.Msg) *dns.Msg, want Class) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newRig(t)
			g.serve(says(good))
			r := g.secureResolver(via, leaf, protocols, h)
			if got := g.wants(want); got.DNS.Resolver != r.String() || !strings.HasPrefix(r.String(), via.String()+"://127.0.0.1:") {
				t.Errorf("got resolver %q, want %q", got.DNS.Resolver, r)
			}
		})
	}
	leaf := pki().leaf(resolverName)
	gone := func(q *dns.Msg) *dns.Msg { return new(dns.Msg).SetRcode(q, dns.RcodeNameError) }
	nothing := func(*dns.Msg) *dns.Msg { return nil }
	f("DoT", ViaTLS, leaf, nil, honestly, ClassOK)
	f("DoT, NXDOMAIN", ViaTLS, leaf, nil, gone, ClassDNSNXDomain)
	f("DoT with another's certificate", ViaTLS, pki().leaf("other.example"), nil, honestly, ClassDNSUnreachable)
	f("DoH over HTTP/2", ViaHTTPS, leaf, []string{"h2"}, honestly, ClassOK)
	f("DoH over HTTP/1.1", ViaHTTPS, leaf, []string{"http/1.1"}, honestly, ClassOK)
	f("DoH, NXDOMAIN", ViaHTTPS, leaf, []string{"h2"}, gone, ClassDNSNXDomain)
	f("DoH that answers 503", ViaHTTPS, leaf, []string{"h2"}, nothing, ClassDNSMalformed)
	f("DoH with another's certificate", ViaHTTPS, pki().leaf("other.example"), []string{"h2"}, honestly, ClassDNSUnreachable)
}

func TestSecureResolverThatHangs(t *testing.T) {
	f := func(via ResolverVia) {
		t.Helper()
		g := newRig(t)
		g.conf.DNSTry, g.task.Timeout = 150*time.Millisecond, 2*time.Second
		at := g.serve(hang)
		r := g.addResolver(at)
		r.Via, r.Path = via, "/dns-query"
		g.wants(ClassDNSTimeout)
	}
	f(ViaTCP)
	f(ViaTLS)
	f(ViaHTTPS)
}

func TestTheSecondResolverIsTold(t *testing.T) {
	g := newRig(t)
	g.serve(says(good))
	g.resolve(with(func(_, m *dns.Msg) { m.Rcode, m.Answer = dns.RcodeRefused, nil }))
	bad := g.vantage.Resolvers[0]
	g.resolve(honest)
	r := g.wants(ClassOK)
	if len(r.DNS.Tried) != 1 || r.DNS.Tried[0] != (ResolverTry{bad.String(), ClassDNSRefused}) {
		t.Errorf("got %v, want that %v refused", r.DNS.Tried, bad)
	}
}

// serveHTTP makes the site a real HTTP server over TLS.
func (g *rig) serveHTTP(h http.HandlerFunc) {
	g.serveHTTPWith(h, func(*http.Protocols) {})
}

func (g *rig) serveHTTPWith(h http.HandlerFunc, change func(*http.Protocols)) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		g.t.Fatal(err)
	}
	g.site.URL.Scheme = "https"
	g.site.URL.Host = net.JoinHostPort(host, strings.TrimPrefix(l.Addr().String(), "127.0.0.1:"))
	s := &http.Server{Handler: h, TLSConfig: &tls.Config{Certificates: []tls.Certificate{pki().leaf(host)}}, Protocols: new(http.Protocols)}
	s.ErrorLog = quiet
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetHTTP2(true)
	change(s.Protocols)
	done := make(chan error, 1)
	go func() { done <- s.ServeTLS(l, "", "") }()
	g.t.Cleanup(func() { _ = s.Close(); <-done })
}

func TestHTTP2(t *testing.T) {
	f := func(name string, h http.HandlerFunc, want Class) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newRig(t)
			g.site.HTTP = HTTP2
			g.task.Timeout, g.conf.Recheck = 2*time.Second, time.Second
			g.serveHTTP(h)
			r := g.wants(want)
			if r.Status != 0 && r.Proto != "HTTP/2.0" {
				t.Errorf("got %s", r.Proto)
			}
		})
	}
	f("good", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }, ClassOK)
	f("not found", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) }, ClassHTTPClientError)
	f("no header in time", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, ClassHTTPTimeoutHeaders)
	f("the body stalls", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "some")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}, ClassHTTPBodyTimeout)
	f("the stream is reset", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, ClassHTTPMalformed)
	f("the body is reset", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "some")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}, ClassHTTPBodyTruncated)
	f("a header without end", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X", strings.Repeat("x", 2*maxHeader))
	}, ClassHTTPMalformed)
	f("a body without end", func(w http.ResponseWriter, _ *http.Request) {
		for block := make([]byte, 32<<10); ; {
			if _, err := w.Write(block); err != nil {
				return
			}
		}
	}, ClassOK)
}

func TestHTTP2ConnectionThatBreaks(t *testing.T) {
	f := func(name string, then func(net.Conn), want Class) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newRig(t)
			g.site.HTTP = HTTP2
			g.task.Timeout, g.conf.Recheck = 2*time.Second, time.Second
			g.serveTLS(&tls.Config{Certificates: []tls.Certificate{pki().leaf(host)}, NextProtos: []string{"h2"}}, then)
			g.wants(want)
		})
	}
	request := func(c net.Conn) { _, _ = io.ReadFull(c, make([]byte, 100)) }
	f("closed", func(c net.Conn) { request(c) }, ClassHTTPEOF)
	f("reset", func(c net.Conn) { request(c); reset(c); _ = rawConn(c).Close() }, ClassHTTPReset)
	f("silent", hang, ClassHTTPTimeoutHeaders)
	f("garbage", func(c net.Conn) { request(c); _, _ = io.WriteString(c, strings.Repeat("no frames ", 100)); hang(c) }, ClassHTTPMalformed)
}

func TestHTTP2IsNotForced(t *testing.T) {
	g := newRig(t)
	g.site.HTTP = HTTP2
	g.serveTLS(nil, says(good))
	if r := g.wants(ClassOK); r.Proto != "HTTP/1.1" {
		t.Errorf("got %s, want HTTP/1.1: the server speaks nothing else", r.Proto)
	}
}

// Over HTTP/2 there is no reason phrase, so a failing answer is fetched over 1.1 too.
func TestTheReasonPhraseIsFetched(t *testing.T) {
	g := newRig(t)
	g.site.HTTP = HTTP2
	g.conf.Judge = func(e *Evidence, was Fronting) Verdict {
		v := judgeByStatus(e, was)
		if e.Response != nil {
			v.Why = e.Response.Proto + " " + e.Response.Reason
		}
		return v
	}
	g.serveHTTP(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) })
	if r := g.wants(ClassHTTPOriginError); r.Why != "HTTP/1.1 Service Unavailable" || r.Proto != "HTTP/2.0" {
		t.Errorf("got %q over %s", r.Why, r.Proto)
	}
	g = newRig(t)
	g.site.HTTP = HTTP2
	g.serveHTTP(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor == 2 {
			w.WriteHeader(503)
		}
	})
	if r := g.wants(ClassHTTPOriginError); !strings.Contains(r.Why, "over HTTP/1.1 the site answers") {
		t.Errorf("got %q", r.Why)
	}
	g = newRig(t)
	g.site.HTTP = HTTP2
	g.serveHTTP(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor == 2 {
			panic(http.ErrAbortHandler)
		}
		w.WriteHeader(502)
	})
	if r := g.wants(ClassHTTPOriginError); r.Status != 502 || r.Proto != "HTTP/1.1" || !strings.Contains(r.Why, "over HTTP/2 in its place") {
		t.Errorf("got %q over %s", r.Why, r.Proto)
	}
}

func TestEveryAddress(t *testing.T) {
	g := newRig(t)
	at := g.serve(says(good))
	g.site.Addresses = AddressAll
	g.resolve(with(func(q, m *dns.Msg) {
		if q.Question[0].Qtype == dns.TypeA { // nobody listens at the first and the last
			m.Answer = records(host+". 1 IN A 127.0.0.77", host+". 1 IN A 127.0.0.1", host+". 1 IN A 127.0.0.78")
		}
	}))
	r := g.wants(ClassOK)
	var got []string
	for _, d := range r.Dead() {
		got = append(got, d.Addr.String()+" "+d.Class.String())
	}
	port := strings.TrimPrefix(at.String(), "127.0.0.1")
	want := "127.0.0.77" + port + " connect_refused,127.0.0.78" + port + " connect_refused"
	if strings.Join(got, ",") != want || len(r.Addresses) != 3 {
		t.Errorf("got %v of %d, want %s of 3", got, len(r.Addresses), want)
	}
	g.resolve(with(func(q, m *dns.Msg) {
		if q.Question[0].Qtype == dns.TypeA {
			m.Answer = records(host+". 1 IN A 127.0.0.77", host+". 1 IN A 127.0.0.78")
		}
	}))
	g.vantage.Resolvers = g.vantage.Resolvers[1:]
	if r := g.wants(ClassConnectRefused); r.Dead() != nil || len(r.Addresses) != 2 {
		t.Errorf("got %v: no address answers, so none is told apart", r.Addresses)
	}
}

func TestFamilies(t *testing.T) {
	g := newRig(t)
	g.serve(says(good))
	g.task.Family = FamilyIP6
	if r := g.wants(ClassDNSNoData); r.Family != FamilyIP6 {
		t.Errorf("got family %q, want ip6: it is what was asked for", r.Family)
	}
	g.task.Family = FamilyIP4
	if r := g.wants(ClassOK); r.Family != FamilyIP4 {
		t.Errorf("got family %q", r.Family)
	}
}

func TestInterface(t *testing.T) {
	g := newRig(t)
	g.serve(says(good))
	g.vantage.Interface = "lo"
	if r := g.probe(); r.Class != ClassOK && !strings.Contains(r.Why, "operation not permitted") {
		t.Errorf("got %v (%s)", r.Class, r.Why)
	}
	g.vantage.Interface = "nosuch0"
	g.wants(ClassLocalResource)
}

// proxy is one that tells what it was asked, on loopback.
func (g *rig) proxy(kind ProxyKind, h func(net.Conn)) *Proxy {
	url := *g.site.URL
	at := g.serve(h)
	g.site.URL.Host = url.Host
	g.vantage.Proxy = &Proxy{Kind: kind, Addr: at}
	return g.vantage.Proxy
}

// relay carries bytes between c and the site, whatever host it was asked for.
func relay(c net.Conn, to string) {
	far, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer far.Close()
	done := make(chan struct{})
	go func() { defer close(done); _, _ = io.Copy(far, c); _ = far.(*net.TCPConn).CloseWrite() }()
	_, _ = io.Copy(c, far)
	_ = c.Close()
	<-done
}

func socksServer(user string, code byte, asked *atomic.Value, to string) func(net.Conn) {
	return func(c net.Conn) {
		var head [2]byte
		if _, err := io.ReadFull(c, head[:]); err != nil {
			return
		}
		methods := make([]byte, head[1])
		_, _ = io.ReadFull(c, methods)
		if user != "" {
			_, _ = c.Write([]byte{5, 2})
			b := make([]byte, 2+len(user)+1+6)
			_, _ = io.ReadFull(c, b)
			ok := byte(1)
			if string(b[2:2+len(user)]) == user && string(b[3+len(user):]) == "secret" {
				ok = 0
			}
			_, _ = c.Write([]byte{1, ok})
		} else {
			_, _ = c.Write([]byte{5, 0})
		}
		var q [4]byte
		if _, err := io.ReadFull(c, q[:]); err != nil {
			return
		}
		size := map[byte]int{1: 4, 4: 16}[q[3]]
		if q[3] == 3 {
			var n [1]byte
			_, _ = io.ReadFull(c, n[:])
			size = int(n[0])
		}
		b := make([]byte, size+2)
		_, _ = io.ReadFull(c, b)
		name := string(b[:size])
		if a, ok := netip.AddrFromSlice(b[:size]); ok && q[3] != 3 {
			name = a.String()
		}
		asked.Store(net.JoinHostPort(name, itoa(binary.BigEndian.Uint16(b[size:]))))
		_, _ = c.Write([]byte{5, code, 0, 1, 0, 0, 0, 0, 0, 0})
		if code == 0 {
			relay(c, to)
		}
	}
}

func itoa(n uint16) string { return netip.AddrPortFrom(loopback, n).String()[len("127.0.0.1:"):] }

func connectServer(answer string, asked *atomic.Value, to string) func(net.Conn) {
	return func(c net.Conn) {
		req, err := http.ReadRequest(bufio.NewReader(c))
		if err != nil {
			return
		}
		asked.Store(req.Method + " " + req.RequestURI + " " + req.Header.Get("Proxy-Authorization"))
		_, _ = io.WriteString(c, answer)
		if strings.Contains(answer, " 200 ") && req.Method == http.MethodConnect {
			relay(c, to)
		}
	}
}

func TestThroughProxies(t *testing.T) {
	var asked atomic.Value
	g := newRig(t)
	g.serveTLS(nil, says(good))
	site := "127.0.0.1:" + g.site.URL.Port()
	p := g.proxy(ProxySOCKS5, socksServer("me", 0, &asked, site))
	p.User, p.Password = "me", "secret"
	r := g.wants(ClassOK)
	if asked.Load() != site || r.Addr.String() != site {
		t.Errorf("the SOCKS5 proxy was asked for %v, and the result shows %v; want %s", asked.Load(), r.Addr, site)
	}
	g.vantage.Resolvers = []Resolver{} // the proxy is given the name
	r = g.wants(ClassOK)
	if want := g.site.URL.Host; asked.Load() != want || r.Addr.IsValid() || r.DNS.Resolver != "" {
		t.Errorf("the proxy was asked for %v, want %s; the result shows %v and %+v", asked.Load(), want, r.Addr, r.DNS)
	}

	g.vantage.Resolvers = nil
	p = g.proxy(ProxyHTTP, connectServer("HTTP/1.1 200 OK\r\n\r\n", &asked, site))
	p.User, p.Password = "me", "secret"
	g.wants(ClassOK)
	if want := "CONNECT " + site + " Basic " + base64.StdEncoding.EncodeToString([]byte("me:secret")); asked.Load() != want {
		t.Errorf("the HTTP proxy was asked %q, want %q", asked.Load(), want)
	}
	g.site.URL.Scheme = "http"
	g.proxy(ProxyHTTP, connectServer("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", &asked, site))
	g.wants(ClassOK)
	if want := "GET " + g.site.URL.String() + " "; asked.Load() != want {
		t.Errorf("the HTTP proxy was asked %q, want %q", asked.Load(), want)
	}
}

func TestResolverThroughAProxy(t *testing.T) {
	var asked atomic.Value
	g := newRig(t)
	g.serve(says(good))
	g.resolve(honest).Via = ViaTCP
	at := g.vantage.Resolvers[0].Addr.String()
	g.site.URL.Host = host + ":1" // where nobody is: only the resolver is of interest
	g.proxy(ProxySOCKS5, socksServer("", 5, &asked, at))
	r := g.probe()
	if r.Class != ClassDNSUnreachable || asked.Load() != at {
		t.Errorf("got %v; the proxy was asked for %v, want %s", r.Class, asked.Load(), at)
	}
}

// What goes wrong at a proxy is the vantage's failure; what the proxy says about the site is the site's.
func TestProxyFailures(t *testing.T) {
	f := func(name string, kind ProxyKind, scheme string, h func(net.Conn), want Class) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newRig(t)
			g.task.Timeout, g.conf.Recheck = time.Second, 500*time.Millisecond
			g.site.URL.Scheme, g.site.URL.Host = scheme, host+":9"
			g.proxy(kind, h)
			if r := g.wants(want); want == ClassLocalPath && r.Fault != FaultLocal {
				t.Errorf("got fault %v", r.Fault)
			}
		})
	}
	var asked atomic.Value
	socks := func(code byte) func(net.Conn) { return socksServer("", code, &asked, "") }
	f("SOCKS5: general failure", ProxySOCKS5, "https", socks(1), ClassLocalPath)
	f("SOCKS5: not allowed", ProxySOCKS5, "https", socks(2), ClassLocalPath)
	f("SOCKS5: host unreachable", ProxySOCKS5, "https", socks(4), ClassConnectUnreachable)
	f("SOCKS5: refused", ProxySOCKS5, "https", socks(5), ClassConnectRefused)
	f("SOCKS5: TTL expired", ProxySOCKS5, "https", socks(6), ClassConnectTimeout)
	f("SOCKS5: wants a password", ProxySOCKS5, "https", socksServer("me", 0, &asked, ""), ClassLocalPath)
	f("SOCKS5: silent", ProxySOCKS5, "https", hang, ClassLocalPath)
	f("SOCKS5: something else", ProxySOCKS5, "https", says("HTTP/1.1 400 Bad Request\r\n\r\n"), ClassLocalPath)
	f("SOCKS5: greets and hangs", ProxySOCKS5, "https", func(c net.Conn) {
		_, _ = c.Read(make([]byte, 16))
		_, _ = c.Write([]byte{5, 0})
		hang(c)
	}, ClassConnectTimeout)
	connect := func(answer string) func(net.Conn) { return connectServer(answer, &asked, "") }
	f("CONNECT: denied", ProxyHTTP, "https", connect("HTTP/1.1 403 Forbidden\r\nX-Squid-Error: ERR_ACCESS_DENIED 0\r\nContent-Length: 0\r\n\r\n"), ClassLocalPath)
	f("CONNECT: password", ProxyHTTP, "https", connect("HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"), ClassLocalPath)
	f("CONNECT: a bare 503", ProxyHTTP, "https", connect("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"), ClassLocalPath)
	f("CONNECT: refused, says Squid", ProxyHTTP, "https", connect("HTTP/1.1 503 Service Unavailable\r\nX-Squid-Error: ERR_CONNECT_FAIL 111\r\nContent-Length: 0\r\n\r\n"), ClassConnectRefused)
	f("CONNECT: timed out, by RFC 9209", ProxyHTTP, "https", connect("HTTP/1.1 504 Gateway Timeout\r\nProxy-Status: p; error=connection_timeout; x=y\r\nContent-Length: 0\r\n\r\n"), ClassConnectTimeout)
	f("CONNECT: silent", ProxyHTTP, "https", hang, ClassLocalPath)
	f("CONNECT: closed", ProxyHTTP, "https", func(net.Conn) {}, ClassLocalPath)
	f("GET: no data, says Squid", ProxyHTTP, "http", connect("HTTP/1.1 502 Bad Gateway\r\nX-Squid-Error: ERR_ZERO_SIZE_OBJECT 0\r\nContent-Length: 0\r\n\r\n"), ClassHTTPEOF)
	f("GET: shutting down", ProxyHTTP, "http", connect("HTTP/1.1 503 x\r\nX-Squid-Error: ERR_SHUTTING_DOWN 0\r\nContent-Length: 0\r\n\r\n"), ClassLocalPath)
	f("GET: the site's own 502", ProxyHTTP, "http", connect("HTTP/1.1 502 Bad Gateway\r\nVia: 1.1 squid\r\nContent-Length: 0\r\n\r\n"), ClassHTTPOriginError)
}

func TestNobodyAtTheProxy(t *testing.T) {
	g := newRig(t)
	g.site.URL = mustURL("https://" + host + "/")
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g.vantage.Proxy = &Proxy{Addr: l.Addr().(*net.TCPAddr).AddrPort(), User: "me", Password: "secret"}
	_ = l.Close()
	r := g.wants(ClassLocalPath)
	if strings.Contains(r.Why, "secret") || !strings.Contains(r.Why, "socks5://127.0.0.1") {
		t.Errorf("got %q", r.Why)
	}
}

func TestOwnCancelAtTheProxy(t *testing.T) {
	g := newRig(t)
	ctx, cancel := context.WithCancel(t.Context())
	g.site.URL.Host = host + ":9"
	g.proxy(ProxyHTTP, func(c net.Conn) { cancel(); hang(c) })
	if r := g.probeIn(ctx, nil); r.Class != ClassLocalCancelled {
		t.Errorf("got %v (%s)", r.Class, r.Why)
	}
	if !errors.Is(ctx.Err(), context.Canceled) {
		t.Error("the proxy was never asked")
	}
}
