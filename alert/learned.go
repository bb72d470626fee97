package alert

import (
	"encoding/json"
	"fmt"
	"time"
)

// learned is the record of a site that outlives a restart: when its edge and itself were last seen well at any vantage,
// to the hour unless they fail, its CDN, and what was told of its certificate. It lets an outage that was there at the
// start be known as an onset.
type learned struct {
	CDN  string    `json:"cdn,omitempty"`
	Edge time.Time `json:"edge,omitzero"`
	Site time.Time `json:"site,omitzero"`
	Cert certTold  `json:"cert,omitzero"`
}

// wellFor is how long a site that was well counts as such after a restart.
const wellFor = 24 * time.Hour

func learnedKey(key uint64) string { return fmt.Sprintf("alert/%016x", key) }

// Dirty yields the learned records that changed since the last call.
func (e *Engine) Dirty(yield func(key string, b []byte)) {
	for s := range e.sites {
		si := &e.sites[s]
		var rec learned
		if si.cdn != nil && si.CDN == "" {
			rec.CDN = si.cdn.Name
		}
		var good [numTracks]stamp
		for l := range e.lanes {
			for k := range numTracks {
				good[k] = max(good[k], e.cell(s, l).tracks[k].good)
			}
		}
		if si.odd != nil {
			rec.Cert = si.odd.cert
		}
		rec.Edge, rec.Site = good[trackEdge].time().Truncate(time.Hour), good[trackSite].time().Truncate(time.Hour)
		b, err := json.Marshal(rec)
		if err != nil || e.learned[si.key] == string(b) {
			continue
		}
		e.learned[si.key] = string(b)
		yield(learnedKey(si.key), b)
	}
}

// recall takes in what an earlier engine learned. Damaged records are left out: they are learned again.
func (e *Engine) recall(records map[string][]byte) {
	for s := range e.sites {
		si := &e.sites[s]
		b, ok := records[learnedKey(si.key)]
		if !ok {
			continue
		}
		var rec learned
		if json.Unmarshal(b, &rec) != nil {
			continue
		}
		e.learned[si.key] = string(b)
		if rec.CDN != "" && si.CDN == "" && !si.Anchor {
			e.join(s, &si.cdn, Domain{KindCDN, rec.CDN})
		}
		if !rec.Cert.none() && !si.Anchor {
			e.recallCert(s, rec.Cert)
		}
		for l := range e.lanes {
			if !e.uses(s, l) {
				continue
			}
			c := e.cell(s, l)
			for k, at := range [numTracks]time.Time{trackEdge: rec.Edge, trackSite: rec.Site} {
				if !at.IsZero() && e.now.sub(stampOf(at)) < wellFor {
					c.tracks[k].good = stampOf(at)
				}
			}
		}
	}
}
