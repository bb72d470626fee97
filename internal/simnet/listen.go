package simnet

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"syscall"
	"time"
)

const (
	firstPort = 20000 // of those that are tried: below the ephemeral ones
	lastPort  = 32000
	portTries = 50
)

// onePort finds a port that open accepts on every address.
func onePort(addrs []netip.Addr, open func(netip.AddrPort) error, closeAll func()) (uint16, error) {
	var errs []error
	for range portTries {
		port := uint16(firstPort + rand.IntN(lastPort-firstPort))
		var err error
		for _, a := range addrs {
			if err = open(netip.AddrPortFrom(a, port)); err != nil {
				break
			}
		}
		if err == nil {
			return port, nil
		}
		closeAll()
		errs = append(errs, err)
	}
	return 0, fmt.Errorf("finding a free port on %d addresses of 127.0.0.0/8: %w", len(addrs), errors.Join(errs[:3]...))
}

// hole is an address at which nobody answers: a listener that accepts nothing and whose queue is full, so that the
// kernel drops every further SYN.
type hole struct {
	l      net.Listener
	inside []net.Conn // fill the queue
}

const maxFill = 8 // connections that a queue of the shortest length may take

func digHole(addr netip.AddrPort) (*hole, error) {
	l, err := net.Listen("tcp4", addr.String())
	if err != nil {
		return nil, err
	}
	h := &hole{l: l}
	raw, err := l.(*net.TCPListener).SyscallConn()
	if err != nil {
		return nil, errors.Join(err, h.Close())
	}
	var listenErr error
	err = raw.Control(func(fd uintptr) { listenErr = syscall.Listen(int(fd), 0) }) // again, with the shortest queue
	if err = errors.Join(err, listenErr); err != nil {
		return nil, errors.Join(err, h.Close())
	}
	return h, nil
}

// fill fills the hole's queue; it takes as long as one attempt that goes unanswered.
func (h *hole) fill(ctx context.Context) error {
	d := net.Dialer{Timeout: 200 * time.Millisecond}
	for range maxFill {
		c, err := d.DialContext(ctx, "tcp4", h.l.Addr().String())
		if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
			return nil
		}
		if err != nil {
			return fmt.Errorf("filling the queue of %s: %w", h.l.Addr(), err)
		}
		h.inside = append(h.inside, c)
	}
	return fmt.Errorf("the queue of %s never fills: this kernel gives no address at which nobody answers", h.l.Addr())
}

func (h *hole) Close() error {
	for _, c := range h.inside {
		_ = c.Close()
	}
	return h.l.Close()
}
