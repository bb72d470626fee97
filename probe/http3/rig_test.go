package http3

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	h3 "github.com/quic-go/quic-go/http3"
	"github.com/quic-go/quic-go/quicvarint"

	"faultline/probe"
)

// host is the site's name in these tests.
const host = "www.site.example"

// TestMain sees to it that the library logs nothing: all that it logs by itself would be in the way of the daemon's log.
func TestMain(m *testing.M) {
	var logged bytes.Buffer
	log.SetOutput(&logged)
	code := m.Run()
	if logged.Len() > 0 {
		fmt.Fprintf(os.Stderr, "the library logged: %s", &logged)
		code = 1
	}
	os.Exit(code)
}

// server is what answers at an address of loopback.
type server struct {
	tls       *tls.Config // nil = a good one
	quic      *quic.Config
	transport quic.Transport // all but its Conn
}

// serve starts s, which does with each connection what h says and then closes it.
func (s *server) serve(t testing.TB, h func(*quic.Conn)) netip.AddrPort {
	t.Helper()
	pc := listen(t)
	s.transport.Conn = quiet{pc}
	if s.tls == nil {
		s.tls = &tls.Config{Certificates: []tls.Certificate{pki().leaf(good)}}
	}
	if s.tls.NextProtos == nil {
		s.tls.NextProtos = []string{h3.NextProtoH3}
	}
	l, err := s.transport.Listen(s.tls, s.quic)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept(ctx)
			if err != nil {
				return
			}
			all.Go(func() {
				h(c)
				_ = c.CloseWithError(0, "")
			})
		}
	})
	t.Cleanup(func() {
		cancel()
		_ = s.transport.Close()
		all.Wait()
	})
	return pc.LocalAddr().(*net.UDPAddr).AddrPort()
}

func listen(t testing.TB) net.PacketConn {
	t.Helper()
	pc, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pc.Close() })
	return pc
}

// handle serves HTTP on a connection.
func handle(h http.HandlerFunc) func(*quic.Conn) {
	s := &h3.Server{Handler: h}
	return func(c *quic.Conn) { _ = s.ServeQUICConn(c) }
}

// after reads a request and writes raw to its stream, then does what then says. nil = end the stream.
func after(raw []byte, then func(*quic.Conn, *quic.Stream)) func(*quic.Conn) {
	return func(c *quic.Conn) {
		control, err := c.OpenUniStream()
		if err != nil {
			return
		}
		_, _ = control.Write([]byte{0, 4, 0}) // a control stream with empty SETTINGS
		str, err := c.AcceptStream(c.Context())
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, str)
		_, _ = str.Write(raw)
		if then != nil {
			then(c, str)
			return
		}
		_ = str.Close()
		hang(c, str)
	}
}

// hang holds a connection until the peer leaves it.
func hang(c *quic.Conn, _ *quic.Stream) { <-c.Context().Done() }

func closes(code h3.ErrCode) func(*quic.Conn, *quic.Stream) {
	return func(c *quic.Conn, _ *quic.Stream) { _ = c.CloseWithError(quic.ApplicationErrorCode(code), "") }
}

func resets(code h3.ErrCode) func(*quic.Conn, *quic.Stream) {
	return func(c *quic.Conn, str *quic.Stream) {
		str.CancelWrite(quic.StreamErrorCode(code))
		hang(c, str)
	}
}

// frame is a frame of HTTP/3.
func frame(kind uint64, payload []byte) []byte {
	b := quicvarint.Append(nil, kind)
	b = quicvarint.Append(b, uint64(len(payload)))
	return append(b, payload...)
}

func data(s string) []byte { return frame(0, []byte(s)) }

// headers is a HEADERS frame of pairs of names and values, in QPACK without tables or Huffman's code.
func headers(pairs ...string) []byte {
	b := []byte{0, 0}
	for i, s := range pairs {
		first, most := byte(0x20), 7 // a literal name
		if i%2 == 1 {
			first, most = 0, 127 // a value
		}
		if len(s) < most {
			b = append(b, first|byte(len(s)))
		} else {
			b = append(b, first|byte(most))
			rest := len(s) - most
			for ; rest >= 128; rest >>= 7 {
				b = append(b, byte(rest)|128)
			}
			b = append(b, byte(rest))
		}
		b = append(b, s...)
	}
	return frame(1, b)
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// ask makes a request for host at addr.
func ask(t testing.TB, ctx context.Context, addr netip.AddrPort) probe.HTTP3Reply {
	t.Helper()
	pc := listen(t)
	defer pc.Close()
	return Do(ctx, &probe.HTTP3Request{
		Conn: pc, Addr: addr, Host: host, Roots: pki().roots, Request: get(), MaxHeader: 16 << 10, MaxBody: 2 * streamWindow,
	})
}

func get() *http.Request {
	return &http.Request{
		Method: http.MethodGet, URL: &url.URL{Scheme: "https", Host: host, Path: "/"}, Host: host,
		Header: http.Header{"User-Agent": {"faultline-test"}, "Accept-Encoding": {"identity"}},
	}
}

func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// authority is a CA of these tests.
type authority struct {
	roots *x509.CertPool
	cert  *x509.Certificate
	key   *ecdsa.PrivateKey
}

var pki = sync.OnceValue(newAuthority)

func newAuthority() *authority {
	a := &authority{roots: x509.NewCertPool()}
	a.key, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key)
	if err != nil {
		panic(err)
	}
	a.cert, _ = x509.ParseCertificate(der)
	a.roots.AddCert(a.cert)
	return a
}

func good(*x509.Certificate) {}

// leaf is a certificate for host, but for what but changes.
func (a *authority) leaf(but func(*x509.Certificate)) tls.Certificate {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "leaf"}, DNSNames: []string{host},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	but(template)
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
