package web

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/net/netutil"
)

const (
	maxConns  = 1024             // open at once on one listener; more wait in the kernel's queue
	grace     = 3 * time.Second  // requests under way may take so long to end
	maxHeader = 16 << 10         // bytes of a request's header
	slow      = 30 * time.Second // to send a request, or to take its answer
)

// Serve answers on l with h until ctx is done, then lets requests end, and returns after the last of them has; event
// streams end at once. It closes l. The error is nil when ctx ended it and nothing had to be cut off.
func Serve(ctx context.Context, l net.Listener, h http.Handler) error {
	var conns sync.WaitGroup
	srv := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       slow,
		WriteTimeout:      slow,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    maxHeader,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ConnState: func(_ net.Conn, st http.ConnState) {
			switch st {
			case http.StateNew:
				conns.Add(1)
			case http.StateClosed, http.StateHijacked:
				conns.Done() // comes after the last handler on the connection has returned
			}
		},
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(netutil.LimitListener(l, maxConns)) }()

	select {
	case err := <-served:
		_ = srv.Close() // what is wrong is in err
		conns.Wait()
		return fmt.Errorf("serving HTTP on %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	err := srv.Shutdown(stop)
	if err != nil {
		err = errors.Join(fmt.Errorf("ending requests on %s in time: %w", l.Addr(), err), srv.Close())
	}
	<-served
	conns.Wait()
	return err
}
