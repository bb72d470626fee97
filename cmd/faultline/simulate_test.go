package main

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The founding case in virtual time: found each time, soon, and the same for the same seed.
func TestSimulate(t *testing.T) {
	args := []string{"simulate", "--scenario", "cloudflare-2019-07-02", "--runs", "6", "--json"}
	status, out, errs := command(t, args...)
	if status != exitOK {
		t.Fatalf("got status %d\n%s%s", status, out, errs)
	}
	var r simReport
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatal(err)
	}
	if r.Scenario != "cloudflare-2019-07-02" || r.Runs != 6 || r.Passed+r.Excluded != 6 || r.Excluded > 1 || r.Pages != (simRange{1, 1}) || len(r.Failures) != 0 {
		t.Errorf("got %+v", r)
	}
	if d := r.DetectS; d == nil || d.P50 <= 0 || d.P50 > 20 || d.Max < d.P95 || d.P95 < d.P50 {
		t.Errorf("got the times %+v", r.DetectS)
	}
	if _, again, _ := command(t, args...); again != out {
		t.Errorf("got another outcome of the same seeds:\n%s%s", out, again)
	}
	if _, other, _ := command(t, append(args, "--seed", "100")...); other == out {
		t.Error("got the same outcome of other seeds")
	}
}

// What a scenario expects and does not come is told for each run, with its seed.
func TestSimulateWhatIsMissed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.toml")
	if err := os.WriteFile(path, []byte(strings.Replace(outage, `"cdn:cloudflare"`, `"cdn:fastly"`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	status, out, _ := command(t, "simulate", "--scenario", path, "--runs", "2", "--seed", "7")
	if status != exitBad || !strings.Contains(out, "passed     0 of 2 judged runs") || !strings.Contains(out, "seed 7: a page names cdn:cloudflare, not cdn:fastly") {
		t.Errorf("got status %d\n%s", status, out)
	}
	if status, _, errs := command(t, "simulate", "--scenario", "nothing"); status != exitUsage || !strings.Contains(errs, "nothing") {
		t.Errorf("got status %d, %s", status, errs)
	}
	if status, _, errs := command(t, "simulate", "--scenario", path, "--runs", "0"); status != exitUsage || !strings.Contains(errs, "--runs 0: from 1 to") {
		t.Errorf("got status %d, %s", status, errs)
	}
}

// Days of noise: no false page, each domain's outages found, the same for the same seed, and advice where there are too few.
func TestSimulateDays(t *testing.T) {
	args := []string{"simulate", "--sites", "2", "--controls", "24", "--vantages", "2", "--days", "1", "--runs", "4", "--json"}
	status, out, errs := command(t, args...)
	if status != exitOK {
		t.Fatalf("got status %d\n%s%s", status, out, errs)
	}
	var r daysReport
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatal(err)
	}
	rows := map[string]daysDomain{}
	for _, d := range r.Domains {
		rows[d.String()] = d
		if d.FalsePages != 0 || d.CI95[0] != 0 || d.CI95[1] < 1000 || d.CI95[1] > 2000 {
			t.Errorf("%v: got %d false pages, %v a year", d.Domain, d.FalsePages, d.CI95)
		}
	}
	few, many := rows["cdn:cloudflare"], rows["cdn:fastly"]
	if few.Missed != 1 || few.TimeToPage != nil || few.Advice != "2 cloudflare sites: too few to page within one false page a year; add 2" {
		t.Errorf("got %+v", few)
	}
	if many.Owners != 8 || many.Missed > 0.5 || many.TimeToPage == nil || many.TimeToPage.P50 > 15 {
		t.Errorf("got %+v", many)
	}
	if _, again, _ := command(t, args...); again != out {
		t.Errorf("got another outcome of the same seed:\n%s%s", out, again)
	}
}

func TestSimulateMistakes(t *testing.T) {
	noise := filepath.Join(t.TempDir(), "noise.toml")
	write := func(text string) {
		if err := os.WriteFile(noise, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("look_failure = 0.9\nonsets_per_year = 1\noutage_s = 1\n")
	for want, args := range map[string][]string{
		"nothing to simulate":        {},
		"do not go together":         {"--scenario", "x", "--sites", "3"},
		"--days 0: from 1":           {"--sites", "3", "--days", "0"},
		"neither a noise with a nam": {"--sites", "3", "--noise", "loud"},
		"look_failure is from 0":     {"--sites", "3", "--noise", noise},
		"world.vantages":             {"--sites", "3", "--vantages", "0"},
		"reading config":             {"--config", "none.toml"},
	} {
		if status, _, errs := command(t, append([]string{"simulate"}, args...)...); status != exitUsage || !strings.Contains(errs, want) {
			t.Errorf("%v: got status %d, %s, want %q", args, status, errs, want)
		}
	}
	for text, want := range map[string]string{
		"onsets_per_year = \"x\"\noutage_s = 1\n":                 "onsets_per_year: x: a number",
		"onsets_per_year = { p50 = 1, q = 2 }\noutage_s = 1\n":    `"q" is no quantile`,
		"onsets_per_year = 1\noutage_s = -1\n":                    "outage_s: -1",
		"onsets_per_year = 1\noutage_s = 1\nloudness = 1\n":       "loudness is no key",
		"onsets_per_year = { }\noutage_s = 1\n":                   "empty",
		"onsets_per_year = 1\noutage_s = 1\nlook_failure = \"x\"": "reading noise",
	} {
		write(text)
		if _, err := openNoise(noise); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
	write("look_failure = 0.01\ntogether = 0.5\nonsets_per_year = { p50 = 10, p90 = 100 }\noutage_s = 600\n")
	n, err := openNoise(noise)
	if err != nil || n.onsets.draw(0.1) != 10 || math.Abs(n.onsets.draw(0.7)-55) > 1e-9 || n.onsets.draw(0.99) != 100 {
		t.Errorf("got %+v, %v", n, err)
	}
}

// The exact interval of a Poisson mean, against the tables (Garwood 1936).
func TestPoisson95(t *testing.T) {
	for n, want := range map[int][2]float64{0: {0, 3.689}, 1: {0.0253, 5.572}, 10: {4.795, 18.39}} {
		if lo, hi := poisson95(n); math.Abs(lo-want[0]) > 0.01 || math.Abs(hi-want[1]) > 0.01 {
			t.Errorf("%d: got %g to %g, want %v", n, lo, hi, want)
		}
	}
}
