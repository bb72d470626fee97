package config

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/BurntSushi/toml"
	"github.com/google/go-cmp/cmp"

	"faultline/alert"
	"faultline/probe"
)

// testHost is a machine with two resolvers and nothing in its environment.
func testHost(t *testing.T) host {
	t.Helper()
	path := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(path, []byte("# made up\nsearch example\nnameserver 192.0.2.53\nnameserver 2001:db8::53\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return host{func(k string) string { return map[string]string{"HOME": "/home/anna"}[k] }, path}
}

const least = `
[[vantage]]
name = "v1"
[[site]]
name = "forum"
url = "https://forum.example.org"
`

func TestLeastConfig(t *testing.T) {
	c, _, err := parse("f.toml", []byte(least), testHost(t))
	if err != nil {
		t.Fatal(err)
	}
	s := c.Sites[0]
	if s.URL.String() != "https://forum.example.org/" || s.Owner != "example.org" || s.Interval != 30*time.Second || s.Timeout != 10*time.Second ||
		s.Method != "GET" || s.Alert != probe.AlertNotice {
		t.Errorf("got %+v", s)
	}
	if c.Policy != alert.DefaultPolicy() {
		t.Errorf("got the policy %+v, want the default", c.Policy)
	}
	if got := fmt.Sprint(c.Vantages[0].Resolvers); got != "[udp://192.0.2.53:53 udp://[2001:db8::53]:53]" {
		t.Errorf("got the resolvers %s", got)
	}
	if len(c.Anchors) < 12 || !c.Anchors[0].Anchor || c.Anchors[0].Interval != time.Minute {
		t.Errorf("got %d anchors, the first %+v", len(c.Anchors), c.Anchors[0])
	}
	if want := (Channel{Name: "log", Kind: "log", Notices: true}); len(c.Channels) != 1 || c.Channels[0] != want {
		t.Errorf("got the channels %+v, want the log", c.Channels)
	}
	if c.Daemon.StateDir != "/home/anna/.local/state/faultline" || c.Daemon.ControlSocket != "/home/anna/.local/state/faultline/control.sock" {
		t.Errorf("got %s and %s", c.Daemon.StateDir, c.Daemon.ControlSocket)
	}
}

// Each testdata/invalid-*.toml holds mistakes, and after "# want:" the lines that must be told, in order.
func TestInvalid(t *testing.T) {
	files, err := filepath.Glob("testdata/invalid-*.toml")
	if err != nil || len(files) < 15 {
		t.Fatalf("got %d files, error %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var want []string
			for line := range strings.Lines(string(text)) {
				if w, ok := strings.CutPrefix(line, "# want: "); ok {
					want = append(want, strings.TrimSpace(w))
				}
			}
			_, _, err = parse(file, text, testHost(t))
			var got []string
			mistakes, ok := err.(Errors) //nolint:errorlint // parse says that it is one
			if !ok {
				t.Fatalf("got the error %v, want Errors", err)
			}
			for _, p := range mistakes {
				got = append(got, fmt.Sprintf("%d: %s: %s", p.Line, p.Key, p.Message))
			}
			if d := cmp.Diff(got, want); d != "" {
				t.Errorf("got - want +\n%s", d)
			}
		})
	}
}

func TestSecretsAreNotRepeated(t *testing.T) {
	text := least + `
[[channel]]
name = "pager"
kind = "webhook"
url = "gopher://user:s3cr3t@pager.example/t0k3n"
secret = 12345
`
	_, _, err := parse("f.toml", []byte(text), testHost(t))
	if err == nil {
		t.Fatal("a bad URL was taken")
	}
	for _, s := range []string{"s3cr3t", "t0k3n", "12345"} {
		if strings.Contains(err.Error(), s) {
			t.Errorf("the mistake repeats the secret %q: %v", s, err)
		}
	}
}

func TestSecretsFromFiles(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "url"), []byte("https://pager.example/t0k3n\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	text := least + "[[channel]]\nname = \"pager\"\nkind = \"webhook\"\nurl_file = \"url\"\n"
	c, _, err := parse(filepath.Join(dir, "f.toml"), []byte(text), testHost(t))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(c.Channels[0].Webhook, &Webhook{URL: "https://pager.example/t0k3n"}); d != "" {
		t.Errorf("got - want +\n%s", d)
	}
}

func TestScaleDividesEveryTime(t *testing.T) {
	c, _, err := parse("f.toml", []byte(least), testHost(t))
	if err != nil {
		t.Fatal(err)
	}
	c.Scale(4)
	if c.Sites[0].Interval != 7500*time.Millisecond || c.Sites[0].Timeout != 2500*time.Millisecond || c.Anchors[0].Interval != 15*time.Second {
		t.Errorf("got the site's times %v and %v", c.Sites[0].Interval, c.Sites[0].Timeout)
	}
	if c.Policy.Resolve != 150*time.Second || c.Pace.PerSite != 500*time.Millisecond || c.Probe.Recheck != 750*time.Millisecond {
		t.Errorf("got %v, %v, %v", c.Policy.Resolve, c.Pace.PerSite, c.Probe.Recheck)
	}
	c.Scale(100)
	if c.Probe.Habit != leastHabit {
		t.Errorf("got a habit of %v, want the floor", c.Probe.Habit)
	}
}

func list(t *testing.T, name, text, table string) (*Config, []Problem, error) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return parse(filepath.Join(dir, "f.toml"), []byte("[[vantage]]\nname = \"v\"\n[[site_list]]\n"+table), testHost(t))
}

func TestCitizenLabList(t *testing.T) {
	var text strings.Builder
	text.WriteString("url,category_code,category_description,date_added,source,notes\n")
	for i := range 400 {
		fmt.Fprintf(&text, "https://site%03d.example/path,%s,\"Some, thing\",2019-07-02,citizenlab,\n", i, []string{"NEWS", "HUMR", "GAME"}[i%3])
	}
	text.WriteString("https://site000.example/path,NEWS,again,,,\nnot a url,NEWS,,,,\n,NEWS,,,,\nftp://old.example/,NEWS,,,,\n\"https://quoted.example/\",NEWS,\"a \"\"quote\"\"\",,,\n")
	c, warnings, err := list(t, "hk.csv", text.String(), "file = \"hk.csv\"\nformat = \"citizenlab\"\ncategories = [\"NEWS\", \"HUMR\"]\ngroup = \"hk\"\ninterval = \"60s\"\n")
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Sites) != 268 {
		t.Errorf("got %d sites, want 267 of the categories and one quoted", len(c.Sites))
	}
	if s := c.Sites[1]; s.Name != "site001.example-path" || s.Group != "hk" || s.Interval != time.Minute || s.Owner != "site001.example" {
		t.Errorf("got %+v", s)
	}
	var lines []int
	for _, w := range warnings {
		if strings.HasSuffix(w.File, "hk.csv") {
			lines = append(lines, w.Line)
		}
	}
	if d := cmp.Diff(lines, []int{402, 403, 404, 405}); d != "" {
		t.Errorf("warned of the lines: got - want +\n%s", d)
	}
}

func TestPlainList(t *testing.T) {
	c, _, err := list(t, "l.txt", "# sites\nhttps://a.example/\n\nhttps://b.example/x # a note\nhttps://a.example/\nhttps://b.example/x?y\n", "file = \"l.txt\"\nlimit = 3\n")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range c.Sites {
		names = append(names, s.Name)
	}
	if d := cmp.Diff(names, []string{"a.example", "b.example-x", "b.example-x-2"}); d != "" {
		t.Errorf("got - want +\n%s", d)
	}
}

func TestListWithoutSitesIsAMistake(t *testing.T) {
	f := func(name, text, table, want string) {
		t.Helper()
		_, _, err := list(t, name, text, table)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got the error %v, want one with %q", err, want)
		}
	}
	f("l.txt", "", "file = \"l.txt\"", "gives no site")
	f("l.txt", "https://a.example", "file = \"other.txt\"", "no such file")
	f("l.csv", "https://a.example\n", "file = \"l.csv\"\nformat = \"citizenlab\"", "is it a test list of the Citizen Lab?")
	f("l.txt", "https://a.example", "", "it has no file")
}

// The example holds every key, with its default where it is commented out, and is good as it stands.
func TestFallbackToTheSameHost(t *testing.T) {
	f := func(url string, want bool) {
		t.Helper()
		text := least + fmt.Sprintf("[[channel]]\nname = \"a\"\nkind = \"webhook\"\nurl = \"https://pager.example/a\"\nfallback = \"b\"\n[[channel]]\nname = \"b\"\nkind = \"webhook\"\nurl = %q\n", url)
		_, warnings, err := parse("test.toml", []byte(text), testHost(t))
		if err != nil {
			t.Fatal(err)
		}
		got := slices.ContainsFunc(warnings, func(p Problem) bool { return strings.Contains(p.Message, "both go to pager.example") })
		if got != want {
			t.Errorf("%s: got the warnings %v", url, warnings)
		}
	}
	f("https://pager.example:8443/b", true)
	f("https://other.example/b", false)
}

func TestExampleIsComplete(t *testing.T) {
	const path = "../../config.example.toml"
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	c, _, err := parse(path, text, testHost(t))
	if err != nil {
		t.Fatalf("the example is wrong:\n%v", err)
	}
	if len(c.Sites) < 20 || len(c.Vantages) != 1 {
		t.Errorf("got %d sites and %d vantages, want twenty or more and one", len(c.Sites), len(c.Vantages))
	}

	r := &reader{file: path, lines: map[string]int{}, keys: map[string]string{}}
	all := map[string]any{}
	for _, section := range []string{"vantage", "site", "site_list", "route", "maintenance"} {
		all[section] = []map[string]any{{}}
	}
	var channels []map[string]any
	for _, kind := range channelKinds {
		channels = append(channels, map[string]any{"kind": kind})
	}
	all["channel"] = channels
	var heartbeats []map[string]any
	for _, kind := range heartbeatKinds {
		heartbeats = append(heartbeats, map[string]any{"kind": kind})
	}
	all["heartbeat"] = heartbeats
	r.config(&table{r: r, m: all}, testHost(t))
	given := exampleKeys(string(text))
	shared := map[string]bool{} // what a section takes from [defaults] is written there
	for key := range r.keys {
		if rest, ok := strings.CutPrefix(key, "defaults."); ok {
			shared[rest] = true
		}
	}
	for key, def := range r.keys {
		section, name, _ := strings.Cut(key, ".")
		if (section == "site" || section == "site_list") && shared[name] {
			continue
		}
		values, ok := given[key]
		if !ok {
			t.Errorf("the example lacks %s (default %s)", key, def)
		}
		for _, v := range values {
			if v.commented && v.text != def && !required[key] {
				t.Errorf("%s: the example says that the default is %s, but it is %s", key, v.text, def)
			}
		}
	}
	for key := range given {
		if _, ok := r.keys[key]; !ok {
			t.Errorf("the example has %s, which no config knows", key)
		}
	}
}

// required keys have no default: what stands in the example is an instance.
var required = map[string]bool{"site_list.file": true, "channel.name": true, "channel.kind": true, "channel.notices": true, "heartbeat.name": true, "heartbeat.kind": true}

type exampleValue struct {
	text      string
	commented bool
}

func exampleKeys(text string) map[string][]exampleValue {
	out := map[string][]exampleValue{}
	header := regexp.MustCompile(`^(?:# )?\[\[?([a-z_]+)\]\]?$`)
	pair := regexp.MustCompile(`^(# )?([a-z_]+) = (.+)$`)
	section := ""
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if m := header.FindStringSubmatch(line); m != nil {
			section = m[1]
		} else if m := pair.FindStringSubmatch(line); m != nil {
			key := section + "." + m[2]
			out[key] = append(out[key], exampleValue{m[3], m[1] != ""})
		}
	}
	return out
}

func FuzzPositions(f *testing.F) {
	f.Add(least)
	f.Add("a.\"b c\".d = 1 # x\n[t.u]\nk = '''\n[no]\nx=1\n''' \n[[l]]\nm = { n = 1, o = [ { p = 2 }, {p=3} ] }\n[[l]]\n[l.sub]\nq = [\n 1, # c\n 2 ]\n")
	f.Add("x = \"\"\"a\\\"\"\"\"\ny = 1979-05-27 07:32:00\n")
	f.Add("\xff[[[\n=\n\"")
	f.Fuzz(func(t *testing.T, text string) {
		at := positions(text)
		var m map[string]any
		meta, err := toml.Decode(text, &m)
		if err != nil {
			return
		}
		plain := map[string]bool{}
		index := regexp.MustCompile(`\[\d+\]`)
		for path := range at {
			plain[index.ReplaceAllString(path, "")] = true
		}
		for _, k := range meta.Keys() {
			name := strings.Join(k, ".")
			if strings.ContainsAny(name, "[]\\\"'") || slices.Contains(k, "") {
				continue // paths of such keys are not unique, and only cost a line number
			}
			if !plain[name] {
				t.Errorf("no line for %q in %q: %v", name, text, at)
			}
		}
	})
}

func TestPagingChannels(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "key"), []byte("0123456789abcdef0123456789abcdef\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	text := least + `
[[channel]]
name = "pd"
kind = "pagerduty"
routing_key_file = "key"
[[channel]]
name = "am"
kind = "alertmanager"
urls = ["https://user:password@one.example", "http://127.0.0.1:9093"]
[[heartbeat]]
name = "outside"
kind = "ping"
url_file = "key-url"
[[heartbeat]]
name = "watchdog"
kind = "alertmanager"
urls = ["https://one.example"]
token = "t0ken"
every = "30s"
`
	if err := os.WriteFile(filepath.Join(dir, "key-url"), []byte("https://hc-ping.com/0123\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, warnings, err := parse(filepath.Join(dir, "f.toml"), []byte(text), testHost(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range warnings {
		if strings.HasPrefix(w.Key, "channel") {
			t.Errorf("got the warning %v", w)
		}
	}
	if d := cmp.Diff(c.Channels[0].PagerDuty, &PagerDuty{"https://events.pagerduty.com/v2/enqueue", "0123456789abcdef0123456789abcdef"}); d != "" {
		t.Errorf("-got +want:\n%s", d)
	}
	if d := cmp.Diff(c.Channels[1].Alertmanager, &Alertmanager{[]string{"https://user:password@one.example", "http://127.0.0.1:9093"}, "", time.Minute}); d != "" {
		t.Errorf("-got +want:\n%s", d)
	}
	if d := cmp.Diff(c.Heartbeats, []Heartbeat{
		{Name: "outside", Kind: "ping", Every: time.Minute, URL: "https://hc-ping.com/0123"},
		{Name: "watchdog", Kind: "alertmanager", Every: 30 * time.Second, URLs: []string{"https://one.example"}, Token: "t0ken"},
	}); d != "" {
		t.Errorf("-got +want:\n%s", d)
	}
	c.Scale(2)
	if c.Channels[1].Alertmanager.Resend != 30*time.Second || c.Heartbeats[0].Every != 30*time.Second {
		t.Errorf("at twice the speed got %v and %v", c.Channels[1].Alertmanager.Resend, c.Heartbeats[0].Every)
	}
}
