package main

import (
	"context"

	"faultline/alert"
	"faultline/probe"
)

// captured is what failing looks of an incident saw, on its way to the store.
type captured struct {
	incident string
	list     []*probe.Capture
}

// capturesAhead is how many incidents' captures may wait for the store.
const capturesAhead = 64

// keepCaptures hands over what the evidence of incidents was judged by. It does not wait: without captures an incident
// lacks detail, and nothing else.
func (d *daemon) keepCaptures(incidents []alert.Incident) {
	for i := range incidents {
		in := &incidents[i]
		c := captured{incident: in.ID}
		for k := range in.Evidence {
			if x := d.captures.Find(&in.Evidence[k]); x != nil {
				c.list = append(c.list, x)
			}
		}
		if len(c.list) == 0 {
			continue
		}
		select {
		case d.captured <- c:
		default:
			d.log.Warn().Str("incident", in.ID).Msg("captures not kept: the store is behind")
		}
	}
}

// saveCaptures saves what keepCaptures hands over, until ctx is done and nothing waits any more.
func (d *daemon) saveCaptures(ctx context.Context) {
	for {
		select {
		case c := <-d.captured:
			if err := d.store.AddCaptures(c.incident, c.list); err != nil {
				d.log.Error().Err(err).Str("incident", c.incident).Msg("captures cannot be saved")
			}
		case <-ctx.Done():
			if len(d.captured) == 0 {
				return
			}
		}
	}
}
