package main

import (
	"encoding/json"
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
