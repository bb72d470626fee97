//go:build linux

package probe

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"faultline/internal/farm"
)

// ground is where real programs stand, and rigs that look at them.
type ground struct {
	*farm.Farm
	t *testing.T
}

func newGround(t *testing.T) *ground { return &ground{farm.New(t), t} }

// rig is a rig whose site is at a port of this host. Its vantage asks an honest resolver unless it is given another.
func (f *ground) rig(scheme string, port int) *rig {
	g := newRig(f.t)
	g.conf.Recheck, g.conf.DNSTry, g.task.Timeout = 500*time.Millisecond, time.Second, 2*time.Second
	g.site.URL = mustURL(fmt.Sprintf("%s://%s:%d/", scheme, host, port))
	return g
}

// wants looks at a site and wants a class.
func (f *ground) wants(what, scheme string, port int, path string, want Class, change ...func(*rig)) Result {
	f.t.Helper()
	g := f.rig(scheme, port)
	g.site.URL.Path = path
	for _, c := range change {
		c(g)
	}
	r := g.probe()
	if r.Class != want {
		f.t.Errorf("%s: got %v (%s), want %v", what, r.Class, r.Why, want)
	}
	return r
}

func overHTTP2(g *rig) { g.site.HTTP = HTTP2 }

// origin is a server of ours behind the real ones.
func (f *ground) origin() int {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		f.t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") })
	mux.HandleFunc("/cut", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100000")
		_, _ = io.WriteString(w, strings.Repeat("x", 50000))
		panic(http.ErrAbortHandler)
	})
	mux.HandleFunc("/hang", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	mux.HandleFunc("/reset", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	mux.HandleFunc("/drip", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, "slow")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	s := &http.Server{Handler: mux, ErrorLog: quiet}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	f.t.Cleanup(func() { _ = s.Close(); <-done })
	return l.Addr().(*net.TCPAddr).Port
}

func at(port int) netip.AddrPort { return netip.AddrPortFrom(loopback, uint16(port)) }
