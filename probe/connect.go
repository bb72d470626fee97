package probe

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// maxDials is how many of a site's addresses are tried in one probe.
const maxDials = 3

// connect tries the addresses in order, each with its share of the time that is left.
func (a *attempt) connect(addrs []netip.Addr, u *url.URL) (conn net.Conn, class Class, detail string) {
	if a.t.Vantage.Proxy != nil && (len(addrs) == 0 || a.absolute(u)) {
		return a.connectByProxy(u)
	}
	addrs = addrs[:min(len(addrs), maxDials)]
	class = ClassConnectOther
	for i, addr := range addrs {
		to := netip.AddrPortFrom(addr, port(u))
		share := time.Until(a.deadline) / time.Duration(len(addrs)-i)
		ctx, cancel := context.WithTimeout(a.ctx, share)
		conn, err := dialTCP(ctx, a.t.Vantage, to)
		cancel()
		if err == nil {
			a.connected(to)
			return conn, ClassOK, ""
		}
		c := connectClass(a.ctx, err)
		a.silent = a.silent || silentProxy(err)
		if c == ClassLocalCancelled || c == ClassLocalResource || c == ClassLocalPath {
			return nil, c, err.Error()
		}
		// An address of a family that this host cannot reach at all says less than any other failure.
		if i == 0 || c != ClassLocalNoNetwork {
			class, detail, a.r.Addr = c, err.Error(), to
		}
	}
	return nil, class, detail
}

func (a *attempt) connected(to netip.AddrPort) {
	a.r.Addr = to
	if !a.pin.IsValid() {
		a.pin = to.Addr()
	}
}

// absolute tells whether u is asked of the vantage's HTTP proxy itself, which is how those carry plain HTTP.
func (a *attempt) absolute(u *url.URL) bool {
	return a.t.Vantage.Proxy != nil && a.t.Vantage.Proxy.Kind == ProxyHTTP && u.Scheme == "http"
}

// connectByProxy leaves the name to the vantage's proxy.
func (a *attempt) connectByProxy(u *url.URL) (net.Conn, Class, string) {
	var conn net.Conn
	var err error
	if a.absolute(u) {
		conn, err = a.t.Vantage.dialProxy(a.ctx)
	} else {
		conn, err = a.t.Vantage.throughProxy(a.ctx, net.JoinHostPort(u.Hostname(), strconv.Itoa(int(port(u)))))
	}
	if err != nil {
		a.silent = a.silent || silentProxy(err)
		return nil, connectClass(a.ctx, err), err.Error()
	}
	return conn, ClassOK, ""
}

func silentProxy(err error) bool {
	var said *proxyError
	return errors.As(err, &said) && said.silent
}

func connectClass(ctx context.Context, err error) Class {
	var local *localError
	var proxy *proxyError
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return ClassLocalCancelled
	case errors.As(err, &local):
		return ClassLocalResource
	case errors.As(err, &proxy):
		return proxy.class
	case errors.Is(err, syscall.ECONNREFUSED):
		return ClassConnectRefused
	case errors.Is(err, syscall.ECONNRESET):
		return ClassConnectReset
	case errors.Is(err, syscall.EHOSTUNREACH):
		return ClassConnectUnreachable
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.ENETDOWN):
		return ClassLocalNoNetwork
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		return ClassConnectDenied
	case isResource(err):
		return ClassLocalResource
	case isTimeout(err):
		return ClassConnectTimeout
	default:
		return ClassConnectOther
	}
}

// protocols are what the handshake offers. HTTP/2 is no failure where it is not spoken.
var protocols = map[HTTPVersion][]string{HTTP11: {"http/1.1"}, HTTP2: {"h2", "http/1.1"}, HTTP3: {"http/1.1"}}

// handshake makes a fully verified TLS connection of conn. What the peer showed is kept from failing ones too.
func (a *attempt) handshake(conn net.Conn, host string) (*tls.Conn, Class, string) {
	c := tls.Client(conn, &tls.Config{ServerName: host, RootCAs: a.p.c.Roots, NextProtos: protocols[a.t.Site.HTTP]})
	err := c.Handshake()
	if err != nil {
		class, detail := a.tlsClass(err)
		return nil, class, detail
	}
	s := c.ConnectionState()
	a.r.TLS = TLSInfo{Version: strings.TrimPrefix(tls.VersionName(s.Version), "TLS ")}
	a.sawChain(s.PeerCertificates)
	return c, ClassOK, ""
}

func (a *attempt) sawChain(chain []*x509.Certificate) {
	if len(chain) == 0 {
		return
	}
	a.chain = chain
	issuer := chain[0].Issuer.CommonName
	if org := chain[0].Issuer.Organization; len(org) > 0 {
		issuer = org[0]
	}
	a.r.TLS.Issuer, a.r.TLS.NotAfter, a.r.TLS.Names = clip(issuer), chain[0].NotAfter, hashNames(chain[0].DNSNames)
}

// hashNames tells apart certificates by the names that they are for; 0 where all lie under the first one, which says no
// more than that name does.
func hashNames(names []string) uint64 {
	if len(names) == 0 {
		return 0
	}
	base := strings.TrimPrefix(strings.TrimPrefix(names[0], "*."), "www.")
	h, several := fnv.New64a(), false
	for _, n := range names {
		several = several || n != base && !strings.HasSuffix(n, "."+base)
		_, _ = io.WriteString(h, n+"\n")
	}
	if !several {
		return 0
	}
	return h.Sum64()
}

// tlsClass judges an error of the handshake.
func (a *attempt) tlsClass(err error) (Class, string) {
	detail := err.Error()
	var bad *tls.CertificateVerificationError
	if errors.As(err, &bad) {
		a.sawChain(bad.UnverifiedCertificates)
		if len(bad.UnverifiedCertificates) > 0 {
			leaf := bad.UnverifiedCertificates[0]
			detail += fmt.Sprintf("; issued to %s by %s", leaf.Subject, leaf.Issuer)
			detail = a.checkClock(leaf, detail)
		}
		return CertClass(err), clip(detail)
	}
	var op *net.OpError
	var record tls.RecordHeaderError
	switch {
	case errors.Is(a.ctx.Err(), context.Canceled):
		return ClassLocalCancelled, detail
	case isTimeout(err):
		return ClassTLSTimeout, detail
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return ClassTLSReset, detail
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return ClassTLSEOF, detail
	case errors.As(err, &record):
		return ClassTLSNotTLS, clip(detail)
	case isAlert(err):
		return ClassTLSAlert, detail
	case errors.As(err, &op) && op.Op == "local error", strings.HasPrefix(detail, "tls: "): // found by ourselves; there is no type for all
		return ClassTLSProtocol, clip(detail)
	default:
		return ClassTLSOther, clip(detail)
	}
}

// checkClock notes where a certificate is out of its time by this host's clock alone.
func (a *attempt) checkClock(leaf *x509.Certificate, detail string) string {
	off := a.p.clock.off()
	now := time.Now()
	right := now.Add(off)
	if off == 0 || within(leaf, now) || !within(leaf, right) {
		return detail
	}
	a.e.ClockOff = off
	return fmt.Sprintf("this host's clock is off by %v, as the Date headers of other sites show, and the certificate is valid; %s", off.Round(time.Minute), detail)
}

func within(c *x509.Certificate, t time.Time) bool {
	return !t.Before(c.NotBefore) && !t.After(c.NotAfter)
}

// isAlert tells whether err is an alert from the peer. Over TCP errors.As finds no tls.AlertError.
func isAlert(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "remote error"
}

// CertClass judges an error of the verification of a certificate chain.
func CertClass(err error) Class {
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	var unknown x509.UnknownAuthorityError
	switch {
	case errors.As(err, &name):
		return ClassTLSCertName
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return ClassTLSCertExpired
	case errors.As(err, &unknown):
		return ClassTLSCertUntrusted
	default:
		return ClassTLSCertInvalid
	}
}

// maxDetail bounds what a remote can put into Evidence.Detail, in bytes.
const maxDetail = 300

func clip(s string) string {
	return strings.ToValidUTF8(s[:min(len(s), maxDetail)], "")
}
