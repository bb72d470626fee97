package simnet

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"
)

const (
	connTime   = 10 * time.Second // that a connection may take for its handshake and request
	slowness   = 6 * time.Second  // of the scenario
	maxRequest = 64 << 10         // bytes of a request's head
	maxAnswer  = 64 << 10         // bytes of an origin's body
)

// tlsConfig is shared by every edge. It spends no more than it must: one curve, no tickets, certificates made before.
func (n *Net) tlsConfig() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}, SessionTicketsDisabled: true,
		CurvePreferences: []tls.CurveID{tls.X25519}, GetCertificate: n.certificate,
	}
}

func (n *Net) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	site := n.World.SiteOf(hello.ServerName)
	if site < 0 {
		return nil, fmt.Errorf("no site %q", hello.ServerName)
	}
	vantage := n.vantageAt(hello.Conn.RemoteAddr())
	if n.reached(site, vantage) == ClassTLSCert {
		n.count(site, vantage, ClassTLSCert)
		return &n.certs.expired[site], nil
	}
	return &n.certs.good[site], nil
}

// serveEdge takes connections until ctx is done, and returns when the last one is gone.
func (n *Net) serveEdge(ctx context.Context, l net.Listener, config *tls.Config) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		c, err := l.Accept()
		if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
			if err == nil {
				_ = c.Close()
			}
			return
		}
		if err != nil { // out of descriptors, or a connection that was given up: others will come
			select {
			case <-ctx.Done():
			case <-time.After(10 * time.Millisecond):
			}
			continue
		}
		wg.Go(func() {
			defer c.Close()
			defer context.AfterFunc(ctx, func() { _ = c.Close() })()
			n.serveConn(ctx, c, config)
		})
	}
}

var readers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, 2048) }}

// serveConn answers one request. What goes wrong with it the client sees; there is nobody else to tell.
func (n *Net) serveConn(ctx context.Context, c net.Conn, config *tls.Config) {
	_ = c.SetDeadline(time.Now().Add(connTime + n.scaled(slowness)))
	tc := tls.Server(c, config)
	if err := tc.HandshakeContext(ctx); err != nil {
		return
	}
	r := readers.Get().(*bufio.Reader)
	defer readers.Put(r)
	r.Reset(io.LimitReader(tc, maxRequest))
	req, err := http.ReadRequest(r)
	if err != nil {
		return
	}
	site := n.World.SiteOf(tc.ConnectionState().ServerName)
	if site < 0 {
		return
	}
	vantage := n.vantageAt(c.RemoteAddr())
	class := n.reached(site, vantage)
	if class == ClassSlow {
		select {
		case <-ctx.Done():
			return
		case <-time.After(n.scaled(slowness)):
		}
	}
	a := n.respond(ctx, req, site, vantage, class)
	wire := a.AppendWire(make([]byte, 0, 512+len(a.Body)))
	if req.Method == http.MethodHead {
		wire = wire[:len(wire)-len(a.Body)]
	}
	if class < ClassBlocked { // its time was before the connection, and it is past
		class = ClassOK
	}
	n.count(site, vantage, class)
	if _, err := tc.Write(wire); err == nil {
		_ = tc.CloseWrite()
	}
}

// respond is the edge's own answer, or the origin's.
func (n *Net) respond(ctx context.Context, req *http.Request, site, vantage int, c Class) Answer {
	now := time.Now()
	id := uint64(now.UnixNano())
	if a, ok := n.World.own(site, vantage, c, now, id); ok {
		return a
	}
	a, err := n.askOrigin(ctx, req, site, c)
	if err != nil { // a failure of our own; it must not look like the CDN's
		a = Answer{Status: http.StatusGatewayTimeout, Reason: "Origin Lost By The Simulation"}
	}
	return n.World.passOn(site, vantage, a, now, id)
}

// headerClass is how an edge tells its origin what the fault of the hour is: the lot was drawn for the probe, not for it.
const headerClass = "X-Simnet-Class"

func (n *Net) askOrigin(ctx context.Context, req *http.Request, site int, c Class) (Answer, error) {
	out, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.origin+"/", nil)
	if err != nil {
		return Answer{}, fmt.Errorf("asking the origin of %s: %w", n.World.Sites[site].Host, err)
	}
	out.Host = n.World.Sites[site].Host
	out.Header.Set("User-Agent", req.UserAgent())
	out.Header.Set(headerClass, strconv.Itoa(int(c)))
	resp, err := n.toOrigin.RoundTrip(out)
	if err != nil {
		return Answer{}, fmt.Errorf("asking the origin of %s: %w", out.Host, err)
	}
	defer resp.Body.Close()
	var body bytes.Buffer
	if _, err := io.Copy(&body, io.LimitReader(resp.Body, maxAnswer)); err != nil {
		return Answer{}, fmt.Errorf("reading the origin of %s: %w", out.Host, err)
	}
	return answerOf(resp, &body), nil
}

// serveOrigins is every site's own server, until ctx is done.
func (n *Net) serveOrigins(ctx context.Context) {
	srv := &http.Server{ReadHeaderTimeout: connTime, Handler: http.HandlerFunc(n.originAnswer)}
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		<-ctx.Done()
		soon, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = srv.Shutdown(soon) // the edges have hung up by then
	})
	_ = srv.Serve(n.originL) // it ends when closed, and there is nothing to say
}

func (n *Net) originAnswer(rw http.ResponseWriter, req *http.Request) {
	site := n.World.SiteOf(req.Host)
	if site < 0 {
		http.NotFound(rw, req)
		return
	}
	c, _ := strconv.Atoi(req.Header.Get(headerClass)) // none is well
	a := n.World.fromOrigin(site, Class(c), time.Now())
	for _, h := range a.Headers {
		rw.Header().Set(h.Name, h.Value)
	}
	rw.WriteHeader(a.Status)
	_, _ = rw.Write(a.Body) // who asked has gone
}
