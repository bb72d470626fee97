package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// testPages runs page-test with a config of some channels and gives its lines.
func testPages(t *testing.T, channels string, args ...string) (int, []pageOutcome, string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config.toml")
	text := "[[vantage]]\nname = \"v1\"\nresolvers = [\"192.0.2.1\"]\n[[site]]\nname = \"s\"\nurl = \"https://s.example/\"\n" + channels
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	status, stdout, stderr := command(t, append([]string{"page-test", "--config", file, "--json"}, args...)...)
	var out []pageOutcome
	for line := range strings.Lines(stdout) {
		var o pageOutcome
		if err := json.Unmarshal([]byte(line), &o); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		out = append(out, o)
	}
	return status, out, stderr
}

func TestPageTest(t *testing.T) {
	bodies := make(chan map[string]any, 10)
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var b map[string]any
		if err := json.NewDecoder(r.Body).Decode(&b); err != nil {
			t.Error(err)
		}
		bodies <- b
	}))
	defer s.Close()
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead.Close()
	title := filepath.Join(t.TempDir(), "title")
	channels := fmt.Sprintf(`
[[channel]]
name = "hook"
kind = "webhook"
url = %q
[[channel]]
name = "mine"
kind = "exec"
command = ["sh", "-c", 'echo "$FAULTLINE_TITLE" >> "$0"', %q]
[[channel]]
name = "refuses"
kind = "exec"
command = ["sh", "-c", "echo no such channel; exit 65"]
[[channel]]
name = "mail"
kind = "email"
host = %q
tls = "none"
from = "f@example.org"
to = ["t@example.org"]
`, s.URL, title, dead.Addr())
	status, got, _ := testPages(t, channels)
	if status != exitBad || len(got) != 4 {
		t.Fatalf("got status %d, %+v", status, got)
	}
	var short []string
	for _, o := range got {
		short = append(short, fmt.Sprint(o.Channel, " ", o.Outcome, " ", o.Sent))
	}
	want := []string{"hook accepted [page resolution]", "mine accepted [page]", "refuses refused []", "mail failed []"}
	if d := cmp.Diff(short, want); d != "" {
		t.Errorf("-got +want:\n%s", d)
	}
	if !strings.Contains(got[2].Error, "no such channel") || !strings.Contains(got[3].Error, "refused") {
		t.Errorf("got the errors %q and %q", got[2].Error, got[3].Error)
	}
	page, end := <-bodies, <-bodies
	if page["event"] != "test" || !strings.HasPrefix(page["title"].(string), "TEST: ") || page["key"] != end["key"] || page["key"] != "faultline/main/self/page-test" {
		t.Errorf("got %v, then %v", page, end)
	}
	if s := end["incident"].(map[string]any)["state"]; s != "resolved" {
		t.Errorf("the page is left %v", s)
	}
	if b, err := os.ReadFile(title); err != nil || strings.Count(string(b), "TEST: ") != 1 {
		t.Errorf("the command got %q, error %v, want one message", b, err)
	}

	if status, got, _ = testPages(t, channels, "mine"); status != exitOK || len(got) != 1 || got[0].Channel != "mine" {
		t.Errorf("got status %d, %+v", status, got)
	}
	if status, _, stderr := testPages(t, channels, "pager"); status != exitUsage || !strings.Contains(stderr, "hook, mine, refuses, mail") {
		t.Errorf("got status %d, %q", status, stderr)
	}
}

func TestPageTestForPeople(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.toml")
	text := "[[vantage]]\nname = \"v1\"\nresolvers = [\"192.0.2.1\"]\n[[site]]\nname = \"s\"\nurl = \"https://s.example/\"\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	status, stdout, stderr := command(t, "page-test", "--config", file)
	if status != exitOK || !strings.HasPrefix(stdout, "log: accepted in ") || !strings.Contains(stdout, "took page and resolution") || !strings.Contains(stderr, "TEST: ") {
		t.Errorf("got status %d, %q, %q", status, stdout, stderr)
	}
}
