package notify

import (
	"context"
	"errors"
	"fmt"
	"time"

	"faultline/alert"
)

// keeper is how far the Book is. It belongs to Run's goroutine.
type keeper struct {
	running chan error      // a save that takes longer than it should; nil = none
	saving  map[string]bool // what was unsaved and is in the save under way
	orphans []Delivery      // likewise
	failed  int             // saves in a row that failed
	again   time.Time       // no save before
	err     error           // of the last save
}

var errSlowStore = errors.New("the store does not answer; pages go out without it")

// save brings the Book up to date, as far as that is possible within the timeout. A Book that has just failed is left
// alone for a while, so that it delays no page, unless force is set.
func (d *Deliverer) save(force bool) {
	b := &d.book
	if b.running != nil || !force && time.Now().Before(b.again) {
		return
	}
	incidents, ds := d.changes()
	if len(incidents)+len(ds) == 0 {
		return
	}
	done := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), d.c.SaveTimeout)
		defer cancel()
		done <- d.c.Book.Save(ctx, incidents, ds)
	}()
	t := time.NewTimer(d.c.SaveTimeout)
	defer t.Stop()
	select {
	case err := <-done:
		d.saved(err)
	case <-t.C:
		b.running = done
		d.storeFailed(errSlowStore)
	}
}

// changes takes what is unsaved, as it will be once the opened mail is released.
func (d *Deliverer) changes() (incidents []alert.Incident, ds []Delivery) {
	d.mu.Lock()
	defer d.mu.Unlock()
	b := &d.book
	b.saving, d.unsaved = d.unsaved, map[string]bool{}
	b.orphans, d.orphans = d.orphans, nil
	for id, whole := range b.saving {
		m, ok := d.opened[id]
		if !ok {
			m.incident, ok = d.incidents[id]
		}
		if ok && whole {
			incidents = append(incidents, m.incident)
		}
	}
	ds = append(d.plan(), b.orphans...)
	planned := map[deliveryKey]bool{}
	for i := range ds {
		planned[ds[i].key()] = true
	}
	for _, l := range d.lanes {
		for _, x := range l.ds {
			if _, ok := b.saving[x.Incident]; ok && !planned[x.key()] {
				ds = append(ds, x)
			}
		}
	}
	return incidents, ds
}

// saved notes how a save ended.
func (d *Deliverer) saved(err error) {
	b := &d.book
	d.mu.Lock()
	if err != nil {
		for id, whole := range b.saving {
			d.unsaved[id] = d.unsaved[id] || whole
		}
		d.orphans = append(d.orphans, b.orphans...)
	}
	b.running, b.saving, b.orphans = nil, nil, nil
	d.mu.Unlock()
	if err != nil {
		d.storeFailed(err)
		return
	}
	if b.failed > 0 && d.c.OnStoreError != nil {
		d.c.OnStoreError(nil)
	}
	b.failed, b.again, b.err = 0, time.Time{}, nil
}

func (d *Deliverer) storeFailed(err error) {
	b := &d.book
	if b.failed == 0 {
		d.c.Log.Error().Err(err).Msg("saving incidents and deliveries")
	}
	patience := Backoff{d.c.Backoff.Base, 10 * d.c.Backoff.Base}
	b.again = time.Now().Add(patience.After(b.failed, 0.5))
	b.failed++
	b.err = err
	if d.c.OnStoreError != nil {
		d.c.OnStoreError(err)
	}
}

// saveAgain is when a failed save is to be tried again; zero = nothing is waiting for that.
func (d *Deliverer) saveAgain() time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.book.running != nil || len(d.unsaved)+len(d.orphans) == 0 {
		return time.Time{}
	}
	return d.book.again
}

// lastSave saves the outcomes of the last attempts.
func (d *Deliverer) lastSave() error {
	b := &d.book
	if b.running != nil {
		t := time.NewTimer(d.c.SaveTimeout)
		defer t.Stop()
		select {
		case err := <-b.running:
			d.saved(err)
		case <-t.C:
		}
	}
	d.save(true)
	if b.err != nil {
		return fmt.Errorf("saving the last deliveries: %w", b.err)
	}
	return nil
}
