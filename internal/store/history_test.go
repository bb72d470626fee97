package store

import (
	"encoding/binary"
	"errors"
	"math"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	bolt "go.etcd.io/bbolt"

	"faultline/alert/history"
)

var slot0 = history.Slot.Of(time.Date(2026, 7, 2, 0, 0, 0, 0, time.UTC))

func batch(slot int64, c history.Counts, keys ...uint64) history.Batch {
	b := history.Batch{Slot: slot}
	for _, k := range keys {
		b.Sites = append(b.Sites, history.SiteCounts{Key: k, Counts: c})
	}
	return b
}

func add(t *testing.T, s *Store, batches ...history.Batch) {
	t.Helper()
	if err := s.AddCounts(batches); err != nil {
		t.Fatal(err)
	}
}

func historyOf(t *testing.T, s *Store, key uint64, step history.Step) []history.Item {
	t.Helper()
	items, err := s.History(key, step, 0, math.MaxInt64)
	if err != nil {
		t.Fatal(err)
	}
	return items
}

func checkHistory(t *testing.T, s *Store, key uint64, step history.Step, want ...history.Item) {
	t.Helper()
	if d := cmp.Diff(historyOf(t, s, key, step), want); d != "" {
		t.Errorf("site %d (-got +want):\n%s", key, d)
	}
}

var (
	well   = history.Counts{OK: 25}
	failed = history.Counts{OK: 20, Failed: 300, Blocked: 1, None: 70_000}
)

func TestCountsAreAddedOverARestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	s := openStore(t, path)
	day := history.Day.Of(history.Slot.Start(slot0))
	last := slot0 + 287                                         // of that day
	add(t, s, batch(last, history.Counts{OK: 1, Failed: 2}, 7)) // a minute of the slot
	s.Close()
	s = openStore(t, path)
	add(t, s, batch(last, history.Counts{OK: 10, None: 3}, 7, 8), batch(last+1, well, 7)) // its rest, and the next day
	checkHistory(t, s, 7, history.Slot,
		history.Item{N: last, Seen: 1, Counts: history.Counts{OK: 11, Failed: 2, None: 3}}, history.Item{N: last + 1, Seen: 1, Counts: well})
	checkHistory(t, s, 7, history.Day,
		history.Item{N: day, Seen: 1, Counts: history.Counts{OK: 11, Failed: 2, None: 3}}, history.Item{N: day + 1, Seen: 1, Counts: well})
	checkHistory(t, s, 8, history.Slot, history.Item{N: last, Seen: 1, Counts: history.Counts{OK: 10, None: 3}})
	checkHistory(t, s, 9, history.Slot)

	got, err := s.History(7, history.Slot, last+1, last+2)
	if err != nil || len(got) != 1 || got[0].N != last+1 {
		t.Errorf("got %+v, %v of the last slot", got, err)
	}
	if got, err := s.History(7, history.Slot, math.MinInt64, last); err != nil || got != nil {
		t.Errorf("got %+v, %v of the time before", got, err)
	}
}

func TestSlotsSeenOfADay(t *testing.T) {
	s := openStore(t, filepath.Join(t.TempDir(), "db"))
	add(t, s, batch(slot0, history.Counts{Blocked: 1, None: 1}, 7))
	add(t, s, batch(slot0, history.Counts{Failed: 1}, 7))
	add(t, s, batch(slot0, well, 7))
	add(t, s, batch(slot0+1, well, 7), batch(slot0+2, history.Counts{None: 1}, 7))
	want := history.Counts{OK: 50, Failed: 1, Blocked: 1, None: 2}
	checkHistory(t, s, 7, history.Day, history.Item{N: slot0 / 288, Seen: 2, Counts: want})
}

// siteKeys are those of n sites.
func siteKeys(n int) []uint64 {
	var out []uint64
	for i := range n {
		out = append(out, uint64(i)*0x9e3779b97f4a7c15)
	}
	return out
}

// Sites in many chunks keep to themselves, those that come and go too.
func TestManySites(t *testing.T) {
	s := openStore(t, filepath.Join(t.TempDir(), "db"))
	all := siteKeys(1000)
	for n := range 20 {
		b := history.Batch{Slot: slot0 + int64(n)}
		for i, k := range all {
			if i%(n+1) == 0 {
				b.Sites = append(b.Sites, history.SiteCounts{Key: k, Counts: history.Counts{OK: uint32(i), None: 1}})
			}
		}
		add(t, s, b)
	}
	for i, k := range all {
		var want []history.Item
		for n := range 20 {
			if i%(n+1) == 0 {
				item := history.Item{N: slot0 + int64(n), Counts: history.Counts{OK: uint32(i), None: 1}}
				if i > 0 {
					item.Seen = 1
				}
				want = append(want, item)
			}
		}
		checkHistory(t, s, k, history.Slot, want...)
	}
}

func TestHistoryIsBounded(t *testing.T) {
	s := openStore(t, filepath.Join(t.TempDir(), "db"))
	s.db.NoSync = true
	add(t, s, batch(slot0, well, 7)) // never seen again
	end := slot0 + 450*288
	for n := slot0; n < end; n += 144 {
		add(t, s, batch(n, well, 8))
	}
	for n := end - 700; n < end; n++ {
		add(t, s, batch(n, well, 8))
	}
	slots, days := historyOf(t, s, 8, history.Slot), historyOf(t, s, 8, history.Day)
	if len(slots) != 577 || slots[0].N != end-577 || slots[576].N != end-1 {
		t.Errorf("got %d slots from %d, want the last 48 hours", len(slots), slots[0].N-end)
	}
	if len(days) != 401 || days[0].N != end/288-401 {
		t.Errorf("got %d days from %d, want the last 400 and the present one", len(days), days[0].N-end/288)
	}
	err := s.view(func(tx *bolt.Tx) error {
		if book := readBook(tx.Bucket(bucketHistory)); len(book.places) != 1 || len(book.free) != chunkSites-1 {
			t.Errorf("got %d sites known and %d places free, want one site", len(book.places), len(book.free))
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	add(t, s, batch(end, failed, 9)) // in the other's place
	checkHistory(t, s, 9, history.Slot, history.Item{N: end, Seen: 1, Counts: failed})
	checkHistory(t, s, 9, history.Day, history.Item{N: end / 288, Seen: 1, Counts: failed})
	checkHistory(t, s, 7, history.Slot)
}

// A clock that is wrong for an hour costs an hour's room, and what it wrote goes first when it is right again.
func TestClockThatWasWrong(t *testing.T) {
	f := func(wrong time.Time) {
		t.Helper()
		s := openStore(t, filepath.Join(t.TempDir(), "db"))
		s.db.NoSync = true
		n := slot0
		tick := func(times int, slot *int64) {
			for range times {
				add(t, s, batch(*slot, well, 7))
				*slot++
			}
		}
		tick(600, &n)
		w := history.Slot.Of(wrong)
		tick(12, &w)
		if got := historyOf(t, s, 7, history.Slot); len(got) != 577 {
			t.Errorf("%v: got %d slots, want 577", wrong, len(got))
		}
		tick(24, &n)
		slots := historyOf(t, s, 7, history.Slot)
		right := 0
		for _, i := range slots {
			if i.N >= slot0 && i.N < n {
				right++
			}
		}
		if len(slots) != 577 || right != 577 {
			t.Errorf("%v: got %d slots, %d of them right, want all 577", wrong, len(slots), right)
		}
	}
	f(time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC))
	f(time.Date(2010, 1, 1, 0, 0, 0, 0, time.UTC))

	s := openStore(t, filepath.Join(t.TempDir(), "db"))
	add(t, s, batch(slot0+12, well, 7), batch(slot0, well, 7)) // set back by an hour, twice
	add(t, s, batch(slot0+12, well, 7), batch(slot0, well, 7))
	twice := history.Counts{OK: 50}
	checkHistory(t, s, 7, history.Slot, history.Item{N: slot0, Seen: 1, Counts: twice}, history.Item{N: slot0 + 12, Seen: 1, Counts: twice})
}

func TestOddBatches(t *testing.T) {
	s := openStore(t, filepath.Join(t.TempDir(), "db"))
	add(t, s)
	add(t, s, history.Batch{Slot: slot0})
	for _, slot := range []int64{0, -1, math.MinInt64, math.MaxInt64} {
		add(t, s, batch(slot, well, 7))
	}
	add(t, s, batch(slot0, well, 7, 7))
	checkHistory(t, s, 7, history.Slot, history.Item{N: slot0, Seen: 1, Counts: history.Counts{OK: 50}})
	err := s.update(func(tx *bolt.Tx) error { // keys are under no checksum
		b := tx.Bucket(bucketHistory)
		return errors.Join(b.Put(historyKey(kindSlot, -1, 0), nil), b.Put(historyKey(kindBook, -1, 7), nil), b.Put([]byte{kindDay}, nil))
	})
	if err != nil {
		t.Fatal(err)
	}
	add(t, s, batch(slot0, well, 7))
	checkHistory(t, s, 7, history.Slot, history.Item{N: slot0, Seen: 1, Counts: history.Counts{OK: 75}})
}

func TestFailedSaveLeavesNoTrace(t *testing.T) {
	s := openStore(t, filepath.Join(t.TempDir(), "db"))
	add(t, s, batch(slot0, well, 7))
	s.db.MaxSize = 1
	if err := s.AddCounts([]history.Batch{batch(slot0, well, siteKeys(100_000)...)}); err == nil {
		t.Fatal("more was saved than there is room for")
	}
	s.db.MaxSize = 0
	checkHistory(t, s, 7, history.Slot, history.Item{N: slot0, Seen: 1, Counts: well})
	add(t, s, batch(slot0, well, 7))
	checkHistory(t, s, 7, history.Slot, history.Item{N: slot0, Seen: 1, Counts: history.Counts{OK: 50}})
}

// damage changes the values of one kind.
func damageHistory(t *testing.T, s *Store, kind byte, change func([]byte) []byte) {
	t.Helper()
	err := s.update(func(tx *bolt.Tx) error {
		b := tx.Bucket(bucketHistory)
		c := b.Cursor()
		k, v := c.Seek([]byte{kind})
		return b.Put(k, change(append([]byte{}, v...)))
	})
	if err != nil {
		t.Fatal(err)
	}
}

// What cannot be read is lost, and nothing else: found at the start, or while running.
func TestDamagedCounts(t *testing.T) {
	f := func(kind byte, change func([]byte) []byte, slots, days int) {
		t.Helper()
		path := filepath.Join(t.TempDir(), "db")
		s := openStore(t, path)
		add(t, s, batch(slot0, well, 7, 8), batch(slot0+288, well, 7, 8))
		damageHistory(t, s, kind, change)
		for _, when := range []string{"running", "started again"} {
			if got := len(historyOf(t, s, 8, history.Slot)); got != slots {
				t.Errorf("%c, %s: got %d slots, want %d", kind, when, got, slots)
			}
			if got := len(historyOf(t, s, 8, history.Day)); got != days {
				t.Errorf("%c, %s: got %d days, want %d", kind, when, got, days)
			}
			s.Close()
			var err error
			s, err = Open(path)
			if when == "running" && !errors.As(err, new(*DamagedError)) || s == nil {
				t.Fatalf("%c: got %v, want a *DamagedError", kind, err)
			}
			t.Cleanup(func() { s.Close() })
		}
		// In another order: no site may find another's counts.
		add(t, s, batch(slot0+289, failed, 8), batch(slot0+289, well, 7))
		got := historyOf(t, s, 8, history.Slot)
		if last := got[len(got)-1]; len(got) != slots+1 || last.Counts != failed {
			t.Errorf("%c: got %+v in the end", kind, got)
		}
	}
	flip := func(v []byte) []byte { v[len(v)-1] ^= 1; return v }
	none := func([]byte) []byte { return nil }
	newer := func(v []byte) []byte { v[0] = 9; return v }
	for _, change := range []func([]byte) []byte{flip, none, newer} {
		f(kindSlot, change, 1, 2)
		f(kindDay, change, 2, 1)
		f(kindBook, change, 0, 0)
	}
}

// A file of schema 2 knows no history.
func TestMigrationToHistory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	s := openStore(t, path)
	err := s.update(func(tx *bolt.Tx) error {
		if err := tx.DeleteBucket(bucketHistory); err != nil {
			return err
		}
		return put(tx.Bucket(bucketMeta), keySchema, binary.BigEndian.AppendUint32(nil, 2))
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	s = openStore(t, path)
	checkHistory(t, s, 7, history.Slot)
	add(t, s, batch(slot0, well, 7))
	checkHistory(t, s, 7, history.Slot, history.Item{N: slot0, Seen: 1, Counts: well})
}

func FuzzTallies(f *testing.F) {
	t := tallies{{Counts: well}, {}, {Counts: failed, seen: 288}}
	f.Add(t.value()[sealLen:])
	f.Add([]byte{0x1f, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		var x, y tallies
		x.read(seal(append(make([]byte, sealLen), b...)))
		if y.read(x.value()); x != y {
			t.Errorf("got %v, want %v", y, x)
		}
	})
}

// full is a store with all that is kept of 10,000 sites.
func full(b *testing.B) (s *Store, sites []uint64, slot int64) {
	b.Helper()
	s, err := Open(filepath.Join(b.TempDir(), "db"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	s.db.NoSync = true
	sites, slot = siteKeys(10_000), slot0
	for range 400 {
		if err := s.AddCounts([]history.Batch{batch(slot, history.Counts{OK: 7200, Failed: 12, Blocked: 3}, sites...)}); err != nil {
			b.Fatal(err)
		}
		slot += 288
	}
	for range 577 {
		if err := s.AddCounts([]history.Batch{batch(slot, well, sites...)}); err != nil {
			b.Fatal(err)
		}
		slot++
	}
	s.db.NoSync = false
	return s, sites, slot - 1
}

func BenchmarkAddCounts10000(b *testing.B) {
	s, sites, slot := full(b)
	minute := []history.Batch{batch(slot, history.Counts{OK: 5}, sites...)}
	before := s.db.Stats()
	b.ReportAllocs()
	for b.Loop() {
		if err := s.AddCounts(minute); err != nil {
			b.Fatal(err)
		}
	}
	after := s.db.Stats()
	d := after.Sub(&before)
	b.ReportMetric(float64(d.TxStats.GetPageAlloc())/float64(b.N), "written_B/op")
	b.ReportMetric(float64(s.db.Stats().FreePageN), "free_pages")
}

func BenchmarkNewSlot10000(b *testing.B) {
	s, sites, slot := full(b)
	b.ReportAllocs()
	for b.Loop() {
		slot++
		if err := s.AddCounts([]history.Batch{batch(slot, history.Counts{OK: 5}, sites...)}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkHistory(b *testing.B) {
	s, sites, _ := full(b)
	b.ReportAllocs()
	for b.Loop() {
		if got, err := s.History(sites[5000], history.Slot, 0, math.MaxInt64); err != nil || len(got) != 577 {
			b.Fatal(len(got), err)
		}
	}
}

func BenchmarkOpenFull(b *testing.B) {
	s, _, _ := full(b)
	s.Close()
	for b.Loop() {
		s, err := Open(s.path)
		if err != nil {
			b.Fatal(err)
		}
		s.Close()
	}
}
