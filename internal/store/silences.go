package store

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"

	"faultline/alert"
)

const (
	// MaxSilences is how many silences are kept, those that are over included.
	MaxSilences = 1000
	// silenceKept is how long one that is over can still be looked at.
	silenceKept = 30 * 24 * time.Hour
)

// ErrTooManySilences says that no more are kept; what is over for long has been forgotten by then.
var ErrTooManySilences = errors.New("there are 1000 silences: expire some, or match more with each, by group or label")

// PutSilence keeps a silence in the place of the one with its ID, and forgets those that were over long before now.
func (s *Store) PutSilence(now time.Time, x *alert.Silence) error {
	err := s.update(func(tx *bolt.Tx) error {
		b := tx.Bucket(bucketSilences)
		n := 0
		var old [][]byte
		err := each(b, func(key []byte, x alert.Silence) {
			if n++; x.Over(now.Add(-silenceKept)) {
				old = append(old, bytes.Clone(key))
			}
		})
		if err != nil {
			return err
		}
		if n-len(old) >= MaxSilences && b.Get([]byte(x.ID)) == nil {
			return ErrTooManySilences
		}
		if err := removeAll(b, old); err != nil {
			return err
		}
		v, err := encode(x)
		if err != nil {
			return err
		}
		return put(b, []byte(x.ID), v)
	})
	if err != nil {
		return fmt.Errorf("saving a silence: %w", err)
	}
	return nil
}

// Silences gives those that are kept, in the order of their IDs.
func (s *Store) Silences() ([]alert.Silence, error) {
	var out []alert.Silence
	err := s.view(func(tx *bolt.Tx) error {
		return each(tx.Bucket(bucketSilences), func(_ []byte, x alert.Silence) { out = append(out, x) })
	})
	if err != nil {
		return nil, fmt.Errorf("reading silences: %w", err)
	}
	return out, nil
}
