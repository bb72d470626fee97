package notify

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// script is a command in the language of the shell, which has a directory for what it notes as $1.
func script(t *testing.T, text string) (x *Exec, dir string) {
	t.Helper()
	dir = t.TempDir()
	x, err := NewExec([]string{"/bin/sh", "-c", text, "script", dir})
	if err != nil {
		t.Fatal(err)
	}
	return x, dir
}

func noted(t *testing.T, dir, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestExecGetsTheDocument(t *testing.T) {
	t.Setenv("FAULTLINE_TEST_SECRET", "s3cret")
	t.Setenv("LANG", "C.UTF-8")
	x, dir := script(t, `cat > "$1/in"; env > "$1/env"`)
	i := founding()
	i.Domain.Name = "a\x00b"
	m := Message{Incident: &i, First: true}
	if err := x.Deliver(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	want, err := json.Marshal(m.Document())
	if err != nil {
		t.Fatal(err)
	}
	if got := noted(t, dir, "in"); got != string(want) {
		t.Errorf("got %s, want %s", got, want)
	}
	var names []string
	for line := range strings.Lines(noted(t, dir, "env")) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		if name != "PWD" && name != "SHLVL" && name != "_" && name != "OLDPWD" { // the shell's own
			names = append(names, name)
		}
		if strings.Contains(value, "s3cret") || name == "FAULTLINE_EVENT" && value != "page" || name == "FAULTLINE_KEY" && value != m.Key() {
			t.Errorf("got %s", line)
		}
	}
	slices.Sort(names)
	if d := cmp.Diff(names, []string{"FAULTLINE_EVENT", "FAULTLINE_KEY", "FAULTLINE_SEVERITY", "FAULTLINE_TITLE", "HOME", "LANG", "PATH"}); d != "" {
		t.Errorf("-got +want:\n%s", d)
	}
}

func TestExecOutcomes(t *testing.T) {
	f := func(text, want, says string) {
		t.Helper()
		x, _ := script(t, text)
		i := founding()
		err := x.Deliver(t.Context(), Message{Incident: &i})
		if kindOf(err) != want {
			t.Errorf("%s: got %s (%v), want %s", text, kindOf(err), err, want)
		}
		if err != nil && (!strings.Contains(err.Error(), says) || len(err.Error()) > 2*maxErrorLen) {
			t.Errorf("%s: got %v, want %q in it, and that it is short", text, err, says)
		}
	}
	f("exit 0", "taken", "") // does not even read its input
	f("exit 1", "later", "exit status 1")
	f("echo 'no such channel' >&2; exit 65", "never", "no such channel")
	f("kill -9 $$", "later", "killed")
	f("yes | head -c 1000000; echo the end; exit 3", "later", "the end")
	f("yes | head -c 1000000; exit 0", "taken", "")
	x, err := NewExec([]string{"/nowhere/page"})
	if err != nil {
		t.Fatal(err)
	}
	i := founding()
	if err := x.Deliver(t.Context(), Message{Incident: &i}); kindOf(err) != "later" || !strings.Contains(err.Error(), "/nowhere/page") {
		t.Errorf("got %v", err)
	}
	if _, err := NewExec(nil); err == nil {
		t.Error("no command was taken for one")
	}
}

// At the deadline the command goes with all that it has started.
func TestExecKillsTheGroup(t *testing.T) {
	x, dir := script(t, `mkfifo "$1/go"; sh -c 'echo $$ > "$1/pid"; echo > "$1/go"; exec sleep 1000' sh "$1" & read x < "$1/go"; echo > "$1/ready"; wait`)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	i := founding()
	go func() { done <- x.Deliver(ctx, Message{Incident: &i}) }()
	await(t, "the command to be ready", func() bool {
		_, err := os.Stat(filepath.Join(dir, "ready"))
		return err == nil
	})
	cancel()
	select {
	case err := <-done:
		if kindOf(err) != "later" || !strings.Contains(err.Error(), "too long") {
			t.Errorf("got %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("it is waited for")
	}
	pid, err := strconv.Atoi(strings.TrimSpace(noted(t, dir, "pid")))
	if err != nil {
		t.Fatal(err)
	}
	await(t, "the child to be gone", func() bool {
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		return err != nil || strings.Contains(string(stat), ") Z ")
	})
}

// What stays behind in the background holds nobody up, and is left alone.
func TestExecLeavesTheBackgroundAlone(t *testing.T) {
	x, dir := script(t, `sleep 1000 & echo $! > "$1/pid"`)
	i := founding()
	began := time.Now()
	if err := x.Deliver(t.Context(), Message{Incident: &i}); err != nil {
		t.Error(err)
	}
	if d := time.Since(began); d > pipesStay+5*time.Second {
		t.Errorf("it took %v", d)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(noted(t, dir, "pid")))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Errorf("the background is gone: %v", err)
	}
}

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("waited in vain for %s", what)
}
