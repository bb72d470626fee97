package record

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestFiles(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{
		"results-20260301T100000.000Z.jsonl.zst", "results-20260301T110000.000Z.jsonl.zst", "results-20260301T120000.500Z.jsonl.zst",
		"results-sometime.jsonl.zst", "notes.txt",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f := func(since, until, want string) {
		t.Helper()
		at := func(s string) time.Time {
			tm, err := time.Parse("15:04", s)
			if err != nil {
				t.Fatal(err)
			}
			return tm.AddDate(2026, 2, 0)
		}
		names, err := Files(dir, at(since), at(until))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, n := range names {
			got = append(got, filepath.Base(n)[17:19])
		}
		if strings.Join(got, " ") != want {
			t.Errorf("from %s to %s: got %q, want %q", since, until, got, want)
		}
	}
	f("09:00", "13:00", "10 11 12")
	f("10:30", "11:30", "10 11")
	f("11:00", "12:00", "11")
	f("10:59", "12:00", "10 11")
	f("15:00", "16:00", "12")
	f("08:00", "10:00", "")
}
