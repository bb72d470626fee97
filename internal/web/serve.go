package web

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	stdlog "log"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/net/netutil"
)

const (
	maxConns  = 1024             // open at once on one listener; more wait in the kernel's queue
	grace     = 3 * time.Second  // requests under way may take so long to end
	maxHeader = 16 << 10         // bytes of a request's header
	slow      = 30 * time.Second // to send a request, or to take its answer
)

// Serve answers on l with h until ctx is done, then lets requests end, and returns after the last of them has; event
// streams end at once. It closes l. With secure it speaks TLS. The error is nil when ctx ended it and nothing had to be cut off.
func Serve(ctx context.Context, l net.Listener, h http.Handler, secure *tls.Config, log zerolog.Logger) error {
	var conns sync.WaitGroup
	srv := &http.Server{
		Handler:           h,
		ErrorLog:          stdlog.New(serverLog{log}, "", 0),
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
	l = netutil.LimitListener(l, maxConns)
	if secure == nil {
		go func() { served <- srv.Serve(l) }()
	} else {
		srv.TLSConfig = secure
		if !slices.Contains(secure.NextProtos, "h2") {
			srv.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){} // no HTTP/2
		}
		go func() { served <- srv.ServeTLS(l, "", "") }()
	}

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

// serverLog takes what the HTTP server has to say. Whoever likes can make handshakes fail, so those are told to the curious only.
type serverLog struct{ log zerolog.Logger }

func (l serverLog) Write(p []byte) (int, error) {
	level := zerolog.ErrorLevel
	if bytes.Contains(p, []byte("TLS handshake error")) {
		level = zerolog.DebugLevel
	}
	l.log.WithLevel(level).Str("server", string(bytes.TrimSpace(p))).Msg("HTTP server")
	return len(p), nil
}
