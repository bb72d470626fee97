package store

import (
	"encoding/binary"
	"errors"

	bolt "go.etcd.io/bbolt"
)

// siteBook gives every counted site a place: a small number that stays, so that counts need not name their sites.
type siteBook struct {
	chunks  map[int]*bookChunk
	places  map[uint64]int // by probe.Site.Key
	free    []int
	changed map[int]bool // chunks
}

// bookChunk is the sites of one chunk, in their places. As a value they are one after the other, of fixed length.
type bookChunk [chunkSites]bookEntry

type bookEntry struct {
	key uint64
	day int64 // that it was last counted in; 0 = the place is free
}

const bookEntryLen = 8 + 4

func readBook(b *bolt.Bucket) *siteBook {
	book := &siteBook{chunks: map[int]*bookChunk{}, places: map[uint64]int{}, changed: map[int]bool{}}
	c := b.Cursor()
	for k, v := c.Seek([]byte{kindBook}); ; k, v = c.Next() {
		_, chunk, ok := parseKey(kindBook, k)
		if !ok {
			return book
		}
		if entries, err := unseal(v); err == nil && len(entries) == chunkSites*bookEntryLen {
			book.readChunk(chunk, entries)
		}
	}
}

func (book *siteBook) readChunk(chunk int, v []byte) {
	entries := new(bookChunk)
	book.chunks[chunk] = entries
	for i := range entries {
		e, at := &entries[i], v[i*bookEntryLen:]
		e.key, e.day = binary.LittleEndian.Uint64(at), int64(binary.LittleEndian.Uint32(at[8:]))
		if e.day == 0 {
			book.free = append(book.free, chunk*chunkSites+i)
		} else {
			book.places[e.key] = chunk*chunkSites + i
		}
	}
}

// place is the place of a site that was seen on that day; a new one gets one.
func (book *siteBook) place(b *bolt.Bucket, key uint64, day int64) (int, error) {
	place, known := book.places[key]
	if !known {
		if len(book.free) == 0 {
			if err := book.grow(b); err != nil {
				return 0, err
			}
		}
		place, book.free = book.free[0], book.free[1:]
		book.places[key] = place
	}
	chunk := place / chunkSites
	e := &book.chunks[chunk][place%chunkSites]
	if next := (bookEntry{key, day}); *e != next {
		*e, book.changed[chunk] = next, true
	}
	return place, nil
}

// grow adds the places of one chunk. Counts that are there already are of sites whose part of the book was lost.
func (book *siteBook) grow(b *bolt.Bucket) error {
	chunk := 0
	for book.chunks[chunk] != nil {
		chunk++
	}
	if chunk >= mostChunks {
		return errors.New("there are too many sites")
	}
	for _, kind := range []byte{kindSlot, kindDay} {
		for _, n := range timesOf(b, kind) {
			if err := b.Delete(historyKey(kind, n, chunk)); err != nil {
				return err
			}
		}
	}
	book.chunks[chunk] = new(bookChunk)
	for i := range chunkSites {
		book.free = append(book.free, chunk*chunkSites+i)
	}
	return nil
}

// forget frees the places of the sites that were not counted since a day.
func (book *siteBook) forget(before int64) {
	for chunk, entries := range book.chunks {
		for i := range entries {
			if e := &entries[i]; e.day != 0 && e.day < before {
				delete(book.places, e.key)
				book.free = append(book.free, chunk*chunkSites+i)
				*e, book.changed[chunk] = bookEntry{}, true
			}
		}
	}
}

// write saves what has changed.
func (book *siteBook) write(b *bolt.Bucket) error {
	for chunk := range book.changed {
		v := make([]byte, sealLen, sealLen+chunkSites*bookEntryLen)
		for _, e := range book.chunks[chunk] {
			v = binary.LittleEndian.AppendUint64(v, e.key)
			v = binary.LittleEndian.AppendUint32(v, uint32(e.day))
		}
		if err := b.Put(historyKey(kindBook, 0, chunk), seal(v)); err != nil {
			return err
		}
	}
	return nil
}
