package store

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"

	bolt "go.etcd.io/bbolt"

	"faultline/alert"
	"faultline/alert/notify"
	"faultline/probe"
)

// migrations[v] leads from schema v to v+1. A file without a schema, a new one among them, is of schema 0.
var migrations = []func(*bolt.Tx) error{createBuckets, createBuckets, createBuckets} // buckets are new, see newIn

var keySchema = []byte("schema")

// maxDamaged bounds the records that are kept though they cannot be read.
const maxDamaged = 100

// summed are the buckets with a sum over their records.
var summed = [][]byte{bucketMeta, bucketOpen, bucketResolved, bucketDeliveries, bucketLearned, bucketCaptures, bucketSilences, bucketTold}

// newIn are the schemas that brought buckets which were not there from the start.
var newIn = map[string]int{string(bucketCaptures): 2, string(bucketSilences): 3, string(bucketTold): 3}

// prepare checks a file that bbolt has opened and brings it to the newest schema. Its error is errDamaged where the file
// as a whole cannot be trusted, a *DamagedError where it can be used but has lost records.
func (s *Store) prepare(file *os.File, emptied bool) error {
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if err := checkPages(file, info.Size(), s.db.Info().PageSize); err != nil {
		return fmt.Errorf("%w: %w", errDamaged, err)
	}
	var version int
	err = guard(func() error {
		return s.db.View(func(tx *bolt.Tx) error {
			version = schemaOf(tx)
			if version == 0 {
				return nil
			}
			return checkSums(tx, version)
		})
	})
	if err != nil {
		return err
	}
	if version == 0 && emptied {
		return fmt.Errorf("%w: it is empty", errDamaged)
	}
	if version > len(migrations) {
		return fmt.Errorf("%s was written by a newer faultline (schema %d, this one knows %d): run that version, or start this one on another state directory",
			s.path, version, len(migrations))
	}
	if version < len(migrations) {
		if err := s.update(func(tx *bolt.Tx) error { return migrate(tx, version) }); err != nil {
			return fmt.Errorf("bringing %s to schema %d: %w", s.path, len(migrations), err)
		}
	}
	return s.dropUnreadable()
}

func schemaOf(tx *bolt.Tx) int {
	b := tx.Bucket(bucketMeta)
	if b == nil {
		return 0
	}
	v := b.Get(keySchema)
	if len(v) != 4 {
		return 0
	}
	return int(binary.BigEndian.Uint32(v))
}

func migrate(tx *bolt.Tx, from int) error {
	for _, m := range migrations[from:] {
		if err := m(tx); err != nil {
			return err
		}
	}
	return put(tx.Bucket(bucketMeta), keySchema, binary.BigEndian.AppendUint32(nil, uint32(len(migrations))))
}

func createBuckets(tx *bolt.Tx) error {
	for _, name := range append([][]byte{bucketDamaged, bucketHistory}, summed...) {
		b, err := tx.CreateBucketIfNotExists(name)
		if err != nil {
			return err
		}
		s, err := sum(b)
		if err != nil {
			return err
		}
		if err := b.SetSequence(s); err != nil {
			return err
		}
	}
	return nil
}

func checkSums(tx *bolt.Tx, version int) error {
	for _, name := range summed {
		if version < newIn[string(name)] {
			continue
		}
		b := tx.Bucket(name)
		if b == nil {
			return fmt.Errorf("%w: bucket %q is missing", errDamaged, name)
		}
		s, err := sum(b)
		if err != nil {
			return err
		}
		if s != b.Sequence() {
			return fmt.Errorf("%w: wrong checksum over bucket %q", errDamaged, name)
		}
	}
	return nil
}

// dropUnreadable moves the records that this version cannot read out of the way of the others.
func (s *Store) dropUnreadable() error {
	var n int
	var first error
	err := s.update(func(tx *bolt.Tx) error {
		for _, b := range []struct {
			name  []byte
			check func([]byte) error
		}{
			{bucketOpen, readable[alert.Incident]},
			{bucketResolved, readable[alert.Incident]},
			{bucketDeliveries, readable[notify.Delivery]},
			{bucketCaptures, readable[[]*probe.Capture]},
			{bucketSilences, readable[alert.Silence]},
			{bucketTold, readable[[]notify.Told]},
			{bucketHistory, sealed},
		} {
			bad, why, err := takeOut(tx, b.name, b.check)
			if err != nil {
				return err
			}
			if n += bad; first == nil {
				first = why
			}
		}
		return nil
	})
	if err != nil || n == 0 {
		return err
	}
	return &DamagedError{
		Aside: fmt.Sprintf("bucket %q of %s", bucketDamaged, s.path),
		Err:   fmt.Errorf("%d records cannot be read, the first: %w", n, first),
	}
}

func readable[T any](v []byte) error {
	_, err := decode[T](v)
	return err
}

// takeOut moves what check refuses from a bucket to the damaged ones, and gives their number and the first reason.
func takeOut(tx *bolt.Tx, bucket []byte, check func([]byte) error) (n int, first error, err error) {
	b, damaged := tx.Bucket(bucket), tx.Bucket(bucketDamaged)
	var keys [][]byte
	err = b.ForEach(func(k, v []byte) error {
		why := check(v)
		if why == nil {
			return nil
		}
		if first == nil {
			first = fmt.Errorf("%s/%q: %w", bucket, k, why)
		}
		keys = append(keys, bytes.Clone(k))
		return nil
	})
	if err != nil {
		return 0, nil, err
	}
	for _, k := range keys {
		if damaged.Stats().KeyN >= maxDamaged {
			break
		}
		if err := damaged.Put(fmt.Appendf(nil, "%s/%s", bucket, k), bytes.Clone(b.Get(k))); err != nil {
			return 0, nil, err
		}
	}
	return len(keys), first, removeAll(b, keys)
}
