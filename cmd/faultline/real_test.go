//go:build linux

package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log"
	"math/big"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"faultline/internal/farm"
)

// authority is a CA for tests.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test root"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{t, cert, key}
}

func (a *authority) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

// issue makes a certificate and its key, both in PEM.
func (a *authority) issue(until time.Time, names ...string) (cert, key []byte) {
	a.t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: names[0]}, DNSNames: names,
		NotBefore: until.Add(-2 * time.Hour), NotAfter: until, KeyUsage: x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, &k.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	kder, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		a.t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: kder})
}

// ground is what the daemon watches: nginx with five TLS sites and an upstream behind them, knot as their DNS,
// and three anchors that nothing happens to.
type ground struct {
	*farm.Farm
	t        *testing.T
	ca       *authority
	names    []string
	ports    struct{ nginx, upstream, dns, anchors int }
	nginx    *exec.Cmd
	knot     *exec.Cmd
	upstream *http.Server
}

func newGround(t *testing.T) *ground {
	t.Helper()
	g := &ground{Farm: farm.New(t), t: t, ca: newAuthority(t)}
	for i := range 5 {
		g.names = append(g.names, fmt.Sprintf("site%d.owner%d.example", i+1, i+1))
	}
	for _, p := range []*int{&g.ports.nginx, &g.ports.upstream, &g.ports.dns, &g.ports.anchors} {
		*p = g.Port()
	}
	g.File("ca.pem", string(g.ca.pem()))
	g.startUpstream()
	g.startAnchors()
	g.certificate(time.Now().Add(time.Hour), g.names...)
	return g
}

func (g *ground) listen(port int) net.Listener {
	g.t.Helper()
	l, err := new(net.ListenConfig).Listen(g.t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		g.t.Fatal(err)
	}
	return l
}

var hello = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "<html>hello</html>") })

func (g *ground) startUpstream() {
	g.upstream = &http.Server{Handler: hello, ReadHeaderTimeout: time.Second}
	l := g.listen(g.ports.upstream)
	go func() { _ = g.upstream.Serve(l) }() // ends when it is closed
	g.t.Cleanup(func() { _ = g.upstream.Close() })
}

func (g *ground) startAnchors() {
	cert, key := g.ca.issue(time.Now().Add(time.Hour), "a1.example", "a2.example", "a3.example")
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		g.t.Fatal(err)
	}
	s := &http.Server{
		Handler: hello, ReadHeaderTimeout: time.Second, TLSConfig: &tls.Config{Certificates: []tls.Certificate{pair}},
		ErrorLog: log.New(new(strings.Builder), "", 0),
	}
	l := g.listen(g.ports.anchors)
	go func() { _ = s.ServeTLS(l, "", "") }() // ends when it is closed
	g.t.Cleanup(func() { _ = s.Close() })
}

// certificate puts another certificate before nginx, which takes it when it reloads.
func (g *ground) certificate(until time.Time, names ...string) {
	g.t.Helper()
	cert, key := g.ca.issue(until, names...)
	g.File("cert.pem", string(cert))
	g.File("key.pem", string(key))
	if g.nginx != nil {
		if err := g.nginx.Process.Signal(syscall.SIGHUP); err != nil {
			g.t.Fatal(err)
		}
	}
}

func (g *ground) startNginx(path string) {
	servers := ""
	for _, name := range g.names {
		servers += fmt.Sprintf("server { listen 127.0.0.1:%d ssl; server_name %s; location / { proxy_pass http://127.0.0.1:%d; } }\n",
			g.ports.nginx, name, g.ports.upstream)
	}
	conf := g.File("nginx.conf", farm.AsRoot("user root;\n")+`daemon off; pid nginx.pid; worker_processes 1; error_log stderr warn;
events { worker_connections 256; }
http {
access_log off; client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
ssl_certificate cert.pem; ssl_certificate_key key.pem; proxy_connect_timeout 300ms; proxy_read_timeout 300ms;
`+servers+"}\n")
	g.nginx = g.Start(g.ports.nginx, path, "-p", g.Dir, "-c", conf, "-e", "stderr")
}

func (g *ground) startKnot(path string) {
	zone := "@ 60 SOA ns hostmaster 1 60 60 60 60\n@ 60 NS ns\nns 60 A 127.0.0.1\n* 60 A 127.0.0.1\n"
	for _, name := range g.names {
		zone += name + ". 60 A 127.0.0.1\n"
	}
	g.File("example.zone", "$ORIGIN example.\n"+zone)
	conf := g.File("knot.conf", fmt.Sprintf(`server:
    rundir: %q
    listen: 127.0.0.1@%d
database:
    storage: %q
log:
  - target: stderr
    any: error
zone:
  - domain: example.
    storage: %q
    file: example.zone
    zonefile-load: whole
    journal-content: none
`, g.Dir, g.ports.dns, g.Dir, g.Dir))
	g.knot = g.Start(g.ports.dns, path, "-c", conf)
}

// end ends a program as its operator would, and waits until it is gone.
func (g *ground) end(cmd *exec.Cmd) {
	g.t.Helper()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		g.t.Fatal(err)
	}
	_ = cmd.Wait()
}

func (g *ground) config(webhook string) string {
	text := fmt.Sprintf(`[daemon]
listen = ""
control_socket = %q
state_dir = %q
ca_file = "ca.pem"
allow_addresses = ["127.0.0.0/8"]
[defaults]
interval = "2s"
timeout = "1s"
[alert]
quiet_after_start = "0s"
anchors = ["https://a1.example:%[3]d/", "https://a2.example:%[3]d/", "https://a3.example:%[3]d/"]
anchor_interval = "2s"
[[vantage]]
name = "here"
resolvers = ["127.0.0.1:%[4]d"]
[[channel]]
name = "pager"
kind = "webhook"
url = %[5]q
`, filepath.Join(g.Dir, "control.sock"), filepath.Join(g.Dir, "state"), g.ports.anchors, g.ports.dns, webhook)
	for i, name := range g.names {
		text += fmt.Sprintf("[[site]]\nname = \"site%d\"\nurl = \"https://%s:%d/\"\nalert = \"none\"\n", i+1, name, g.ports.nginx)
	}
	return g.File("faultline.toml", text)
}

// classes are the newest classes of the five sites.
func (g *ground) classes() map[string]int {
	_, text := control(g.t, filepath.Join(g.Dir, "control.sock"), http.MethodGet, "/api/v1/sites?limit=100")
	var list struct {
		Items []struct {
			Site  string
			Cells []struct{ Class, Fault string }
		}
	}
	_ = json.Unmarshal([]byte(text), &list)
	out := map[string]int{}
	for _, s := range list.Items {
		if strings.HasPrefix(s.Site, "site") && len(s.Cells) == 1 {
			out[s.Cells[0].Class+" "+s.Cells[0].Fault]++
		}
	}
	return out
}

// shows waits until all five sites show one class and fault.
func (g *ground) shows(what, want string) {
	g.t.Helper()
	began := time.Now()
	var last map[string]int
	for time.Since(began) < 15*time.Second {
		if last = g.classes(); last[want] == len(g.names) {
			g.t.Logf("%-26s %-32s after %.1f s", what, want, time.Since(began).Seconds())
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	g.t.Fatalf("%s: got %v, want all five %q", what, last, want)
}

// Real programs fail in every part, one after the other; each shows as what it is, and clears.
func TestRealServers(t *testing.T) {
	g := newGround(t)
	nginx, knot := g.Program("nginx"), g.Program("knotd")
	g.startNginx(nginx)
	g.startKnot(knot)
	p := newPlay(t, outage, 1) // for its receiver
	startChild(t, nil, "run", "--config", g.config(p.receiver.URL))
	const good = "ok none"
	g.shows("all is well", good)

	_ = g.upstream.Close()
	g.shows("the upstream is stopped", "http_origin_error origin")
	g.startUpstream()
	g.shows("it is back", good)

	g.end(g.nginx)
	g.shows("nginx is stopped", "connect_refused origin")
	g.startNginx(nginx)
	g.shows("it is back", good)

	g.certificate(time.Now().Add(-time.Minute), g.names...)
	g.shows("the certificate expires", "tls_cert_expired config")
	g.certificate(time.Now().Add(time.Hour), "other.example")
	g.shows("it is another's", "tls_cert_name config")
	g.certificate(time.Now().Add(time.Hour), g.names...)
	g.shows("it is right again", good)

	sock := filepath.Join(g.Dir, "control.sock")
	g.end(g.knot)
	eventually(t, 15*time.Second, "the DNS's end to show, and the only vantage to be called sick", func() bool {
		dns := metric(t, sock, "faultline_probe_results_total", `class="dns_unreachable"`) + metric(t, sock, "faultline_probe_results_total", `class="dns_timeout"`)
		return dns >= 5 && metric(t, sock, "faultline_vantage_healthy") == 0
	})
	g.startKnot(knot)
	before := metric(t, sock, "faultline_probe_results_total", `class="ok"`)
	eventually(t, 15*time.Second, "the probes to find every site again", func() bool {
		return metric(t, sock, "faultline_probe_results_total", `class="ok"`) >= before+5
	})
	if got := p.hooks(t, "page"); len(got) != 0 {
		t.Errorf("got %d pages, want none: one origin failed, and then the vantage's only resolver", len(got))
	}
}
