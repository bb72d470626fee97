//go:build linux

package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/miekg/dns"

	"faultline/internal/farm"
)

// The daemon stands in a network namespace with one cable, d0, to a router, behind which is all the rest: in the namespace of
// the test's own thread, where the sites, the anchors and the resolver are, at addresses of documentation.
const (
	daemonNet   = "faultline-test"
	worldIP4    = "198.51.100.1"
	worldIP6    = "2001:db8:1::1"
	resolverIP4 = "198.51.100.53"
)

// farSide is what is on the other end of the cable.
type farSide struct {
	t      *testing.T
	do     chan func() // run on the thread in the world's namespace
	silent atomic.Bool // the resolver answers nothing
	broken atomic.Bool // the CDN answers for none of its sites
}

func newFarSide(t *testing.T) *farSide {
	t.Helper()
	if os.Geteuid() != 0 {
		farm.Skip(t, "only root may make a network namespace")
	}
	w := &farSide{t: t, do: make(chan func())}
	ended := make(chan struct{})
	entered := make(chan error)
	go func() {
		defer close(ended)
		runtime.LockOSThread() // for good: the thread ends with its goroutine
		entered <- syscall.Unshare(syscall.CLONE_NEWNET)
		for f := range w.do {
			f()
		}
	}()
	t.Cleanup(func() { close(w.do); <-ended })
	if err := <-entered; err != nil {
		farm.Skip(t, fmt.Sprintf("making a network namespace: %v", err))
	}
	_ = exec.Command("ip", "netns", "delete", daemonNet).Run() // of a test that was killed
	w.ip("", "netns add "+daemonNet)
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "delete", daemonNet).Run() })
	w.here(`link set lo up
link add w0 type veth peer name d0 netns ` + daemonNet + `
address add 10.77.0.1/24 dev w0
address add fd77::1/64 dev w0 nodad
link set w0 up
address add ` + worldIP4 + `/32 dev lo
address add ` + resolverIP4 + `/32 dev lo
address add ` + worldIP6 + `/128 dev lo nodad`)
	w.there("link set lo up")
	w.plugIn()
	return w
}

// ip runs the program ip, once for each line.
func (w *farSide) ip(options, lines string) {
	w.t.Helper()
	for line := range strings.SplitSeq(lines, "\n") {
		if out, err := exec.Command("ip", append(strings.Fields(options), strings.Fields(line)...)...).CombinedOutput(); err != nil {
			w.t.Errorf("ip %s %s: %v: %s", options, line, err, out)
		}
	}
}

// there sets up the daemon's side, here the world's.
func (w *farSide) there(lines string) { w.t.Helper(); w.ip("-n "+daemonNet, lines) }

func (w *farSide) here(lines string) { w.t.Helper(); w.inside(func() { w.ip("", lines) }) }

func (w *farSide) inside(f func()) {
	done := make(chan struct{})
	w.do <- func() { defer close(done); f() }
	<-done
}

// plugIn is what a network manager does when the cable is there.
func (w *farSide) plugIn() {
	w.t.Helper()
	w.there(`link set d0 up
address replace 10.77.0.2/24 dev d0
address replace fd77::2/64 dev d0 nodad
route replace default via 10.77.0.1
-6 route replace default via fd77::1`)
}

// serve starts the sites and the resolver.
func (w *farSide) serve() {
	w.t.Helper()
	var listeners []net.Listener
	var pc net.PacketConn
	var err error
	w.inside(func() {
		for _, host := range []string{worldIP4, worldIP6} {
			l, lerr := net.Listen("tcp", net.JoinHostPort(host, "80"))
			if err = lerr; err != nil {
				return
			}
			listeners = append(listeners, l)
		}
		pc, err = net.ListenPacket("udp", resolverIP4+":53")
	})
	if err != nil {
		w.t.Fatal(err)
	}
	web := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.Host, "site") && w.broken.Load() {
			rw.Header().Set("Server", "cloudflare")
			rw.WriteHeader(http.StatusBadGateway)
			_, _ = io.WriteString(rw, "<html><head><title>502 Bad Gateway</title></head><body><center><h1>502 Bad Gateway</h1></center><hr><center>cloudflare</center></body></html>")
			return
		}
		_, _ = io.WriteString(rw, "hello")
	})}
	names := &dns.Server{PacketConn: pc, Handler: dns.HandlerFunc(w.answer)}
	var ends []chan error
	for _, l := range listeners {
		end := make(chan error, 1)
		ends = append(ends, end)
		go func() { end <- web.Serve(l) }()
	}
	end := make(chan error, 1)
	ends = append(ends, end)
	go func() { end <- names.ActivateAndServe() }()
	w.t.Cleanup(func() {
		_ = web.Close()
		_ = pc.Close()
		for _, end := range ends {
			<-end
		}
	})
}

// answer is a resolver that knows every name.
func (w *farSide) answer(rw dns.ResponseWriter, q *dns.Msg) {
	if w.silent.Load() {
		return
	}
	m := new(dns.Msg).SetReply(q)
	hdr := dns.RR_Header{Name: q.Question[0].Name, Rrtype: q.Question[0].Qtype, Class: dns.ClassINET, Ttl: 60}
	switch hdr.Rrtype {
	case dns.TypeA:
		m.Answer = []dns.RR{&dns.A{Hdr: hdr, A: netip.MustParseAddr(worldIP4).AsSlice()}}
	case dns.TypeAAAA:
		m.Answer = []dns.RR{&dns.AAAA{Hdr: hdr, AAAA: netip.MustParseAddr(worldIP6).AsSlice()}}
	}
	_ = rw.WriteMsg(m)
}

func (w *farSide) config(dir string) string {
	text := fmt.Sprintf(`[daemon]
listen = ""
control_socket = %q
state_dir = %q
allow_addresses = ["198.51.100.0/24", "2001:db8::/32"]
[defaults]
interval = "30s"
timeout = "4s"
family = "both"
[alert]
quiet_after_start = "0s"
anchors = ["http://a1.example/", "http://a2.test/", "http://a3.invalid/", "http://a4.localhost/"]
anchor_interval = "30s"
[[vantage]]
name = "here"
resolvers = ["%s"]
`, filepath.Join(dir, "control.sock"), dir, resolverIP4)
	for i := range 6 {
		text += fmt.Sprintf("[[site]]\nname = \"site%[1]d\"\nurl = \"http://site%[1]d.owner%[1]d.example/\"\ncdn = \"cloudflare\"\n", i+1)
	}
	path := filepath.Join(dir, "faultline.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
	return path
}

// What goes wrong at the daemon's own end is told as that, blames no site, pages nobody, and is over when it is over, without a
// restart. Then a CDN fails in earnest, and that pages.
func TestOwnTroubles(t *testing.T) {
	w := newFarSide(t)
	w.serve()
	dir := t.TempDir()
	socket := filepath.Join(dir, "control.sock")
	c := startBy(t, nil, []string{"ip", "netns", "exec", daemonNet}, "run", "--config", w.config(dir), "--speed", "6")
	good := func() float64 { return metric(t, socket, "faultline_probe_results_total", `class="ok"`) }
	eventually(t, 20*time.Second, "every site to answer", func() bool { return good() >= 20 })

	trouble := func(what, class, lane string, begin, end func()) {
		t.Helper()
		said := len(c.text())
		since := func(text string) func() bool {
			return func() bool { return strings.Contains(c.text()[said:], text) }
		}
		failing := func() float64 {
			return metric(t, socket, "faultline_probe_results_total", fmt.Sprintf("class=%q", class))
		}
		before := failing()
		begin()
		eventually(t, 20*time.Second, what+": the vantage to be called sick", since("vantage here is sick"+lane+":"))
		end()
		eventually(t, 30*time.Second, what+": the vantage to be well again", since("vantage here is well again"+lane+" after"))
		if n := failing() - before; n < 2 {
			t.Errorf("%s: got %v results of the class %s, want some", what, n, class)
		}
		was := good()
		eventually(t, 10*time.Second, what+": every site to answer again", func() bool { return good() >= was+20 })
		for line := range strings.Lines(c.text()[said:]) {
			if strings.Contains(line, `"message":"notice"`) && !strings.Contains(line, `"notice":"vantage_unhealthy"`) || strings.Contains(line, `"event":"page"`) {
				t.Errorf("%s: it says also %s", what, line)
			}
		}
		if _, text := control(t, socket, http.MethodGet, "/api/v1/incidents"); !strings.Contains(text, `"total":0`) {
			t.Errorf("%s: got incidents, want none: %s", what, text)
		}
	}
	trouble("the cable is pulled", "local_no_network", "", func() { w.there("link set d0 down") }, w.plugIn)
	dead := func(family, gateway string) func() {
		return func() {
			w.there("neigh replace " + gateway + " lladdr 02:00:00:00:00:99 dev d0 nud permanent")
			w.there(family + " route replace default via " + gateway)
		}
	}
	trouble("the default route is dead", "dns_timeout", "", dead("-4", "10.77.0.99"), w.plugIn)
	trouble("the resolver stops", "dns_timeout", "", func() { w.silent.Store(true) }, func() { w.silent.Store(false) })
	trouble("IPv6 is lost", "connect_timeout", " over IPv6", dead("-6", "fd77::99"), w.plugIn)
	var files syscall.Rlimit
	trouble("no descriptor is left", "local_resource", "", func() { files = c.limitFiles(3) }, func() { c.setFiles(files) })

	w.broken.Store(true)
	eventually(t, 20*time.Second, "a page", func() bool { return strings.Contains(c.text(), `"event":"page"`) })
	eventually(t, 5*time.Second, "one incident, of Cloudflare", func() bool {
		_, text := control(t, socket, http.MethodGet, "/api/v1/incidents")
		return strings.Contains(text, `"total":1`) && strings.Contains(text, `"cloudflare"`)
	})
	c.stop()
}

// limitFiles lets the process have no more descriptors than n, and gives what it could have before.
func (c *child) limitFiles(n uint64) (was syscall.Rlimit) {
	c.t.Helper()
	if _, _, errno := syscall.RawSyscall6(syscall.SYS_PRLIMIT64, uintptr(c.cmd.Process.Pid), syscall.RLIMIT_NOFILE, 0, uintptr(unsafe.Pointer(&was)), 0, 0); errno != 0 {
		c.t.Fatal(errno)
	}
	c.setFiles(syscall.Rlimit{Cur: n, Max: was.Max})
	return was
}

func (c *child) setFiles(limit syscall.Rlimit) {
	c.t.Helper()
	if _, _, errno := syscall.RawSyscall6(syscall.SYS_PRLIMIT64, uintptr(c.cmd.Process.Pid), syscall.RLIMIT_NOFILE, uintptr(unsafe.Pointer(&limit)), 0, 0, 0); errno != 0 {
		c.t.Fatal(errno)
	}
}
