package probe

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/netip"
	"time"
)

// HTTP3Func makes one request over HTTP/3 and returns soon after ctx is done, when all that it began has ended. It comes from
// a package of its own (probe/http3), so that this one knows no QUIC.
type HTTP3Func func(ctx context.Context, q *HTTP3Request) HTTP3Reply

// HTTP3Request is what is to be asked, and of whom.
type HTTP3Request struct {
	Conn      net.PacketConn // an unconnected UDP socket of the vantage; its maker closes it
	Addr      netip.AddrPort // to connect to
	Host      string         // that the certificate must be for
	Roots     *x509.CertPool // nil = the system's
	Request   *http.Request  // without body; its headers are complete
	Patience  time.Duration  // for the handshake; 0 = as long as ctx lasts
	MaxHeader int            // bytes of the response's header
	MaxBody   int            // bytes of its body that are read
}

// HTTP3Reply is what came of it.
type HTTP3Reply struct {
	Class     Class // ClassOK: a response is there, whole or as far as MaxBody goes
	Detail    string
	Response  *Response // nil = none; may be there beside a body failure. Its body is as it was sent
	State     tls.ConnectionState
	Shown     []*x509.Certificate // the chain that the peer showed, of failing handshakes too
	Handshake time.Duration       // the QUIC handshake, which is both connect and tls
	TTFB      time.Duration
}
