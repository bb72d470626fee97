package main

import (
	"context"

	"faultline/alert"
	"faultline/alert/notify"
	"faultline/probe"
)

// kept is what is kept beside an incident, on its way to the store: what its failing looks saw, and how its deliveries went.
type kept struct {
	incident string
	captures []*probe.Capture
	told     []notify.Told
}

// keptAhead is how much of that may wait for the store.
const keptAhead = 256

// keepCaptures hands over what the evidence of incidents was judged by. It does not wait: without captures an incident
// lacks detail, and nothing else.
func (d *daemon) keepCaptures(incidents []alert.Incident) {
	for i := range incidents {
		in := &incidents[i]
		c := kept{incident: in.ID}
		for k := range in.Evidence {
			if x := d.captures.Find(&in.Evidence[k]); x != nil {
				c.captures = append(c.captures, x)
			}
		}
		if len(c.captures) == 0 {
			continue
		}
		d.keep(c)
	}
}

// keepTold hands over how a delivery went. It does not wait.
func (d *daemon) keepTold(incident string, t notify.Told) {
	d.keep(kept{incident: incident, told: []notify.Told{t}})
}

func (d *daemon) keep(k kept) {
	select {
	case d.kept <- k:
	default:
		d.log.Warn().Str("incident", k.incident).Msg("captures and deliveries not kept: the store is behind")
	}
}

// saveKept saves what is handed over, until ctx is done and nothing waits any more.
func (d *daemon) saveKept(ctx context.Context) {
	for {
		select {
		case k := <-d.kept:
			if err := d.saveOne(&k); err != nil {
				d.log.Error().Err(err).Str("incident", k.incident).Msg("captures and deliveries cannot be saved")
			}
		case <-ctx.Done():
			if len(d.kept) == 0 {
				return
			}
		}
	}
}

func (d *daemon) saveOne(k *kept) error {
	if len(k.captures) > 0 {
		return d.store.AddCaptures(k.incident, k.captures)
	}
	return d.store.AddTold(k.incident, k.told)
}
