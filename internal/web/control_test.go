package web

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rs/zerolog"
)

func listen(t *testing.T, path string) net.Listener {
	t.Helper()
	l, err := ListenControl(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func TestControlSocketServes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run", "control.sock")
	l := listen(t, path)
	fi, err := os.Stat(path)
	if err != nil || fi.Mode().Perm() != 0o660 {
		t.Errorf("got mode %v, %v, want 0660", fi.Mode(), err)
	}
	if dir, err := os.Stat(filepath.Dir(path)); err != nil || dir.Mode().Perm()&0o007 != 0 {
		t.Errorf("directory has mode %v, %v: others may enter", dir.Mode(), err)
	}

	c := sampleConfig(sampleView())
	c.Writes = true
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, l, New(c), nil, zerolog.Nop()) }()
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://faultline/-/reload", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("reload over the control socket: got %s", resp.Status)
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("Serve: %v", err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is left behind: %v", err)
	}
}

func TestControlSocketReplacesADeadOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "control.sock")
	dead := listen(t, path)
	dead.(*net.UnixListener).SetUnlinkOnClose(false)
	dead.Close()
	if _, err := os.Lstat(path); err != nil {
		t.Fatal("no dead socket to replace")
	}
	listen(t, path)
}

func TestControlSocketRefuses(t *testing.T) {
	dir := t.TempDir()
	f := func(path, want string) {
		t.Helper()
		l, err := ListenControl(path)
		if err == nil {
			l.Close()
			t.Fatalf("%s was opened", path)
		}
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got %q, want %q in it", err, want)
		}
	}
	taken := filepath.Join(dir, "taken.sock")
	listen(t, taken)
	f(taken, "another process answers")

	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	f(file, "no socket")
	if b, err := os.ReadFile(file); err != nil || string(b) != "precious" {
		t.Errorf("the file is %q, %v", b, err)
	}
	f(filepath.Join(dir, strings.Repeat("x", 200)), "shorter")
	f(filepath.Join(file, "control.sock"), "directory")
}
