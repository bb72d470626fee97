package probe

import (
	"crypto/tls"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// newRequest is the request for u as net/http wants it.
func (a *attempt) newRequest(u *url.URL) (*http.Request, error) {
	headers, err := a.headers(u)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(a.ctx, a.t.Site.Method, u.String(), http.NoBody)
	if err != nil {
		return nil, err
	}
	for _, h := range headers {
		req.Header.Add(h.Name, h.Value)
	}
	return req, nil
}

// fetchHTTP2 makes one request over a connection on which HTTP/2 was agreed. It knows no reason phrases.
func (a *attempt) fetchHTTP2(conn *tls.Conn, u *url.URL) (Class, string) {
	req, err := a.newRequest(u)
	if err != nil {
		return ClassUnknown, clip(err.Error())
	}
	cc, err := clientConn(a.ctx, conn)
	if err != nil {
		return a.headClass(err), clip(err.Error())
	}
	defer cc.Close()
	started := time.Now()
	h, err := cc.RoundTrip(req)
	a.r.Time.TTFB += time.Since(started)
	if err != nil {
		a.ended = byServer(err)
		return a.headClass(err), clip(err.Error())
	}
	defer h.Body.Close()
	h.Status = "" // what net/http puts there was not sent
	if err := a.takeBody(h); err != nil {
		return a.bodyClass(err), clip(err.Error())
	}
	return ClassOK, ""
}

// streamError is what net/http's HTTP/2 gives for a stream that was ended early; its type is not exported, but it fills any
// struct of this shape.
type streamError struct {
	StreamID uint32
	Code     uint32
	Cause    error // set where the server ended it, and not ourselves
}

func (e streamError) Error() string { return "stream error" }

// byServer tells whether the server ended the stream: over HTTP/2 that is how an answer is cut off.
func byServer(err error) bool {
	var e streamError
	return errors.As(err, &e) && e.Cause != nil
}

// overQUIC tells whether u is to be asked over HTTP/3. A proxy carries none, and plain HTTP has none.
func (a *attempt) overQUIC(u *url.URL) bool {
	return a.t.Site.HTTP == HTTP3 && a.p.c.HTTP3 != nil && u.Scheme == "https" && a.t.Vantage.Proxy == nil
}

// hopOverQUIC makes one request over HTTP/3, of the first address that answers.
func (a *attempt) hopOverQUIC(u *url.URL, addrs []netip.Addr) (class Class, detail string) {
	addrs = addrs[:min(len(addrs), maxDials)]
	for i, addr := range addrs {
		to := netip.AddrPortFrom(addr, port(u))
		share := time.Until(a.deadline) / time.Duration(len(addrs)-i)
		c, why := a.askOverQUIC(u, to, share)
		// An address of a family that this host cannot reach at all says less than any other failure.
		if i == 0 || c != ClassLocalNoNetwork {
			class, detail, a.r.Addr = c, why, to
		}
		if c.Phase() != PhaseConnect && c != ClassLocalNoNetwork {
			break
		}
	}
	return class, clip(detail)
}

func (a *attempt) askOverQUIC(u *url.URL, to netip.AddrPort, share time.Duration) (Class, string) {
	req, err := a.newRequest(u)
	if err != nil {
		return ClassUnknown, err.Error()
	}
	pc, err := listenUDP(a.ctx, a.t.Vantage, to.Addr())
	if err != nil {
		return connectClass(a.ctx, err), err.Error()
	}
	defer pc.Close()
	reply := a.p.c.HTTP3(a.ctx, &HTTP3Request{
		Conn: pc, Addr: to, Host: u.Hostname(), Roots: a.p.c.Roots, Request: req, Patience: share, MaxHeader: maxHeader, MaxBody: maxBody,
	})
	if reply.Class.Phase() > PhaseConnect {
		a.connected(to)
	}
	a.r.Time.Connect += reply.Handshake
	a.r.Time.TTFB += reply.TTFB
	if reply.State.Version != 0 {
		a.r.TLS.Version = strings.TrimPrefix(tls.VersionName(reply.State.Version), "TLS ")
	}
	a.sawChain(reply.Shown)
	if reply.Response != nil {
		reply.Response.Body = DecodeBody(reply.Response.Get("Content-Encoding"), reply.Response.Body)
		a.e.Response = reply.Response
	}
	a.ended = reply.Response == nil && reply.Class == ClassHTTPReset
	if reply.Class == ClassTLSCertExpired && len(reply.Shown) > 0 {
		reply.Detail = a.checkClock(reply.Shown[0], reply.Detail)
	}
	return reply.Class, reply.Detail
}
