package http3

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"

	"github.com/quic-go/quic-go"
	h3 "github.com/quic-go/quic-go/http3"

	"faultline/probe"
)

// handshakeClass judges an error of the handshake.
func handshakeClass(ctx context.Context, err error, s *socket) (probe.Class, string) {
	if errors.Is(ctx.Err(), context.Canceled) {
		return probe.ClassLocalCancelled, ctx.Err().Error()
	}
	if broken := s.broken.Load(); broken != nil {
		return socketClass(*broken)
	}
	if bad, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return certClass(bad)
	}
	if e, ok := errors.AsType[*quic.TransportError](err); ok {
		return transportClass(e)
	}
	switch detail := clip(err.Error()); {
	case is[*quic.ApplicationError](err): // can only be said, and understood, when the handshake is over
		return head.class(ctx, err, s)
	case is[*quic.StatelessResetError](err):
		return probe.ClassTLSReset, detail
	case is[*quic.VersionNegotiationError](err), errors.Is(err, errFlood):
		return probe.ClassTLSProtocol, detail
	case isTimeout(err), ctx.Err() != nil:
		return silenceClass(s)
	default:
		return probe.ClassConnectOther, detail
	}
}

func certClass(bad *tls.CertificateVerificationError) (probe.Class, string) {
	detail := bad.Error()
	if len(bad.UnverifiedCertificates) > 0 {
		leaf := bad.UnverifiedCertificates[0]
		detail += fmt.Sprintf("; issued to %s by %s", leaf.Subject, leaf.Issuer)
	}
	return probe.CertClass(bad), clip(detail)
}

// unverified is the chain that failed to be verified; nil = it is not that.
func unverified(err error) []*x509.Certificate {
	if bad, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return bad.UnverifiedCertificates
	}
	return nil
}

func silenceClass(s *socket) (probe.Class, string) {
	if s.heard.Load() {
		return probe.ClassTLSTimeout, "QUIC packets came back, but the handshake did not end in time"
	}
	if lost := s.lost.Load(); lost != nil {
		return probe.ClassConnectUnreachable, clip("no QUIC packet came back: " + (*lost).Error())
	}
	return probe.ClassConnectTimeout, "no QUIC packet came back"
}

// transportClass judges an error of QUIC itself in the handshake.
func transportClass(e *quic.TransportError) (probe.Class, string) {
	class := probe.ClassTLSProtocol // each of the others says that somebody breaks the protocol
	switch code := e.ErrorCode; {
	case e.Remote && code.IsCryptoError():
		return probe.ClassTLSAlert, alert(e)
	case !e.Remote && code == quic.InternalError:
		class = probe.ClassTLSOther
	case !e.Remote:
	case code == quic.ConnectionRefused:
		class = probe.ClassConnectRefused
	case code == quic.NoError:
		class = probe.ClassTLSEOF
	case code == quic.InternalError, code == quic.ApplicationErrorErrorCode, code == quic.NoViablePathError:
		class = probe.ClassTLSReset
	}
	return class, clip(e.Error())
}

// alert words a peer's alert as crypto/tls does over TCP.
func alert(e *quic.TransportError) string {
	const firstAlert = 0x100 // RFC 9001, section 4.8
	return "remote error: " + tls.AlertError(e.ErrorCode-firstAlert).Error()
}

// part is a part of the response, with the classes of the ways in which it can stay away.
type part struct{ timeout, reset, eof, alert probe.Class }

var (
	// In TLS 1.3 the server judges our half of the handshake when we believe it over.
	head = part{probe.ClassHTTPTimeoutHeaders, probe.ClassHTTPReset, probe.ClassHTTPEOF, probe.ClassTLSAlert}
	body = part{probe.ClassHTTPBodyTimeout, probe.ClassHTTPBodyTruncated, probe.ClassHTTPBodyTruncated, probe.ClassHTTPBodyTruncated}
)

// class judges an error after the handshake.
func (p part) class(ctx context.Context, err error, s *socket) (probe.Class, string) {
	if errors.Is(ctx.Err(), context.Canceled) {
		return probe.ClassLocalCancelled, ctx.Err().Error()
	}
	if broken := s.broken.Load(); broken != nil {
		return socketClass(*broken)
	}
	detail := clip(err.Error())
	e, isQUIC := errors.AsType[*quic.TransportError](err)
	said, isSaid := errors.AsType[*h3.Error](err)
	switch {
	case ctx.Err() != nil: // then err says only that we left
		return p.timeout, ctx.Err().Error()
	case isTimeout(err):
		return p.timeout, detail
	case is[*requestError](err):
		return probe.ClassUnknown, detail
	case isQUIC && e.Remote && e.ErrorCode.IsCryptoError():
		return p.alert, alert(e)
	case isQUIC && e.Remote && e.ErrorCode == quic.NoError:
		return p.eof, detail
	case isQUIC && e.Remote, is[*quic.StatelessResetError](err):
		return p.reset, detail
	case isSaid && said.Remote && (said.ErrorCode == h3.ErrCodeNoError || said.ErrorCode == 0): // some close with 0
		return p.eof, detail
	case isSaid && said.Remote:
		return p.reset, detail
	case isMalformed(err):
		return probe.ClassHTTPMalformed, detail
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return p.eof, detail
	default: // found by the library, which has no type for all
		return probe.ClassHTTPMalformed, detail
	}
}

// isMalformed tells whether err is the library's word about a header that is all there. That can wrap an io.EOF too.
func isMalformed(err error) bool {
	return strings.HasPrefix(err.Error(), "http3: invalid response: ") || strings.HasPrefix(err.Error(), "qpack: ")
}

// socketClass judges an errno of the socket, by what it says of the network.
func socketClass(err error) (probe.Class, string) {
	class := probe.ClassConnectOther
	switch number, _ := errors.AsType[syscall.Errno](err); number {
	case syscall.ECONNREFUSED:
		class = probe.ClassConnectRefused
	case syscall.EHOSTUNREACH:
		class = probe.ClassConnectUnreachable
	case syscall.ENETUNREACH, syscall.ENETDOWN:
		class = probe.ClassLocalNoNetwork
	case syscall.EACCES, syscall.EPERM:
		class = probe.ClassConnectDenied
	case syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRNOTAVAIL:
		class = probe.ClassLocalResource
	}
	return class, clip(err.Error())
}

func is[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

// maxDetail bounds what a remote can put into a Detail, in bytes.
const maxDetail = 300

func clip(s string) string { return strings.ToValidUTF8(s[:min(len(s), maxDetail)], "") }
