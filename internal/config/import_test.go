package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// imported is what a list becomes: the tables, and then the warnings as comments.
func imported(t *testing.T, file, format string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "import", file))
	if err != nil {
		t.Fatal(err)
	}
	if got := GuessFormat(file, text); got != format {
		t.Errorf("took %s for %s, want %s", file, got, format)
	}
	im := NewImporter()
	if err := im.Add(file, format, text); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := WriteSites(&b, im.Sites()); err != nil {
		t.Fatal(err)
	}
	for _, w := range im.Warnings {
		fmt.Fprintf(&b, "# %s\n", w)
	}
	return b.String()
}

// Each list becomes a config that is good, and just the one beside it.
func TestImport(t *testing.T) {
	f := func(file, format string) {
		t.Helper()
		got := imported(t, file, format)
		want, err := os.ReadFile(filepath.Join("testdata", "import", file+".want.toml"))
		if err != nil {
			t.Error(err)
		}
		if d := cmp.Diff(string(want), got); d != "" {
			t.Errorf("%s (-want +got):\n%s", file, d)
		}
		if _, _, err := parse("f.toml", []byte(oneVantage+got), testHost(t)); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
	f("gatus.yaml", "gatus")
	f("kuma.json", "kuma")
	f("targets.yml", "file_sd")
	f("targets.json", "file_sd")
	f("hk.csv", "citizenlab")
	f("plain.txt", "list")
}

const oneVantage = "[[vantage]]\nname = \"v\"\nresolvers = [\"192.0.2.1\"]\n"

func TestImportOfSeveralLists(t *testing.T) {
	im := NewImporter()
	for _, text := range []string{"https://a.example/\nhttps://b.example/x\n", "https://a.example/\nhttps://b.example/?x\nhttps://b.example/x?y\n"} {
		if err := im.Add("l", "list", []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	var names []string
	for _, s := range im.Sites() {
		names = append(names, s.Name)
	}
	if d := cmp.Diff([]string{"a.example", "b.example-x", "b.example", "b.example-x-2"}, names); d != "" {
		t.Errorf("got the names (-want +got):\n%s", d)
	}
	if len(im.Warnings) != 1 || im.Warnings[0].Line != 1 {
		t.Errorf("got the warnings %v, want one, of what both lists have", im.Warnings)
	}
}

func TestImportOfWhatIsNoList(t *testing.T) {
	f := func(format, text, want string) {
		t.Helper()
		err := NewImporter().Add("file", format, []byte(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s %q: got %v, want %q in it", format, text, err, want)
		}
	}
	f("list", "", "gives no site")
	f("list", "a.example\nb\xff\n", "file:2: the text is not UTF-8")
	f("citizenlab", "a.example\n", "does not begin with url,category_code")
	f("gatus", "x: 1", "it has no endpoints")
	f("gatus", "endpoints: [", "it is no config of Gatus")
	f("kuma", `{"x": [1]}`, "it has no monitorList")
	f("kuma", `{"monitorList": 3}`, "it is no list")
	f("kuma", `{"monitorList": [{"type": "http"}`, "is cut off after line 1")
	f("kuma", `{"monitorList": [{"type": nonsense`, "is no JSON")
	f("file_sd", "a: b", "it is no YAML list of groups")
	f("file_sd", `[{"targets": []}]`, "gives no site")
	f("xml", "x", "is not known; write one of citizenlab, file_sd")
}

// A list of nonsense is told in a few lines, and many sites of one name cost no more than their number.
func TestImportIsBounded(t *testing.T) {
	im := NewImporter()
	if err := im.Add("l", "list", []byte(strings.Repeat("ftp://x/\n", 1000)+"https://a.example/\n")); err != nil {
		t.Fatal(err)
	}
	if n := len(im.Warnings); n != maxListWarnings+1 || im.Warnings[n-1].Message != "980 more of this kind are not shown" {
		t.Errorf("got %d warnings, the last %v", n, im.Warnings[n-1])
	}
	var b strings.Builder
	b.WriteString("endpoints:\n")
	for i := range 20000 {
		fmt.Fprintf(&b, "- {name: same, url: 'https://a.example/%d'}\n", i)
	}
	im = NewImporter()
	if err := im.Add("l", "gatus", []byte(b.String())); err != nil {
		t.Fatal(err)
	}
	if s := im.Sites(); len(s) != 20000 || s[19999].Name != "same-20000" {
		t.Errorf("got %d sites, the last %s", len(s), s[len(s)-1].Name)
	}
}

// Whatever is imported is a good config, in which the same sites stand.
func FuzzImport(f *testing.F) {
	files, err := filepath.Glob("testdata/import/*")
	if err != nil || len(files) == 0 {
		f.Fatal(err, files)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for i := range ImportFormats {
			f.Add(uint8(i), text)
		}
	}
	f.Fuzz(func(t *testing.T, format uint8, text []byte) {
		if len(text) > 64<<10 {
			return
		}
		im := NewImporter()
		if im.Add("f", ImportFormats[int(format)%len(ImportFormats)], text) != nil {
			return
		}
		var b bytes.Buffer
		b.WriteString(oneVantage)
		if err := WriteSites(&b, im.Sites()); err != nil {
			t.Fatal(err)
		}
		c, _, err := parse("f.toml", b.Bytes(), host{func(string) string { return "/" }, "/dev/null"})
		if err != nil {
			t.Fatalf("%v in\n%s", err, b.String())
		}
		for i, s := range im.Sites() {
			got, _ := json.Marshal(SiteSettings(c.Sites[i]))
			want, _ := json.Marshal(SiteSettings(s))
			if !bytes.Equal(got, want) {
				t.Errorf("got %s\nwant %s", got, want)
			}
		}
	})
}
