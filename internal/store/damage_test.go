package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	bolt "go.etcd.io/bbolt"

	"faultline/alert"
	"faultline/alert/notify"
)

// sample writes a file with trees of several levels and free pages, and gives its bytes.
func sample(t *testing.T) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "db")
	s := openStore(t, path)
	s.db.NoSync = true
	for n := range 20 {
		id := fmt.Sprint("i", n)
		save(t, s, []alert.Incident{incident(id, 1), resolved("r"+id, 1, t0.Add(time.Duration(n)*time.Hour))},
			[]notify.Delivery{{Incident: id, Channel: "hook", Want: 1}})
	}
	learn := func(from, to int, v []byte) {
		err := s.SaveLearned(func(yield func(string, []byte)) {
			for n := from; n < to; n++ {
				yield(fmt.Sprintf("fronting/%05d", n), v)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	learn(0, 400, []byte(strings.Repeat("x", 100)))
	learn(100, 200, nil)
	s.Close()
	return readFile(t, path)
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

type content struct {
	Incidents, Resolved []alert.Incident
	Deliveries          []notify.Delivery
	Learned             map[string][]byte
}

func contentOf(t *testing.T, s *Store) (c content) {
	t.Helper()
	var err error
	if c.Incidents, c.Deliveries, err = s.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if c.Resolved, err = s.Incidents(MaxResolved); err != nil {
		t.Fatal(err)
	}
	if c.Learned, err = s.Learned(); err != nil {
		t.Fatal(err)
	}
	return c
}

// openDamaged opens a file with these bytes. Either it has all that it had, or its loss is told, the bytes are kept and
// the store can be used.
func openDamaged(t *testing.T, name string, b []byte, whole string) (told bool) {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "faultline.db")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Open(path)
	var damaged *DamagedError
	switch {
	case err == nil:
		defer s.Close()
		if fmt.Sprint(contentOf(t, s)) != whole {
			t.Errorf("%s: content was lost without a word", name)
		}
		return false
	case !errors.As(err, &damaged):
		t.Errorf("%s: got %v, want a *DamagedError", name, err)
		return false
	case s == nil:
		t.Errorf("%s: no store to go on with", name)
		return true
	}
	defer s.Close()
	if got := readFile(t, damaged.Aside); len(b) > 0 && string(got) != string(b) || !strings.HasPrefix(damaged.Aside, path+".damaged-2") {
		t.Errorf("%s: %s does not hold the damaged file", name, damaged.Aside)
	}
	save(t, s, []alert.Incident{incident("after", 1)}, nil)
	checkLoad(t, s, []alert.Incident{incident("after", 1)}, nil)
	return true
}

func TestDamagedFile(t *testing.T) {
	b := sample(t)
	path := filepath.Join(t.TempDir(), "db")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	s := openStore(t, path)
	whole := contentOf(t, s)
	if len(whole.Incidents) != 20 || len(whole.Resolved) != 20 || len(whole.Learned) != 300 {
		t.Fatalf("the sample has %d incidents, %d resolved, %d learned", len(whole.Incidents), len(whole.Resolved), len(whole.Learned))
	}

	all := fmt.Sprint(whole)
	must := func(name string, b []byte) {
		t.Helper()
		if !openDamaged(t, name, b, all) {
			t.Errorf("%s: nothing was told", name)
		}
	}
	must("empty", nil)
	must("one byte", b[:1])
	must("half a page", b[:2000])
	must("one page", b[:4096])
	must("two pages", b[:8192])
	must("half", b[:len(b)/2])
	must("text", []byte(strings.Repeat("this is not a database\n", 1000)))
	must("zeros", make([]byte, len(b)))

	rng := rand.New(rand.NewPCG(1, 2))
	told := 0
	for range 80 {
		c := []byte(string(b))
		at, bit := rng.IntN(len(c)), rng.IntN(8)
		c[at] ^= 1 << bit
		if openDamaged(t, fmt.Sprintf("bit %d of byte %d", bit, at), c, all) {
			told++
		}
	}
	for page := range len(b) / 4096 {
		if page%4 != 0 {
			continue
		}
		c := []byte(string(b))
		clear(c[page*4096:][:4096])
		openDamaged(t, fmt.Sprintf("page %d zeroed", page), c, all)
		at := page*4096 + rng.IntN(16+16*4) // heads of pages and of their first records
		c = []byte(string(b))
		c[at] ^= 1 << rng.IntN(8)
		openDamaged(t, fmt.Sprintf("byte %d", at), c, all)
	}
	if told < 10 {
		t.Errorf("only %d of 80 flipped bits were told of", told)
	}
}

// A copy of the file at any moment is what a kill leaves; nothing that Save has confirmed is missing in it.
func TestCopyInTheMiddle(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "db")
	s := openStore(t, path)
	for n := range 20 {
		id := fmt.Sprint("i", n)
		save(t, s, []alert.Incident{incident(id, 1)}, []notify.Delivery{{Incident: id, Channel: "hook", Want: 1}})
		copied := filepath.Join(dir, fmt.Sprint("copy", n))
		if err := os.WriteFile(copied, readFile(t, path), 0o600); err != nil {
			t.Fatal(err)
		}
		c := openStore(t, copied)
		if got := contentOf(t, c); len(got.Incidents) != n+1 || len(got.Deliveries) != n+1 {
			t.Errorf("got %d incidents, %d deliveries after %d saves", len(got.Incidents), len(got.Deliveries), n+1)
		}
		c.Close()
	}
}

// What a kill within bbolt's commit leaves: pages written, the meta page that names them not.
func TestTornCommit(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "db")
	s := openStore(t, path)
	save(t, s, []alert.Incident{incident("a", 1)}, nil)
	before := readFile(t, path)
	save(t, s, []alert.Incident{incident("b", 1)}, []notify.Delivery{{Incident: "b", Channel: "hook", Want: 1}})
	torn := readFile(t, path)
	copy(torn[:2*os.Getpagesize()], before)
	copied := filepath.Join(dir, "torn")
	if err := os.WriteFile(copied, torn, 0o600); err != nil {
		t.Fatal(err)
	}
	checkLoad(t, openStore(t, copied), []alert.Incident{incident("a", 1)}, nil)
}

func TestUnreadableRecords(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	s := openStore(t, path)
	d := notify.Delivery{Incident: "a", Channel: "hook", Want: 1}
	save(t, s, []alert.Incident{incident("a", 1)}, []notify.Delivery{d})
	err := s.update(func(tx *bolt.Tx) error {
		return errors.Join(put(tx.Bucket(bucketOpen), []byte("b"), []byte("{")),
			put(tx.Bucket(bucketResolved), []byte("t c"), []byte(`{"v":99}`)))
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Close()

	s, err = Open(path)
	var damaged *DamagedError
	if !errors.As(err, &damaged) {
		t.Fatalf("got %v, want a *DamagedError", err)
	}
	checkLoad(t, s, []alert.Incident{incident("a", 1)}, []notify.Delivery{d})
	kept := map[string]string{}
	if err := s.view(func(tx *bolt.Tx) error {
		return tx.Bucket(bucketDamaged).ForEach(func(k, v []byte) error { kept[string(k)] = string(v); return nil })
	}); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(kept, map[string]string{"open/b": "{", "resolved/t c": `{"v":99}`}); d != "" {
		t.Errorf("kept aside (-got +want):\n%s", d)
	}
	s.Close()
	openStore(t, path) // told once
}

// A file from before there were schemas and sums.
func TestMigration(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	db, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		b, err := tx.CreateBucket(bucketLearned)
		if err != nil {
			return err
		}
		return b.Put([]byte("k"), []byte("v"))
	})
	if err != nil {
		t.Fatal(err)
	}
	db.Close()

	for range 2 {
		s := openStore(t, path)
		got, err := s.Learned()
		if err != nil || string(got["k"]) != "v" {
			t.Errorf("got %q, %v, want the old record", got, err)
		}
		s.Close()
	}
}

func TestNewerSchemaIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	s := openStore(t, path)
	err := s.update(func(tx *bolt.Tx) error {
		return put(tx.Bucket(bucketMeta), keySchema, binary.BigEndian.AppendUint32(nil, 7))
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	before := readFile(t, path)
	s, err = Open(path)
	if s != nil || err == nil || !strings.Contains(err.Error(), "newer faultline (schema 7") || errors.As(err, new(*DamagedError)) {
		t.Errorf("got %v, want that a newer one wrote it", err)
	}
	if string(readFile(t, path)) != string(before) {
		t.Error("the file was changed")
	}
}

func TestGuard(t *testing.T) {
	if err := guard(func() error { panic("page 7 already freed") }); !errors.Is(err, errDamaged) {
		t.Errorf("got %v, want a damaged file", err)
	}
	if err := guard(func() error { return io.EOF }); err != io.EOF {
		t.Errorf("got %v, want EOF", err)
	}
}
