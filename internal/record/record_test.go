package record

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"faultline/probe"
)

var begin = time.Date(2019, 7, 2, 13, 42, 0, 0, time.UTC)

func site(name string) *probe.Site {
	return &probe.Site{
		Name: name, Owner: "o-" + name, Group: "forums", Labels: map[string]string{"hosting": "h"}, Alert: probe.AlertPage, Anchor: name == "b",
		URL: &url.URL{Scheme: "https", Host: name + ".example", Path: "/"}, Interval: 30 * time.Second, Timeout: 10 * time.Second,
	}
}

func result(name string, at time.Duration) probe.Result {
	return probe.Result{
		Site: name, URL: "https://" + name + ".example/", Vantage: "v1", Region: "r", At: begin.Add(at), Seq: 1, Attempt: 1,
		Verdict: probe.Verdict{Class: probe.ClassHTTPEdgeError, Fault: probe.FaultEdge, CDN: "cloudflare", Why: "why"}, Status: 502,
		Addr: netip.MustParseAddrPort("127.0.0.1:443"), Time: probe.Timings{Total: 250 * time.Millisecond},
	}
}

func read(t *testing.T, names ...string) (all []Entry, warnings []string, err error) {
	t.Helper()
	r, err := Open(names...)
	if err != nil {
		return nil, nil, err
	}
	defer r.Close()
	for {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			return all, r.Warnings(), nil
		}
		if err != nil {
			return all, r.Warnings(), err
		}
		all = append(all, e)
	}
}

// What is written is read again: each result, when it was heard, and what the config says of its site.
func TestRoundTrip(t *testing.T) {
	dir := t.TempDir()
	w, err := NewWriter(dir, func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	a, b := site("a"), site("b")
	for i := range 3 {
		r := result("a", time.Duration(i)*time.Second)
		w.Write(r.At.Add(time.Millisecond), &r, a)
		r = result("b", time.Duration(i)*time.Second)
		w.Write(r.At.Add(2*time.Millisecond), &r, b)
	}
	if err := w.Close(); err != nil || w.Dropped() != 0 {
		t.Fatal(err, w.Dropped())
	}
	names, _ := filepath.Glob(dir + "/*")
	got, warnings, err := read(t, names...)
	if err != nil || len(got) != 6 || len(warnings) != 0 {
		t.Fatalf("got %d entries, %v, %v", len(got), warnings, err)
	}
	want := result("b", 0)
	if d := cmp.Diff(got[1].Result, want, cmp.Comparer(func(x, y netip.AddrPort) bool { return x == y })); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(got[1].Site, b); d != "" || !got[1].Recv.Equal(want.At.Add(2*time.Millisecond)) {
		t.Error(got[1].Recv, d)
	}
	if got[2].Site != nil {
		t.Errorf("got the site %+v told again", got[2].Site)
	}
}

func write(t *testing.T, name string, lines ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	text := []byte(strings.Join(lines, "\n") + "\n")
	var zip bytes.Buffer
	switch {
	case strings.HasSuffix(name, ".gz"):
		w := gzip.NewWriter(&zip)
		_, _ = w.Write(text)
		_ = w.Close()
		text = zip.Bytes()
	case strings.HasSuffix(name, ".zst"):
		w, _ := zstd.NewWriter(&zip)
		_, _ = w.Write(text)
		_ = w.Close()
		text = zip.Bytes()
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func jsonLine(name, at string) string {
	return fmt.Sprintf(`{"site":"%s","vantage":"v1","at":"2019-07-02T%sZ","ok":false,"class":"http_edge_error","fault":"edge","cdn":"cloudflare"}`, name, at)
}

// Files of all forms are read side by side, in the order of time.
func TestFormsAndOrder(t *testing.T) {
	got, _, err := read(t,
		write(t, "b.jsonl", jsonLine("late", "13:42:05"), jsonLine("early", "13:42:01"), ""),
		write(t, "c.jsonl.gz", jsonLine("gz", "13:42:02")),
		write(t, "d.jsonl.zst", jsonLine("zst", "13:42:03")),
		write(t, "e.csv", "site,vantage,at,ok,class,fault,cdn,recv,owner,labels,ms,operator",
			"csv,v2,2019-07-02T13:42:00Z,true,ok,none,,2019-07-02T13:42:04Z,o,a=1;b=2,250,ns1"))
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	for _, e := range got {
		order = append(order, e.Result.Site)
	}
	if d := cmp.Diff(order, []string{"early", "gz", "zst", "csv", "late"}); d != "" {
		t.Error(d)
	}
	c := got[3]
	if !c.Result.OK() || c.Result.Time.Total != 250*time.Millisecond || c.Result.DNS.Operator != "ns1" || c.Site == nil || c.Site.Owner != "o" ||
		c.Site.Labels["b"] != "2" || !c.Recv.Equal(begin.Add(4*time.Second)) || !c.Result.At.Equal(begin) {
		t.Errorf("got %+v of %+v", c, c.Site)
	}
}

// A file that ends in the middle is used up to there; one that is wrong is told with its line.
func TestDamagedFiles(t *testing.T) {
	whole := write(t, "a.jsonl.zst", jsonLine("a", "13:42:00"), jsonLine("b", "13:42:01"))
	half := jsonLine("c", "13:42:02")
	cut := filepath.Join(t.TempDir(), "cut.jsonl")
	if err := os.WriteFile(cut, []byte(jsonLine("a", "13:42:00")+"\n"+half[:40]), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, warnings, err := read(t, cut); err != nil || len(got) != 1 || len(warnings) != 1 || !strings.Contains(warnings[0], "middle of a line") {
		t.Errorf("got %d entries, %q, %v", len(got), warnings, err)
	}
	zip, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(whole, zip[:len(zip)-10], 0o600); err != nil {
		t.Fatal(err)
	}
	if _, warnings, err := read(t, whole); err != nil || len(warnings) != 1 {
		t.Errorf("got %q, %v of a cut zstd file", warnings, err)
	}
	for text, want := range map[string]string{
		`{"site":"a"}` + "\n{}":                          ":1: ",
		jsonLine("a", "13:42:00") + "\n{\"site\":1}\n{}": ":2: ",
		strings.Repeat("x", maxLine+10):                  "longer than 1024 KiB",
		strings.Replace(jsonLine("a", "13:42:00"), `"vantage":"v1"`, `"vantage":""`, 1) + "\n":   "needs a site and a vantage",
		strings.Replace(jsonLine("a", "13:42:00"), `"ok"`, `"interval_s":-1,"ok"`, 1) + "\n":     "interval_s -1",
		strings.Replace(jsonLine("a", "13:42:00"), `"fault":"edge"`, `"fault":"moon"`, 1) + "\n": "moon",
		strings.Replace(jsonLine("a", "13:42:00"), `"at":"2019-07-02T13:42:00Z",`, "", 1) + "\n": "needs the time",
	} {
		path := filepath.Join(t.TempDir(), "x.jsonl")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, _, err := read(t, path)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.80s: got %v, want %q", text, err, want)
		}
	}
	if _, _, err := read(t, write(t, "x.csv", "site,vantage", "a,b")); err == nil || !strings.Contains(err.Error(), `no column "at"`) {
		t.Errorf("got %v", err)
	}
}

// The directory is bounded: the oldest files go, the present one stays.
func TestPrune(t *testing.T) {
	dir := t.TempDir()
	for i := range 5 {
		name := filepath.Join(dir, fmt.Sprintf("%s2019070%dT000000.000Z%s", filePrefix, i+1, fileSuffix))
		if err := os.WriteFile(name, make([]byte, 1000), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w := &Writer{dir: dir, most: 2500, onError: func(err error) { t.Error(err) }}
	w.prune()
	if left, _ := filepath.Glob(dir + "/*"); len(left) != 2 {
		t.Errorf("got %v", left)
	}
}

// A full disk costs results, which are counted, and nothing else.
func TestWriterThatCannotWrite(t *testing.T) {
	dir := t.TempDir()
	var told []error
	w, err := NewWriter(dir, func(err error) { told = append(told, err) })
	if err != nil {
		t.Fatal(err)
	}
	if err := w.file.Close(); err != nil { // as good as a full disk
		t.Fatal(err)
	}
	big := result("a", 0)
	big.Why = strings.Repeat("why ", 1<<17)
	for range 200 {
		w.Write(begin, &big, nil)
	}
	_ = w.Close()
	if len(told) == 0 || w.Dropped() == 0 {
		t.Errorf("got %v, %d dropped", told, w.Dropped())
	}
	if _, err := NewWriter(filepath.Join(dir, "a", "\x00"), func(error) {}); err == nil {
		t.Error("a directory that cannot be is taken")
	}
}

func BenchmarkWriteLine(b *testing.B) {
	r := result("a", 0)
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf, _ = AppendLine(buf[:0], begin, &r, nil)
	}
}
