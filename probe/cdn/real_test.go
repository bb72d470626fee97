//go:build linux

package cdn

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"faultline/internal/farm"
	"faultline/probe"
)

// conditions are what an origin does to the server before it, in the order of the table in the study of CDN failures, section 7.
var conditions = []string{
	"well", "refused", "blackhole", "hangs", "resets", "closes", "babbles", "bigheader", "halfheader", "cutbody", "says503",
}

// origins starts one origin for each condition and gives their ports.
func origins(f *farm.Farm) map[string]int {
	answer := func(text string, then func(*net.TCPConn)) int {
		return listen(f, func(c *net.TCPConn) {
			if _, err := http.ReadRequest(bufio.NewReader(c)); err != nil {
				return
			}
			_, _ = io.WriteString(c, text)
			if then != nil {
				then(c)
			}
		})
	}
	return map[string]int{
		"well":       answer("HTTP/1.1 200 OK\r\nServer: Apache\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello", nil),
		"refused":    f.Dead(),
		"blackhole":  f.BlackHole(),
		"hangs":      answer("", func(c *net.TCPConn) { _, _ = io.Copy(io.Discard, c) }),
		"resets":     answer("", func(c *net.TCPConn) { _ = c.SetLinger(0) }),
		"closes":     answer("", nil),
		"babbles":    answer("SSH-2.0-OpenSSH_9.2p1 Debian-2\r\nthis is no HTTP at all\r\n", nil),
		"bigheader":  answer("HTTP/1.1 200 OK\r\nServer: Apache\r\nX-Big: "+strings.Repeat("x", 300<<10)+"\r\nContent-Length: 5\r\n\r\nhello", nil),
		"halfheader": answer("HTTP/1.1 200 OK\r\nServer: Apache\r\nContent-Le", nil),
		"cutbody":    answer("HTTP/1.1 200 OK\r\nServer: Apache\r\nContent-Length: 100000\r\n\r\n"+strings.Repeat("x", 5000), nil),
		"says503": answer("HTTP/1.1 503 Service Unavailable\r\nServer: Apache\r\nContent-Type: text/html\r\nContent-Length: 45\r\nConnection: close\r\n\r\n"+
			"<html><h1>Down for maintenance</h1></html>   ", nil),
	}
}

func listen(f *farm.Farm, h func(*net.TCPConn)) int {
	l, err := new(net.ListenConfig).Listen(f.T.Context(), "tcp4", "127.0.0.1:0")
	if err != nil {
		f.T.Fatal(err)
	}
	var all sync.WaitGroup
	var open sync.Map
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
				h(c.(*net.TCPConn))
			})
		}
	})
	f.T.Cleanup(func() {
		_ = l.Close()
		open.Range(func(c, _ any) bool { return c.(net.Conn).Close() == nil })
		all.Wait()
	})
	return l.Addr().(*net.TCPAddr).Port
}

// cell is what one server makes of one condition: the status that is seen, 0 = none, and what it is taken for.
type cell struct {
	status int
	class  probe.Class
	or     *cell // where it depends on which of two things the server sees first
}

// sees probes every condition behind a server and compares the row of the table.
func sees(f *farm.Farm, server string, port int, want map[string]cell) {
	f.T.Helper()
	rules := mustLoad(f.T)
	prober := probe.NewProber(probe.Config{
		Judge: rules.Judge, UserAgent: "faultline-test", Memory: probe.NewMemory(), Recheck: 3 * time.Second,
		Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
	})
	vantage := &probe.Vantage{Name: "here", Resolvers: []probe.Resolver{{}}} // not asked: the URLs hold an address
	names := slices.Clone(conditions)
	for name := range want {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	got := make([]probe.Result, len(names))
	var all sync.WaitGroup
	for i, name := range names {
		if _, ok := want[name]; !ok {
			continue
		}
		all.Go(func() {
			site := &probe.Site{
				Name: name, Method: "GET", Interval: time.Minute,
				URL: &url.URL{Scheme: "http", Host: fmt.Sprintf("127.0.0.1:%d", port), Path: "/" + name},
			}
			got[i] = prober.Probe(f.T.Context(), probe.Task{Site: site, Vantage: vantage, Timeout: 5 * time.Second}, nil)
		})
	}
	all.Wait()
	for i, name := range names {
		w, ok := want[name]
		if !ok {
			continue
		}
		r := &got[i]
		f.T.Logf("%-14s %-11s %3d %-18s %-10s %s", server, name, r.Status, r.Class, r.Fault, r.Why)
		if w.or != nil && r.Status == w.or.status && r.Class == w.or.class {
			w = *w.or
		}
		if r.Status != w.status || r.Class != w.class {
			f.T.Errorf("%s, origin %s: got %d %v (%s), want %d %v", server, name, r.Status, r.Class, r.Why, w.status, w.class)
		}
		if r.Fault == probe.FaultEdge || r.CDN != "" {
			f.T.Errorf("%s, origin %s: a CDN is blamed where there is none: %s", server, name, r.Why)
		}
	}
}

var (
	well   = cell{status: 200, class: probe.ClassOK}
	denied = cell{status: 403, class: probe.ClassHTTPBlocked}
)

func originError(status int) cell { return cell{status: status, class: probe.ClassHTTPOriginError} }

func TestNginxBeforeAnOrigin(t *testing.T) {
	t.Parallel()
	f := farm.New(t)
	path := f.Program("nginx")
	port := f.Port()
	locations := ""
	for name, origin := range origins(f) {
		locations += fmt.Sprintf("location /%s { proxy_pass http://127.0.0.1:%d; }\n", name, origin)
	}
	conf := f.File("nginx.conf", farm.AsRoot("user root;\n")+fmt.Sprintf(`daemon off; pid nginx.pid; worker_processes 1; error_log stderr crit;
events { worker_connections 256; }
http {
access_log off; client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
proxy_connect_timeout 500ms; proxy_read_timeout 500ms;
limit_req_zone $binary_remote_addr zone=one:1m rate=1r/m;
server { listen 127.0.0.1:%d;
%slocation /limit { limit_req zone=one; proxy_pass http://127.0.0.1:1; }
location /denied { deny all; }
}
}
`, port, locations))
	f.Start(port, path, "-p", f.Dir, "-c", conf, "-e", "stderr")
	resp, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/limit", port)) // the one that is let through
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	sees(f, "nginx", port, map[string]cell{
		"well": well, "refused": originError(502), "blackhole": originError(504), "hangs": originError(504), "resets": originError(502),
		"closes": originError(502), "babbles": {status: 0, class: probe.ClassHTTPMalformed}, "bigheader": originError(502), "halfheader": originError(502),
		"cutbody": {status: 200, class: probe.ClassHTTPBodyTruncated}, "says503": originError(503), "denied": denied,
		"limit": originError(503), // the default of limit_req, and nothing in it says that it is a limit
	})
}

func TestHAProxyBeforeAnOrigin(t *testing.T) {
	t.Parallel()
	f := farm.New(t)
	path := f.Program("haproxy")
	port := f.Port()
	uses, backends := "", "backend none\n"
	for name, origin := range origins(f) {
		uses += fmt.Sprintf("    use_backend %[1]s if { path /%[1]s }\n", name)
		backends += fmt.Sprintf("backend %s\n    server one 127.0.0.1:%d\n", name, origin)
	}
	conf := f.File("haproxy.cfg", fmt.Sprintf(`global
    maxconn 200
defaults
    mode http
    timeout connect 500ms
    timeout client 5s
    timeout server 500ms
frontend site
    bind 127.0.0.1:%d
    http-request deny deny_status 429 if { path /limit }
    http-request deny if { path /denied }
%s    default_backend none
`, port, uses)+backends)
	f.Start(port, path, "-db", "-f", conf)
	sees(f, "haproxy", port, map[string]cell{
		"well": well, "refused": originError(503), "blackhole": originError(503), "hangs": originError(504), "resets": originError(502),
		"closes": originError(502), "babbles": originError(502), "bigheader": originError(502), "halfheader": originError(502),
		"cutbody": {status: 200, class: probe.ClassHTTPBodyTruncated}, "says503": originError(503), "nobackend": originError(503),
		"limit": {status: 429, class: probe.ClassHTTPRateLimited}, "denied": denied,
	})
}

func TestVarnishBeforeAnOrigin(t *testing.T) {
	t.Parallel()
	f := farm.New(t)
	path := f.Program("varnishd")
	port := f.Port()
	backends, choose := "", ""
	for name, origin := range origins(f) {
		backends += fmt.Sprintf("backend %s { .host = \"127.0.0.1\"; .port = \"%d\"; .connect_timeout = 500ms; .first_byte_timeout = 500ms; .between_bytes_timeout = 500ms; }\n", name, origin)
		choose += fmt.Sprintf("if (req.url == \"/%[1]s\") { set req.backend_hint = %[1]s; }\n", name)
	}
	conf := f.File("site.vcl", "vcl 4.1;\n"+backends+`sub vcl_recv {
if (req.url == "/limit") { return (synth(429, "Too Many Requests")); }
if (req.url == "/denied") { return (synth(403, "Forbidden")); }
`+choose+"return (pass);\n}\nsub vcl_backend_response { set beresp.do_stream = false; }\n")
	f.Start(port, path, "-F", "-j", "none", "-a", fmt.Sprintf("127.0.0.1:%d", port), "-f", conf, "-n", f.Dir+"/varnish", "-s", "malloc,8m", "-T", "none")
	sees(f, "varnish", port, map[string]cell{
		"well": well, "refused": originError(503), "blackhole": originError(503), "hangs": originError(503), "resets": originError(503),
		"closes": originError(503), "babbles": originError(503), "bigheader": originError(503), "halfheader": originError(503),
		"cutbody": originError(503), "says503": originError(503), "limit": {status: 429, class: probe.ClassHTTPRateLimited}, "denied": denied,
	})
}

func TestSquidBeforeAnOrigin(t *testing.T) {
	t.Parallel()
	f := farm.New(t)
	path := f.Program("squid")
	port := f.Port()
	peers := ""
	for name, origin := range origins(f) {
		peers += fmt.Sprintf(`acl %[1]s urlpath_regex ^/%[1]s
cache_peer 127.0.0.1 parent %[2]d 0 no-query no-digest originserver name=%[1]s connect-timeout=1
cache_peer_access %[1]s allow %[1]s
cache_peer_access %[1]s deny all
`, name, origin)
	}
	conf := f.File("squid.conf", fmt.Sprintf(`http_port 127.0.0.1:%d accel defaultsite=www.site.example no-vhost
pid_filename none
cache_log /dev/null
access_log none
cache deny all
coredump_dir /
connect_timeout 1 seconds
peer_connect_timeout 1 seconds
read_timeout 1 seconds
forward_max_tries 1
connect_retries 0
shutdown_lifetime 0 seconds
visible_hostname www.site.example
never_direct allow all
acl refusing urlpath_regex ^/denied
http_access deny refusing
http_access allow all
%s`, port, peers))
	f.Open(conf)
	f.Start(port, path, "-N", "-f", conf)
	sees(f, "squid", port, map[string]cell{
		"well": well, "refused": originError(502), "blackhole": originError(502), "hangs": originError(504), "resets": originError(502),
		"closes": originError(502), "babbles": well, "bigheader": originError(502), "says503": originError(503), "denied": denied,
		"cutbody": {status: 200, class: probe.ClassHTTPBodyTruncated}, "halfheader": originError(502),
	})
}

func TestTrafficServerBeforeAnOrigin(t *testing.T) {
	t.Parallel()
	f := farm.New(t)
	path := f.Program("traffic_server")
	port := f.Port()
	maps := ""
	for name, origin := range origins(f) {
		maps += fmt.Sprintf("map http://127.0.0.1:%d/%s http://127.0.0.1:%d/%s\n", port, name, origin, name)
	}
	maps += fmt.Sprintf("map http://127.0.0.1:%d/nobody http://nobody.invalid/\n", port)
	for _, dir := range []string{"etc", "cache", "var", "run", "log"} {
		if err := os.Mkdir(f.Dir+"/"+dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(f.Dir+"/"+dir, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	root := f.File("runroot.yaml", `prefix: .
exec_prefix: .
bindir: /usr/bin
sbindir: /usr/sbin
sysconfdir: ./etc
datadir: ./cache
includedir: /usr/include
libdir: /usr/lib/trafficserver
libexecdir: /usr/lib/trafficserver/modules
localstatedir: ./var
runtimedir: ./run
logdir: ./log
cachedir: ./cache
`)
	files := []string{
		root, f.File("etc/remap.config", maps), f.File("etc/storage.config", f.Dir+"/cache 16M\n"),
		f.File("etc/ip_allow.yaml", "ip_allow:\n  - apply: in\n    ip_addrs: 0/0\n    action: allow\n    methods: ALL\n"),
		f.File("etc/records.config", fmt.Sprintf(`CONFIG proxy.config.http.server_ports STRING %d:ip-in=127.0.0.1
CONFIG proxy.config.http.cache.http INT 0
CONFIG proxy.config.admin.user_id STRING nobody
CONFIG proxy.config.crash_log_helper STRING NULL
CONFIG proxy.config.http.connect_attempts_timeout INT 1
CONFIG proxy.config.http.connect_attempts_max_retries INT 0
CONFIG proxy.config.http.connect_attempts_rr_retries INT 0
CONFIG proxy.config.http.transaction_no_activity_timeout_out INT 1
CONFIG proxy.config.log.logging_enabled INT 0
CONFIG proxy.config.exec_thread.autoconfig INT 0
CONFIG proxy.config.exec_thread.limit INT 1
CONFIG proxy.config.body_factory.template_sets_dir STRING /etc/trafficserver/body_factory
`, port)),
	}
	f.Open(files...)
	f.Start(port, path, "--run-root="+root)
	sees(f, "trafficserver", port, map[string]cell{
		"well": well, "refused": originError(502), "blackhole": originError(502), "hangs": originError(504), "resets": originError(502),
		"closes": originError(502), "babbles": originError(502), "bigheader": originError(502), "halfheader": originError(502),
		"cutbody": {0, probe.ClassHTTPEOF, &cell{status: 200, class: probe.ClassHTTPBodyTruncated}}, "says503": originError(503),
		"nomap": {status: 404, class: probe.ClassHTTPClientError}, "nobody": originError(500),
	})
}
