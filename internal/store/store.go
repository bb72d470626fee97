// Package store keeps what must survive a restart in one bbolt file: incidents with their deliveries, what the engine has
// learned, and the counts of looks at each site. One process at a time owns the file.
package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"faultline/alert"
	"faultline/alert/notify"
)

// MaxResolved is how many resolved incidents are kept; the oldest go first, with whatever was still to be delivered of them.
const MaxResolved = 1000

// The buckets.
var (
	bucketMeta       = []byte("meta")
	bucketOpen       = []byte("open")       // Incident.ID -> incident not resolved
	bucketResolved   = []byte("resolved")   // time of resolution, space, Incident.ID -> incident
	bucketDeliveries = []byte("deliveries") // Incident.ID, zero byte, channel -> delivery
	bucketLearned    = []byte("learned")    // the engine's key -> the engine's bytes
	bucketCaptures   = []byte("captures")   // Incident.ID -> captures
	bucketSilences   = []byte("silences")   // Silence.ID -> silence
	bucketTold       = []byte("told")       // Incident.ID -> how its deliveries went
	bucketHistory    = []byte("history")    // see history.go
	bucketDamaged    = []byte("damaged")    // bucket, slash, key -> value of a record that cannot be read
)

// Store is an open state file. It is safe for concurrent use and must be closed.
type Store struct {
	db   *bolt.DB
	path string
}

var _ notify.Book = (*Store)(nil)

// Save puts the incidents and the deliveries in the place of those with the same ID, all in one transaction: when it
// returns an error, nothing has changed. Incidents that are resolved, with nothing left to deliver, become history and
// their deliveries are forgotten. A ctx that is done before the transaction begins stops it; the transaction itself takes
// as long as the disk does.
func (s *Store) Save(ctx context.Context, incidents []alert.Incident, deliveries []notify.Delivery) error {
	err := s.update(func(tx *bolt.Tx) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		touched := map[string]bool{}
		for i := range incidents {
			touched[incidents[i].ID] = true
			if err := putIncident(tx, &incidents[i]); err != nil {
				return err
			}
		}
		for i := range deliveries {
			touched[deliveries[i].Incident] = true
			if err := putDelivery(tx, &deliveries[i]); err != nil {
				return err
			}
		}
		if err := trimResolved(tx); err != nil {
			return err
		}
		for id := range touched {
			if err := settle(tx, id); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("saving incidents: %w", err)
	}
	return nil
}

// Load gives back every incident that is not resolved or has something left to deliver, and their deliveries.
func (s *Store) Load(ctx context.Context) ([]alert.Incident, []notify.Delivery, error) {
	var incidents []alert.Incident
	var deliveries []notify.Delivery
	err := s.view(func(tx *bolt.Tx) error {
		err := each(tx.Bucket(bucketOpen), func(_ []byte, i alert.Incident) { incidents = append(incidents, i) })
		if err != nil {
			return err
		}
		unsettled := map[string]bool{}
		err = each(tx.Bucket(bucketDeliveries), func(_ []byte, d notify.Delivery) {
			unsettled[d.Incident] = true
			deliveries = append(deliveries, d)
		})
		if err != nil {
			return err
		}
		resolved := tx.Bucket(bucketResolved)
		return resolved.ForEach(func(k, v []byte) error {
			if !unsettled[idOfResolved(k)] {
				return nil
			}
			i, err := decode[alert.Incident](v)
			incidents = append(incidents, i)
			return err
		})
	})
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return nil, nil, fmt.Errorf("loading incidents: %w", err)
	}
	return incidents, deliveries, nil
}

// Incidents gives the resolved incidents, the last to be resolved first, at most limit of them.
func (s *Store) Incidents(limit int) ([]alert.Incident, error) {
	var out []alert.Incident
	err := s.view(func(tx *bolt.Tx) error {
		c := tx.Bucket(bucketResolved).Cursor()
		for k, v := c.Last(); k != nil && len(out) < limit; k, v = c.Prev() {
			i, err := decode[alert.Incident](v)
			if err != nil {
				return err
			}
			out = append(out, i)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading resolved incidents: %w", err)
	}
	return out, nil
}

// Close waits for transactions under way and gives the file free.
func (s *Store) Close() error { return s.db.Close() }

func putIncident(tx *bolt.Tx, i *alert.Incident) error {
	v, err := encode(i)
	if err != nil {
		return err
	}
	open, resolved := tx.Bucket(bucketOpen), tx.Bucket(bucketResolved)
	if i.State != alert.StateResolved {
		return put(open, []byte(i.ID), v)
	}
	if err := remove(open, []byte(i.ID)); err != nil {
		return err
	}
	return put(resolved, resolvedKey(i), v)
}

func putDelivery(tx *bolt.Tx, d *notify.Delivery) error {
	v, err := encode(d)
	if err != nil {
		return err
	}
	return put(tx.Bucket(bucketDeliveries), append(deliveriesOf(d.Incident), d.Channel...), v)
}

// settle forgets the deliveries of an incident that is not open, once none of them has anything left to do. It stays
// right when the incident itself is no longer, or never was, in the book.
func settle(tx *bolt.Tx, id string) error {
	if tx.Bucket(bucketOpen).Get([]byte(id)) != nil {
		return nil
	}
	var keys [][]byte
	prefix, c := deliveriesOf(id), tx.Bucket(bucketDeliveries).Cursor()
	for k, v := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, v = c.Next() {
		d, err := decode[notify.Delivery](v)
		if err != nil {
			return err
		}
		if !d.Done() {
			return nil
		}
		keys = append(keys, bytes.Clone(k))
	}
	return removeAll(tx.Bucket(bucketDeliveries), keys)
}

// trimResolved holds the history, and with it the deliveries that nobody ever took, to a bound.
func trimResolved(tx *bolt.Tx) error {
	b, deliveries := tx.Bucket(bucketResolved), tx.Bucket(bucketDeliveries)
	var old [][]byte
	n, c := 0, b.Cursor()
	for k, _ := c.Last(); k != nil; k, _ = c.Prev() {
		if n++; n > MaxResolved {
			old = append(old, bytes.Clone(k))
		}
	}
	for _, k := range old {
		var keys [][]byte
		prefix, c := deliveriesOf(idOfResolved(k)), deliveries.Cursor()
		for k, _ := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, _ = c.Next() {
			keys = append(keys, bytes.Clone(k))
		}
		if err := removeAll(deliveries, keys); err != nil {
			return err
		}
	}
	return removeAll(b, old)
}

func deliveriesOf(incident string) []byte { return append([]byte(incident), 0) }

func resolvedKey(i *alert.Incident) []byte {
	return []byte(i.ResolvedAt.UTC().Format("20060102T150405.000Z") + " " + i.ID)
}

func idOfResolved(key []byte) string {
	_, id, _ := strings.Cut(string(key), " ")
	return id
}

// record is the form of a JSON value: V tells which.
type record[T any] struct {
	V    int `json:"v"`
	Data T   `json:"data"`
}

const recordVersion = 1

func encode[T any](data T) ([]byte, error) {
	b, err := json.Marshal(record[T]{recordVersion, data})
	if err != nil {
		return nil, fmt.Errorf("encoding %T: %w", data, err)
	}
	return b, nil
}

func decode[T any](b []byte) (T, error) {
	var r record[T]
	err := json.Unmarshal(b, &r)
	if err == nil && r.V != recordVersion {
		err = fmt.Errorf("version %d is not known", r.V)
	}
	if err != nil {
		return r.Data, fmt.Errorf("decoding %T: %w", r.Data, err)
	}
	return r.Data, nil
}

func each[T any](b *bolt.Bucket, yield func(key []byte, data T)) error {
	return b.ForEach(func(k, v []byte) error {
		data, err := decode[T](v)
		if err == nil {
			yield(k, data)
		}
		return err
	})
}

// update and view are bbolt's, with its panics on pages gone bad turned into errors and the errors explained.
func (s *Store) update(f func(*bolt.Tx) error) error {
	return explain(s.path, guard(func() error { return s.db.Update(f) }))
}

func (s *Store) view(f func(*bolt.Tx) error) error {
	return explain(s.path, guard(func() error { return s.db.View(f) }))
}

// explain adds to err what a person can do about it.
func explain(path string, err error) error {
	var todo string
	switch {
	case err == nil:
		return nil
	case errors.Is(err, bolterrors.ErrTimeout):
		return fmt.Errorf("another faultline is running on this state directory (%s is locked): stop it, or set another directory", path)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		todo = "free some space in " + filepath.Dir(path)
	case errors.Is(err, syscall.EROFS):
		todo = "mount " + filepath.Dir(path) + " writable, or set another state directory"
	case errors.Is(err, fs.ErrPermission):
		todo = "make " + filepath.Dir(path) + " and the files in it writable for the user that faultline runs as"
	case errors.Is(err, syscall.EIO):
		todo = "look at the disk under " + filepath.Dir(path)
	case errors.Is(err, os.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		todo = "make " + filepath.Dir(path) + " a directory"
	default:
		return err
	}
	return fmt.Errorf("%w; %s", err, todo)
}
