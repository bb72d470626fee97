package probe

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/url"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// FuzzDNSAnswer: whatever a resolver sends, its class is one of the resolve phase and what is kept of it is bounded.
func FuzzDNSAnswer(f *testing.F) {
	q := new(dns.Msg).SetQuestion(host+".", dns.TypeA)
	q.Id = 7
	add := func(change func(q, m *dns.Msg)) {
		m := honestly(q)
		change(q, m)
		b, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	add(func(_, _ *dns.Msg) {})
	add(func(_, m *dns.Msg) { m.Rcode, m.Answer = dns.RcodeNameError, nil })
	add(func(_, m *dns.Msg) {
		m.Answer = records(host+". 1 IN CNAME b.example.", "b.example. 1 IN CNAME "+host+".")
		m.Ns = records("example. 1 IN NS ns.example.", "example. 1 IN SOA a. b. 1 1 1 1 1")
		m.Extra = records("ns.example. 1 IN AAAA 2001:db8::1")
	})
	add(func(_, m *dns.Msg) {
		m.SetEdns0(udpSize, false)
		m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_EDE{InfoCode: 22, ExtraText: "x"})
	})
	f.Fuzz(func(t *testing.T, b []byte) {
		x := &exchange{name: host + ".", asked: []asked{{id: 7, qtype: dns.TypeA}}}
		a, err := x.accept(b)
		if err != nil || a == nil {
			return
		}
		res := resolution{info: DNSInfo{Resolver: "udp://192.0.2.1:53"}}
		res.join(x.asked)
		if res.class != ClassOK && res.class.Phase() != PhaseResolve {
			t.Errorf("got %v", res.class)
		}
		if (res.class == ClassOK) != (len(res.info.Addrs) > 0) && res.class == ClassOK {
			t.Errorf("ok without an address")
		}
		if len(res.info.Addrs) > maxAddrs || len(res.info.CNAME) > maxCNAMEs || len(a.glue) > maxNS || len(a.referral) > maxNS || len(a.ede) > 8 {
			t.Errorf("too much is kept: %+v", a)
		}
		(&poll{}).count(a, host)
		_ = x.raw[0].text()
	})
}

// FuzzHTTPAnswer: whatever a server sends, its class is one of the http phase and what is kept of it is bounded.
func FuzzHTTPAnswer(f *testing.F) {
	for _, s := range []string{
		good, "", "HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nsome\r\n0\r\n\r\n",
		"HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 302 Found\r\nLocation: //x\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Encoding: deflate\r\n\r\nx", "HTTP/1.0 200\r\n\r\n",
		"HTTP/1.1 503 x\r\nRetry-After: -1\r\nX-Squid-Error: ERR_CONNECT_FAIL 111\r\n\r\n", "ICY 200 OK\r\n\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		u := &url.URL{Scheme: "http", Host: host, Path: "/"}
		site := &Site{Name: "site", URL: u, Method: "GET"}
		a := &attempt{ctx: context.Background(), t: Task{Site: site, Vantage: &Vantage{}}, p: &Prober{}}
		from := &io.LimitedReader{R: bytes.NewReader(b), N: maxHeader}
		class, _ := a.receive(from, bufio.NewReader(from), u)
		if class != ClassOK && class.Phase() != PhaseHTTP {
			t.Errorf("got %v", class)
		}
		if resp := a.e.Response; resp != nil {
			if len(resp.Body) > maxBody {
				t.Errorf("got %d bytes of body", len(resp.Body))
			}
			if next := a.redirect(u); next != nil {
				_ = port(next)
			}
			_ = retryAfter(resp, time.Unix(0, 0))
			a.redact(new(Capture), resp)
		} else if class == ClassOK {
			t.Error("ok without a response")
		}
	})
}

// FuzzProxyAnswer: whatever a proxy says, nothing hangs and nothing but a connection or an error comes of it.
func FuzzProxyAnswer(f *testing.F) {
	for _, b := range [][]byte{{5, 0, 5, 0, 0, 1, 0, 0, 0, 0, 0, 0}, {5, 2, 1, 0, 5, 4, 0, 3, 1, 'x', 0, 0}, []byte("HTTP/1.1 200 OK\r\n\r\n"), {5}} {
		f.Add(b, true)
		f.Add(b, false)
	}
	f.Fuzz(func(t *testing.T, b []byte, socks bool) {
		p := &Proxy{User: "me", Password: "secret"}
		ask := p.connect
		if socks {
			ask = p.socks
		}
		_ = ask(scripted{Reader: bytes.NewReader(b)}, "www.site.example:443")
	})
}

// scripted is a connection that says what it has to say, whatever it is told.
type scripted struct {
	io.Reader
	net.Conn
}

func (s scripted) Read(b []byte) (int, error)  { return s.Reader.Read(b) }
func (s scripted) Write(b []byte) (int, error) { return len(b), nil }
