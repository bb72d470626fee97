package cdn

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/BurntSushi/toml"

	"faultline/probe"
)

// fixture is one entry of testdata/responses/index.toml.
type fixture struct {
	File        string
	CDN         string
	Attribution string
	Accept      []string
	Status      int
	Class       string
}

// pending are fixtures that are not right yet, each with what is missing; one that becomes right fails the test.
var pending = map[string]string{}

// otherClass are fixtures whose class in the index is not the one that the taxonomy gives.
var otherClass = map[string]probe.Class{
	"captive-302.http":                    probe.ClassHTTPInterference,
	"nocdn-squid-fwd-503-refused.http":    probe.ClassHTTPServerErrorUnattributed, // whose proxy it is, the answer does not say
	"nocdn-nginx-503-ratelimit.http":      probe.ClassHTTPOriginError,             // nothing in it says that it is a limit
	"cloudfront-403-s3-accessdenied.http": probe.ClassHTTPConfigError,
}

func fixtures(t testing.TB) []fixture {
	t.Helper()
	var index struct{ Fixture []fixture }
	if _, err := toml.DecodeFile("testdata/responses/index.toml", &index); err != nil {
		t.Fatal(err)
	}
	return index.Fixture
}

func mustLoad(t testing.TB, files ...string) *Rules {
	t.Helper()
	r, err := Load(files...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func readFixture(t testing.TB, name string) *probe.Evidence {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata/responses", name))
	if err != nil {
		t.Fatal(err)
	}
	return Saved(raw)
}

func TestFixtures(t *testing.T) {
	r := mustLoad(t)
	all := fixtures(t)
	if len(all) < 131 {
		t.Fatalf("got %d fixtures, want 131", len(all))
	}
	for _, f := range all {
		v := r.Judge(readFixture(t, f.File), probe.Fronting{})
		bad := wrong(f, v)
		switch why, ok := pending[f.File]; {
		case ok && len(bad) == 0:
			t.Errorf("%s is right now: take it off the pending list", f.File)
		case !ok && len(bad) > 0:
			t.Errorf("%s: %v\n\tgot %v %v %v cdn %q %q: %s\n\twant %v %s cdn %q", f.File, bad, v.Class, v.Fault, v.Candidates, v.CDN, v.CDNBy, v.Why, f.Accept, f.Class, f.CDN)
		case ok:
			t.Logf("%s is pending: %s", f.File, why)
		}
	}
}

// wrong lists what is wrong with a verdict on a fixture.
func wrong(f fixture, v probe.Verdict) (bad []string) {
	got := v.Fault.String()
	if !slices.Contains(f.Accept, got) && (got != "ambiguous" || len(f.Accept) < 2) {
		bad = append(bad, "fault")
	}
	want := probe.ParseClass(f.Class)
	if other, ok := otherClass[f.File]; ok {
		want = other
	}
	if v.Class != want && v.Fault != probe.FaultAmbiguous {
		bad = append(bad, "class")
	}
	if cdn := f.CDN; cdn == "none" || cdn == "generic" {
		if v.CDN != "" {
			bad = append(bad, "cdn")
		}
	} else if v.CDN != cdn {
		bad = append(bad, "cdn")
	}
	if v.Why == "" {
		bad = append(bad, "why")
	}
	return bad
}

// What must never happen, pending or not.
func TestNoFixtureIsAccusedWrongly(t *testing.T) {
	r := mustLoad(t)
	for _, f := range fixtures(t) {
		for _, was := range []probe.Fronting{{}, {CDN: f.CDN}, {CDN: "cloudflare"}} {
			v := r.Judge(readFixture(t, f.File), was)
			if v.Fault == probe.FaultEdge && !slices.Contains(f.Accept, "edge") {
				t.Errorf("%s: called an edge's failure: %s", f.File, v.Why)
			}
			if v.Fault == probe.FaultBlocked && !slices.Contains(f.Accept, "blocked") {
				t.Errorf("%s: an outage is called a block: %s", f.File, v.Why)
			}
		}
	}
}
