package probe

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
)

func TestConnectRefused(t *testing.T) {
	g := newRig(t)
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g.site.URL.Host = host + strings.TrimPrefix(l.Addr().String(), "127.0.0.1")
	_ = l.Close()
	r := g.wants(ClassConnectRefused)
	if r.Addr.Addr() != loopback || r.Attempt != 2 || r.Family != FamilyIP4 {
		t.Errorf("got address %v, attempt %d, family %v", r.Addr, r.Attempt, r.Family)
	}
}

// blackHole is a listener whose queue is full: the kernel drops every further SYN.
func blackHole(t *testing.T) netip.AddrPort {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	err = errors.Join(syscall.Bind(fd, &syscall.SockaddrInet4{Addr: loopback.As4()}), syscall.Listen(fd, 0))
	name, err2 := syscall.Getsockname(fd)
	if err = errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	at := netip.AddrPortFrom(loopback, uint16(name.(*syscall.SockaddrInet4).Port))
	for range 16 {
		c, err := net.DialTimeout("tcp4", at.String(), 100*time.Millisecond)
		if err != nil {
			return at
		}
		t.Cleanup(func() { _ = c.Close() })
	}
	t.Fatal("the queue of a listener does not fill")
	return at
}

func TestConnectTimeout(t *testing.T) {
	t.Parallel()
	g := newRig(t)
	g.site.URL.Host = blackHole(t).String()
	g.task.Timeout = 300 * time.Millisecond
	g.wants(ClassConnectTimeout)
}

func TestConnectTriesTheNextAddress(t *testing.T) {
	g := newRig(t)
	g.serve(says(good))
	g.resolve(with(func(q, m *dns.Msg) {
		if q.Question[0].Qtype == dns.TypeA {
			m.Answer = records(host+". 1 IN A 127.0.0.77", host+". 1 IN A 127.0.0.1") // nobody listens at the first
		}
	}))
	if r := g.wants(ClassOK); r.Addr.Addr() != loopback || r.Attempt != 1 {
		t.Errorf("got %v in attempt %d, want the second address in the first", r.Addr, r.Attempt)
	}
}

func TestConnectFromTheVantagesAddress(t *testing.T) {
	g := newRig(t)
	var from string
	g.serve(func(c net.Conn) {
		from = c.RemoteAddr().(*net.TCPAddr).IP.String()
		says(good)(c)
	})
	g.vantage.Source = netip.MustParseAddr("127.0.0.9")
	g.wants(ClassOK)
	if from != "127.0.0.9" {
		t.Errorf("got a connection from %s, want 127.0.0.9", from)
	}
}

func TestConnectNoNetwork(t *testing.T) {
	g := newRig(t)
	g.conf.Allow = append(g.conf.Allow, netip.MustParsePrefix("255.255.255.255/32"))
	g.site.URL.Host = "255.255.255.255" // to which the kernel routes no TCP
	if r := g.wants(ClassLocalNoNetwork); r.Attempt != 1 {
		t.Errorf("got %d attempts, want 1: a second tells nothing about a site", r.Attempt)
	}
}

func TestAFailureBesideNoRouteCounts(t *testing.T) {
	g := newRig(t)
	g.conf.Allow = append(g.conf.Allow, netip.MustParsePrefix("255.255.255.255/32"))
	g.site.URL.Host = host + ":9" // nobody listens there
	g.resolve(with(func(q, m *dns.Msg) {
		if q.Question[0].Qtype == dns.TypeA {
			m.Answer = records(host+". 1 IN A 127.0.0.77", host+". 1 IN A 255.255.255.255")
		}
	}))
	if r := g.wants(ClassConnectRefused); r.Addr.Addr() == loopback {
		t.Errorf("got %v", r.Addr)
	}
}

func TestNoSuchSourceAddress(t *testing.T) {
	g := newRig(t)
	g.site.URL.Host = "127.0.0.1:9"
	g.vantage.Source = netip.MustParseAddr("192.0.2.1") // of no interface here
	g.wants(ClassLocalResource)
}

func TestConnectClass(t *testing.T) {
	f := func(err error, want Class) {
		t.Helper()
		err = &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", err)}
		if got := connectClass(t.Context(), err); got != want {
			t.Errorf("%v: got %v, want %v", err, got, want)
		}
	}
	f(syscall.ECONNREFUSED, ClassConnectRefused)
	f(syscall.ETIMEDOUT, ClassConnectTimeout)
	f(syscall.ECONNRESET, ClassConnectReset)
	f(syscall.EHOSTUNREACH, ClassConnectUnreachable)
	f(syscall.ENETUNREACH, ClassLocalNoNetwork)
	f(syscall.ENETDOWN, ClassLocalNoNetwork)
	f(syscall.EACCES, ClassConnectDenied)
	f(syscall.EPERM, ClassConnectDenied)
	f(syscall.EMFILE, ClassLocalResource)
	f(syscall.ENFILE, ClassLocalResource)
	f(syscall.ENOBUFS, ClassLocalResource)
	f(syscall.EADDRNOTAVAIL, ClassLocalResource)
	f(syscall.EPROTO, ClassConnectOther)
}

func TestHTTPS(t *testing.T) {
	g := newRig(t)
	g.serveTLS(nil, says(good))
	r := g.wants(ClassOK)
	if r.TLS.Version != "1.3" || r.TLS.Issuer != "Test CA" || r.TLS.NotAfter.IsZero() {
		t.Errorf("got %+v", r.TLS)
	}
	for _, d := range []time.Duration{r.Time.Resolve, r.Time.Connect, r.Time.TLS, r.Time.TTFB} {
		if d <= 0 || d > r.Time.Total {
			t.Errorf("a phase of %v in a probe of %v", d, r.Time.Total)
		}
	}
}

func TestTLSClasses(t *testing.T) {
	hello := func(c net.Conn) { _, _ = c.Read(make([]byte, 16<<10)) }
	f := func(name string, h func(net.Conn), want Class) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newRig(t)
			g.site.URL.Scheme = "https"
			g.serve(h)
			if want == ClassTLSTimeout {
				g.task.Timeout = 500 * time.Millisecond
			}
			g.wants(want)
		})
	}
	f("reset", func(c net.Conn) { hello(c); reset(c) }, ClassTLSReset)
	f("closed", hello, ClassTLSEOF)
	f("closed within a record", func(c net.Conn) { hello(c); _, _ = c.Write([]byte{22, 3, 3, 0, 100, 2}) }, ClassTLSEOF)
	f("silent", hang, ClassTLSTimeout)
	f("plain HTTP", func(c net.Conn) { hello(c); _, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n") }, ClassTLSNotTLS)
	f("garbage", func(c net.Conn) { hello(c); _, _ = io.WriteString(c, "SSH-2.0-OpenSSH_9.2p1\r\n") }, ClassTLSNotTLS)
	for name, number := range map[string]byte{"handshake_failure": 40, "internal_error": 80, "unrecognized_name": 112, "protocol_version": 70} {
		f("alert "+name, func(c net.Conn) { hello(c); _, _ = c.Write([]byte{21, 3, 3, 0, 2, 2, number}); hang(c) }, ClassTLSAlert)
	}
	f("a message of no known type", func(c net.Conn) {
		hello(c)
		_, _ = c.Write([]byte{22, 3, 3, 0, 4, 99, 0, 0, 0})
		hang(c)
	}, ClassTLSProtocol)
}

func TestTLSVersions(t *testing.T) {
	g := newRig(t)
	g.serveTLS(&tls.Config{ //nolint:gosec // the old version is the point
		Certificates: []tls.Certificate{pki().leaf(host)}, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11,
	}, says(good))
	g.wants(ClassTLSAlert) // such a server says so itself

	old := newRig(t)
	old.site.URL.Scheme = "https"
	old.serve(func(c net.Conn) { // one that answers with a version that was not offered
		_, _ = c.Read(make([]byte, 16<<10))
		hello := append([]byte{2, 0, 0, 38, 3, 1}, make([]byte, 32)...)
		hello = append(hello, 0, 0xc0, 0x13, 0)
		_, _ = c.Write(append([]byte{22, 3, 1, 0, byte(len(hello))}, hello...))
		hang(c)
	})
	old.wants(ClassTLSProtocol)
}

func TestTLS13AlertAfterOurHalf(t *testing.T) {
	g := newRig(t)
	g.serveTLS(&tls.Config{Certificates: []tls.Certificate{pki().leaf(host)}, ClientAuth: tls.RequireAnyClientCert}, says(good))
	g.wants(ClassTLSAlert)
}

func TestCertificates(t *testing.T) {
	f := func(leaf tls.Certificate, want Class) {
		t.Helper()
		g := newRig(t)
		g.serveTLS(&tls.Config{Certificates: []tls.Certificate{leaf}}, says(good))
		r := g.wants(want)
		if r.TLS.Issuer != "Test CA" || r.TLS.NotAfter.IsZero() {
			t.Errorf("%v: got %+v: what the peer showed is lost", want, r.TLS)
		}
	}
	f(pki().leaf(host, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }), ClassTLSCertExpired)
	f(pki().leaf(host, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) }), ClassTLSCertExpired)
	f(pki().leaf("other.example"), ClassTLSCertName)
	f(newAuthority().leaf(host), ClassTLSCertUntrusted)
	f(pki().leaf(host, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }), ClassTLSCertInvalid)
}

func TestOwnCancelIsNoFailure(t *testing.T) {
	f := func(name, scheme string, h func(arrived func()) func(net.Conn)) {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			g := newRig(t)
			g.site.URL.Scheme = scheme
			g.serve(h(cancel))
			if r := g.probeIn(ctx, nil); r.Class != ClassLocalCancelled || r.Attempt != 1 {
				t.Errorf("got %v in attempt %d (%s)", r.Class, r.Attempt, r.Why)
			}
		})
	}
	f("tls", "https", func(arrived func()) func(net.Conn) {
		return func(c net.Conn) { arrived(); hang(c) }
	})
	f("headers", "http", func(arrived func()) func(net.Conn) {
		return func(c net.Conn) { _, _ = readRequest(c); arrived(); hang(c) }
	})
	f("body", "http", func(arrived func()) func(net.Conn) {
		return func(c net.Conn) { says("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")(c); arrived(); hang(c) }
	})
}

func TestOwnCancelWhileResolvingOrConnecting(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	g := newRig(t)
	g.resolve(func(dns.ResponseWriter, *dns.Msg) { cancel() })
	if r := g.probeIn(ctx, nil); r.Class != ClassLocalCancelled {
		t.Errorf("resolving: got %v (%s)", r.Class, r.Why)
	}
	later, cancelLater := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancelLater)
	g = newRig(t)
	g.site.URL.Host = blackHole(t).String()
	if r := g.probeIn(later, nil); r.Class != ClassLocalCancelled {
		t.Errorf("connecting: got %v (%s)", r.Class, r.Why)
	}
}
