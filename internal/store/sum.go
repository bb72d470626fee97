package store

import (
	"bytes"
	"hash/fnv"

	bolt "go.etcd.io/bbolt"
)

// bbolt has no checksum over its data. So each bucket carries one over all its records, in its sequence number, which
// is otherwise unused: the XOR of a hash of every record, so that it follows a change without reading the others.

func put(b *bolt.Bucket, k, v []byte) error {
	old := b.Get(k)
	if old != nil && bytes.Equal(old, v) {
		return nil
	}
	sum := b.Sequence() ^ hash(k, v)
	if old != nil {
		sum ^= hash(k, old)
	}
	if err := b.Put(k, v); err != nil {
		return err
	}
	return b.SetSequence(sum)
}

func remove(b *bolt.Bucket, k []byte) error {
	old := b.Get(k)
	if old == nil {
		return nil
	}
	sum := b.Sequence() ^ hash(k, old)
	if err := b.Delete(k); err != nil {
		return err
	}
	return b.SetSequence(sum)
}

func removeAll(b *bolt.Bucket, keys [][]byte) error {
	for _, k := range keys {
		if err := remove(b, k); err != nil {
			return err
		}
	}
	return nil
}

// sum is what the sequence number of b should be.
func sum(b *bolt.Bucket) (uint64, error) {
	var s uint64
	err := b.ForEach(func(k, v []byte) error {
		s ^= hash(k, v)
		return nil
	})
	return s, err
}

func hash(k, v []byte) uint64 {
	h := fnv.New64a()
	h.Write(k)
	h.Write([]byte{0})
	h.Write(v)
	return h.Sum64()
}
