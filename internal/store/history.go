package store

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	bolt "go.etcd.io/bbolt"

	"faultline/alert/history"
)

// The bucket of the history has one value for 256 sites and a slot, or a day, under the key kind, time, chunk; and one for the
// book that gives these sites their places in it, under the key kind, zero, chunk. See tallies and siteBook for the values.
const (
	kindBook byte = 'b'
	kindDay  byte = 'd'
	kindSlot byte = 's'

	chunkSites = 256
	keyLen     = 1 + 8 + 2
	mostChunks = 1 << 16
	mostTime   = 1 << 40 // no clock shows that
)

// appended is how full pages are left: nearly all that is written comes after what is there.
const appended = 0.9

func historyKey(kind byte, n int64, chunk int) []byte {
	k := binary.BigEndian.AppendUint64([]byte{kind}, uint64(n))
	return binary.BigEndian.AppendUint16(k, uint16(chunk))
}

// parseKey is the inverse of historyKey; ok is false for a key of another kind.
func parseKey(kind byte, k []byte) (n int64, chunk int, ok bool) {
	if len(k) != keyLen || k[0] != kind {
		return 0, 0, false
	}
	at := binary.BigEndian.Uint64(k[1:])
	return int64(at), int(binary.BigEndian.Uint16(k[9:])), at < mostTime
}

func kindOf(s history.Step) byte {
	if s == history.Day {
		return kindDay
	}
	return kindSlot
}

// AddCounts adds to the counts that are kept, of the slots and of their days, all in one transaction. It holds them to what
// history.Step.Keep says, and forgets the sites of which nothing is kept any more.
func (s *Store) AddCounts(batches []history.Batch) error {
	err := s.update(func(tx *bolt.Tx) error {
		b := tx.Bucket(bucketHistory)
		b.FillPercent = appended
		book := readBook(b)
		for i := range batches {
			if err := addBatch(b, book, &batches[i]); err != nil {
				return err
			}
		}
		return book.write(b)
	})
	if err != nil {
		return fmt.Errorf("saving counts: %w", err)
	}
	return nil
}

func addBatch(b *bolt.Bucket, book *siteBook, batch *history.Batch) error {
	day := batch.Slot / int64(history.Day/history.Slot)
	if len(batch.Sites) == 0 || day < 1 || batch.Slot >= mostTime {
		return nil
	}
	newSlot, newDay := !holds(b, kindSlot, batch.Slot), !holds(b, kindDay, day)
	counts, err := inPlace(b, book, day, batch.Sites)
	if err != nil {
		return err
	}
	for _, chunk := range slices.Sorted(maps.Keys(counts)) {
		if err := addChunk(b, batch.Slot, day, chunk, counts[chunk]); err != nil {
			return err
		}
	}
	if newSlot {
		if _, err := evict(b, kindSlot, history.Slot.Keep(), batch.Slot); err != nil {
			return err
		}
	}
	if newDay {
		oldest, err := evict(b, kindDay, history.Day.Keep(), day)
		if err != nil {
			return err
		}
		book.forget(oldest)
	}
	return nil
}

// inPlace puts counts where their sites have their places, by chunk.
func inPlace(b *bolt.Bucket, book *siteBook, day int64, sites []history.SiteCounts) (map[int]*[chunkSites]history.Counts, error) {
	counts := map[int]*[chunkSites]history.Counts{}
	for _, s := range sites {
		place, err := book.place(b, s.Key, day)
		if err != nil {
			return nil, err
		}
		chunk := place / chunkSites
		if counts[chunk] == nil {
			counts[chunk] = new([chunkSites]history.Counts)
		}
		counts[chunk][place%chunkSites].Add(s.Counts)
	}
	return counts, nil
}

// addChunk adds to the slot and to the day of one chunk. Values that cannot be read are begun anew.
func addChunk(b *bolt.Bucket, slot, day int64, chunk int, counts *[chunkSites]history.Counts) error {
	var inSlot, inDay tallies
	slotKey, dayKey := historyKey(kindSlot, slot, chunk), historyKey(kindDay, day, chunk)
	inSlot.read(b.Get(slotKey))
	inDay.read(b.Get(dayKey))
	for i := range counts {
		was := inSlot[i].Seen()
		inSlot[i].Add(counts[i])
		inDay[i].Add(counts[i])
		if !was && inSlot[i].Seen() {
			inDay[i].seen++
		}
	}
	if err := b.Put(slotKey, inSlot.value()); err != nil {
		return err
	}
	return b.Put(dayKey, inDay.value())
}

// holds tells whether there are counts of a time.
func holds(b *bolt.Bucket, kind byte, n int64) bool {
	k, _ := b.Cursor().Seek(historyKey(kind, n, 0))
	at, _, ok := parseKey(kind, k)
	return ok && at == n
}

// evict forgets times until only so many are kept, and gives the oldest of these. The one farthest from the present goes
// first. With a clock that is right that is the oldest; one that was wrong for a while costs a few times, and what it wrote
// goes first once it is right again.
func evict(b *bolt.Bucket, kind byte, keep int, present int64) (oldest int64, err error) {
	times := timesOf(b, kind)
	for len(times) > keep {
		last := len(times) - 1
		gone := times[0]
		if present-times[0] >= times[last]-present {
			times = times[1:]
		} else {
			gone, times = times[last], times[:last]
		}
		if err := deletePrefix(b, historyKey(kind, gone, 0)[:1+8]); err != nil {
			return 0, err
		}
	}
	return times[0], nil
}

// timesOf gives the times that there are counts of, the oldest first.
func timesOf(b *bolt.Bucket, kind byte) []int64 {
	var times []int64
	c := b.Cursor()
	for k, _ := c.Seek([]byte{kind}); ; k, _ = c.Seek(historyKey(kind, times[len(times)-1]+1, 0)) {
		n, _, ok := parseKey(kind, k)
		if !ok {
			return times
		}
		times = append(times, n)
	}
}

func deletePrefix(b *bolt.Bucket, prefix []byte) error {
	var keys [][]byte
	c := b.Cursor()
	for k, _ := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, _ = c.Next() {
		keys = append(keys, bytes.Clone(k))
	}
	for _, k := range keys {
		if err := b.Delete(k); err != nil {
			return err
		}
	}
	return nil
}

// History gives what was counted of the site with that probe.Site.Key in each time of [from, to), in order. Times with
// nothing are left out, and so is what cannot be read.
func (s *Store) History(site uint64, step history.Step, from, to int64) ([]history.Item, error) {
	var items []history.Item
	kind := kindOf(step)
	err := s.view(func(tx *bolt.Tx) error {
		b := tx.Bucket(bucketHistory)
		place, ok := readBook(b).places[site]
		if !ok {
			return nil
		}
		chunk := place / chunkSites
		c := b.Cursor()
		for at := max(0, from); at < to; at++ {
			k, v := c.Seek(historyKey(kind, at, chunk))
			n, of, ok := parseKey(kind, k)
			if !ok || n >= to {
				return nil
			}
			if of != chunk {
				at = max(at, n-1) // the next chunk of this time, or the first one of a later
				continue
			}
			at = n
			if i, ok := itemOf(step, n, place%chunkSites, v); ok {
				items = append(items, i)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading counts: %w", err)
	}
	return items, nil
}

func itemOf(step history.Step, n int64, i int, v []byte) (history.Item, bool) {
	var all tallies
	all.read(v)
	t := &all[i]
	item := history.Item{N: n, Seen: t.seen, Counts: t.Counts}
	if step == history.Slot && t.Seen() {
		item.Seen = 1
	}
	return item, t.Counts != history.Counts{}
}
