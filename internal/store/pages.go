package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
)

// bbolt trusts its pages: a bad one makes it panic, loop for ever or, in a goroutine of its own, crash the process, and
// its own check does no better. So the pages are walked here first, without trust. The layout is that of bbolt's format 2.

const (
	boltMagic      = 0xED0CDAED
	boltVersion    = 2
	noFreelist     = ^uint64(0)
	pageHead       = 16
	pageBranch     = 0x01
	pageLeaf       = 0x02
	pageFreelist   = 0x10
	leafBucket     = 0x01
	bucketHead     = 16
	metaLen        = 56 // up to its checksum
	manyFree       = 0xFFFF
	branchItemSize = 16
	leafItemSize   = 16
)

var order = binary.NativeEndian

type boltMeta struct{ root, freelist, pages, txid uint64 }

// pageWalk visits every page that is in use, once.
type pageWalk struct {
	r        io.ReaderAt
	pageSize int
	used     []bool // by page: in use, or free, and seen as such
}

// checkPages tells what is wrong with the pages of a bbolt file: lengths, kinds, order of keys, pages used twice or both
// used and free. What the records hold is not looked at.
func checkPages(r io.ReaderAt, size int64, pageSize int) error {
	m, err := newestMeta(r, pageSize)
	if err != nil {
		return err
	}
	if m.pages < 2 || m.pages > uint64(size)/uint64(pageSize) {
		return fmt.Errorf("%d pages of %d bytes are too many for a file of %d bytes: it was cut short", m.pages, pageSize, size)
	}
	w := &pageWalk{r, pageSize, make([]bool, m.pages)}
	w.used[0], w.used[1] = true, true
	if m.freelist != noFreelist {
		if err := w.freelist(m.freelist); err != nil {
			return err
		}
	}
	return w.tree(m.root)
}

func newestMeta(r io.ReaderAt, pageSize int) (best boltMeta, err error) {
	found := false
	for i := range 2 {
		buf := make([]byte, pageHead+metaLen+8)
		if _, err := r.ReadAt(buf, int64(i*pageSize)); err != nil {
			return best, fmt.Errorf("reading meta page %d: %w", i, err)
		}
		b := buf[pageHead:]
		h := fnv.New64a()
		h.Write(b[:metaLen])
		if order.Uint32(b) != boltMagic || order.Uint32(b[4:]) != boltVersion || order.Uint64(b[metaLen:]) != h.Sum64() {
			continue
		}
		m := boltMeta{root: order.Uint64(b[16:]), freelist: order.Uint64(b[32:]), pages: order.Uint64(b[40:]), txid: order.Uint64(b[48:])}
		if !found || m.txid > best.txid {
			best, found = m, true
		}
	}
	if !found {
		return best, errors.New("no meta page is valid")
	}
	return best, nil
}

// page reads a page that nothing else has led to so far.
func (w *pageWalk) page(id uint64) (kind uint16, b []byte, err error) {
	head := make([]byte, pageHead)
	if id >= uint64(len(w.used)) {
		return 0, nil, fmt.Errorf("page %d is beyond the end", id)
	}
	if _, err := w.r.ReadAt(head, int64(id)*int64(w.pageSize)); err != nil {
		return 0, nil, fmt.Errorf("reading page %d: %w", id, err)
	}
	if got := order.Uint64(head); got != id {
		return 0, nil, fmt.Errorf("page %d says that it is page %d", id, got)
	}
	n := 1 + uint64(order.Uint32(head[12:]))
	for i := range n {
		if err := w.claim(id + i); err != nil {
			return 0, nil, err
		}
	}
	b = make([]byte, n*uint64(w.pageSize))
	if _, err := w.r.ReadAt(b, int64(id)*int64(w.pageSize)); err != nil {
		return 0, nil, fmt.Errorf("reading page %d: %w", id, err)
	}
	return order.Uint16(head[8:]), b, nil
}

func (w *pageWalk) claim(id uint64) error {
	if id >= uint64(len(w.used)) {
		return fmt.Errorf("page %d is beyond the end", id)
	}
	if w.used[id] {
		return fmt.Errorf("page %d is in use twice", id)
	}
	w.used[id] = true
	return nil
}

func (w *pageWalk) freelist(id uint64) error {
	kind, b, err := w.page(id)
	if err != nil {
		return err
	}
	n, ids := uint64(order.Uint16(b[10:])), b[pageHead:]
	if n == manyFree {
		n, ids = order.Uint64(ids), ids[8:]
	}
	if kind != pageFreelist || n > uint64(len(ids)/8) {
		return fmt.Errorf("page %d is not a list of free pages", id)
	}
	for i := range n {
		if err := w.claim(order.Uint64(ids[i*8:])); err != nil {
			return fmt.Errorf("list of free pages: %w", err)
		}
	}
	return nil
}

// tree walks a bucket's pages.
func (w *pageWalk) tree(root uint64) error {
	var k keys
	return w.subtree(root, &k)
}

// keys checks the order of a bucket's keys on the way through its tree.
type keys struct{ last, floor []byte }

func (k *keys) branch(key []byte) error {
	if k.last != nil && bytes.Compare(key, k.last) <= 0 {
		return errors.New("keys are out of order")
	}
	k.floor = key
	return nil
}

func (k *keys) leaf(key []byte) error {
	if k.last != nil && bytes.Compare(key, k.last) <= 0 || bytes.Compare(key, k.floor) < 0 {
		return errors.New("keys are out of order")
	}
	k.last = key
	return nil
}

func (w *pageWalk) subtree(id uint64, k *keys) error {
	kind, b, err := w.page(id)
	if err != nil {
		return err
	}
	switch kind {
	case pageLeaf:
		err = w.leaf(b, k)
	case pageBranch:
		err = w.branch(b, k)
	default:
		err = fmt.Errorf("kind %#x is not known", kind)
	}
	if err != nil {
		return fmt.Errorf("page %d: %w", id, err)
	}
	return nil
}

func (w *pageWalk) branch(b []byte, k *keys) error {
	n := int(order.Uint16(b[10:]))
	if n == 0 || pageHead+n*branchItemSize > len(b) {
		return fmt.Errorf("%d branches are impossible", n)
	}
	for i := range n {
		at := pageHead + i*branchItemSize
		key, err := span(b[at:], order.Uint32(b[at:]), uint64(order.Uint32(b[at+4:])))
		if err != nil {
			return err
		}
		if err := k.branch(key); err != nil {
			return err
		}
		if err := w.subtree(order.Uint64(b[at+8:]), k); err != nil {
			return err
		}
	}
	return nil
}

func (w *pageWalk) leaf(b []byte, k *keys) error {
	n := int(order.Uint16(b[10:]))
	if pageHead+n*leafItemSize > len(b) {
		return fmt.Errorf("%d records are impossible", n)
	}
	for i := range n {
		at := pageHead + i*leafItemSize
		pos, ksize, vsize := order.Uint32(b[at+4:]), order.Uint32(b[at+8:]), order.Uint32(b[at+12:])
		both, err := span(b[at:], pos, uint64(ksize)+uint64(vsize))
		if err != nil {
			return err
		}
		if err := k.leaf(both[:ksize]); err != nil {
			return err
		}
		if order.Uint32(b[at:])&leafBucket == 0 {
			continue
		}
		if err := w.bucket(both[ksize:]); err != nil {
			return fmt.Errorf("bucket %q: %w", both[:ksize], err)
		}
	}
	return nil
}

// bucket walks a bucket within a bucket; a small one has its only page in the record itself.
func (w *pageWalk) bucket(v []byte) error {
	if len(v) < bucketHead {
		return errors.New("its head is cut short")
	}
	if root := order.Uint64(v); root != 0 {
		return w.tree(root)
	}
	v = v[bucketHead:]
	if len(v) < pageHead || order.Uint16(v[8:]) != pageLeaf {
		return errors.New("it has no page")
	}
	return w.leaf(v, new(keys))
}

// span is b[pos:pos+n], if there is such a thing.
func span(b []byte, pos uint32, n uint64) ([]byte, error) {
	if uint64(pos)+n > uint64(len(b)) {
		return nil, errors.New("a record reaches beyond its page")
	}
	return b[pos:][:n], nil
}
