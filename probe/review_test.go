package probe

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

func TestForeignHosts(t *testing.T) {
	f := func(a, b string, want bool) {
		t.Helper()
		if foreign(a, b) != want {
			t.Errorf("%s, %s: got %v", a, b, !want)
		}
	}
	f("www.site.example", "cdn.site.example.", false)
	f("site.example", "other.example", true)
	f("198.51.100.7", "9.9.100.7", true) // addresses, though they end alike: the library of suffixes knows
	f("2001:db8::1", "2001:db8::1", false)
}

func TestPublicNames(t *testing.T) {
	f := func(host string, want bool) {
		t.Helper()
		if publicName(host) != want {
			t.Errorf("%s: got %v", host, !want)
		}
	}
	f("www.site.example", true)
	f("xn--bcher-kva.example.", true)
	for _, host := range []string{"localhost", "router", "127.1", "2130706433", "0x7f.1", "1.0x7f", "printer.local", "db.internal", "a.localhost.", ""} {
		f(host, false)
	}
}

// A redirect may not lead a proxy that finds the names itself into its own network.
func TestRedirectInsideTheProxysNetwork(t *testing.T) {
	g := newRig(t)
	g.site.URL.Host = host
	g.proxy(ProxyHTTP, says("HTTP/1.1 302 Found\r\nLocation: http://localhost:9090/?token=1\r\nContent-Length: 0\r\n\r\n"))
	g.vantage.Resolvers = []Resolver{}
	if r := g.wants(ClassHTTPInterference); !strings.Contains(r.Why, "no public name") {
		t.Errorf("got %q", r.Why)
	}
}

// A proxy that lives but gets no connection in time is not to blame; one that answers nothing at all is.
func TestWaitingProxy(t *testing.T) {
	f := func(alive bool, want Class) {
		t.Helper()
		g := newRig(t)
		g.task.Timeout, g.conf.Recheck = 300*time.Millisecond, 200*time.Millisecond
		g.site.URL = mustURL("https://" + host + "/")
		g.proxy(ProxyHTTP, func(c net.Conn) {
			if req, err := readRequest(c); alive && (err != nil || req.Host == "") {
				_, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
				return
			}
			hang(c)
		})
		g.wants(want)
	}
	f(true, ClassConnectTimeout)
	f(false, ClassLocalPath)
}

func TestImpossiblePorts(t *testing.T) {
	for _, p := range []string{"99999", "65536", "18446744073709551616"} {
		if got := port(&url.URL{Scheme: "http", Host: "a.example:" + p}); got != 0 {
			t.Errorf("%s: got %d, want 0", p, got)
		}
	}
}

// What is not read of a body is not waited for.
func TestABodyBeyondTheBound(t *testing.T) {
	g := newRig(t)
	g.serve(func(c net.Conn) {
		if _, err := readRequest(c); err != nil {
			return
		}
		_, _ = fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n", maxBody, strings.Repeat("x", maxBody))
		hang(c)
	})
	if r := g.wants(ClassOK); r.Time.Total >= g.task.Timeout {
		t.Errorf("took %v, the whole timeout", r.Time.Total)
	}
}

// Queries of others' URLs, cookies without a name and the proxy's password are nobody's business.
func TestMoreSecrets(t *testing.T) {
	g := newRig(t)
	g.conf.Captures = NewCaptures()
	g.site.URL.Host = host
	p := g.proxy(ProxyHTTP, func(c net.Conn) {
		req, err := readRequest(c)
		if err != nil {
			return
		}
		if req.URL.Path == "/" {
			_, _ = io.WriteString(c, "HTTP/1.1 302 Found\r\nLocation: /next?token=hunter2hunter2\r\nContent-Length: 0\r\n\r\n")
			return
		}
		_, _ = fmt.Fprintf(c, "HTTP/1.1 500 hunter3hunter3\r\nSet-Cookie: hunter2hunter2\r\nLocation: /x?hunter2hunter2\r\nX-Echo: %s\r\nContent-Length: 0\r\n\r\n", req.Header.Get("Proxy-Authorization"))
	})
	p.User, p.Password = "me", "hunter3hunter3"
	g.vantage.Resolvers = []Resolver{}
	r := g.wants(ClassHTTPOriginError)
	if want := "http://" + host + "/next?" + redacted; r.Final != want {
		t.Errorf("got %q, want %q", r.Final, want)
	}
	if c := g.conf.Captures.Find(&r); c == nil || strings.Contains(fmt.Sprint(c), "hunter") || strings.Contains(fmt.Sprint(c), "bWU6aHVudGVy") {
		t.Errorf("got %+v", c)
	}
}

// Over HTTP/3 too, an address of a family that this host lacks says less than one that does not answer, and is not the one
// that was connected to.
func TestHTTP3AddressesOfTwoFamilies(t *testing.T) {
	g := newRig(t)
	g.site.HTTP = HTTP3
	g.site.URL = mustURL("https://" + host + "/")
	g.conf.Allow = append(g.conf.Allow, netip.MustParsePrefix("::1/128"))
	g.conf.HTTP3 = func(_ context.Context, q *HTTP3Request) HTTP3Reply {
		if q.Addr.Addr().Is4() {
			return HTTP3Reply{Class: ClassConnectTimeout, Detail: "silent"}
		}
		return HTTP3Reply{Class: ClassLocalNoNetwork, Detail: "no route"}
	}
	g.resolve(with(func(q, m *dns.Msg) {
		if q.Question[0].Qtype == dns.TypeAAAA {
			m.Answer = records(host + ". 60 IN AAAA ::1")
		}
	}))
	if r := g.wants(ClassConnectTimeout); !r.Addr.Addr().Is4() {
		t.Errorf("got %v", r.Addr)
	}
}

// A true denial is no lie of the resolver, also where the name is an alias; and what one name is says nothing of another.
func TestDiagnosisOfAliases(t *testing.T) {
	soa := func(m *dns.Msg) {
		m.Authoritative = true
		m.Ns = records("site.example. 60 IN SOA ns1.dns.example. a.example. 1 1 1 1 1")
	}
	denied := with(func(_, m *dns.Msg) {
		m.Answer = records(host + ". 60 IN CNAME lb.site.example.")
		soa(m)
	})
	z := newZoneRig(t, denied, denied)
	if r := z.wants(ClassDNSNoData); r.DNS.Diagnosis != DiagnosisZone {
		t.Errorf("an alias without an address: got %v (%s)", r.DNS.Diagnosis, r.Why)
	}

	z = newZoneRig(t, rcoded(dns.RcodeNameError), with(func(q, m *dns.Msg) {
		if !strings.HasPrefix(q.Question[0].Name, "www.") {
			m.Rcode, m.Answer = dns.RcodeNameError, nil
		}
		soa(m)
	}))
	if r := z.wants(ClassDNSNXDomain); r.DNS.Diagnosis != DiagnosisLying {
		t.Errorf("a name that is there: got %v (%s)", r.DNS.Diagnosis, r.Why)
	}
	gone := *z.site
	gone.Name, gone.URL = "gone", mustURL("http://gone.site.example/")
	z.vantage.Resolvers = nil
	z.resolve(func(w dns.ResponseWriter, q *dns.Msg) { rcoded(dns.RcodeNameError)(w, q) })
	z.prober.zones.remember("site.example", []string{"ns1.dns.example"}, mustAddrs("127.0.0.53"))
	task := z.task
	task.Site = &gone
	if r := z.prober.Probe(t.Context(), task, nil); r.DNS.Diagnosis != DiagnosisZone {
		t.Errorf("one that is not: got %v (%s)", r.DNS.Diagnosis, r.Why)
	}
}

// What a server says over TCP where UDP has no room for it counts as well.
func TestDiagnosisOfTruncatedAnswers(t *testing.T) {
	g := newRig(t)
	var overTCP atomic.Bool
	r := g.resolve(func(w dns.ResponseWriter, q *dns.Msg) {
		m := honestly(q)
		if _, ok := w.RemoteAddr().(*net.UDPAddr); ok {
			m.Truncated, m.Answer = true, nil
		} else {
			overTCP.Store(true)
		}
		_ = w.WriteMsg(m)
	})
	p := NewProber(g.conf)
	if a := p.query(t.Context(), g.vantage, *r, question{name: host + ".", qtype: dns.TypeA}); len(a.addrs) != 1 || !overTCP.Load() {
		t.Errorf("got %+v", a)
	}
}
