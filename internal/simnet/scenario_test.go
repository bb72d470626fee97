package simnet

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestBuiltin(t *testing.T) {
	names := Names()
	if len(names) < 18 {
		t.Fatalf("%d built-in scenarios, want at least 18", len(names))
	}
	for _, name := range names {
		sc, err := Open(name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if sc.Name != name || sc.Title == "" || sc.Onset.IsZero() || len(sc.Sources) == 0 || sc.Expect.Scope == "" {
			t.Errorf("%s: read as %q, %q, %v, %d sources, scope %q", name, sc.Name, sc.Title, sc.Onset, len(sc.Sources), sc.Expect.Scope)
		}
		NewWorld(sc, 1, Independent)
	}
}

func TestParseFounding(t *testing.T) {
	sc := open(t, "cloudflare-2019-07-02")
	if got, want := sc.Domain, (Ref{"cdn", "cloudflare"}); got != want {
		t.Errorf("domain %v, want %v", got, want)
	}
	if got, want := sc.ProviderDetect, 180*time.Second; got != want {
		t.Errorf("provider_detect %v, want %v", got, want)
	}
	e := sc.Expect
	if !e.Page || e.Pages != 1 || e.MaxPages != 1 || e.Visible != 30*time.Second || e.MaxDetect != 120*time.Second || e.MustBeat != 180*time.Second {
		t.Errorf("expectation %+v", e)
	}
	if !e.Accepts("cdn", "cloudflare") || e.Accepts("cdn", "fastly") {
		t.Error("accepts the wrong domain")
	}
	w := sc.World
	if w.Interval != 30*time.Second || w.Sites != 20 || w.Owners != 20 || w.OnCDN != "cloudflare" || w.Controls != 30 || len(w.Vantages) != 5 ||
		w.Normal != "ok" || w.SiteAlert != "notice" || w.Noise != 0.01 || w.Warmup != time.Hour || w.Tail != 30*time.Minute {
		t.Errorf("world %+v", w)
	}
	if len(w.MemberOf) != 1 || w.MemberOf[0] != sc.Domain {
		t.Errorf("member of %v, want the failing domain", w.MemberOf)
	}
	if p := sc.Phases[2]; p.At != 90*time.Second || p.Share != 0.7 || p.Fail != 0.85 || p.Class != ClassEdge502 || p.Applies != AppliesDomain {
		t.Errorf("third phase %+v", p)
	}
}

// Vantages beside the default ones: where a phase names a region, or a v-NAME, that those lack.
func TestNamedVantages(t *testing.T) {
	f := func(name string, want ...string) {
		t.Helper()
		var got []string
		for _, v := range open(t, name).World.Vantages {
			got = append(got, v.Name)
		}
		want = append([]string{"v1", "v2", "v3", "v4", "v5"}, want...)
		if !slices.Equal(got, want) {
			t.Errorf("%s: vantages %v, want %v", name, got, want)
		}
	}
	f("cloudflare-2019-07-02")
	f("spain-laliga-2025", "v-es")
	f("cloudflare-2019-06-24", "v-us-central")
	f("vantage-uplink-loss")
}

const small = `
name = "small"
[domain]
kind = "cdn"
name = "fastly"
`

func TestVantageForms(t *testing.T) {
	f := func(toml string, want ...VantageSpec) {
		t.Helper()
		sc, err := Parse("x.toml", []byte(small+"[[phase]]\nclass = \"slow\"\n[expect]\npage = false\n[world]\n"+toml))
		if err != nil {
			t.Errorf("%s: %v", toml, err)
			return
		}
		if !slices.Equal(sc.World.Vantages, want) {
			t.Errorf("%s: vantages %v, want %v", toml, sc.World.Vantages, want)
		}
	}
	two := []VantageSpec{{"v1", "us-east"}, {"v2", "us-west"}}
	f(`vantages = 2`, two...)
	f(`vantages = ["v1 us-east", "v2 us-west"]`, two...)
	f(`vantages = ["v1:us-east", "v2=us-west"]`, two...)
	f(`vantages = { v1 = "us-east", v2 = "us-west" }`, two...)
	f(`vantages = [{ name = "v1", region = "us-east" }, { name = "v2", region = "us-west" }]`, two...)
	f(`vantages = ["eu-west"]`, VantageSpec{"v-eu-west", "eu-west"})
}

// Every invalid-*.toml has one mistake for each of its lines that ends in "# MISTAKE: text", told at that line.
func TestInvalid(t *testing.T) {
	files, err := filepath.Glob("testdata/invalid-*.toml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no invalid scenarios: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		_, err = Open(file)
		if err == nil {
			t.Errorf("%s: no error", file)
			continue
		}
		got := strings.Split(err.Error(), "\n")
		var want []string
		for i, line := range strings.Split(string(text), "\n") {
			if _, mistake, ok := strings.Cut(line, "# MISTAKE: "); ok {
				want = append(want, file+":"+strconv.Itoa(i+1)+": "+mistake)
			}
		}
		if len(got) != len(want) {
			t.Errorf("%s: %d mistakes told, want %d:\n%s", file, len(got), len(want), err)
			continue
		}
		for i := range got {
			if !strings.HasPrefix(got[i], want[i]) {
				t.Errorf("%s:\n got %s\nwant %s…", file, got[i], want[i])
			}
		}
	}
}

func TestOpenUnknown(t *testing.T) {
	_, err := Open("no-such-outage")
	if err == nil || !strings.Contains(err.Error(), "fastly-2021-06-08") {
		t.Errorf("error %v, want one that lists the built-in scenarios", err)
	}
}

func FuzzParse(f *testing.F) {
	for _, name := range Names() {
		text, err := builtin.ReadFile("scenarios/" + name + ".toml")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		sc, err := Parse("fuzz.toml", text)
		if err == nil && len(sc.Phases) == 0 {
			t.Error("a scenario without phases")
		}
	})
}

func TestExcerpt(t *testing.T) {
	f := func(name string, want bool) {
		t.Helper()
		sc := open(t, name)
		short, cut := sc.Excerpt(2 * time.Hour)
		if cut != want {
			t.Errorf("%s: an excerpt: %t, want %t", name, cut, want)
		}
		if !cut {
			return
		}
		if short.Last() >= sc.Last() || short.Last()+sc.World.Tail > 3*time.Hour {
			t.Errorf("%s: the excerpt ends with a phase at %v of %v", name, short.Last(), sc.Last())
		}
		for i := 1; i < len(sc.Phases); i++ { // what followed still follows, what was together still is
			if (sc.Phases[i].At == sc.Phases[i-1].At) != (short.Phases[i].At == short.Phases[i-1].At) || short.Phases[i].At < short.Phases[i-1].At {
				t.Errorf("%s: phases %d and %d: at %v and %v", name, i-1, i, short.Phases[i-1].At, short.Phases[i].At)
			}
		}
	}
	f("cloudflare-2019-07-02", false)
	f("fastly-2021-06-08", true)
	f("cloudflare-2023-11-02", true)
	f("letsencrypt-2021-09-30", true)
	f("slow-drift", true)
}

func open(t *testing.T, name string) *Scenario {
	t.Helper()
	sc, err := Open(name)
	if err != nil {
		t.Fatal(err)
	}
	return sc
}

// The engine names certificate authorities plainly; a scenario may name them as their certificates do.
func TestRefMeansAnAuthority(t *testing.T) {
	f := func(r Ref, kind, name string, want bool) {
		t.Helper()
		if got := r.Matches(kind, name); got != want {
			t.Errorf("%s means %s:%s: %v, want %v", r, kind, name, got, want)
		}
	}
	f(Ref{"ca", "DigiCert Inc"}, "ca", "digicert", true)
	f(Ref{"ca", "letsencrypt"}, "ca", "letsencrypt", true)
	f(Ref{"ca", "letsencrypt"}, "ca", "digicert", false)
	f(Ref{"cdn", "DigiCert Inc"}, "cdn", "digicert", false)
	f(Ref{"cdn", "*"}, "ca", "digicert", false)
}
