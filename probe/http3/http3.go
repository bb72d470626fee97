// Package http3 makes requests over HTTP/3 for probes.
package http3

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
	h3 "github.com/quic-go/quic-go/http3"

	"faultline/probe"
)

// Bounds, beside those of the request itself.
const (
	maxTime      = time.Minute // of a request whose ctx ends later
	maxInterim   = 5           // 1xx responses before the real one
	maxStreams   = 16          // that the peer may have open; HTTP/3 itself needs three
	packetSize   = 1200        // bytes; the least that every path of QUIC's carries
	streamWindow = 128 << 10   // bytes that the peer may send before we read
	connWindow   = 160 << 10   // likewise, in all streams together
)

// Do is a probe.HTTP3Func. It makes one connection for one request, without 0-RTT, resumption or keep-alive, and ends it;
// q.Conn stays open and is nobody's when Do returns.
//
// A closed port is ClassConnectRefused at once on Linux, where the kernel is asked to report ICMP for the unconnected
// socket too; elsewhere, and where q.Conn is no socket of this host's, it is ClassConnectTimeout like every other silence.
// The library parses in goroutines of its own, so that no recover here could keep a panic there from ending the process.
func Do(ctx context.Context, q *probe.HTTP3Request) (r probe.HTTP3Reply) {
	ctx, cancel := context.WithTimeout(ctx, maxTime)
	defer cancel()
	s := newSocket(q)
	t := &quic.Transport{Conn: s}
	defer t.Close() // waits for its reader; the connections have ended by then
	started := time.Now()
	dialing, stop := ctx, context.CancelFunc(func() {})
	if q.Patience > 0 {
		dialing, stop = context.WithTimeout(ctx, q.Patience) // of the handshake alone
	}
	conn, err := t.Dial(dialing, net.UDPAddrFromAddrPort(unmap(q.Addr)), tlsConfig(q), quicConfig(ctx))
	r.Handshake = time.Since(started)
	stop()
	if err != nil {
		r.Class, r.Detail = handshakeClass(ctx, err, s)
		r.Shown = unverified(err)
		return r
	}
	r.State = conn.ConnectionState().TLS
	r.Shown = r.State.PeerCertificates
	request(ctx, conn, s, q, &r)
	return r
}

func tlsConfig(q *probe.HTTP3Request) *tls.Config {
	return &tls.Config{ServerName: q.Host, RootCAs: q.Roots, NextProtos: []string{h3.NextProtoH3}, MinVersion: tls.VersionTLS13}
}

// quicConfig leaves it to ctx to end what takes too long: the library's own timers run a little longer.
func quicConfig(ctx context.Context) *quic.Config {
	end, _ := ctx.Deadline()
	patience := max(time.Until(end), 0) + time.Second
	return &quic.Config{
		Versions:                       []quic.Version{quic.Version1},
		HandshakeIdleTimeout:           patience,
		MaxIdleTimeout:                 patience,
		InitialStreamReceiveWindow:     streamWindow,
		MaxStreamReceiveWindow:         streamWindow,
		InitialConnectionReceiveWindow: connWindow,
		MaxConnectionReceiveWindow:     connWindow,
		MaxIncomingStreams:             -1,
		MaxIncomingUniStreams:          maxStreams,
		InitialPacketSize:              packetSize,
		DisablePathMTUDiscovery:        true,
	}
}

// request makes the request over conn, and ends conn.
func request(ctx context.Context, conn *quic.Conn, s *socket, q *probe.HTTP3Request, r *probe.HTTP3Reply) {
	var all sync.WaitGroup
	defer all.Wait()
	life, end := context.WithCancel(ctx)
	defer end()
	all.Go(func() {
		<-life.Done()
		_ = conn.CloseWithError(quic.ApplicationErrorCode(h3.ErrCodeNoError), "") // ends whatever still waits
	})

	c := (&h3.Transport{DisableCompression: true, MaxResponseHeaderBytes: q.MaxHeader}).NewRawClientConn(conn)
	var first time.Time
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotFirstResponseByte: func() { first = time.Now() }})
	started := time.Now()
	str, err := send(traced, c, q.Request)
	// Only now, so that a server that is shutting down says so to a request and not to nobody.
	all.Go(func() { attend(c, conn) })
	var resp *http.Response
	if err == nil {
		resp, err = readHead(str)
	}
	if first.IsZero() {
		first = time.Now()
	}
	r.TTFB = first.Sub(started)
	if err != nil {
		r.Class, r.Detail = head.class(ctx, err, s)
		return
	}
	defer resp.Body.Close()
	r.Response = newResponse(resp)
	r.Response.Body, err = readBody(resp, q.MaxBody)
	r.Class = probe.ClassOK
	if err != nil {
		r.Class, r.Detail = body.class(ctx, err, s)
	}
}

// requestError is that of a request that cannot be sent to anybody.
type requestError struct{ error }

func send(ctx context.Context, c *h3.RawClientConn, req *http.Request) (*h3.RequestStream, error) {
	str, err := c.OpenRequestStream(ctx)
	if err != nil {
		return nil, err
	}
	err = str.SendRequestHeader(req)
	switch {
	case err == nil:
		_ = str.Close() // there is no body
	case is[*h3.Error](err): // a server may answer what it does not care to read
	case ctx.Err() != nil, c.Context().Err() != nil:
		return nil, err
	default:
		return nil, &requestError{err}
	}
	return str, nil
}

// attend hands the streams that the peer opens to the library, until the connection ends.
func attend(c *h3.RawClientConn, conn *quic.Conn) {
	var all sync.WaitGroup
	defer all.Wait()
	for {
		str, err := conn.AcceptUniStream(conn.Context())
		if err != nil {
			return
		}
		all.Go(func() { c.HandleUnidirectionalStream(str) })
	}
}

// readHead reads the header of the response, past such as only say that it will come.
func readHead(str *h3.RequestStream) (*http.Response, error) {
	for range maxInterim + 1 {
		h, err := str.ReadResponse()
		switch {
		case err != nil:
			return nil, err
		case h.StatusCode < 100, h.StatusCode > 999, h.StatusCode == http.StatusSwitchingProtocols: // there is no 101 in HTTP/3
			return nil, fmt.Errorf("malformed HTTP status code %d", h.StatusCode)
		case h.StatusCode >= 200:
			return h, nil
		}
	}
	return nil, errors.New("malformed HTTP: interim responses without end")
}

// readBody reads as far as the bound or the announced length, so that a stream that stays open after it is no failure.
func readBody(h *http.Response, bound int) ([]byte, error) {
	n := int64(bound)
	if h.ContentLength >= 0 {
		n = min(n, h.ContentLength)
	}
	return io.ReadAll(io.LimitReader(h.Body, n))
}

func newResponse(h *http.Response) *probe.Response {
	resp := &probe.Response{Proto: h.Proto, Status: h.StatusCode}
	for name, values := range h.Header {
		for _, v := range values {
			resp.Headers = append(resp.Headers, probe.Header{Name: name, Value: v})
		}
	}
	slices.SortStableFunc(resp.Headers, func(a, b probe.Header) int { return cmp.Compare(a.Name, b.Name) })
	return resp
}

func unmap(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }
