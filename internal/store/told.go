package store

import (
	"fmt"

	bolt "go.etcd.io/bbolt"

	"faultline/alert/notify"
)

// Bounds of what is kept of deliveries: entries of one incident, and incidents, the newest.
const (
	maxTold          = 200
	maxToldIncidents = MaxResolved
)

// AddTold keeps how deliveries of an incident went. Of more than there is room for, the first ones stay: they tell how soon
// people knew.
func (s *Store) AddTold(incident string, list []notify.Told) error {
	err := s.update(func(tx *bolt.Tx) error {
		b := tx.Bucket(bucketTold)
		var kept []notify.Told
		if v := b.Get([]byte(incident)); v != nil {
			var err error
			if kept, err = decode[[]notify.Told](v); err != nil {
				return err
			}
		}
		room := min(len(list), maxTold-len(kept))
		if room <= 0 {
			return nil
		}
		v, err := encode(append(kept, list[:room]...))
		if err != nil {
			return err
		}
		if err := put(b, []byte(incident), v); err != nil {
			return err
		}
		return trimOldest(b, maxToldIncidents)
	})
	if err != nil {
		return fmt.Errorf("saving deliveries: %w", err)
	}
	return nil
}

// Told gives what is kept of an incident's deliveries, in the order in which they went.
func (s *Store) Told(incident string) ([]notify.Told, error) {
	var list []notify.Told
	err := s.view(func(tx *bolt.Tx) error {
		v := tx.Bucket(bucketTold).Get([]byte(incident))
		if v == nil {
			return nil
		}
		var err error
		list, err = decode[[]notify.Told](v)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading deliveries: %w", err)
	}
	return list, nil
}
