//go:build linux

package probe

import (
	"crypto/x509"
	"fmt"
	"strings"
	"testing"
	"time"

	"faultline/internal/farm"
)

// nginx in every way that it can fail a visitor, over each version of HTTP that it speaks.
func TestNginx(t *testing.T) {
	t.Parallel()
	f := newGround(t)
	nginx := f.Program("nginx")
	origin, dead := f.origin(), f.Dead()
	now := time.Now()
	good := f.Certificate("good.pem", pki().leaf(host))
	ports := map[string]int{}
	var servers strings.Builder
	server := func(name, listen, body string) {
		ports[name] = f.Port()
		fmt.Fprintf(&servers, "server { listen 127.0.0.1:%d %s; %s }\n", ports[name], listen, body)
	}
	cert := func(file string) string {
		return fmt.Sprintf("ssl_certificate %s; ssl_certificate_key %s; ", file, file)
	}
	site := fmt.Sprintf(`location / { proxy_pass http://127.0.0.1:%d; }
location /dead { proxy_pass http://127.0.0.1:%d; }
location /closed { return 444; }
location /loop { return 302 $scheme://$http_host/loop; }
location /secret { return 403; }`, origin, dead)
	server("plain", "", site)
	server("tls", "ssl http2", cert(good)+site)
	server("reject", "ssl", "ssl_reject_handshake on;")
	server("old", "ssl", cert(good)+"ssl_protocols TLSv1.1; ssl_ciphers DEFAULT:@SECLEVEL=0;")
	server("ciphers", "ssl", cert(good)+"ssl_protocols TLSv1.2; ssl_ciphers ECDHE-ECDSA-AES256-CCM;")
	server("expired", "ssl", cert(f.Certificate("expired.pem", pki().leaf(host, func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Minute) }))))
	server("early", "ssl", cert(f.Certificate("early.pem", pki().leaf(host, func(c *x509.Certificate) { c.NotBefore = now.Add(30 * time.Minute) }))))
	server("name", "ssl", cert(f.Certificate("name.pem", pki().leaf("other.example"))))
	server("unknown", "ssl", cert(f.Certificate("unknown.pem", newAuthority().leaf(host))))
	server("client", "ssl", cert(good)+"ssl_client_certificate "+good+"; ssl_verify_client on; location / { return 200; }")
	conf := f.File("nginx.conf", farm.AsRoot("user root;\n")+`daemon off; pid nginx.pid; worker_processes 1; error_log stderr warn;
events { worker_connections 256; }
http {
access_log off; client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
proxy_connect_timeout 300ms; proxy_read_timeout 300ms; ssl_session_cache off; proxy_buffering off;
`+servers.String()+"}\n")
	cmd := f.Start(ports["plain"], nginx, "-p", f.Dir, "-c", conf, "-e", "stderr")

	f.wants("plain", "http", ports["plain"], "/", ClassOK)
	f.wants("over TLS", "https", ports["tls"], "/", ClassOK)
	if r := f.wants("over HTTP/2", "https", ports["tls"], "/", ClassOK, overHTTP2); r.Proto != "HTTP/2.0" {
		t.Errorf("over HTTP/2: got %s", r.Proto)
	}
	f.wants("not TLS", "https", ports["plain"], "/", ClassTLSNotTLS)
	f.wants("no such name there", "https", ports["reject"], "/", ClassTLSAlert)
	f.wants("TLS 1.1 alone", "https", ports["old"], "/", ClassTLSAlert)
	f.wants("no common cipher", "https", ports["ciphers"], "/", ClassTLSAlert)
	f.wants("expired", "https", ports["expired"], "/", ClassTLSCertExpired)
	f.wants("not yet valid", "https", ports["early"], "/", ClassTLSCertExpired)
	f.wants("another's name", "https", ports["name"], "/", ClassTLSCertName)
	f.wants("an unknown authority", "https", ports["unknown"], "/", ClassTLSCertUntrusted)
	f.wants("a certificate of ours is missing", "https", ports["client"], "/", ClassHTTPClientError)
	for _, by := range []struct {
		name, scheme string
		port         int
		change       func(*rig)
	}{
		{"HTTP", "http", ports["plain"], func(*rig) {}},
		{"HTTPS", "https", ports["tls"], func(*rig) {}},
		{"HTTP/2", "https", ports["tls"], overHTTP2},
	} {
		wants := func(what, path string, want Class) {
			t.Helper()
			f.wants(by.name+": "+what, by.scheme, by.port, path, want, by.change)
		}
		wants("its upstream refuses", "/dead", ClassHTTPOriginError)
		wants("its upstream hangs", "/hang", ClassHTTPOriginError)
		wants("its upstream closes", "/reset", ClassHTTPOriginError)
		wants("its upstream cuts the body", "/cut", ClassHTTPBodyTruncated)
		if by.name != "HTTP/2" { // where it ends the stream with PROTOCOL_ERROR, or the connection, whichever comes first
			wants("it closes without an answer", "/closed", ClassHTTPEOF)
		}
		wants("it redirects to itself", "/loop", ClassHTTPRedirectLoop)
		wants("it refuses", "/secret", ClassHTTPClientError)
	}

	f.Freeze(cmd)
	f.wants("frozen, HTTP", "http", ports["plain"], "/", ClassHTTPTimeoutHeaders)
	f.wants("frozen, HTTPS", "https", ports["tls"], "/", ClassTLSTimeout)
	f.Thaw(cmd)
	f.wants("thawed", "https", ports["tls"], "/", ClassOK)
	f.Kill(cmd, ports["tls"])
	f.wants("gone", "https", ports["tls"], "/", ClassConnectRefused)
}

// HAProxy, which can drop and reject silently, before and after the request.
func TestHAProxy(t *testing.T) {
	t.Parallel()
	f := newGround(t)
	haproxy := f.Program("haproxy")
	origin, dead := f.origin(), f.Dead()
	cert := f.Certificate("site.pem", pki().leaf(host))
	plain, secure, rejected := f.Port(), f.Port(), f.Port()
	conf := f.File("haproxy.cfg", fmt.Sprintf(`global
    maxconn 100
defaults
    mode http
    timeout connect 300ms
    timeout client 5s
    timeout server 300ms
frontend site
    bind 127.0.0.1:%[1]d
    bind 127.0.0.1:%[2]d ssl crt %[3]s alpn h2,http/1.1
    http-request silent-drop if { path /drop }
    http-request reject if { path /reject }
    http-request tarpit deny_status 500 if { path /tarpit }
    http-request deny deny_status 429 if { path /deny }
    use_backend dead if { path /dead }
    use_backend none if { path /none }
    default_backend origin
frontend rejected
    mode tcp
    bind 127.0.0.1:%[4]d
    tcp-request connection reject
    default_backend none
backend origin
    server one 127.0.0.1:%[5]d
backend dead
    server one 127.0.0.1:%[6]d
backend none
`, plain, secure, cert, rejected, origin, dead))
	f.Start(plain, haproxy, "-db", "-f", conf)

	// The reset can come before the connection is seen to be there.
	for scheme, class := range map[string]Class{"http": ClassHTTPReset, "https": ClassTLSReset} {
		if r := f.rig(scheme, rejected).probe(); r.Class != class && r.Class != ClassConnectReset {
			t.Errorf("connection rejected, %s: got %v (%s), want %v", scheme, r.Class, r.Why, class)
		}
	}
	for _, by := range []struct {
		name, scheme string
		port         int
		change       func(*rig)
	}{
		{"HTTP", "http", plain, func(*rig) {}},
		{"HTTPS", "https", secure, func(*rig) {}},
		{"HTTP/2", "https", secure, overHTTP2},
	} {
		wants := func(what, path string, want Class) {
			t.Helper()
			f.wants(by.name+": "+what, by.scheme, by.port, path, want, by.change)
		}
		wants("well", "/", ClassOK)
		wants("no server", "/none", ClassHTTPOriginError)
		wants("its server refuses", "/dead", ClassHTTPOriginError)
		wants("its server hangs", "/hang", ClassHTTPOriginError)
		wants("its server closes", "/reset", ClassHTTPOriginError)
		wants("its server cuts the body", "/cut", ClassHTTPBodyTruncated)
		wants("its server stops in the body", "/drip", ClassHTTPBodyTruncated)
		wants("held", "/tarpit", ClassHTTPOriginError)
		wants("too many requests", "/deny", ClassHTTPRateLimited)
	}
	// Without a firewall the kernel answers a dropped connection's next packet with a reset, which TLS and HTTP/2 send at once.
	f.wants("HTTP: dropped", "http", plain, "/drop", ClassHTTPTimeoutHeaders)
	f.wants("HTTP: rejected", "http", plain, "/reject", ClassHTTPEOF)
	f.wants("HTTPS: rejected", "https", secure, "/reject", ClassHTTPEOF)
}

// Squid as a vantage's proxy: what it finds out of a site is the site's, what it does itself is the vantage's.
func TestSquid(t *testing.T) {
	t.Parallel()
	f := newGround(t)
	squid := f.Program("squid")
	origin, dead := f.origin(), f.Dead()
	secure := f.rig("https", 0)
	secure.serveTLS(nil, says(good))
	port := f.Port()
	f.File("hosts", "127.0.0.1 "+host+"\n")
	conf := f.File("squid.conf", fmt.Sprintf(`http_port 127.0.0.1:%d
pid_filename none
cache_log /dev/null
access_log none
cache deny all
hosts_file %s/hosts
dns_nameservers 127.0.0.1
dns_timeout 1 seconds
coredump_dir /
connect_timeout 1 seconds
read_timeout 1 seconds
forward_max_tries 1
connect_retries 0
shutdown_lifetime 0 seconds
visible_hostname proxy.example
acl denied dstdomain denied.example
http_access deny denied
http_access allow all
`, port, f.Dir))
	f.Open(f.Dir+"/hosts", conf)
	cmd := f.Start(port, squid, "-N", "-f", conf)
	through := func(g *rig) {
		g.vantage.Proxy = &Proxy{Kind: ProxyHTTP, Addr: at(port)}
		g.vantage.Resolvers = []Resolver{} // it finds the names itself
	}

	f.wants("plain", "http", origin, "/", ClassOK, through)
	tunnelled := func(g *rig) { through(g); g.site.URL.Host = secure.site.URL.Host }
	f.wants("by CONNECT", "https", 0, "/", ClassOK, tunnelled)
	f.wants("by CONNECT, with a resolver", "https", 0, "/", ClassOK, tunnelled, func(g *rig) { g.vantage.Resolvers = nil })
	f.wants("nobody there", "http", dead, "/", ClassConnectRefused, through)
	f.wants("nobody there, by CONNECT", "https", dead, "/", ClassConnectRefused, through)
	f.wants("closed without an answer", "http", origin, "/reset", ClassHTTPEOF, through)
	f.wants("no answer", "http", origin, "/hang", ClassHTTPTimeoutHeaders, through)
	f.wants("cut body", "http", origin, "/cut", ClassHTTPBodyTruncated, through)
	f.wants("not TLS, by CONNECT", "https", origin, "/", ClassTLSNotTLS, through)
	denied := func(g *rig) {
		through(g)
		g.site.URL.Host = strings.Replace(g.site.URL.Host, host, "denied.example", 1)
	}
	f.wants("denied", "http", origin, "/", ClassLocalPath, denied)
	f.wants("denied, by CONNECT", "https", origin, "/", ClassLocalPath, denied)
	f.Freeze(cmd)
	f.wants("the proxy hangs", "http", origin, "/", ClassLocalPath, through)
	f.Kill(cmd, port)
	f.wants("the proxy is gone", "https", origin, "/", ClassLocalPath, through)
}
