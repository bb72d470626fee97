package main

import (
	"path/filepath"
	"strings"
	"testing"

	"faultline/internal/simnet"
	"faultline/probe/cdn"
)

// The tables of the detection study, section 4: what must page, and how soon, and what must not. Each row is a scenario; the
// times are those asked of the engine, for the middle of the runs.
func TestDetectionTables(t *testing.T) {
	files, err := filepath.Glob("testdata/table/*.toml")
	if err != nil || len(files) < 20 {
		t.Fatal(files, err)
	}
	rules, err := cdn.Load()
	if err != nil {
		t.Fatal(err)
	}
	within := map[string]float64{"page-5xx-80": 2.5, "page-timeout-80": 6, "page-5xx-28": 4, "page-two-of-four": 3}
	for _, path := range files {
		name := strings.TrimSuffix(filepath.Base(path), ".toml")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sc, err := simnet.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			runs := 20
			switch {
			case racing:
				runs = 2 // the step "detection tables" of .ci/run plays them all
			case within[name] > 0:
				runs = 60 // the middle of fewer is anywhere
			}
			all := make([]simRun, runs)
			for i := range all {
				all[i] = simulate(sc, rules, 1000+uint64(i), nil)
			}
			r := sumUp(sc, all)
			if len(r.Failures) > 0 && (strings.HasPrefix(name, "quiet") || len(r.Failures) > 1) {
				t.Errorf("got %d of %d runs wrong: %+v", len(r.Failures), runs-r.Excluded, r.Failures)
			}
			if most := within[name]; most > 0 && !racing && (r.DetectS == nil || r.DetectS.P50 > most) {
				t.Errorf("got pages after %+v, want %g s at most in half of the runs", r.DetectS, most)
			}
		})
	}
}
