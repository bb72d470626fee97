//go:build linux

package probe

import (
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// farm runs real programs for one test, in a directory of their own, and ends them with it.
type farm struct {
	t   *testing.T
	dir string
}

func newFarm(t *testing.T) *farm { return &farm{t, t.TempDir()} }

// program is where a program is. Where it is missing the test is skipped, but not in CI.
func (f *farm) program(name string) string {
	f.t.Helper()
	for _, path := range []string{name, "/usr/sbin/" + name} {
		if p, err := exec.LookPath(path); err == nil {
			return p
		}
	}
	skip(f.t, name+" is not installed; Debian has it")
	return ""
}

func (f *farm) file(name, text string) string {
	f.t.Helper()
	path := filepath.Join(f.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		f.t.Fatal(err)
	}
	return path
}

// certificate writes a chain and its key into one file.
func (f *farm) certificate(name string, leaf tls.Certificate) string {
	f.t.Helper()
	key, err := x509.MarshalECPrivateKey(leaf.PrivateKey.(*ecdsa.PrivateKey))
	if err != nil {
		f.t.Fatal(err)
	}
	return f.file(name, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Certificate[0]}))+
		string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: key})))
}

// port is one that nobody has now, over TCP and UDP.
func (f *farm) port() int {
	f.t.Helper()
	for range 20 {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			f.t.Fatal(err)
		}
		pc, err := net.ListenPacket("udp4", l.Addr().String())
		_ = l.Close()
		if err == nil {
			_ = pc.Close()
			return l.Addr().(*net.TCPAddr).Port
		}
	}
	f.t.Fatal("no port is free")
	return 0
}

// dead is a port that refuses connections, and that nobody else can take while the test runs.
func (f *farm) dead() int {
	f.t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: loopback.As4()}); err != nil {
		f.t.Fatal(err)
	}
	at, err := syscall.Getsockname(fd)
	if err != nil {
		f.t.Fatal(err)
	}
	return at.(*syscall.SockaddrInet4).Port
}

// start runs a program in a process group of its own and waits until it takes TCP connections at the port. What it says goes
// to a file: over a pipe, a worker that outlives its master would keep us waiting.
func (f *farm) start(port int, path string, args ...string) *exec.Cmd {
	f.t.Helper()
	out, err := os.CreateTemp(f.dir, "out")
	if err != nil {
		f.t.Fatal(err)
	}
	cmd := exec.CommandContext(context.Background(), path, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = f.dir, out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() {
		f.signal(cmd, syscall.SIGKILL)
		_ = cmd.Wait()
		if said, _ := os.ReadFile(out.Name()); f.t.Failed() && len(said) > 0 {
			f.t.Logf("%s said:\n%s", filepath.Base(path), said)
		}
		_ = out.Close()
	})
	for end := time.Now().Add(15 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		c, err := net.Dial("tcp4", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			_ = c.Close()
			return cmd
		}
		if time.Now().After(end) {
			f.t.Fatalf("%s takes no connections: %v", path, err)
		}
	}
}

// signal tells a program and all its workers something.
func (f *farm) signal(cmd *exec.Cmd, s syscall.Signal) { _ = syscall.Kill(-cmd.Process.Pid, s) }

// gone waits until a killed program and its workers are, and nobody listens at its port.
func (f *farm) gone(cmd *exec.Cmd, port int) {
	f.t.Helper()
	_ = cmd.Wait()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		c, err := net.Dial("tcp4", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			return
		}
		_ = c.Close()
	}
	f.t.Fatal("it does not go")
}

// rig is a rig whose site is at a port of this host. Its vantage asks an honest resolver unless it is given another.
func (f *farm) rig(scheme string, port int) *rig {
	g := newRig(f.t)
	g.conf.Recheck, g.conf.DNSTry, g.task.Timeout = 500*time.Millisecond, time.Second, 2*time.Second
	g.site.URL = mustURL(fmt.Sprintf("%s://%s:%d/", scheme, host, port))
	return g
}

// wants looks at a site and wants a class.
func (f *farm) wants(what, scheme string, port int, path string, want Class, change ...func(*rig)) Result {
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
func (f *farm) origin() int {
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

// asRoot is what a program is told that gives up root's rights when it has them: it must read this test's files.
func asRoot(line string) string {
	if os.Geteuid() == 0 {
		return line
	}
	return ""
}
