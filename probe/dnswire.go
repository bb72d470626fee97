package probe

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// wire carries DNS messages to one server and back. It ends with the context that it was opened with.
type wire interface {
	send(msg []byte) error
	next() ([]byte, error)    // the next message; it stays valid
	patience(d time.Duration) // next waits no longer than that
	close()                   // waits for whatever the wire has started
}

// openWire connects to a resolver in its own way, or over TCP.
func (p *Prober) openWire(ctx context.Context, v *Vantage, r Resolver, tcp bool) (wire, error) {
	if r.Via == ViaUDP && !tcp {
		conn, err := dial(ctx, v, "udp", r.Addr)
		if err != nil {
			return nil, err
		}
		return &udpWire{ended{conn, closing(ctx, conn)}, nil}, nil
	}
	conn, err := dialTCP(ctx, v, r.Addr)
	if err != nil {
		return nil, err
	}
	stop := closing(ctx, conn)
	if r.Via == ViaUDP || r.Via == ViaTCP {
		return &streamWire{ended{conn, stop}}, nil
	}
	secure := tls.Client(conn, p.resolverTLS(r))
	if err := secure.Handshake(); err != nil {
		ended{conn, stop}.close()
		return nil, fmt.Errorf("talking TLS to the resolver: %w", err)
	}
	if r.Via == ViaTLS {
		return &streamWire{ended{secure, stop}}, nil
	}
	return newHTTPSWire(ctx, r, secure, stop, p.c.UserAgent)
}

func (p *Prober) resolverTLS(r Resolver) *tls.Config {
	c := &tls.Config{ServerName: r.Name, RootCAs: p.c.Roots, NextProtos: []string{"dot"}}
	if r.Name == "" {
		c.ServerName = r.Addr.Addr().String()
	}
	if r.Via == ViaHTTPS {
		c.NextProtos = []string{"h2", "http/1.1"}
	}
	return c
}

// closing makes reads and writes of conn fail as soon as ctx is done.
func closing(ctx context.Context, conn net.Conn) (stop func() bool) {
	return context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
}

// ended is a connection and what ends with it.
type ended struct {
	net.Conn
	stop func() bool
}

func (e ended) close() {
	e.stop()
	_ = e.Conn.Close()
}

func (e ended) patience(d time.Duration) { _ = e.SetReadDeadline(time.Now().Add(d)) }

// udpWire is a connected socket of its own, whose random port is what a forger must guess.
type udpWire struct {
	ended
	room []byte
}

func (w *udpWire) send(msg []byte) error {
	_, err := w.Write(msg)
	return err
}

func (w *udpWire) next() ([]byte, error) {
	if len(w.room) < 2048 {
		w.room = make([]byte, 4096)
	}
	n, err := w.Read(w.room)
	msg := w.room[:n:n]
	w.room = w.room[n:]
	return msg, err
}

// streamWire is TCP or TLS: each message follows its length.
type streamWire struct{ ended }

func (w *streamWire) send(msg []byte) error {
	_, err := w.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(msg))), msg...))
	return err
}

func (w *streamWire) next() ([]byte, error) {
	var size [2]byte
	if _, err := io.ReadFull(w, size[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.BigEndian.Uint16(size[:]))
	_, err := io.ReadFull(w, b)
	return b, err
}

// httpsWire is DNS over HTTPS: each message is a request of its own, over one connection.
type httpsWire struct {
	ended
	ctx     context.Context // of the wire, which lives no longer than the call that opened it
	cc      *http.ClientConn
	turn    *sync.Mutex // where the connection carries one request at a time; nil = many
	url     string
	agent   string
	replies chan reply
	wait    <-chan time.Time // nil = as long as the connection lasts
	running sync.WaitGroup
}

type reply struct {
	msg []byte
	err error
}

// maxAsked is how many questions one wire carries at most.
const maxAsked = 4

func newHTTPSWire(ctx context.Context, r Resolver, conn *tls.Conn, stop func() bool, agent string) (wire, error) {
	w := &httpsWire{ended: ended{conn, stop}, ctx: ctx, agent: agent, replies: make(chan reply, maxAsked)}
	authority := r.Name
	if authority == "" {
		authority = r.Addr.Addr().String()
		if r.Addr.Addr().Is6() {
			authority = "[" + authority + "]"
		}
	}
	w.url = "https://" + authority + r.Path
	var err error
	if w.cc, err = clientConn(ctx, conn); err != nil {
		w.ended.close()
		return nil, err
	}
	if conn.ConnectionState().NegotiatedProtocol != "h2" {
		w.turn = new(sync.Mutex)
	}
	return w, nil
}

func (w *httpsWire) send(msg []byte) error {
	w.running.Go(func() {
		if w.turn != nil {
			w.turn.Lock()
			defer w.turn.Unlock()
		}
		got := reply{err: fmt.Errorf("%w: the library stumbled over it", errMalformed)}
		defer func() {
			_ = recover()
			w.replies <- got
		}()
		got.msg, got.err = w.ask(msg)
	})
	return nil
}

func (w *httpsWire) ask(msg []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(w.ctx, http.MethodPost, w.url, bytes.NewReader(msg))
	if err != nil {
		return nil, err
	}
	req.Header = http.Header{"Content-Type": {"application/dns-message"}, "Accept": {"application/dns-message"}, "User-Agent": {w.agent}}
	resp, err := w.cc.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%w: it answers %s to a question over HTTPS", errMalformed, clip(resp.Status))
	}
	return io.ReadAll(io.LimitReader(resp.Body, 64<<10))
}

func (w *httpsWire) next() ([]byte, error) {
	select {
	case r := <-w.replies:
		return r.msg, r.err
	case <-w.wait:
		return nil, context.DeadlineExceeded
	case <-w.ctx.Done():
		return nil, w.ctx.Err()
	}
}

func (w *httpsWire) patience(d time.Duration) { w.wait = time.After(d) }

func (w *httpsWire) close() {
	_ = w.cc.Close()
	w.ended.close()
	w.running.Wait()
}

// clientConn speaks HTTP/2 over a connection, or 1.1 where that was agreed on. It is the caller's to close.
func clientConn(ctx context.Context, conn *tls.Conn) (*http.ClientConn, error) {
	t := &http.Transport{
		DialTLSContext:     func(context.Context, string, string) (net.Conn, error) { return conn, nil },
		DisableCompression: true, MaxResponseHeaderBytes: maxHeader, Protocols: new(http.Protocols),
		HTTP2: &http.HTTP2Config{MaxReceiveBufferPerConnection: 2 * maxBody, MaxReceiveBufferPerStream: 2 * maxBody},
	}
	t.Protocols.SetHTTP1(true)
	t.Protocols.SetHTTP2(true)
	return t.NewClientConn(ctx, "https", conn.RemoteAddr().String())
}
