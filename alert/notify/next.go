package notify

import (
	"maps"
	"slices"
	"time"
)

// Next makes the Deliverer that goes on by another config, once d's Run has returned. It takes over all that d holds, saved
// or not, and what was told meanwhile: d must not be used any more. A channel is the same as before by its name; what it has
// not taken it is asked at once, as it may be mended.
func (d *Deliverer) Next(c Config) *Deliverer {
	d.mu.Lock()
	defer d.mu.Unlock()
	ds := slices.Clone(d.parted)
	lanes := map[string]*lane{}
	for _, l := range d.lanes {
		ds = append(ds, l.ds...)
		lanes[l.Name] = l
	}
	for i := range ds {
		ds[i].NotBefore = time.Time{}
	}
	n := NewDeliverer(c, slices.Collect(maps.Values(d.incidents)), ds)
	n.book, n.unsaved, n.orphans = d.book, d.unsaved, append(n.orphans, d.orphans...)
	n.held, n.shown, n.marks = d.held, d.shown, d.marks
	maps.Copy(n.mail, d.mail)
	for _, l := range n.lanes {
		if was := lanes[l.Name]; was != nil {
			l.notices, l.spoke = was.notices, was.spoke
			l.tokens.full, l.spare.full = was.tokens.full, was.spare.full
		}
	}
	return n
}

// part notes a delivery over a channel that is not configured any more, so that the Book can forget its incident; and the
// channel is not told again should it come back.
func (d *Deliverer) part(x Delivery) {
	x.Gone = "the channel is not configured any more"
	d.parted = append(d.parted, x)
	d.orphans = append(d.orphans, x)
}

// unpart forgets the parted deliveries of incidents that are over. d.mu is held.
func (d *Deliverer) unpart() {
	d.parted = slices.DeleteFunc(d.parted, func(x Delivery) bool {
		_, known := d.incidents[x.Incident]
		return !known
	})
}
