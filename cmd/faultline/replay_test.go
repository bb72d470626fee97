package main

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"faultline/internal/record"
	"faultline/internal/simnet"
	"faultline/probe"
	"faultline/probe/cdn"
)

// recorded plays an outage in virtual time and records it in a file.
func recorded(t *testing.T, name, path string) *drillReport {
	t.Helper()
	sc, err := simnet.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	rules, err := cdn.Load()
	if err != nil {
		t.Fatal(err)
	}
	var text []byte
	known := map[string]bool{}
	run := simulate(sc, rules, 3, func(now time.Time, r *probe.Result, s *probe.Site) {
		if known[s.Name] {
			s = nil
		} else {
			known[s.Name] = true
		}
		if text, err = record.AppendLine(text, now, r, s); err != nil {
			t.Error(err)
		}
		text = append(text, '\n')
	})
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return &run.report
}

// What was recorded gives the same incidents again, to the second; without a config too.
func TestReplay(t *testing.T) {
	outages := []string{"cloudflare-2019-07-02", "facebook-2021-10-04"}
	if racing {
		outages = outages[:1] // the other one lasts for seven hours
	}
	for _, name := range outages {
		path := filepath.Join(t.TempDir(), "results.jsonl")
		report := recorded(t, name, path)
		status, out, errs := command(t, "replay", "--json", path)
		if status != exitOK || errs != "" {
			t.Fatalf("got status %d, %s", status, errs)
		}
		sc, _ := simnet.Open(name)
		var pages []replayed
		for line := range strings.Lines(out) {
			var i replayed
			if err := json.Unmarshal([]byte(line), &i); err != nil {
				t.Fatal(err)
			}
			if !i.PagedAt.IsZero() {
				pages = append(pages, i)
			}
		}
		if len(pages) != len(report.Pages) || len(pages) == 0 {
			t.Fatalf("%s: got %d pages, want %d\n%s", name, len(pages), len(report.Pages), out)
		}
		for n, p := range pages {
			want := report.Pages[n]
			if p.ID != want.Incident || p.Domain != want.Domain || string(p.Assessment) != want.Assessment {
				t.Errorf("%s: got %+v, want %+v", name, p, want)
			}
			if at := p.PagedAt.Sub(sc.Onset).Seconds(); math.Abs(at-want.AtS) > float64(sc.World.Interval/time.Second)+1 {
				t.Errorf("%s: paged at %.1f s, want %.1f", name, at, want.AtS)
			}
		}
	}
}

func TestReplayMistakes(t *testing.T) {
	for _, x := range []struct{ file, want string }{{"nothing", "opening a recording"}, {"testdata", "reading"}} {
		if status, _, errs := command(t, "replay", x.file); status != exitUsage || !strings.Contains(errs, x.want) {
			t.Errorf("%s: got status %d, %s", x.file, status, errs)
		}
	}
}
