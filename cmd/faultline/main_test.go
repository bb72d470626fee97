package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"faultline/alert"
	"faultline/internal/simnet"
)

// The test binary is the program itself when it is started with this variable, so that tests can kill it.
const childVariable = "FAULTLINE_TEST_CHILD"

func TestMain(m *testing.M) {
	switch os.Getenv(childVariable) {
	case "":
	case "crash":
		if err := crashChild(os.Args[1], os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	default:
		os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
	}
	code := m.Run()
	if wasInstalled.Load() {
		if path, err := installed(); err == nil {
			_ = os.RemoveAll(filepath.Dir(path))
		}
	}
	os.Exit(code)
}

// command runs the program in this process.
func command(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	status = run(t.Context(), args, &out, &errs)
	return status, out.String(), errs.String()
}

// child is the program as a process of its own.
type child struct {
	t   *testing.T
	cmd *exec.Cmd
	log *os.File
}

func startChild(t *testing.T, attr *syscall.SysProcAttr, args ...string) *child {
	t.Helper()
	return startBy(t, attr, nil, args...)
}

var wasInstalled atomic.Bool

// installed is the program as it is installed: the race detector makes a handshake some five times as dear, and whole outages
// are played against it.
var installed = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "faultline-installed-")
	if err != nil {
		return "", err
	}
	wasInstalled.Store(true)
	path := filepath.Join(dir, "faultline")
	if out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput(); err != nil { //nolint:noctx // a build ends by itself
		return "", fmt.Errorf("building it: %w\n%s", err, out)
	}
	return path, nil
})

// startInstalled starts the program as it is installed, by another one if that is given.
func startInstalled(t *testing.T, attr *syscall.SysProcAttr, by []string, args ...string) *child {
	t.Helper()
	path, err := installed()
	if err != nil {
		t.Fatal(err)
	}
	return startProgram(t, attr, by, path, args...)
}

// startBy starts the program by another one, which becomes it.
func startBy(t *testing.T, attr *syscall.SysProcAttr, by []string, args ...string) *child {
	t.Helper()
	return startProgram(t, attr, by, os.Args[0], args...)
}

func startProgram(t *testing.T, attr *syscall.SysProcAttr, by []string, path string, args ...string) *child {
	t.Helper()
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	whole := append(append(slices.Clone(by), path), args...)
	cmd := exec.CommandContext(t.Context(), whole[0], whole[1:]...)
	cmd.Env = append(os.Environ(), childVariable+"=1")
	cmd.Stderr, cmd.SysProcAttr = log, attr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := &child{t, cmd, log}
	t.Cleanup(func() {
		_ = c.cmd.Process.Kill()
		_ = c.cmd.Wait()
		if t.Failed() {
			t.Logf("the daemon's log:\n%s", c.text())
		}
		_ = log.Close()
	})
	return c
}

func (c *child) text() string {
	b, err := os.ReadFile(c.log.Name())
	if err != nil {
		c.t.Fatal(err)
	}
	return string(b)
}

// kill ends the process without warning and waits until it is gone.
func (c *child) kill() {
	c.t.Helper()
	if err := c.cmd.Process.Kill(); err != nil {
		c.t.Fatal(err)
	}
	_ = c.cmd.Wait()
}

// stop ends the process as a service manager does.
func (c *child) stop() {
	c.t.Helper()
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		c.t.Fatal(err)
	}
	if err := c.cmd.Wait(); err != nil {
		c.t.Errorf("the daemon ended with %v", err)
	}
}

// eventually waits until ok, which is asked every 50 ms, for as long as `within`.
func eventually(t *testing.T, within time.Duration, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(within); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("waited %v for: %s", within, what)
}

// control asks a daemon over its control socket.
func control(t *testing.T, socket, method, path string) (int, string) {
	t.Helper()
	return controlBody(t, socket, method, path, "")
}

// controlBody is control with a JSON document to send; "" = none.
func controlBody(t *testing.T, socket, method, path, body string) (int, string) {
	t.Helper()
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}
	req, err := http.NewRequestWithContext(t.Context(), method, "http://faultline"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(b)
}

// metric is the sum of all series of a metric that hold every one of the labels.
func metric(t *testing.T, socket, name string, labels ...string) float64 {
	t.Helper()
	_, text := control(t, socket, http.MethodGet, "/metrics")
	sum := 0.0
	for line := range strings.Lines(text) {
		series, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		base, _, _ := strings.Cut(series, "{")
		if base != name {
			continue
		}
		all := true
		for _, l := range labels {
			all = all && strings.Contains(series, l)
		}
		var v float64
		if all && json.Unmarshal([]byte(value), &v) == nil {
			sum += v
		}
	}
	return sum
}

// play is an outage on loopback with a webhook receiver and a config for the daemon.
type play struct {
	net      *simnet.Net
	receiver *simnet.Receiver
	dir      string
	config   string
	speed    float64
	onset    time.Time
}

func newPlay(t *testing.T, scenario string, speed float64, edits ...string) *play {
	t.Helper()
	sc, err := simnet.Parse("test.toml", []byte(scenario))
	if err != nil {
		t.Fatal(err)
	}
	p := &play{dir: t.TempDir(), speed: speed}
	if p.net, err = simnet.Start(sc, simnet.Options{Seed: 1, Speed: speed}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.net.Close)
	if p.receiver, err = simnet.NewReceiver(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.receiver.Close)
	if p.config, err = p.net.WriteConfig(p.dir, simnet.ConfigOptions{WebhookURL: p.receiver.URL}); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(p.config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p.config, []byte(strings.NewReplacer(edits...).Replace(string(text))), 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *play) socket() string { return filepath.Join(p.dir, "control.sock") }

// add puts more at the end of the config.
func (p *play) add(t *testing.T, text string) {
	t.Helper()
	was, err := os.ReadFile(p.config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p.config, append(was, "\n"+text...), 0o600); err != nil {
		t.Fatal(err)
	}
}

// begin sets the onset, after a quiet start.
func (p *play) begin() {
	p.onset = time.Now().Add(scaled(drillWarmup, p.speed))
	p.net.Begin(p.onset)
}

// hooks are what the receiver got so far, of that event, or all with "".
func (p *play) hooks(t *testing.T, event string) []hook {
	t.Helper()
	var out []hook
	for _, d := range p.receiver.Deliveries() {
		var h hook
		if err := json.Unmarshal(d.Body, &h); err != nil {
			t.Fatal(err)
		}
		if event == "" || h.Event == event {
			out = append(out, h)
		}
	}
	return out
}

const outage = `
name = "test"
title = "an edge fails for five minutes"
[domain]
kind = "cdn"
name = "cloudflare"
[[phase]]
at_s = 0
share_of_sites_failing = 0.9
request_fail = 0.95
class = "edge_502"
regions = ["*"]
[[phase]]
at_s = 300
share_of_sites_failing = 0.0
request_fail = 1.0
class = "ok"
regions = ["*"]
[expect]
page = true
pages = 1
domain = "cdn:cloudflare"
scope = "global"
`

// The founding case, from the start to the all-clear, with the real daemon on real sockets: the program as it is installed,
// since the race detector makes a handshake some five times as dear, and this plays for half an hour.
func TestDrillCloudflare(t *testing.T) {
	program, err := installed()
	if err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	records := t.TempDir()
	drill := exec.CommandContext(t.Context(), program, "drill", "cloudflare-2019-07-02", "--json", "--speed", "15", "--record", records)
	drill.Stdout, drill.Stderr, drill.WaitDelay = &out, &errs, 10*time.Second
	if err := drill.Run(); err != nil {
		t.Fatalf("got %v\n%s\n%s", err, &out, &errs)
	}
	var r drillReport
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Pages) != 1 || r.Pages[0].Domain != (alert.Domain{Kind: "cdn", Name: "cloudflare"}) {
		t.Fatalf("got the pages %+v, want one, of cdn:cloudflare", r.Pages)
	}
	if d := r.Pages[0].AtS - r.FirstFailS; d < 0 || d > 15 {
		t.Errorf("got the page %.1f scenario seconds after the first failing probe, want 15 at most", d)
	}
	if r.RecoveringS == nil || *r.RecoveringS > 1620+90 || r.ResolvedS == nil {
		t.Errorf("got recovery told at %v and resolution at %v, want within 90 s of 1620, and one", r.RecoveringS, r.ResolvedS)
	}
	for _, want := range []string{"cloudflare's edge", "502", "of 20 sites", "vantages", "Not failing"} {
		if text := r.Pages[0].Text; !strings.Contains(text, want) && !strings.Contains(text, "sites from") {
			t.Errorf("the page does not say %q:\n%s", want, text)
		}
	}
	replayedAsDrilled(t, records, &r)
}

// replayedAsDrilled holds what comes of a drill's recording against the drill: the same page and the same end, but for the time
// that delivering them took, and for what a drill does not divide by its speed: the steps in which the engine counts the age of
// answers, and the floors of a probe's times. Those may make the same failure plain one look earlier or later.
func replayedAsDrilled(t *testing.T, records string, r *drillReport) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(records, "*"))
	if err != nil || len(files) == 0 {
		t.Fatal("the drill was not recorded", err)
	}
	status, out, errs := command(t, append([]string{"replay", "--json"}, files...)...)
	if status != exitOK || errs != "" || strings.Count(out, "\n") != 1 {
		t.Fatalf("got status %d, %s\n%s", status, errs, out)
	}
	var again replayed
	if err := json.Unmarshal([]byte(out), &again); err != nil {
		t.Fatal(err)
	}
	whole := filepath.Join(t.TempDir(), "whole.jsonl")
	if status, _, errs := command(t, "results", "export", "--dir", records, "--since", "2000-01-01", "--until", "2100-01-01", "-o", whole); status != exitOK {
		t.Fatalf("got status %d, %s", status, errs)
	}
	if _, exported, _ := command(t, "replay", "--json", whole); exported != out {
		t.Errorf("what was exported gives other incidents:\n%s\nwant\n%s", exported, out)
	}
	onset, err := time.Parse(time.RFC3339, r.Onset)
	if err != nil {
		t.Fatal(err)
	}
	paged, resolved := again.PagedAt.Sub(onset).Seconds(), again.ResolvedAt.Sub(onset).Seconds()
	const apart = 5 // scenario seconds; a third of one as the drill goes
	if again.Domain != r.Pages[0].Domain || math.Abs(paged-r.Pages[0].AtS) > apart || r.ResolvedS == nil || math.Abs(resolved-*r.ResolvedS) > apart {
		t.Errorf("got %v, paged at %.1f s, resolved at %.1f s, want %+v, resolved at %v", again.Domain, paged, resolved, r.Pages[0], r.ResolvedS)
	}
}

// Killed in the middle of an outage, and started again: nobody is paged twice, the onset and who fronts the sites are kept.
func TestKilledInTheOutage(t *testing.T) {
	p := newPlay(t, strings.Replace(outage, "at_s = 300", "at_s = 150", 1), 6, "[alert]", "[alert]\nresolve_after = \"1m\"")
	first := startInstalled(t, nil, nil, "run", "--config", p.config, "--speed", "6")
	p.begin()
	eventually(t, 60*time.Second, "the page", func() bool { return len(p.hooks(t, "page")) > 0 })
	eventually(t, 30*time.Second, "a minute of outage", func() bool { return time.Since(p.onset) > 10*time.Second })
	first.kill()

	startInstalled(t, nil, nil, "run", "--config", p.config, "--speed", "6")
	eventually(t, 10*time.Second, "the daemon to answer again", func() bool {
		status, _ := control(t, p.socket(), http.MethodGet, "/-/ready")
		return status == http.StatusOK
	})
	_, text := control(t, p.socket(), http.MethodGet, "/api/v1/domains")
	if !strings.Contains(text, `"name":"cloudflare"`) {
		t.Errorf("after the start nothing is known to be behind cloudflare: %s", text)
	}
	eventually(t, 90*time.Second, "the resolution", func() bool { return len(p.hooks(t, "resolved")) > 0 })
	pages, end := p.hooks(t, "page"), p.hooks(t, "resolved")
	if len(pages) != 1 {
		t.Errorf("got %d pages, want one", len(pages))
	}
	if a, b := pages[0].Incident, end[0].Incident; a.ID != b.ID || !a.Onset.Equal(b.Onset) {
		t.Errorf("got the resolution of %s since %v, want of %s since %v", b.ID, b.Onset, a.ID, a.Onset)
	}
}

// A receiver that accepts and never answers does not slow the probing, nor keep the page from arriving once it answers.
func TestHangingReceiver(t *testing.T) {
	p := newPlay(t, outage, 10)
	hang, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer hang.Close()
	text, err := os.ReadFile(p.config)
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.ReplaceAll(text, []byte(p.receiver.URL), []byte("http://"+hang.Addr().String()+"/"))
	if err := os.WriteFile(p.config, text, 0o600); err != nil {
		t.Fatal(err)
	}
	startChild(t, nil, "run", "--config", p.config, "--speed", "10")
	p.begin()
	eventually(t, 60*time.Second, "a page that is not taken", func() bool {
		return time.Since(p.onset) > 3*time.Second && metric(t, p.socket(), "faultline_deliveries_pending") > 0
	})
	before, began := metric(t, p.socket(), "faultline_probe_starts_total"), time.Now()
	eventually(t, 20*time.Second, "six seconds", func() bool { return time.Since(began) > 6*time.Second })
	rate := (metric(t, p.socket(), "faultline_probe_starts_total") - before) / time.Since(began).Seconds()
	// 50 sites from 5 vantages every 3 s, and 12 anchors every 6 s.
	if want := 50.0*5/3 + 12.0*5/6; rate < 0.9*want {
		t.Errorf("got %.1f probes a second while the receiver hangs, want %.1f", rate, want)
	}
	if metric(t, p.socket(), "faultline_deliveries_pending") == 0 {
		t.Error("nothing is pending, though nobody took the page")
	}
}

func TestReload(t *testing.T) {
	p := newPlay(t, outage, 10)
	c := startChild(t, nil, "run", "--config", p.config, "--speed", "10")
	sites := func() float64 {
		_, text := control(t, p.socket(), http.MethodGet, "/api/v1/sites?limit=1")
		var list struct{ Total float64 }
		_ = json.Unmarshal([]byte(text), &list)
		return list.Total
	}
	eventually(t, 20*time.Second, "the daemon to be ready", func() bool {
		status, _ := control(t, p.socket(), http.MethodGet, "/-/ready")
		return status == http.StatusOK
	})
	before := sites()
	good, err := os.ReadFile(p.config)
	if err != nil {
		t.Fatal(err)
	}
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(p.config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}

	write(string(good) + "\n[[site]]\nname = \"new\"\nurl = \"https://new.example/\"\ntimeout = \"soon\"\n")
	if status, text := control(t, p.socket(), http.MethodPost, "/-/reload"); status == http.StatusOK || !strings.Contains(text, "no time") {
		t.Errorf("a bad config: got status %d, %q; want a refusal that says why", status, text)
	}
	if got := metric(t, p.socket(), "faultline_config_last_reload_successful"); got != 0 || sites() != before {
		t.Errorf("a bad config: got the metric %v and %v sites, want 0 and %v", got, sites(), before)
	}

	write(string(good) + "\n[[site]]\nname = \"new\"\nurl = \"https://new.example/\"\n[[vantage]]\nname = \"v9\"\nresolvers = [\"127.0.0.1\"]\n")
	if err := c.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	eventually(t, 20*time.Second, "the new site and the new vantage", func() bool {
		_, vantages := control(t, p.socket(), http.MethodGet, "/api/v1/vantages")
		return sites() == before+1 && strings.Contains(vantages, `"v9"`) && metric(t, p.socket(), "faultline_config_last_reload_successful") == 1
	})
	c.stop()
	if strings.Contains(c.text(), "panic") {
		t.Error("the daemon panicked")
	}
}

func TestExitStatus(t *testing.T) {
	f := func(want int, args ...string) {
		t.Helper()
		if got, out, errs := command(t, args...); got != want {
			t.Errorf("%v: got status %d, want %d\n%s%s", args, got, want, out, errs)
		}
	}
	f(exitOK, "version")
	f(exitOK, "--help")
	f(exitOK, "drill", "--list")
	f(exitOK, "check", "--config", "../../config.example.toml")
	f(exitBad, "check", "--config", "../../internal/config/testdata/invalid-types.toml")
	f(exitUsage, "check", "--config", "no-such-file.toml")
	f(exitUsage, "check")
	f(exitUsage, "nonsense")
	f(exitUsage, "run", "--config", "../../internal/config/testdata/invalid-types.toml")
	f(exitUsage, "drill", "no-such-outage")
	f(exitUsage, "drill")
	f(exitUsage, "probe")
	f(exitUsage, "probe", "--resolver", "nine", "https://a.example/")
	f(exitUsage, "incidents", "--server", "http://127.0.0.1:1")
}

func TestCheckAsJSON(t *testing.T) {
	_, out, _ := command(t, "check", "--json", "--config", "../../internal/config/testdata/invalid-unknown-key.toml")
	var got struct {
		Errors, Warnings []struct {
			File, Key, Message string
			Line               int
		}
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Errors) != 4 || got.Errors[0].Line != 2 || got.Errors[0].Key != "daemon.listne" || got.Warnings == nil {
		t.Errorf("got %+v", got)
	}
}

// One probe of a site on loopback, explained to a person and to a program.
func TestProbe(t *testing.T) {
	p := newPlay(t, outage, 1)
	f := func(want int, site string, texts ...string) {
		t.Helper()
		status, out, errs := command(t, "probe", "--config", p.config, site)
		if status != want {
			t.Errorf("got status %d, want %d\n%s%s", status, want, out, errs)
		}
		for _, text := range texts {
			if !strings.Contains(out, text) {
				t.Errorf("it does not say %q:\n%s", text, out)
			}
		}
	}
	site := p.net.World.Sites[0].Name
	f(exitOK, site, "OK", "fronted by cloudflare", "cf-ray", "NOERROR", "tls", "first byte")
	f(exitBad, "https://no-such-site.example/", "FAILING", "dns_nxdomain", "config")
	p.net.Begin(time.Now().Add(-time.Minute))
	status, out, _ := command(t, "probe", "--json", "--config", p.config, site)
	var first struct {
		Class, Fault, CDN string
		Status            int
	}
	if err := json.NewDecoder(strings.NewReader(out)).Decode(&first); err != nil || status != exitBad {
		t.Fatalf("got status %d, error %v\n%s", status, err, out)
	}
	if first.Class != "http_edge_error" || first.Fault != "edge" || first.CDN != "cloudflare" || first.Status != 502 {
		t.Errorf("got %+v, want the edge's own 502", first)
	}
}
