//go:build linux

package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"faultline/internal/farm"
)

// ownMount makes a child whose state directory is a file system of its own, with the mount options.
func ownMount(t *testing.T, dir, options string, args ...string) *child {
	t.Helper()
	if os.Geteuid() != 0 {
		farm.Skip(t, "only root may mount")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	script := fmt.Sprintf("mount -t tmpfs -o %s none %s && exec \"$@\"", options, dir)
	return startInstalled(t, &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}, []string{"sh", "-c", script, "sh"}, args...)
}

// domains are those of the hooks of an event.
func (p *play) domains(t *testing.T, event string) string {
	t.Helper()
	var out []string
	for _, h := range p.hooks(t, event) {
		if h.Incident != nil {
			out = append(out, h.Incident.Domain.String())
		}
	}
	return strings.Join(out, " ")
}

// The disk is full when an outage begins: the page goes out all the same, and so does one that the state cannot be saved, which
// ends when there is room again.
func TestDiskFull(t *testing.T) {
	p := newPlay(t, strings.Replace(outage, "at_s = 300", "at_s = 150", 1), 6, "[alert]", "[alert]\nresolve_after = \"1m\"")
	var beats atomic.Int64
	outside := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { beats.Add(1) }))
	t.Cleanup(outside.Close)
	p.add(t, fmt.Sprintf("[[heartbeat]]\nname = \"outside\"\nkind = \"ping\"\nevery = \"10s\"\nurl = %q\n", outside.URL))
	state := filepath.Join(p.dir, "state")
	c := ownMount(t, state, "size=2m", "run", "--config", p.config, "--speed", "6")
	eventually(t, 20*time.Second, "the daemon to answer", func() bool {
		status, _ := control(t, p.socket(), http.MethodGet, "/-/ready")
		return status == http.StatusOK
	})
	eventually(t, 20*time.Second, "heartbeats", func() bool { return beats.Load() >= 3 })
	filler := fmt.Sprintf("/proc/%d/root%s/filler", c.cmd.Process.Pid, state)
	if out, err := exec.CommandContext(t.Context(), "dd", "if=/dev/zero", "of="+filler, "bs=4k").CombinedOutput(); err == nil {
		t.Fatalf("the file system takes anything: %s", out)
	}
	p.begin()
	eventually(t, 60*time.Second, "both pages", func() bool {
		got := p.domains(t, "page")
		return strings.Contains(got, "cdn:cloudflare") && strings.Contains(got, "self:store")
	})
	for _, h := range p.hooks(t, "page") {
		if h.Incident.Domain.Name == "store" && !strings.Contains(h.Text, "free some space in "+state) {
			t.Errorf("the page does not say what to do:\n%s", h.Text)
		}
	}
	eventually(t, 20*time.Second, "the heartbeats to stop", func() bool { return strings.Contains(c.text(), "heartbeat stopped") })
	stopped := beats.Load()
	if status, text := control(t, p.socket(), http.MethodGet, "/api/v1/incidents?state=open"); !strings.Contains(text, `"self"`) {
		t.Errorf("got %d: %s, want the trouble to be shown", status, text)
	}
	time.Sleep(4 * time.Second) // in which two beats would come
	if got := beats.Load(); got > stopped {
		t.Errorf("got %d heartbeats while the state could not be saved", got-stopped)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	eventually(t, 20*time.Second, "heartbeats again", func() bool { return beats.Load() > stopped })
	eventually(t, 60*time.Second, "the end of the trouble", func() bool { return strings.Contains(p.domains(t, "resolved"), "self:store") })
	eventually(t, 90*time.Second, "the end of the outage", func() bool { return strings.Contains(p.domains(t, "resolved"), "cdn:cloudflare") })
	got := p.domains(t, "page")
	for _, once := range []string{"cdn:cloudflare", "self:store"} { // a machine that is too busy may add a path of its own
		if strings.Count(got, once) != 1 {
			t.Errorf("got the pages %s, want %s once", got, once)
		}
	}
	c.stop()
}

// A state directory that cannot be written is named at the start, with what to do.
func TestStateReadOnly(t *testing.T) {
	p := newPlay(t, outage, 6)
	state := filepath.Join(p.dir, "state")
	c := ownMount(t, state, "ro", "run", "--config", p.config)
	if err := c.cmd.Wait(); err == nil || c.cmd.ProcessState.ExitCode() != exitUsage {
		t.Errorf("got %v, want exit status %d", err, exitUsage)
	}
	if want := "mount " + state + " writable, or set another state directory"; !strings.Contains(c.text(), want) {
		t.Errorf("got %s, want %q", c.text(), want)
	}
}

// A state that is damaged is put aside and told, and the daemon watches; the trouble is over at the next start.
func TestStateDamaged(t *testing.T) {
	p := newPlay(t, outage, 6)
	state := filepath.Join(p.dir, "state")
	if err := os.MkdirAll(state, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(state, "state.db"), []byte(strings.Repeat("no database ", 10000)), 0o600); err != nil {
		t.Fatal(err)
	}
	c := startInstalled(t, nil, nil, "run", "--config", p.config, "--speed", "6")
	eventually(t, 20*time.Second, "the page", func() bool { return p.domains(t, "page") == "self:state-damaged" })
	c.stop()
	c = startInstalled(t, nil, nil, "run", "--config", p.config, "--speed", "6")
	eventually(t, 20*time.Second, "the end", func() bool { return p.domains(t, "resolved") == "self:state-damaged" })
	c.stop()
	if got := p.domains(t, "page"); got != "self:state-damaged" {
		t.Errorf("got the pages %s, want one", got)
	}
}
