package simnet

import (
	"fmt"
	"math"
	"testing"
	"time"
)

// story is a scenario of some phases, each "AT APPLIES SHARE CLASS REGIONS".
func story(t *testing.T, world string, phases ...string) *World {
	t.Helper()
	text := small + "[expect]\npage = false\n[world]\n" + world + "\n"
	for _, p := range phases {
		var at, share float64
		var applies, class, regions string
		if _, err := fmt.Sscanf(p, "%g %s %g %s %s", &at, &applies, &share, &class, &regions); err != nil {
			t.Fatalf("%q: %v", p, err)
		}
		text += fmt.Sprintf("[[phase]]\nat_s = %g\napplies = %q\nshare_of_sites_failing = %g\nclass = %q\nregions = [%s]\n", at, applies, share, class, regions)
	}
	sc, err := Parse("story.toml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return NewWorld(sc, 7, Stratified)
}

// first is the first site of a kind.
func (w *World) first(k Kind) int {
	for i := range w.Sites {
		if w.Sites[i].Kind == k {
			return i
		}
	}
	return -1
}

func (w *World) vantage(name string) int {
	for i := range w.Vantages {
		if w.Vantages[i].Name == name {
			return i
		}
	}
	return -1
}

func TestPhasesEnd(t *testing.T) {
	w := story(t, "extra = 1\nextra_member_of = [\"control-plane:x\"]",
		`10 domain 1 edge_502 "*"`, `20 domain 1 edge_503 "us-east","eu"`, `30 all 1 slow "ap"`, `40 domain 1 ok "us-east"`,
		`50 extra 1 edge_500 "*"`, `60 domain 1 edge_500 "v2"`, `70 domain 0 ok "*"`)
	f := func(at float64, vantage string, kind Kind, want Class) {
		t.Helper()
		got := w.Fault(time.Duration(at*float64(time.Second)), w.first(kind), w.vantage(vantage), 1)
		if got != want {
			t.Errorf("at %g s, %s, kind %d: %v, want %v", at, vantage, kind, got, want)
		}
	}
	f(-1, "v1", KindDomain, ClassOK)
	f(9.9, "v1", KindDomain, ClassOK)
	f(10, "v1", KindDomain, ClassEdge502)
	f(20, "v1", KindDomain, ClassEdge503) // replaced here
	f(20, "v3", KindDomain, ClassEdge503) // and in a region by its prefix
	f(20, "v2", KindDomain, ClassEdge502) // but not there
	f(30, "v4", KindDomain, ClassEdge502) // another applies does not end it; the 502 comes first on the wire
	f(30, "v4", KindControl, ClassSlow)
	f(30, "v4", KindAnchor, ClassOK) // all is without the anchors
	f(30, "v1", KindControl, ClassOK)
	f(40, "v1", KindDomain, ClassOK)
	f(40, "v3", KindDomain, ClassEdge503)
	f(45, "v5", KindControl, ClassSlow)
	f(50, "v1", KindExtra, ClassEdge500)
	f(50, "v1", KindDomain, ClassOK)
	f(60, "v2", KindDomain, ClassEdge500)
	f(60, "v3", KindDomain, ClassEdge503)
	f(70, "v4", KindControl, ClassOK) // an ok ends all that began before, whomever it applies to
	f(70, "v1", KindExtra, ClassOK)
	f(70, "v2", KindDomain, ClassOK)
}

func TestSameTime(t *testing.T) {
	w := story(t, "", `0 domain 1 edge_500 "us-east","v2"`, `0 domain 1 edge_503 "*other"`, `0 domain 0.5 connect_timeout "*"`, `5 all+anchors 1 dns_timeout "v3"`)
	f := func(at float64, vantage string, kind Kind, u float64, want Class) {
		t.Helper()
		site := w.first(kind)
		w.Sites[site].U = u
		got := w.Fault(time.Duration(at*float64(time.Second)), site, w.vantage(vantage), 1)
		if got != want {
			t.Errorf("at %g s, %s, u %g: %v, want %v", at, vantage, u, got, want)
		}
	}
	f(0, "v1", KindDomain, 0.6, ClassEdge500)
	f(0, "v2", KindDomain, 0.6, ClassEdge500)
	f(0, "v3", KindDomain, 0.6, ClassEdge503)
	f(0, "v1", KindDomain, 0.4, ClassConnectTimeout) // both hold; a probe meets the connection first
	f(0, "v4", KindDomain, 0.4, ClassConnectTimeout)
	f(5, "v3", KindAnchor, 0.4, ClassDNSTimeout)
	f(5, "v3", KindDomain, 0.4, ClassDNSTimeout)
	f(5, "v1", KindAnchor, 0.4, ClassOK)
}

// The order of the phases in the file is free: nothing that happens may depend on it.
func TestOrderIsFree(t *testing.T) {
	a := story(t, "", `0 domain 0.5 edge_500 "*"`, `0 domain 1 origin_5xx "us-east"`, `10 domain 0.3 edge_502 "*"`)
	b := story(t, "", `10 domain 0.3 edge_502 "*"`, `0 domain 1 origin_5xx "us-east"`, `0 domain 0.5 edge_500 "*"`)
	for site := range a.Sites {
		for draw := range uint64(20) {
			for _, at := range []time.Duration{0, 10 * time.Second} {
				if x, y := a.Fault(at, site, 0, draw), b.Fault(at, site, 0, draw); x != y {
					t.Fatalf("site %d at %v: %v and %v", site, at, x, y)
				}
			}
		}
	}
}

func TestNormalBlocked(t *testing.T) {
	w := story(t, `normal = "blocked"`, `10 domain 1 edge_502 "*"`, `20 domain 0 ok "*"`)
	d, c := w.first(KindDomain), w.first(KindControl)
	for at, want := range map[time.Duration]Class{-1: ClassBlocked, 0: ClassBlocked, 10 * time.Second: ClassEdge502, 20 * time.Second: ClassBlocked} {
		if got := w.Fault(at, d, 0, 1); got != want {
			t.Errorf("domain at %v: %v, want %v", at, got, want)
		}
		if got := w.Fault(at, c, 0, 1); got != ClassOK {
			t.Errorf("control at %v: %v, want ok", at, got)
		}
	}
}

func TestVantageLost(t *testing.T) {
	w := story(t, "", `10 all 1 vantage_lost "v-azure"`, `20 all 0 ok "*"`)
	v := w.vantage("v-azure")
	if w.Lost(5*time.Second, v) || !w.Lost(10*time.Second, v) || w.Lost(20*time.Second, v) || w.Lost(10*time.Second, 0) {
		t.Error("v-azure is lost at the wrong time, or v1 is")
	}
	if got := w.Fault(10*time.Second, 0, v, 1); got != ClassOK {
		t.Errorf("a lost vantage's probe meets %v, want ok: it is the vantage that is cut off", got)
	}
}

// The affected sets are nested, exact when stratified, and the same for every vantage.
func TestShares(t *testing.T) {
	for _, sampling := range []Sampling{Stratified, Independent} {
		sc := open(t, "cloudflare-2019-07-02")
		w := NewWorld(sc, 3, sampling)
		before := map[int]bool{}
		for _, step := range []struct {
			at    time.Duration
			share float64
		}{{30 * time.Second, 0.3}, {90 * time.Second, 0.7}, {180 * time.Second, 0.95}} {
			hit := map[int]bool{}
			for i := range w.Sites {
				for v := range w.Vantages {
					for draw := range uint64(30) {
						if w.Fault(step.at, i, v, draw) == ClassEdge502 {
							hit[i] = true
						}
					}
				}
			}
			for i := range before {
				if !hit[i] {
					t.Errorf("sampling %d at %v: site %d is well again though the share grew", sampling, step.at, i)
				}
			}
			if want := int(math.Round(step.share * 20)); sampling == Stratified && len(hit) != want {
				t.Errorf("at %v: %d sites hit, want %d", step.at, len(hit), want)
			}
			before = hit
		}
	}
}

func TestRequestFail(t *testing.T) {
	w := NewWorld(open(t, "cloudflare-2019-07-02"), 3, Stratified)
	site := w.first(KindDomain)
	w.Sites[site].U = 0
	n, fails := 20000, 0
	for draw := range uint64(n) {
		c := w.Fault(200*time.Second, site, 0, draw)
		if c != w.Fault(201*time.Second, site, 0, draw) {
			t.Fatal("the same probe meets two things in one phase")
		}
		if c == ClassEdge502 {
			fails++
		}
	}
	if got := float64(fails) / float64(n); math.Abs(got-0.85) > 0.02 {
		t.Errorf("%g of the probes fail, want 0.85", got)
	}
}

func TestEdge5xxPerSite(t *testing.T) {
	w := story(t, "", `0 domain 1 edge_5xx "*"`)
	seen := map[Class]int{}
	for i := range w.Sites {
		if w.Sites[i].Kind != KindDomain {
			continue
		}
		c := w.Fault(0, i, 0, 1)
		for v := range w.Vantages {
			if got := w.Fault(0, i, v, 2); got != c {
				t.Errorf("site %d: %v and %v", i, c, got)
			}
		}
		seen[c]++
	}
	if len(seen) != 3 || seen[ClassEdge5xx] != 0 {
		t.Errorf("classes %v, want 500, 502 and 503", seen)
	}
}

// Each site turns bad at its own time; one that was bad stays so when a phase of a larger share goes on with it.
func TestIndependent(t *testing.T) {
	sc := open(t, "slow-drift")
	sc.World.Sites, sc.World.Owners = 1000, 1000
	w := NewWorld(sc, 5, Independent)
	day := 24 * time.Hour
	bad := make([]time.Duration, 1000)
	together := map[time.Duration]int{}
	for i := range bad {
		bad[i] = -1
		for at := time.Duration(0); at < 11*day; at += time.Hour {
			c := w.Fault(at, i, 0, uint64(at))
			if c == ClassConnectTimeout && bad[i] < 0 {
				bad[i] = at
				together[at]++
			}
			if c == ClassOK && bad[i] >= 0 {
				t.Fatalf("site %d is well again at %v", i, at)
			}
		}
	}
	n := 0
	for at, k := range together {
		n += k
		if k > 5 {
			t.Errorf("%d sites turn bad within the hour of %v", k, at)
		}
	}
	if n < 25 || n > 75 {
		t.Errorf("%d of 1000 sites turned bad by the tenth day, want about 50", n)
	}
}

func TestWorld(t *testing.T) {
	for _, name := range Names() {
		w := NewWorld(open(t, name), 1, Stratified)
		names, hosts, addrs := map[string]bool{}, map[string]bool{}, map[string]string{}
		networks, controls := map[string]bool{}, map[string]int{}
		for i := range w.Sites {
			s := &w.Sites[i]
			if names[s.Name] || hosts[s.Host] {
				t.Errorf("%s: %s (%s) is there twice", name, s.Name, s.Host)
			}
			names[s.Name], hosts[s.Host] = true, true
			if other, there := addrs[s.Addr.String()]; there && other != s.CDN || s.Addr == s.BlackHole {
				t.Errorf("%s: %s shares its address with another CDN", name, s.Name)
			}
			addrs[s.Addr.String()] = s.CDN
			if s.Kind == KindAnchor {
				networks[s.Addr.String()[:7]] = true
			}
			if s.Kind == KindControl {
				controls[s.CDN]++
			}
			if w.SiteOf(s.Host) != i {
				t.Errorf("%s: %s is not found by its host", name, s.Host)
			}
		}
		if len(networks) != 6 {
			t.Errorf("%s: anchors on %d networks, want 6", name, len(networks))
		}
		if controls[""] != 10 || len(controls) != 3 || controls[w.Scenario.World.OnCDN] != 0 {
			t.Errorf("%s: controls %v, want 10 on none and on two CDNs that do not fail", name, controls)
		}
	}
}

func BenchmarkFault(b *testing.B) {
	sc, err := Open("cloudflare-2025-11-18")
	if err != nil {
		b.Fatal(err)
	}
	w := NewWorld(sc, 1, Independent)
	for i := range b.N {
		w.Fault(time.Duration(i%12000)*time.Second, i%len(w.Sites), i%len(w.Vantages), uint64(i))
	}
}
