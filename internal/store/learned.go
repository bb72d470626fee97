package store

import (
	"bytes"
	"errors"
	"fmt"

	bolt "go.etcd.io/bbolt"
)

// batchSize keeps a transaction short: a page that has to be saved waits for one of them at most.
const batchSize = 1000

// SaveLearned puts the records that it is given in the place of those with the same key; a record of nil is deleted. It
// works in transactions of 1,000 records, so an error can leave the first of them saved. It keeps nothing that yield was given.
func (s *Store) SaveLearned(records func(yield func(key string, b []byte))) error {
	type pair struct{ k, v []byte }
	var batch []pair
	var failed error
	flush := func() {
		if failed != nil || len(batch) == 0 {
			return
		}
		failed = s.update(func(tx *bolt.Tx) error {
			b := tx.Bucket(bucketLearned)
			var errs []error
			for _, p := range batch {
				if p.v == nil {
					errs = append(errs, remove(b, p.k))
				} else {
					errs = append(errs, put(b, p.k, p.v))
				}
			}
			return errors.Join(errs...)
		})
		batch = batch[:0]
	}
	records(func(key string, v []byte) {
		if failed != nil {
			return
		}
		batch = append(batch, pair{[]byte(key), bytes.Clone(v)})
		if len(batch) == batchSize {
			flush()
		}
	})
	flush()
	if failed != nil {
		return fmt.Errorf("saving what was learned: %w", failed)
	}
	return nil
}

// Learned gives back all that SaveLearned has kept.
func (s *Store) Learned() (map[string][]byte, error) {
	out := map[string][]byte{}
	err := s.view(func(tx *bolt.Tx) error {
		return tx.Bucket(bucketLearned).ForEach(func(k, v []byte) error {
			out[string(k)] = append([]byte{}, v...)
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("reading what was learned: %w", err)
	}
	return out, nil
}
