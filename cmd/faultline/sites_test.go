package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"faultline/internal/config"
)

// What other programs' lists become is a config that check finds good.
func TestSitesImport(t *testing.T) {
	lists := "../../internal/config/testdata/import/"
	status, out, errs := command(t, "sites", "import", lists+"gatus.yaml", lists+"kuma.json", lists+"targets.yml", lists+"hk.csv")
	if status != exitOK {
		t.Fatalf("got status %d: %s", status, errs)
	}
	for _, want := range []string{"gatus.yaml: 2 sites, read as gatus, which is guessed", "warning: " + lists + "kuma.json:13: type: ping is no web site"} {
		if !strings.Contains(errs, want) {
			t.Errorf("does not say %q:\n%s", want, errs)
		}
	}
	path := filepath.Join(t.TempDir(), "c.toml")
	if err := os.WriteFile(path, []byte("[[vantage]]\nname = \"v\"\nresolvers = [\"192.0.2.1\"]\n\n"+out), 0o600); err != nil {
		t.Fatal(err)
	}
	if status, out, errs := command(t, "check", "--config", path); status != exitOK || !strings.Contains(out, "11 sites") {
		t.Errorf("check: got status %d\n%s%s", status, out, errs)
	}

	status, out, _ = command(t, "sites", "import", "--json", lists+"targets.json")
	var doc struct {
		Sites    []map[string]any `json:"sites"`
		Warnings []config.Problem `json:"warnings"`
	}
	if err := json.Unmarshal([]byte(out), &doc); err != nil || status != exitOK || len(doc.Sites) != 3 || len(doc.Warnings) != 1 {
		t.Errorf("got status %d, %v, %s", status, err, out)
	}
	if status, out, errs := command(t, "sites", "import", "--format", "kuma", lists+"plain.txt"); status != exitBad || out != "" || !strings.Contains(errs, "no backup of Uptime Kuma") {
		t.Errorf("a list of another format: got status %d, %s%s", status, out, errs)
	}
	if status, _, errs := command(t, "sites", "import", "/nowhere"); status != exitUsage || !strings.Contains(errs, "no such file") {
		t.Errorf("a missing file: got status %d, %s", status, errs)
	}
	var fromStdin, said strings.Builder
	if err := importSites([]string{"-"}, "list", false, strings.NewReader("https://a.example/\n"), &fromStdin, &said); err != nil || !strings.Contains(fromStdin.String(), `url = "https://a.example/"`) {
		t.Errorf("standard input: got %v, %s%s", err, fromStdin.String(), said.String())
	}
}
