package simnet

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"faultline/probe"
	"faultline/probe/cdn"
)

// The real judge, given the simulated ranges, takes every answer for what it stands for.
func TestJudged(t *testing.T) {
	for _, on := range []string{
		"cloudflare", "fastly", "cloudfront", "akamai", "azure-front-door", "imperva", "vercel", "bunny", "google", "some-new-cdn", "none",
	} {
		w := story(t, "sites = 6\ncontrols = 0\non_cdn = \""+on+"\"", `0 domain 1 edge_502 "*"`)
		rules := judgeOf(t, w)
		edge := []probe.Fault{probe.FaultEdge}
		switch on {
		case "none":
			on, edge = "", []probe.Fault{probe.FaultOrigin}
		case "bunny": // its own pages name no cause
			edge = []probe.Fault{probe.FaultOrigin, probe.FaultEdge}
		}
		f := func(c Class, want ...probe.Fault) {
			t.Helper()
			for site := range 6 {
				v := judged(t, w, rules, site, c)
				if v.CDN != on || !hasFirst(v, want) {
					t.Errorf("%q %v, site %d: %v, %v %v, on %q: %s; want %v", on, c, site, v.Class, v.Fault, v.Candidates, v.CDN, v.Why, want)
				}
			}
		}
		f(ClassOK, probe.FaultNone)
		f(ClassSlow, probe.FaultNone)
		f(ClassBlocked, probe.FaultBlocked)
		f(ClassOrigin5xx, probe.FaultOrigin)
		f(ClassCF522, probe.FaultOrigin)
		f(ClassEdge500, edge...)
		f(ClassEdge503, edge...)
		if on != "cloudfront" { // whose 502 always means its origin
			f(ClassEdge502, edge...)
		}
	}
}

// hasFirst tells whether a verdict's fault, or its likeliest one, is the first of want; with more than one, whether it is
// between just those.
func hasFirst(v probe.Verdict, want []probe.Fault) bool {
	if v.Fault != probe.FaultAmbiguous {
		return v.Fault == want[0] && len(want) == 1
	}
	for i := range want {
		if len(v.Candidates) <= i || v.Candidates[i] != want[i] {
			return false
		}
	}
	return true
}

func judged(t *testing.T, w *World, rules *cdn.Rules, site int, c Class) probe.Verdict {
	t.Helper()
	s := &w.Sites[site]
	a := w.Answer(site, 2, c, time.Date(2019, 7, 2, 13, 43, 0, 0, time.UTC), uint64(site))
	resp, err := cdn.ParseResponse(a.AppendWire(nil))
	if err != nil {
		t.Fatal(err)
	}
	return rules.Judge(&probe.Evidence{
		Host: s.Host, Class: probe.ClassOK, Addr: netip.AddrPortFrom(s.Addr, 443), CNAME: s.CNAME, NS: s.NS, Response: resp,
	}, probe.Fronting{})
}

func judgeOf(t *testing.T, w *World) *cdn.Rules {
	t.Helper()
	dir := t.TempDir()
	var files []string
	for _, f := range w.ruleFiles() {
		name := filepath.Join(dir, f.name)
		files = append(files, name)
		if err := os.WriteFile(name, f.text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	rules, err := cdn.Load(files...)
	if err != nil {
		t.Fatal(err)
	}
	return rules
}
