//go:build linux

package farm

import (
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Farm runs programs for one test, in a directory of their own, and ends them with it.
type Farm struct {
	T   testing.TB
	Dir string
}

// New makes a Farm.
func New(t testing.TB) *Farm { return &Farm{t, t.TempDir()} }

// Program is where a program is. Where it is missing the test is skipped.
func (f *Farm) Program(name string) string {
	f.T.Helper()
	for _, path := range []string{name, "/usr/sbin/" + name} {
		if p, err := exec.LookPath(path); err == nil {
			return p
		}
	}
	Skip(f.T, name+" is not installed; Debian has it")
	return ""
}

// AsRoot is a line of a config that a program needs when root starts it, as it could not read this test's files otherwise.
func AsRoot(line string) string {
	if os.Geteuid() == 0 {
		return line
	}
	return ""
}

// File writes a file into the farm's directory and gives its path.
func (f *Farm) File(name, text string) string {
	f.T.Helper()
	path := filepath.Join(f.Dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		f.T.Fatal(err)
	}
	return path
}

// Certificate writes a certificate and its ECDSA key into one file.
func (f *Farm) Certificate(name string, leaf tls.Certificate) string {
	f.T.Helper()
	key, err := x509.MarshalECPrivateKey(leaf.PrivateKey.(*ecdsa.PrivateKey))
	if err != nil {
		f.T.Fatal(err)
	}
	return f.File(name, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Certificate[0]}))+
		string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: key})))
}

// Open lets a program that has given up root's rights read these files, and write into the farm's directory.
func (f *Farm) Open(files ...string) {
	f.T.Helper()
	modes := map[string]os.FileMode{filepath.Dir(f.Dir): 0o755, f.Dir: 0o777}
	for _, file := range files {
		modes[file] = 0o644
	}
	for path, mode := range modes {
		if err := os.Chmod(path, mode); err != nil {
			f.T.Fatal(err)
		}
	}
}

// Port is one of 127.0.0.1 that nobody has now, over TCP and UDP.
func (f *Farm) Port() int {
	f.T.Helper()
	for range 20 {
		l, err := new(net.ListenConfig).Listen(f.T.Context(), "tcp4", "127.0.0.1:0")
		if err != nil {
			f.T.Fatal(err)
		}
		pc, err := new(net.ListenConfig).ListenPacket(f.T.Context(), "udp4", l.Addr().String())
		_ = l.Close()
		if err == nil {
			_ = pc.Close()
			return l.Addr().(*net.TCPAddr).Port
		}
	}
	f.T.Fatal("no port is free")
	return 0
}

// Dead is a port of 127.0.0.1 that refuses connections, and that nobody else can take while the test runs.
func (f *Farm) Dead() int {
	f.T.Helper()
	return f.bound().port
}

// BlackHole is a port of 127.0.0.1 at which nothing answers to a connection: the queue of who listens is full.
func (f *Farm) BlackHole() int {
	f.T.Helper()
	s := f.bound()
	if err := syscall.Listen(s.fd, 0); err != nil {
		f.T.Fatal(err)
	}
	for range 4 {
		d := net.Dialer{Timeout: 200 * time.Millisecond}
		c, err := d.DialContext(f.T.Context(), "tcp4", fmt.Sprintf("127.0.0.1:%d", s.port))
		if err != nil {
			return s.port
		}
		f.T.Cleanup(func() { _ = c.Close() })
	}
	f.T.Fatal("the queue does not fill")
	return 0
}

type socket struct{ fd, port int }

func (f *Farm) bound() socket {
	f.T.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		f.T.Fatal(err)
	}
	f.T.Cleanup(func() { _ = syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		f.T.Fatal(err)
	}
	at, err := syscall.Getsockname(fd)
	if err != nil {
		f.T.Fatal(err)
	}
	return socket{fd, at.(*syscall.SockaddrInet4).Port}
}

// Start runs a program in a process group of its own and waits until it takes TCP connections at the port. What it says goes
// to a file: over a pipe, a worker that outlives its master would keep us waiting.
func (f *Farm) Start(port int, path string, args ...string) *exec.Cmd {
	f.T.Helper()
	return f.StartWith(nil, port, path, args...)
}

// StartWith is Start with more variables in the program's environment.
func (f *Farm) StartWith(env []string, port int, path string, args ...string) *exec.Cmd {
	f.T.Helper()
	out, err := os.CreateTemp(f.Dir, "out")
	if err != nil {
		f.T.Fatal(err)
	}
	cmd := exec.CommandContext(context.Background(), path, args...) // ended below: a group, not a process
	cmd.Dir, cmd.Stdout, cmd.Stderr = f.Dir, out, out
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		f.T.Fatal(err)
	}
	f.T.Cleanup(func() {
		Signal(cmd, syscall.SIGKILL)
		_ = cmd.Wait()
		if said, _ := os.ReadFile(out.Name()); f.T.Failed() && len(said) > 0 {
			f.T.Logf("%s said:\n%s", filepath.Base(path), said)
		}
		_ = out.Close()
	})
	f.await(cmd, port, true)
	return cmd
}

// Signal tells a program and all its workers something.
func Signal(cmd *exec.Cmd, s syscall.Signal) { _ = syscall.Kill(-cmd.Process.Pid, s) }

// Freeze stops a program and all its workers where they are, and waits until each of their threads stands still. Thaw lets
// them go on.
func (f *Farm) Freeze(cmd *exec.Cmd) {
	f.T.Helper()
	Signal(cmd, syscall.SIGSTOP)
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if still(cmd.Process.Pid) {
			return
		}
	}
	f.T.Fatalf("%s does not stop", filepath.Base(cmd.Path))
}

// Thaw is the end of Freeze.
func (f *Farm) Thaw(cmd *exec.Cmd) { Signal(cmd, syscall.SIGCONT) }

// still tells whether every thread of a process group is stopped.
func still(group int) bool {
	threads, err := filepath.Glob("/proc/[0-9]*/task/[0-9]*/stat")
	if err != nil {
		return false
	}
	for _, path := range threads {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		_, rest, _ := strings.Cut(string(text), ") ") // after the name: state, parent, group
		if fields := strings.Fields(rest); len(fields) > 2 && fields[2] == strconv.Itoa(group) && fields[0] != "T" && fields[0] != "Z" {
			return false
		}
	}
	return true
}

// Kill kills a program and waits until nobody listens at its port.
func (f *Farm) Kill(cmd *exec.Cmd, port int) {
	f.T.Helper()
	Signal(cmd, syscall.SIGKILL)
	_ = cmd.Wait()
	f.await(cmd, port, false)
}

// await waits until somebody, or nobody, takes connections at a port.
func (f *Farm) await(cmd *exec.Cmd, port int, somebody bool) {
	f.T.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		c, err := new(net.Dialer).DialContext(f.T.Context(), "tcp4", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			_ = c.Close()
		}
		if (err == nil) == somebody {
			return
		}
	}
	f.T.Fatalf("waited in vain for %s at port %d: taking connections = %v", filepath.Base(cmd.Path), port, somebody)
}
