package cdn

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"faultline/probe"
)

func ruleFile(t testing.TB, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "own.toml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// A drill gives each CDN a range of loopback, and nothing else.
func TestOwnRanges(t *testing.T) {
	r := mustLoad(t, ruleFile(t, "name = \"cloudflare\"\nranges = [\"127.104.0.0/16\"]\n"), ruleFile(t, "name = \"fastly\"\nranges = [\"127.151.0.0/16\"]\n"))
	f := func(addr, want string) {
		t.Helper()
		e := &probe.Evidence{Class: probe.ClassConnectTimeout, Addr: netip.AddrPortFrom(netip.MustParseAddr(addr), 443)}
		if v := r.Judge(e, probe.Fronting{}); v.CDN != want {
			t.Errorf("%s: got %q, want %q", addr, v.CDN, want)
		}
	}
	f("127.104.3.4", "cloudflare")
	f("127.151.3.4", "fastly")
	f("104.16.0.1", "cloudflare")
	f("127.0.0.1", "")
	e := answer(t, "502 Bad Gateway\n"+cf, "<hr><center>cloudflare</center>", "127.104.3.4")
	if v := r.Judge(e, probe.Fronting{}); v.Fault != probe.FaultEdge || v.CDNBy[0] != "address 127.104.0.0/16" {
		t.Errorf("got %v by %q, want the edge by its own range", v.Fault, v.CDNBy)
	}
}

func TestOwnRules(t *testing.T) {
	r := mustLoad(t, ruleFile(t, `
name = "cloudflare"
weak = ["x-our-worker"]
[[rule]]
id = "unbranded"            # takes the place of the built-in one
class = "http_origin_error"
status = "502"
body_any = ["<CENTER>Cloudflare</center>"]
why = "502 of our own"
source = "us"
[[rule]]
id = "ours"
class = "http_config_error"
test = "blocked"
status = "500-599"
header = ["x-our-worker = broken"]
why = "{status}: our worker is broken"
source = "us"
`), ruleFile(t, `
name = "our-own"
strong = ["x-our-edge"]
[[made]]
header = ["x-our-error"]
[[code]]
name = "n"
header = "x-our-error"
[[rule]]
id = "edge"
class = "http_edge_error"
status = "500-599"
made_by_cdn = true
code = "n"
is = ["E*"]
why = "{status} with {code}"
source = "us"
`))
	names := ruleNames(r)
	f := func(head, body, rule, cdn string, want probe.Fault, why string) {
		t.Helper()
		v, by := r.judge(r.newState(), answer(t, head, body, ""), probe.Fronting{})
		if names[by] != rule || v.CDN != cdn || v.Fault != want || v.Why != why {
			t.Errorf("got %v at %q by %q: %q; want %v at %q by %q: %q", v.Fault, v.CDN, names[by], v.Why, want, cdn, rule, why)
		}
	}
	f("502 \n"+cf, "<hr><center>cloudflare</center>", "cloudflare/unbranded", "cloudflare", origin, "502 of our own")
	f("503 \n"+cf, "<hr><center>cloudflare</center>", "cloudflare/made-no-cause", "cloudflare", unclear, "503 made by Cloudflare, but it does not say whose failure it is")
	f("522 \n"+cf+"X-Our-Worker: broken\n", "", "cloudflare/ours", "cloudflare", config, "522: our worker is broken")
	f("500 \nX-Our-Edge: 1\nX-Our-Error: E17 and more\n", "", "our-own/edge", "our-own", edge, "500 with E17")
	f("500 \nX-Our-Edge: 1\nX-Our-Error: 17\n", "oops", "", "our-own", origin, "500 passed on by our-own: nothing in it was made by the CDN")
}

func TestInvalidFiles(t *testing.T) {
	f := func(text string, want ...string) {
		t.Helper()
		name := ruleFile(t, text)
		_, err := Load(name)
		if err == nil {
			t.Errorf("%q: no error", text)
			return
		}
		got := strings.Split(err.Error(), "\n")
		if len(got) != len(want) {
			t.Errorf("got %d mistakes, want %d:\n%v", len(got), len(want), err)
			return
		}
		for i := range want {
			if !strings.HasPrefix(got[i], name+":"+want[i]) {
				t.Errorf("got %q, want %s:%s", got[i], name, want[i])
			}
		}
	}
	f("name = \"Bad Name\"\n", "1: name: ")
	f("name = 3\n", "1: name: ")
	f("name = \"x\"\nranges = [\n\"10.0.0.0/8\"", "3: ranges: ")
	f("name = \"x\"\n\nranges = [\"10.0.0.1/8\", \"foo\"]\n", "3: ranges: ", "3: ranges: ")
	f("ranges = [\"10.0.0.0/8\"]\n", "1: name: is missing")
	f("name = \"x\"\ncname = [\"com\"]\n", "2: cname: ")
	f("name = \"x\"\nstrong = [\"a b\"]\nweak = [\"server ~ (\"]\nrewrites = [\"!server\"]\n", "2: strong: ", "3: weak: ", "4: rewrites: ")
	f("name = \"x\"\nfoo = 1\n", "2: foo: is not a key")
	f("name = \"x\"\nask = [\"Host: a\", \"X-Debug\", \"X-A: b\\r\\nHost: c\"]\n", "2: ask: ", "2: ask: ", "2: ask: ")
	f("name = \"x\"\ntext = [\"ab\"]\n", "2: text: ")
	f("name = \"x\"\n[[made]]\nmade_by_cdn = true\nstatus = \"any\"\nbody_any = [\"long enough\"]\n", "3: made.made_by_cdn: ", "4: made.status: ")
	f("name = \"x\"\n[[code]]\nheader = \":\"\n", "2: code.name: ", "3: code.header: ")
	f("[[operator]]\nns = [\"nodot\"]\n", "1: operator.name: is missing", "2: operator.ns: ")
	good := "id = \"a\"\nclass = \"http_blocked\"\nstatus = \"403\"\nwhy = \"w\"\nsource = \"s\"\n"
	f("[[rule]]\n"+good+"\n[[rule]]\n"+good, "9: rule.id: ")
	f("[[rule]]\n"+good+"bar = 1\n", "7: rule.bar: is not a key")
	f("[[rule]]\n"+good+"candidates = [\"edge\"]\n", "7: rule.candidates: ")
	f("[[rule]]\n"+good+"code = \"nope\"\nis = [\"1\"]\n", "7: rule.code: ")
	f("[[rule]]\n"+good+"is = [\"1\"]\n", "1: rule.code: ")
	f("[[rule]]\n"+good+"made_by_cdn = true\ntest = \"first\"\n", "7: rule.made_by_cdn: ", "8: rule.test: ")
	f("[[rule]]\n"+good+"header = [\"x ~ [\"]\nsays = [\"x\"]\n", "8: rule.says: ", "7: rule.header: ")
	f("[[rule]]\n", "1: rule.status: ", "1: rule.class: ", "1: rule.id: ", "1: rule.why: ", "1: rule.source: ")
	f("[[rule]]\nid = \"a\"\nwhy = \"\"\"\nstatus = 3\n\"\"\"\nsource = \"s\"\nclass = \"http_edge_error\"\nstatus = \"404\"\n", "8: rule.status: ")
	f("[[rule]]\nid = \"a\"\nwhy = \"w\"\nsource = \"s\"\nclass = \"http_blocked\"\nstatus = \"200-499\"\nbody_any = [\n  # [[\n  \"so [\",\n]\n", "6: rule.status: includes good answers")
	f("[[rule]]\nid = \"a\"\nwhy = \"w\"\nsource = \"s\"\nclass = \"connect_refused\"\nstatus = \"5xx\"\n", "6: rule.status: ", "5: rule.class: ")
	f("[[rule]]\nid = \"a\"\nwhy = \"w\"\nsource = \"s\"\nclass = \"http_server_error_unattributed\"\nstatus = \"500\"\ncandidates = [\"none\"]\n", "7: rule.candidates: ")
}

// Every mistake of every file comes in one error.
func TestAllFilesAtOnce(t *testing.T) {
	_, err := Load(ruleFile(t, "name = \"?\"\n"), filepath.Join(t.TempDir(), "none.toml"), ruleFile(t, "what\n"))
	if err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("got %v, want three mistakes", err)
	}
}

func TestFilesAreBounded(t *testing.T) {
	if _, err := Load(ruleFile(t, strings.Repeat("#", maxFile+1))); err == nil || !strings.Contains(err.Error(), "split it") {
		t.Errorf("got %v, want the file refused for its length", err)
	}
	var b strings.Builder
	b.WriteString("name = \"x\"\ntext = [\n")
	for i := range 2000 {
		fmt.Fprintf(&b, "\"%0100d\",\n", i)
	}
	if _, err := Load(ruleFile(t, b.String()+"]\n")); err == nil || !strings.Contains(err.Error(), "at most") {
		t.Errorf("got %v, want the texts refused for their length", err)
	}
}

func FuzzRuleFile(f *testing.F) {
	names, err := embedded.ReadDir("rules")
	if err != nil {
		f.Fatal(err)
	}
	for _, d := range names {
		text, err := embedded.ReadFile("rules/" + d.Name())
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte("name = \"x\"\nfoo = 1\n[[rule]]\nbar = '''\n"))
	e := sample{head: "503 x\n" + cf, body: "<center>cloudflare</center>"}.evidence(f)
	f.Fuzz(func(t *testing.T, text []byte) {
		b := newBuilder()
		b.add("own.toml", text)
		r, err := b.rules()
		if err != nil {
			for line := range strings.SplitSeq(err.Error(), "\n") {
				if line == "" {
					t.Errorf("an empty line in %q", err)
				}
			}
			return
		}
		r.Judge(e, probe.Fronting{CDN: "cloudflare"})
	})
}
