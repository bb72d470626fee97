package http3

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"faultline/internal/farm"
	"faultline/probe"
)

// Each failure of a handshake that a server can make, and its class.
func TestHandshakeClasses(t *testing.T) {
	f := func(name string, s *server, want probe.Class, detail string) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := ask(t, within(t, 10*time.Second), s.serve(t, func(c *quic.Conn) { hang(c, nil) }))
			if r.Class != want || !strings.Contains(r.Detail, detail) {
				t.Errorf("got %v (%s), want %v (%s)", r.Class, r.Detail, want, detail)
			}
			if shown := strings.HasPrefix(want.String(), "tls_cert_"); shown && len(r.Shown) != 1 {
				t.Errorf("got %d certificates, want 1", len(r.Shown))
			}
			if r.Handshake <= 0 || r.Response != nil {
				t.Errorf("got a handshake of %v and the response %v", r.Handshake, r.Response)
			}
		})
	}
	cert := func(but func(*x509.Certificate)) *server {
		return &server{tls: &tls.Config{Certificates: []tls.Certificate{pki().leaf(but)}}}
	}
	f("another name", cert(func(c *x509.Certificate) { c.DNSNames = []string{"other.example"} }), probe.ClassTLSCertName, "issued to CN=leaf by CN=test CA")
	f("expired", cert(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }), probe.ClassTLSCertExpired, "expired")
	f("of another use", cert(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }), probe.ClassTLSCertInvalid, "usage")
	f("of another authority", &server{tls: &tls.Config{Certificates: []tls.Certificate{newAuthority().leaf(good)}}}, probe.ClassTLSCertUntrusted, "tls: failed to verify certificate: x509: ")

	f("no h3", &server{tls: &tls.Config{Certificates: []tls.Certificate{pki().leaf(good)}, NextProtos: []string{"doq"}}},
		probe.ClassTLSAlert, "remote error: tls: no application protocol")
	f("an alert", &server{tls: &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		return nil, errors.New("not today")
	}}}, probe.ClassTLSAlert, "remote error: tls: internal error")
	f("an alert after our half", &server{tls: &tls.Config{Certificates: []tls.Certificate{pki().leaf(good)}, ClientAuth: tls.RequireAnyClientCert}},
		probe.ClassTLSAlert, "remote error: tls: certificate required")
	f("no protocol chosen", &server{tls: &tls.Config{Certificates: []tls.Certificate{pki().leaf(good)}, NextProtos: []string{}}},
		probe.ClassTLSProtocol, "tls: server did not select an ALPN protocol")
	f("another version of QUIC", &server{quic: &quic.Config{Versions: []quic.Version{quic.Version2}}},
		probe.ClassTLSProtocol, "no compatible QUIC version found")
	f("refused by QUIC", &server{quic: &quic.Config{GetConfigForClient: func(*quic.ClientInfo) (*quic.Config, error) {
		return nil, errors.New("busy")
	}}}, probe.ClassConnectRefused, "CONNECTION_REFUSED")
}

// stuck is a server that says that it is there, by a Retry, and no more until release is called.
func stuck(then func()) (s *server, release func()) {
	free := make(chan struct{})
	s = &server{tls: &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		then()
		<-free
		return nil, errors.New("too late")
	}}}
	s.transport.VerifySourceAddress = func(net.Addr) bool { return true }
	return s, func() { close(free) }
}

func TestStuckHandshake(t *testing.T) {
	f := func(then func(cancel func()), want probe.Class, detail string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		s, release := stuck(func() { then(cancel) })
		addr := s.serve(t, func(*quic.Conn) {})
		defer release()
		r := ask(t, ctx, addr)
		if r.Class != want || !strings.Contains(r.Detail, detail) {
			t.Errorf("got %v (%s), want %v (%s)", r.Class, r.Detail, want, detail)
		}
	}
	f(func(func()) {}, probe.ClassTLSTimeout, "QUIC packets came back")
	f(func(cancel func()) { cancel() }, probe.ClassLocalCancelled, "canceled")
}

func TestSilence(t *testing.T) {
	f := func(name string, answer []byte) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pc := listen(t)
			var all sync.WaitGroup
			defer all.Wait()
			defer pc.Close()
			all.Go(func() {
				b := make([]byte, 2048)
				for {
					_, from, err := pc.ReadFrom(b)
					if err != nil {
						return
					}
					if answer != nil {
						_, _ = pc.WriteTo(answer, from)
					}
				}
			})
			r := ask(t, within(t, patience), pc.LocalAddr().(*net.UDPAddr).AddrPort())
			if r.Class != probe.ClassConnectTimeout || r.Detail != "no QUIC packet came back" {
				t.Errorf("got %v (%s), want %v", r.Class, r.Detail, probe.ClassConnectTimeout)
			}
		})
	}
	f("nothing", nil)
	f("what is no QUIC", []byte("hello, who is there?"))
}

func TestClosedPort(t *testing.T) {
	want := probe.ClassConnectTimeout
	if runtime.GOOS == "linux" {
		want = probe.ClassConnectRefused
	}
	f := func(listenAt, at string) {
		t.Helper()
		var lc net.ListenConfig
		closed, err := lc.ListenPacket(t.Context(), "udp", net.JoinHostPort(at, "0"))
		if err != nil {
			farm.Skip(t, fmt.Sprintf("there is no %s: %v", at, err))
		}
		_ = closed.Close()
		pc, err := lc.ListenPacket(t.Context(), "udp", listenAt)
		if err != nil {
			farm.Skip(t, fmt.Sprintf("there is no %s: %v", listenAt, err))
		}
		defer pc.Close()
		r := Do(within(t, 2*time.Second), &probe.HTTP3Request{
			Conn: pc, Addr: closed.LocalAddr().(*net.UDPAddr).AddrPort(), Host: host, Request: get(), MaxHeader: 1 << 10, MaxBody: 1 << 10,
		})
		if r.Class != want {
			t.Errorf("from %q to %s: got %v (%s), want %v", listenAt, at, r.Class, r.Detail, want)
		}
	}
	f("127.0.0.1:0", "127.0.0.1")
	f(":0", "127.0.0.1") // a socket for both families
	f("[::1]:0", "::1")
}

// failing is a socket that cannot send, or is told once that its packets do not arrive.
type failing struct {
	net.PacketConn
	errno syscall.Errno
	times int // 0 = always
	n     int
}

func (c *failing) WriteTo(b []byte, to net.Addr) (int, error) {
	if c.n++; c.times == 0 || c.n <= c.times {
		return 0, &net.OpError{Op: "write", Net: "udp", Err: os.NewSyscallError("sendto", c.errno)}
	}
	return c.PacketConn.WriteTo(b, to)
}

func TestSocketClasses(t *testing.T) {
	f := func(errno syscall.Errno, times int, want probe.Class) {
		t.Helper()
		silent := listen(t)
		r := Do(within(t, patience), &probe.HTTP3Request{
			Conn: &failing{PacketConn: listen(t), errno: errno, times: times}, Addr: silent.LocalAddr().(*net.UDPAddr).AddrPort(),
			Host: host, Request: get(), MaxHeader: 1 << 10, MaxBody: 1 << 10,
		})
		if r.Class != want {
			t.Errorf("%v: got %v (%s), want %v", errno, r.Class, r.Detail, want)
		}
	}
	f(syscall.ENETUNREACH, 0, probe.ClassLocalNoNetwork)
	f(syscall.ENETDOWN, 0, probe.ClassLocalNoNetwork)
	f(syscall.EHOSTUNREACH, 0, probe.ClassConnectUnreachable)
	f(syscall.ENOBUFS, 0, probe.ClassLocalResource)
	f(syscall.EMFILE, 0, probe.ClassLocalResource)
	f(syscall.EPERM, 0, probe.ClassConnectDenied)
	f(syscall.EACCES, 0, probe.ClassConnectDenied)
	f(syscall.EINVAL, 0, probe.ClassConnectOther)
	// What is said once is ICMP's: final where a port is closed, else kept for the end.
	f(syscall.ECONNREFUSED, 1, probe.ClassConnectRefused)
	f(syscall.ENETUNREACH, 1, probe.ClassConnectUnreachable)
	f(syscall.EHOSTUNREACH, 1, probe.ClassConnectUnreachable)
	f(syscall.EPERM, 1, probe.ClassConnectTimeout)
}

// A first failure to send does not keep a request from being made.
func TestFirstSendFails(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.EPERM, syscall.EHOSTUNREACH} {
		addr := (&server{}).serve(t, after(headers(":status", "200"), nil))
		r := Do(within(t, 10*time.Second), &probe.HTTP3Request{
			Conn: &failing{PacketConn: listen(t), errno: errno, times: 1}, Addr: addr,
			Host: host, Roots: pki().roots, Request: get(), MaxHeader: 1 << 10, MaxBody: 1 << 10,
		})
		if r.Class != probe.ClassOK {
			t.Errorf("%v: got %v (%s), want ok", errno, r.Class, r.Detail)
		}
	}
}

func TestCancel(t *testing.T) {
	f := func(name string, addr func(t *testing.T, cancel func()) netip.AddrPort) {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			if r := ask(t, ctx, addr(t, cancel)); r.Class != probe.ClassLocalCancelled {
				t.Errorf("got %v (%s), want %v", r.Class, r.Detail, probe.ClassLocalCancelled)
			}
		})
	}
	leave := func(cancel func()) func(*quic.Conn, *quic.Stream) {
		return func(c *quic.Conn, str *quic.Stream) {
			cancel()
			hang(c, str)
		}
	}
	f("before", func(t *testing.T, cancel func()) netip.AddrPort {
		cancel()
		return listen(t).LocalAddr().(*net.UDPAddr).AddrPort()
	})
	f("before the header", func(t *testing.T, cancel func()) netip.AddrPort {
		return (&server{}).serve(t, after(nil, leave(cancel)))
	})
	f("in the body", func(t *testing.T, cancel func()) netip.AddrPort {
		return (&server{}).serve(t, after(join(headers(":status", "200"), data("some")), leave(cancel)))
	})
}

// Of several addresses, one that is silent must leave time for the others.
func TestPatience(t *testing.T) {
	silent := listen(t)
	q := &probe.HTTP3Request{
		Conn: listen(t), Addr: silent.LocalAddr().(*net.UDPAddr).AddrPort(), Host: host, Roots: pki().roots, Request: get(),
		Patience: 100 * time.Millisecond, MaxHeader: 1 << 10, MaxBody: 1 << 10,
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if r := Do(ctx, q); r.Class != probe.ClassConnectTimeout || r.Handshake > 30*time.Second {
		t.Errorf("got %v after %v (%s)", r.Class, r.Handshake, r.Detail)
	}
}
