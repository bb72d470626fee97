package http3

import (
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"

	"faultline/probe"
)

// Bounds of what a peer can make us read.
const (
	roomBeside = 1 << 20 // bytes, for the handshake, for the protocols' own needs and for what comes twice
	maxErrors  = 100     // of the socket that are passed over
)

// errFlood ends a connection on which more comes than one response can need.
var errFlood = errors.New("the peer sends without end")

// quiet is a PacketConn that the library takes as it is. It asks for no larger buffers, which one response does not need,
// and so logs no complaint that there are none; and it sees a socket without the options of its fast paths.
type quiet struct{ net.PacketConn }

// SetReadBuffer does nothing. The library looks for it.
func (quiet) SetReadBuffer(int) error { return nil }

// SetWriteBuffer does nothing. The library looks for it.
func (quiet) SetWriteBuffer(int) error { return nil }

// socket is the PacketConn of one connection. It tells silence from an answer.
type socket struct {
	quiet
	peer   netip.AddrPort
	room   int                   // bytes that may still come; only the library's one reader uses it
	heard  atomic.Bool           // a QUIC packet came
	errors atomic.Int32          // of the socket that were passed over
	lost   atomic.Pointer[error] // what the network last said of the way to the peer
	broken atomic.Pointer[error] // the errno that ended the connection, of which the library keeps but the text
}

func newSocket(q *probe.HTTP3Request) *socket {
	reportICMP(q.Conn)
	return &socket{quiet: quiet{q.Conn}, peer: unmap(q.Addr), room: 2*(q.MaxHeader+q.MaxBody) + roomBeside}
}

// ReadFrom reads the next packet of the peer's.
func (s *socket) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, from, err := s.PacketConn.ReadFrom(b)
		if err != nil {
			if err = s.pass(err); err != nil {
				return 0, nil, err
			}
			continue
		}
		if !s.isPeer(from) {
			continue
		}
		if s.room -= n; s.room < 0 {
			return 0, nil, errFlood
		}
		const longHeader = 0x80 // which all packets of a handshake have
		if n > 0 && b[0]&longHeader != 0 {
			s.heard.Store(true)
		}
		return n, from, nil
	}
}

// WriteTo sends a packet, a second time where the first fails: the kernel reports what ICMP said, and to a new socket
// sometimes EPERM (golang/go#63322), once and in the place of sending.
func (s *socket) WriteTo(b []byte, to net.Addr) (int, error) {
	n, err := s.PacketConn.WriteTo(b, to)
	if err == nil || !isErrno(err) {
		return n, err
	}
	n, again := s.PacketConn.WriteTo(b, to)
	if again != nil {
		return n, s.fail(again)
	}
	return n, s.pass(err)
}

func (s *socket) fail(err error) error {
	if isErrno(err) {
		s.broken.CompareAndSwap(nil, &err)
	}
	return err
}

// pass returns the errors that end the connection. A port that is said to be closed does, before anything was heard from
// it; what is said about the way there may pass, and is kept for the case that nothing else comes.
func (s *socket) pass(err error) error {
	switch {
	case !isErrno(err), s.errors.Add(1) > maxErrors:
		return s.fail(err)
	case s.heard.Load():
		return nil
	case errors.Is(err, syscall.ECONNREFUSED):
		return s.fail(err)
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EACCES):
		s.lost.Store(&err)
	}
	return nil
}

func (s *socket) isPeer(from net.Addr) bool {
	u, ok := from.(*net.UDPAddr)
	if !ok { // what carries the packets for us knows better
		return true
	}
	a := u.AddrPort()
	return a.Port() == s.peer.Port() && a.Addr().Unmap().WithZone("") == s.peer.Addr().WithZone("")
}

func isErrno(err error) bool {
	return is[syscall.Errno](err)
}
