package store

import (
	"bytes"
	"fmt"

	bolt "go.etcd.io/bbolt"

	"faultline/probe"
)

// Bounds of the captures that are kept: of one incident, and of how many incidents, the newest.
const (
	MaxCaptures         = 20
	maxCaptureBytes     = 1 << 20
	maxCaptureIncidents = 100
)

// AddCaptures keeps what the failing looks of an incident saw, beside those that are kept of it already; what is over the
// bounds is left out.
func (s *Store) AddCaptures(incident string, list []*probe.Capture) error {
	err := s.update(func(tx *bolt.Tx) error {
		b := tx.Bucket(bucketCaptures)
		var kept []*probe.Capture
		if v := b.Get([]byte(incident)); v != nil {
			var err error
			if kept, err = decode[[]*probe.Capture](v); err != nil {
				return err
			}
		}
		for _, c := range list {
			if len(kept) < MaxCaptures && !contains(kept, c) {
				kept = append(kept, c)
			}
		}
		v, err := encode(kept)
		if err != nil || len(v) > maxCaptureBytes {
			return err
		}
		if err := put(b, []byte(incident), v); err != nil {
			return err
		}
		return trimOldest(b, maxCaptureIncidents)
	})
	if err != nil {
		return fmt.Errorf("saving captures: %w", err)
	}
	return nil
}

func contains(list []*probe.Capture, c *probe.Capture) bool {
	for _, x := range list {
		if x.Vantage == c.Vantage && x.Seq == c.Seq {
			return true
		}
	}
	return false
}

// trimOldest keeps the records of the newest most incidents, whose IDs begin with their time.
func trimOldest(b *bolt.Bucket, most int) error {
	var old [][]byte
	n, c := 0, b.Cursor()
	for k, _ := c.Last(); k != nil; k, _ = c.Prev() {
		if n++; n > most {
			old = append(old, bytes.Clone(k))
		}
	}
	return removeAll(b, old)
}

// Captures gives what is kept of an incident's failing looks, the first to be saved first.
func (s *Store) Captures(incident string) ([]*probe.Capture, error) {
	var list []*probe.Capture
	err := s.view(func(tx *bolt.Tx) error {
		v := tx.Bucket(bucketCaptures).Get([]byte(incident))
		if v == nil {
			return nil
		}
		var err error
		list, err = decode[[]*probe.Capture](v)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading captures: %w", err)
	}
	return list, nil
}
