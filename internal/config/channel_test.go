package config

import (
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"faultline/alert/notify"
)

func TestChannelSettings(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"password": "pass word\n", "chat-url": "ntfy://ntfy.example/t0pic\n", "body": "{{.Title}}\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "page"), []byte("#!/bin/sh\n"), 0o700); err != nil { //nolint:gosec // it is to be run
		t.Fatal(err)
	}
	text := least + `
[[channel]]
name = "mail"
kind = "email"
host = "smtp.example.org:465"
tls = "implicit"
from = "Faultline <f@example.org>"
to = ["a@example.org"]
username = "f"
password_file = "password"
[[channel]]
name = "mine"
kind = "exec"
command = ["./page", "-x"]
[[channel]]
name = "chat"
kind = "shoutrrr"
url_file = "chat-url"
[[channel]]
name = "hook"
kind = "webhook"
url = "https://pager.example/"
template_file = "body"
content_type = "text/plain"
headers = { Authorization = "Bearer t0ken" }
`
	c, warnings, err := parse(filepath.Join(dir, "f.toml"), []byte(text), testHost(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range warnings {
		if strings.HasPrefix(w.Key, "channel") {
			t.Errorf("got the warning %v", w)
		}
	}
	mail := &Email{Host: "smtp.example.org:465", TLS: notify.EmailImplicit, From: "Faultline <f@example.org>", To: []string{"a@example.org"}, Username: "f", Password: "pass word"}
	if d := cmp.Diff(c.Channels[0].Email, mail, cmp.Comparer(func(a, b *x509.CertPool) bool { return a == b })); d != "" {
		t.Errorf("got - want +\n%s", d)
	}
	if got, want := fmt.Sprint(c.Channels[1].Exec.Command), fmt.Sprint([]string{filepath.Join(dir, "page"), "-x"}); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := c.Channels[2].Shoutrrr.URL; got != "ntfy://ntfy.example/t0pic" {
		t.Errorf("got %q", got)
	}
	if w := c.Channels[3].Webhook; w.Form == nil || w.Headers["Authorization"] != "Bearer t0ken" {
		t.Errorf("got %+v", w)
	}
}

func TestChannelWarnings(t *testing.T) {
	text := least + `
[[channel]]
name = "mail"
kind = "email"
host = "relay.example.org:25"
tls = "none"
from = "f@example.org"
to = ["a@example.org"]
[[channel]]
name = "hook"
kind = "webhook"
url = "https://pager.example/"
template = '{"text": "{{.Title}}"}'
[[channel]]
name = "near"
kind = "email"
host = "localhost:25"
tls = "none"
from = "f@example.org"
to = ["a@example.org"]
`
	_, warnings, err := parse("f.toml", []byte(text), testHost(t))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, w := range warnings {
		if strings.HasPrefix(w.Key, "channel") {
			got = append(got, fmt.Sprint(w.Line, " ", w.Key, " ", strings.Contains(w.Message, "without TLS"), strings.Contains(w.Message, "no JSON")))
		}
	}
	want := []string{"12 channel[1].tls true false", "19 channel[2].template false true", "19 channel[2].template false true", "19 channel[2].template false true"}
	if d := cmp.Diff(got, want); d != "" {
		t.Errorf("got - want +\n%s", d)
	}
}
