package store

import (
	"bytes"
	"fmt"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	bolt "go.etcd.io/bbolt"

	"faultline/probe"
)

func sampleCapture(seq uint64) *probe.Capture {
	return &probe.Capture{
		Site: "lihkg", URL: "https://lihkg.com/", Vantage: "hkg-1", Seq: seq, At: time.Date(2019, 7, 2, 13, 43, 2, 0, time.UTC),
		Class: probe.ClassHTTPEdgeError, Addr: netip.MustParseAddrPort("104.16.0.1:443"), Status: "HTTP/1.1 502 Bad Gateway",
		Headers: []probe.Header{{Name: "Server", Value: "cloudflare"}}, Body: []byte("<html>\xff\x00"), Chain: []string{"PEM"}, DNS: []string{"dig"},
		Time: probe.Timings{TTFB: 31 * time.Millisecond, Total: 45 * time.Millisecond},
	}
}

func TestCapturesAreKeptWithTheirIncident(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	s := openStore(t, path)
	for range 2 { // the second time they are known
		if err := s.AddCaptures("i", []*probe.Capture{sampleCapture(1), sampleCapture(2)}); err != nil {
			t.Fatal(err)
		}
	}
	s.Close()
	s = openStore(t, path)
	got, err := s.Captures("i")
	if err != nil {
		t.Fatal(err)
	}
	want := []*probe.Capture{sampleCapture(1), sampleCapture(2)}
	if d := cmp.Diff(got, want, cmpopts.EquateComparable(netip.AddrPort{})); d != "" {
		t.Errorf("-got +want:\n%s", d)
	}
	if none, err := s.Captures("j"); err != nil || none != nil {
		t.Errorf("got %v, %v of another incident", none, err)
	}
}

func TestCapturesAreBounded(t *testing.T) {
	s := openStore(t, filepath.Join(t.TempDir(), "db"))
	add := func(incident string, c ...*probe.Capture) {
		t.Helper()
		if err := s.AddCaptures(incident, c); err != nil {
			t.Fatal(err)
		}
	}
	count := func(incident string) int {
		t.Helper()
		list, err := s.Captures(incident)
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	for seq := range uint64(2 * MaxCaptures) {
		add("many", sampleCapture(seq))
	}
	if got := count("many"); got != MaxCaptures {
		t.Errorf("got %d captures of one incident, want %d", got, MaxCaptures)
	}
	huge := sampleCapture(1)
	huge.Body = bytes.Repeat([]byte("x"), 2*maxCaptureBytes)
	add("huge", huge)
	if got := count("huge"); got != 0 {
		t.Errorf("got %d captures that are too large", got)
	}
	for n := range maxCaptureIncidents + 1 {
		add(fmt.Sprintf("n%03d", n), sampleCapture(1))
	}
	if got := count("n000"); got != 0 {
		t.Error("the oldest incident's captures are still there")
	}
	if got := count("n001"); got != 1 {
		t.Error("the second oldest incident's captures are gone")
	}
}

// A file of schema 1 knows no captures.
func TestMigrationToCaptures(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	s := openStore(t, path)
	err := s.update(func(tx *bolt.Tx) error {
		if err := tx.DeleteBucket(bucketCaptures); err != nil {
			return err
		}
		return put(tx.Bucket(bucketMeta), keySchema, []byte{0, 0, 0, 1})
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	s = openStore(t, path)
	if err := s.AddCaptures("i", []*probe.Capture{sampleCapture(1)}); err != nil {
		t.Error(err)
	}
}
