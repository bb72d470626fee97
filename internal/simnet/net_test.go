package simnet

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/BurntSushi/toml"
	"github.com/miekg/dns"
)

// start plays a scenario of one moment: its phases hold from the onset, which is now.
func start(t *testing.T, world string, phases ...string) *Net {
	t.Helper()
	n, err := Start(story(t, world, phases...).Scenario, Options{Seed: 7, Speed: 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	return n
}

// lookup asks a vantage's resolver as a prober does.
func (n *Net) lookup(t *testing.T, vantage int, network, name string, qtype uint16) (*dns.Msg, error) {
	t.Helper()
	m := new(dns.Msg)
	m.SetQuestion(dns.Fqdn(name), qtype)
	m.SetEdns0(1232, false)
	c := dns.Client{Net: network, Timeout: 300 * time.Millisecond}
	r, _, err := c.Exchange(m, fmt.Sprintf("%s:%d", resolverAddr(vantage), n.dnsPort))
	return r, err
}

// probe looks at a site as a prober does: name, connection, TLS, HTTP.
func (n *Net) probe(t *testing.T, vantage, site int) (*http.Response, string, error) {
	t.Helper()
	s := &n.World.Sites[site]
	r, err := n.lookup(t, vantage, "udp", s.Host, dns.TypeA)
	if err != nil {
		return nil, "", fmt.Errorf("resolving: %w", err)
	}
	var addr netip.Addr
	for _, rr := range r.Answer {
		if a, ok := rr.(*dns.A); ok {
			addr, _ = netip.AddrFromSlice(a.A)
		}
	}
	if !addr.IsValid() {
		return nil, "", fmt.Errorf("resolving: rcode %d", r.Rcode)
	}
	return n.fetch(t, vantage, site, addr)
}

func (n *Net) fetch(t *testing.T, vantage, site int, addr netip.Addr) (*http.Response, string, error) {
	t.Helper()
	s := &n.World.Sites[site]
	d := net.Dialer{Timeout: 300 * time.Millisecond}
	if vantage >= 0 {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(vantageAddr(vantage), 0))
	}
	c, err := d.DialContext(t.Context(), "tcp4", netip.AddrPortFrom(addr, n.port).String())
	if err != nil {
		return nil, "", fmt.Errorf("connecting: %w", err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(n.certs.rootPEM)
	tc := tls.Client(c, &tls.Config{ServerName: s.Host, RootCAs: roots, NextProtos: []string{"http/1.1"}})
	if err := tc.HandshakeContext(t.Context()); err != nil {
		return nil, "", err
	}
	fmt.Fprintf(tc, "GET / HTTP/1.1\r\nHost: %s\r\nUser-Agent: test\r\nConnection: close\r\n\r\n", s.Host)
	resp, err := http.ReadResponse(bufio.NewReader(tc), nil)
	if err != nil {
		return nil, "", fmt.Errorf("reading: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp, string(body), err
}

// onCDN is the first site of the world on a CDN.
func (n *Net) onCDN(t *testing.T, cdn string) int {
	t.Helper()
	for i := range n.World.Sites {
		if s := &n.World.Sites[i]; s.CDN == cdn && s.Kind != KindAnchor {
			return i
		}
	}
	t.Fatalf("no site on %q", cdn)
	return -1
}

func TestHealthy(t *testing.T) {
	n := start(t, `on_cdn = "cloudflare"
extra = 9
extra_on_cdn = "akamai"`, `0 domain 1 edge_502 "*"`) // never begun
	f := func(cdn string, marks ...string) {
		t.Helper()
		site := n.onCDN(t, cdn)
		resp, body, err := n.probe(t, 2, site)
		if err != nil {
			t.Errorf("%s: %v", cdn, err)
			return
		}
		if resp.StatusCode != 200 || !strings.Contains(body, "All is well") {
			t.Errorf("%s: %s %q", cdn, resp.Status, body)
		}
		for _, m := range marks {
			name, value, _ := strings.Cut(m, "=")
			if !strings.Contains(resp.Header.Get(name), value) || resp.Header.Get(name) == "" {
				t.Errorf("%s: %s is %q, want %q in it", cdn, name, resp.Header.Get(name), value)
			}
		}
		if got := n.Served(site, 2, ClassOK); got != 1 {
			t.Errorf("%s: served %d, want 1", cdn, got)
		}
	}
	f("cloudflare", "Server=cloudflare", "CF-RAY=-LHR")
	f("fastly", "Via=1.1 varnish", "X-Served-By=cache-lhr", "X-Timer=S")
	f("cloudfront", "Via=.cloudfront.net (CloudFront)", "X-Amz-Cf-Id=", "X-Amz-Cf-Pop=LHR50", "Server=Apache")
	f("akamai", "Akamai-GRN=0.")
	f("", "Server=nginx")
}

func TestNames(t *testing.T) {
	n := start(t, `on_cdn = "akamai"
member_of = ["dns:akamai-edge-dns"]`, `0 domain 1 edge_502 "*"`)
	s := &n.World.Sites[0]
	for _, network := range []string{"udp", "tcp"} {
		r, err := n.lookup(t, 0, network, s.Host, dns.TypeA)
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Answer) != 3 || !strings.HasSuffix(r.Answer[0].(*dns.CNAME).Target, ".edgekey.net.") || r.Answer[2].(*dns.A).A.String() != s.Addr.String() {
			t.Errorf("%s: A of %s: %v", network, s.Host, r.Answer)
		}
	}
	r, err := n.lookup(t, 0, "udp", s.Host, dns.TypeAAAA)
	if err != nil || r.Rcode != dns.RcodeSuccess || len(r.Answer) != 2 || len(r.Ns) != 1 {
		t.Errorf("AAAA of %s: %v, %v; want the chain without an address", s.Host, r, err)
	}
	r, err = n.lookup(t, 0, "udp", s.Zone, dns.TypeNS)
	if err != nil || len(r.Answer) == 0 || !strings.HasSuffix(r.Answer[0].(*dns.NS).Ns, ".akam.net.") {
		t.Errorf("NS of %s: %v, %v", s.Zone, r, err)
	}
	r, err = n.lookup(t, 0, "udp", "nowhere.example", dns.TypeA)
	if err != nil || r.Rcode != dns.RcodeNameError {
		t.Errorf("A of nowhere: %v, %v; want NXDOMAIN", r, err)
	}
}

// Every class really happens on the wire, to the vantages that it names and to no other.
func TestClasses(t *testing.T) {
	type want func(t *testing.T, resp *http.Response, body string, err error)
	answer := func(status int, texts ...string) want {
		return func(t *testing.T, resp *http.Response, body string, err error) {
			t.Helper()
			if err != nil {
				t.Error(err)
				return
			}
			head := fmt.Sprint(resp.Status, resp.Header)
			if resp.StatusCode != status {
				t.Errorf("%s, want %d", resp.Status, status)
			}
			for _, text := range texts {
				if !strings.Contains(head+body, text) {
					t.Errorf("no %q in %s %s", text, head, body)
				}
			}
		}
	}
	failure := func(ok func(error) bool) want {
		return func(t *testing.T, resp *http.Response, _ string, err error) {
			t.Helper()
			if err == nil || !ok(err) {
				t.Errorf("%v, error %v", resp, err)
			}
		}
	}
	timeout := func(phase string) want {
		return failure(func(err error) bool {
			ne, ok := errors.AsType[net.Error](err)
			return ok && ne.Timeout() && strings.HasPrefix(err.Error(), phase)
		})
	}
	f := func(cdn, class string, check want) {
		t.Helper()
		t.Run(cdn+" "+class, func(t *testing.T) {
			t.Parallel()
			n := start(t, fmt.Sprintf("on_cdn = %q\nsites = 4\ncontrols = 3", cdn), fmt.Sprintf(`0 domain 1 %s "eu-west"`, class))
			site := n.World.first(KindDomain)
			n.Begin(time.Now())
			resp, body, err := n.probe(t, 2, site)
			check(t, resp, body, err)
			shown := n.World.Fault(0, site, 2, 1)
			if got := n.Served(site, 2, shown); got != 1 {
				t.Errorf("%d times %v counted, want 1", got, shown)
			}
			if resp, body, err := n.probe(t, 0, site); err != nil || resp.StatusCode != 200 {
				t.Errorf("from another region: %v %s, %v", resp, body, err)
			}
			if resp, body, err := n.probe(t, 2, n.World.first(KindControl)); err != nil || resp.StatusCode != 200 {
				t.Errorf("a control: %v %s, %v", resp, body, err)
			}
		})
	}
	f("cloudflare", "edge_502", answer(502, "<hr><center>cloudflare</center>", "-LHR"))
	f("cloudflare", "edge_503", answer(503, "Service Temporarily Unavailable", "<hr><center>cloudflare</center>"))
	f("cloudflare", "origin_5xx", answer(502, `id="cf-host-status" class="cf-error-source"`))
	f("cloudflare", "cf_522", answer(522, "Connection timed out", "cf-host-status"))
	f("cloudflare", "blocked", answer(403, "Cf-Mitigated:[challenge]", "Just a moment"))
	f("cloudflare", "connect_timeout", timeout("connecting"))
	f("cloudflare", "dns_timeout", timeout("resolving"))
	f("cloudflare", "dns_servfail", failure(func(err error) bool { return err.Error() == "resolving: rcode 2" }))
	f("cloudflare", "tls_cert", failure(func(err error) bool {
		bad, ok := errors.AsType[x509.CertificateInvalidError](err)
		return ok && bad.Reason == x509.Expired && bad.Cert.IsCA
	}))
	f("fastly", "edge_503", answer(503, "Guru Mediation", "<p>Service Unavailable</p>", "cache-lhr"))
	f("fastly", "origin_5xx", answer(503, "first byte timeout"))
	f("fastly", "slow", answer(200, "All is well"))
	f("cloudfront", "edge_500", answer(500, "Server:[CloudFront]", "Generated by cloudfront"))
	f("cloudfront", "origin_5xx", answer(504, "attempted to establish a connection with the origin"))
	f("akamai", "edge_503", answer(503, "Server:[AkamaiGHost]", "Reference #102."))
	f("akamai", "origin_5xx", answer(504, "Reference #1."))
	f("none", "origin_5xx", answer(502, "nginx/1.22.1"))
	f("none", "edge_503", answer(503, "nginx/1.22.1"))
	f("some-new-cdn", "edge_500", answer(500, "some-new-cdn"))
	f("some-new-cdn", "blocked", answer(429))
	f("azure-front-door", "edge_502", answer(502, "X-Azure-Internalerror", "X-Azure-Ref"))
}

// One site in two shows the origin's own page, through the edge.
func TestPassedOn(t *testing.T) {
	n := start(t, `on_cdn = "cloudflare"`, `0 domain 1 origin_5xx "*"`)
	n.Begin(time.Now())
	passed := 0
	for i := range 20 {
		resp, body, err := n.probe(t, 0, i)
		if err != nil {
			t.Fatal(err)
		}
		if resp.Header.Get("Server") != "cloudflare" {
			t.Errorf("site %d: Server %q", i, resp.Header.Get("Server"))
		}
		if resp.StatusCode == 503 && strings.Contains(body, "Down for maintenance") && !strings.Contains(body, "cloudflare") {
			passed++
		}
	}
	if passed < 8 || passed > 12 {
		t.Errorf("%d of 20 sites show their origin's own page, want about half", passed)
	}
}

// What asks again within two seconds of the scenario meets the same; a later probe draws anew.
func TestDraws(t *testing.T) {
	sc := open(t, "cloudflare-2019-07-02")
	n, err := Start(sc, Options{Seed: 1, Speed: 0.01}) // two seconds are 200 here
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	n.Begin(time.Now().Add(-200 * 100 * time.Second)) // in the middle of the plateau
	site := n.World.first(KindDomain)
	for n.World.Sites[site].U > 0.5 {
		site++
	}
	first, _, err := n.probe(t, 0, site)
	if err != nil {
		t.Fatal(err)
	}
	for range 30 {
		again, _, err := n.probe(t, 0, site)
		if err != nil || again.StatusCode != first.StatusCode {
			t.Fatalf("%v and %v within one probe's time, error %v", first.Status, again, err)
		}
	}
	seen := map[int]bool{}
	for range 60 {
		d := &n.draws[n.pair(site, 0)]
		d.mu.Lock()
		d.since = d.since.Add(-300 * time.Second)
		d.mu.Unlock()
		resp, _, err := n.probe(t, 0, site)
		if err != nil {
			t.Fatal(err)
		}
		seen[resp.StatusCode] = true
	}
	if !seen[200] || !seen[502] {
		t.Errorf("60 probes met only %v, want both 200 and 502", seen)
	}
}

func TestLost(t *testing.T) {
	n := start(t, "", `0 all 1 vantage_lost "v2"`)
	if n.Lost("v2") {
		t.Error("lost before the onset")
	}
	n.Begin(time.Now())
	if !n.Lost("v2") || n.Lost("v1") || n.Lost("nobody") {
		t.Errorf("lost: v2 %t, v1 %t, nobody %t", n.Lost("v2"), n.Lost("v1"), n.Lost("nobody"))
	}
}

// A visitor from elsewhere sees what is normal.
func TestUnknownVisitor(t *testing.T) {
	n := start(t, `on_cdn = "fastly"`, `0 domain 1 edge_503 "*"`)
	n.Begin(time.Now())
	resp, _, err := n.fetch(t, -1, 0, n.World.Sites[0].Addr)
	if err != nil || resp.StatusCode != 200 {
		t.Errorf("%v, %v", resp, err)
	}
}

func TestCloseLeavesNothing(t *testing.T) {
	before := runtime.NumGoroutine()
	n, err := Start(open(t, "cdn-slow-everywhere"), Options{Speed: 1})
	if err != nil {
		t.Fatal(err)
	}
	n.Begin(time.Now())
	done := make(chan error)
	go func() { // hangs in the edge, for six seconds if it were let
		_, _, err := n.fetch(t, 0, 0, n.World.Sites[0].Addr)
		done <- err
	}()
	_, _, err = n.probe(t, 0, n.World.first(KindControl))
	n.Close()
	if err != nil || <-done == nil {
		t.Errorf("a good probe: %v; the one that hung was answered", err)
	}
	for range 100 { // those of the standard library end soon after their connections
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	buf := make([]byte, 1<<16)
	t.Errorf("%d goroutines before, %d after:\n%s", before, runtime.NumGoroutine(), buf[:runtime.Stack(buf, true)])
}

func TestWriteConfig(t *testing.T) {
	n := start(t, `member_of = ["cdn:fastly", "dns:facebook", "hosting:aws-us-east-1"]`, `0 domain 1 edge_503 "*"`)
	dir := t.TempDir()
	path, err := n.WriteConfig(dir, ConfigOptions{WebhookURL: "http://127.0.0.1:1/hook"})
	if err != nil {
		t.Fatal(err)
	}
	var c configFile
	if _, err := toml.DecodeFile(path, &c); err != nil {
		t.Fatal(err)
	}
	if len(c.Site) != 50 || len(c.Vantage) != 5 || len(c.Alert.Anchors) != 12 || len(c.Channel) != 1 || c.Defaults.Interval != "30s" || c.Defaults.Timeout != "10s" {
		t.Errorf("config: %d sites, %d vantages, %d anchors, %d channels, %+v", len(c.Site), len(c.Vantage), len(c.Alert.Anchors), len(c.Channel), c.Defaults)
	}
	if c.Site[0].Labels["hosting"] != "aws-us-east-1" || c.Site[0].Alert != "notice" {
		t.Errorf("first site: %+v", c.Site[0])
	}
	ranges := map[string]bool{}
	for _, f := range c.CDN.Rules {
		var r ruleFile
		if _, err := toml.DecodeFile(f, &r); err != nil {
			t.Fatal(err)
		}
		ranges[r.Name+strings.Join(r.Ranges, ",")] = true
		if filepath.Base(f) == "operators.toml" && (len(r.Operator) != 1 || r.Operator[0].Name != "facebook") {
			t.Errorf("operators: %+v", r.Operator)
		}
	}
	if !ranges["fastly127.151.0.0/16"] || !ranges["cloudflare127.104.0.0/16"] {
		t.Errorf("ranges: %v", ranges)
	}
	if pem, err := os.ReadFile(c.Daemon.CAFile); err != nil || !x509.NewCertPool().AppendCertsFromPEM(pem) {
		t.Errorf("CA file: %v", err)
	}
}
