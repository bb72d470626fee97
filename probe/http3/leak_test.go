package http3

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	h3 "github.com/quic-go/quic-go/http3"

	"faultline/probe"
)

// listening remembers what a server needs to reset a connection that it forgot: to whom it belonged and its ID.
type listening struct {
	quiet
	last atomic.Pointer[reset]
}

type reset struct {
	to net.Addr
	id [4]byte
}

func (l *listening) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := l.PacketConn.ReadFrom(b)
	const long, size = 0x80, 4 // the form of a header, and the library's default length of an ID
	switch {
	case n > 10 && b[0]&long == 0:
		l.last.Store(&reset{from, [size]byte(b[1:])})
	case n > 10 && b[5] == size: // the first packet has a longer one
		l.last.Store(&reset{from, [size]byte(b[6:])})
	}
	return n, from, err
}

func TestStatelessReset(t *testing.T) {
	f := func(raw []byte, want probe.Class) {
		t.Helper()
		key := quic.StatelessResetKey{1, 2, 3}
		pc := &listening{quiet: quiet{listen(t)}}
		tr := &quic.Transport{Conn: pc, StatelessResetKey: &key}
		l, err := tr.Listen(&tls.Config{Certificates: []tls.Certificate{pki().leaf(good)}, NextProtos: []string{h3.NextProtoH3}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		defer all.Wait()
		defer tr.Close()
		ctx := within(t, 10*time.Second)
		all.Go(func() {
			c, err := l.Accept(ctx)
			if err != nil {
				return
			}
			after(raw, func(*quic.Conn, *quic.Stream) {
				_ = tr.Close() // forgets the connection without a word
				last := pc.last.Load()
				mac := hmac.New(sha256.New, key[:])
				mac.Write(last.id[:])
				_, _ = pc.WriteTo(append(append([]byte{0x40}, make([]byte, 30)...), mac.Sum(nil)[:16]...), last.to)
			})(c)
		})
		if r := ask(t, ctx, pc.LocalAddr().(*net.UDPAddr).AddrPort()); r.Class != want || !strings.Contains(r.Detail, "stateless reset") {
			t.Errorf("got %v (%s), want %v", r.Class, r.Detail, want)
		}
	}
	f(nil, probe.ClassHTTPReset)
	f(join(headers(":status", "200"), data(strings.Repeat("x", streamWindow+1<<10))), probe.ClassHTTPBodyTruncated)
}

// Nothing of 200 requests is left, of whichever way they end.
func TestNothingLeft(t *testing.T) {
	t.Run("requests", func(t *testing.T) {
		bad := &server{tls: &tls.Config{Certificates: []tls.Certificate{newAuthority().leaf(good)}}}
		silent := listen(t).LocalAddr().(*net.UDPAddr).AddrPort()
		hanging := (&server{}).serve(t, after(nil, hang))
		sites := []netip.AddrPort{
			(&server{}).serve(t, handle(func(http.ResponseWriter, *http.Request) {})),
			(&server{}).serve(t, after(join(headers(":status", "200"), data("hello")), nil)),
			(&server{}).serve(t, after(headers(":status", "200"), resets(h3.ErrCodeInternalError))),
			bad.serve(t, func(*quic.Conn) {}),
			hanging,
			silent,
			(&server{}).serve(t, after(nil, closes(h3.ErrCodeNoError))),
			(&server{}).serve(t, after(join(headers(":status", "200"), data(strings.Repeat("x", 300<<10))), nil)),
		}
		var good, failed atomic.Int32
		var all sync.WaitGroup
		for i := range 8 {
			all.Go(func() {
				for j := range 25 {
					addr, wait := sites[(i+j)%len(sites)], 10*time.Second
					if addr == silent || addr == hanging {
						wait = patience
					}
					ctx, cancel := context.WithTimeout(t.Context(), wait)
					if r := ask(t, ctx, addr); r.Class == probe.ClassOK {
						good.Add(1)
					} else {
						failed.Add(1)
					}
					cancel()
				}
			})
		}
		all.Wait()
		if good.Load() != 75 || failed.Load() != 125 {
			t.Errorf("got %d good and %d failed requests, want 75 and 125", good.Load(), failed.Load())
		}
	})
	// By here the servers have ended too.
	var stacks string
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		all := make([]byte, 1<<20)
		stacks = string(all[:runtime.Stack(all, true)])
		if !strings.Contains(stacks, "quic-go") && !strings.Contains(stacks, "crypto/tls") {
			return
		}
	}
	t.Errorf("left over:\n%s", stacks)
}

func BenchmarkHTTP3(b *testing.B) {
	addr := (&server{}).serve(b, handle(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 16<<10)) }))
	b.ReportAllocs()
	for b.Loop() {
		if r := ask(b, b.Context(), addr); r.Class != probe.ClassOK {
			b.Fatalf("got %v (%s)", r.Class, r.Detail)
		}
	}
}
