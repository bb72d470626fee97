package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const responses = "../../probe/cdn/testdata/responses/"

func TestClassify(t *testing.T) {
	f := func(args []string, texts ...string) {
		t.Helper()
		status, out, errs := command(t, append([]string{"classify"}, args...)...)
		if status != exitOK {
			t.Errorf("got status %d: %s", status, errs)
		}
		for _, text := range texts {
			if !strings.Contains(out, text) {
				t.Errorf("%v does not say %q:\n%s", args, text, out)
			}
		}
	}
	edge := responses + "cf-502-unbranded-2019-07-02.http"
	f([]string{edge}, "FAILING  "+edge, "http_edge_error (phase http)", "edge: the CDN's own", "cloudflare, by header", "502 over HTTP/1.1")
	f([]string{edge, responses + "cf-200.http"}, "\n\nOK  "+responses+"cf-200.http")
	f([]string{responses + "cf-403-challenge.http"}, "BLOCKED  ", "not let in")
	plain := filepath.Join(t.TempDir(), "plain")
	if err := os.WriteFile(plain, []byte("HTTP/1.1 502 Bad Gateway\n\nbad"), 0o600); err != nil {
		t.Fatal(err)
	}
	f([]string{plain}, "no CDN that is known", "origin")
	f([]string{"--cname", "d1.cloudfront.net", plain}, "cloudfront, by cname d1.cloudfront.net")
	f([]string{"--addr", "104.16.0.1", plain}, "cloudflare, by address 104.16.0.0/13")
	f([]string{"--was", "fastly", plain}, "it carries no mark of")
}

func TestClassifyAsJSON(t *testing.T) {
	status, out, _ := command(t, "classify", "--json", responses+"fastly-503-2021-06-08.http", responses+"cf-502-unbranded-2019-07-02.http")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if status != exitOK || len(lines) != 2 {
		t.Fatalf("got status %d, %q", status, out)
	}
	want := []string{
		"fastly-503-2021-06-08.http false http http_server_error_unattributed ambiguous [edge origin] 503 fastly",
		"cf-502-unbranded-2019-07-02.http false http http_edge_error edge [] 502 cloudflare",
	}
	for i, line := range lines {
		var c classified
		if err := json.Unmarshal([]byte(line), &c); err != nil {
			t.Fatal(err)
		}
		got := fmt.Sprint(filepath.Base(c.File), " ", c.OK, " ", c.Phase, " ", c.Class, " ", c.Fault, " ", c.Candidates, " ", c.Status, " ", c.CDN)
		if got != want[i] || c.Why == "" || len(c.CDNBy) == 0 {
			t.Errorf("got %s\nwant %s", got, want[i])
		}
	}
}

func TestClassifyWhatCannotBeRead(t *testing.T) {
	f := func(want string, args ...string) {
		t.Helper()
		if status, _, errs := command(t, append([]string{"classify"}, args...)...); status != exitUsage || !strings.Contains(errs, want) {
			t.Errorf("%v: got status %d, %q; want %q", args, status, errs, want)
		}
	}
	f("no such file", "/nowhere")
	f(`--addr "x" is no address`, "--addr", "x", responses+"cf-200.http")
	status, out, _ := command(t, "classify", "--json", "classify_test.go") // it can be read, and is no response
	if status != exitOK || !strings.Contains(out, `"class":"http_malformed"`) {
		t.Errorf("got status %d, %s", status, out)
	}
}

// A mistake in a rule file is told with its own file and line.
func TestCheckOfRules(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"rules.toml": "name = \"x\"\nfoo = 1\nranges = [\"10.0.0.1/8\"]\n",
		"c.toml":     "[cdn]\nrules = [\"rules.toml\"]\n[[vantage]]\nname = \"v\"\nresolvers = [\"192.0.2.1\"]\n[[site]]\nname = \"s\"\nurl = \"https://a.example/\"\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	status, out, _ := command(t, "check", "--config", filepath.Join(dir, "c.toml"))
	rules := filepath.Join(dir, "rules.toml")
	for _, want := range []string{rules + ":2: foo: is not a key", rules + ":3: ranges: "} {
		if !strings.Contains(out, want) {
			t.Errorf("does not say %q:\n%s", want, out)
		}
	}
	if status != exitBad {
		t.Errorf("got status %d, want %d", status, exitBad)
	}
}
