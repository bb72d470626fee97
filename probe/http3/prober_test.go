package http3

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"testing"
	"time"

	"faultline/probe"
)

// A whole probe over HTTP/3, as the daemon makes it.
func TestProberOverHTTP3(t *testing.T) {
	f := func(name string, h http.HandlerFunc, want probe.Class, proto string) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := probe.NewProber(probe.Config{
				Judge: judge, UserAgent: "test", Roots: pki().roots, Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
				Memory: probe.NewMemory(), HTTP3: Do, Recheck: time.Second, Habit: time.Minute,
			})
			site := &probe.Site{
				Name: "site", URL: &url.URL{Scheme: "https", Host: address(t, h).String(), Path: "/"}, Method: "GET", HTTP: probe.HTTP3,
			}
			r := p.Probe(t.Context(), probe.Task{Site: site, Vantage: &probe.Vantage{Name: "here"}, Timeout: 5 * time.Second}, nil)
			if r.Class != want || r.Proto != proto {
				t.Errorf("got %v over %q (%s), want %v over %q", r.Class, r.Proto, r.Why, want, proto)
			}
			if r.OK() && (r.TLS.Version != "1.3" || r.TLS.NotAfter.IsZero() || r.Time.Connect <= 0 || r.Time.TTFB <= 0 || r.Time.TLS != 0) {
				t.Errorf("got %+v and %+v", r.TLS, r.Time)
			}
		})
	}
	f("good", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("hello")) }, probe.ClassOK, "HTTP/3.0")
	f("a redirect", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/" {
			http.Redirect(w, r, "/there", http.StatusFound)
		}
	}, probe.ClassOK, "HTTP/3.0")
	f("a server error", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }, probe.ClassHTTPOriginError, "HTTP/3.0")
	f("nobody there", nil, probe.ClassConnectRefused, "")
}

// address is that of a server of HTTP/3 whose certificate is for it; nil = of a closed port.
func address(t *testing.T, h http.HandlerFunc) netip.AddrPort {
	if h == nil {
		pc := listen(t)
		defer pc.Close()
		return pc.LocalAddr().(*net.UDPAddr).AddrPort()
	}
	leaf := pki().leaf(func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)} })
	return (&server{tls: &tls.Config{Certificates: []tls.Certificate{leaf}}}).serve(t, handle(h))
}

// judge is as little of a Judge as these tests need.
func judge(e *probe.Evidence, _ probe.Fronting) probe.Verdict {
	v := probe.Verdict{Class: e.Class, Why: e.Detail}
	if e.Response != nil && e.Response.Status >= 500 {
		v.Class = probe.ClassHTTPOriginError
	}
	v.Fault = v.Class.Fault()
	return v
}
