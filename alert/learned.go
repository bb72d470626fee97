package alert

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"
)

// learned is the record of a site that outlives a restart. It lets an outage that was there at the start be known as an
// onset, and the site's own failures be known for what they are. Times are kept to the hour, and baselines roughly, so
// that records of sites that are well do not change all the time.
type learned struct {
	CDN     [2]string `json:"cdn,omitzero"`
	DNS     [2]string `json:"dns,omitzero"`
	Network [2]string `json:"network,omitzero"`
	CA      [2]string `json:"ca,omitzero"`

	Good time.Time `json:"good,omitzero"` // when it was last seen well, or at least its edge was
	Well parts     `json:"well,omitempty"`

	Days   float64        `json:"days,omitempty"` // watched
	Onsets float64        `json:"onsets,omitempty"`
	Blips  float64        `json:"blips,omitempty"`
	With   map[string]int `json:"with,omitempty"` // how often it failed together with another site

	Cert certTold `json:"cert,omitzero"`
}

// wellFor is how long a site that was well counts as such after a restart.
const wellFor = 24 * time.Hour

func learnedKey(key uint64) string { return fmt.Sprintf("alert/%016x", key) }

func (l *learned) traits() [numTraits]*[2]string {
	return [numTraits]*[2]string{traitCDN: &l.CDN, traitDNS: &l.DNS, traitNetwork: &l.Network, traitCA: &l.CA}
}

// Dirty yields the learned records that changed since the last call.
func (e *Engine) Dirty(yield func(key string, b []byte)) {
	with := make(map[int]map[string]int)
	for p, n := range e.together {
		if with[p[0]] == nil {
			with[p[0]] = map[string]int{}
		}
		with[p[0]][e.sites[p[1]].Name] = n
	}
	for s := range e.sites {
		si := &e.sites[s]
		rec := e.record(s)
		rec.With = with[s]
		b, err := json.Marshal(rec)
		if err != nil || e.learned[si.key] == string(b) {
			continue
		}
		e.learned[si.key] = string(b)
		yield(learnedKey(si.key), b)
	}
}

func (e *Engine) record(s int) learned {
	si := &e.sites[s]
	var rec learned
	for k, names := range rec.traits() {
		if k == traitCDN && si.CDN != "" {
			continue
		}
		for i := range names {
			names[i] = si.traits[k][i].name
		}
	}
	good := stamp(0)
	for l := range e.lanes {
		if c := e.cell(s, l); c.said&c.well != 0 && c.begun > good {
			good, rec.Well = c.begun, c.well
		}
	}
	if si.odd != nil {
		rec.Cert = si.odd.cert
	}
	b := &si.baseline
	rec.Good = good.time().Truncate(time.Hour)
	rec.Days = math.Floor(b.seconds(e.now)/(24*3600)*10) / 10
	rec.Onsets, rec.Blips = b.onsets, b.blips
	return rec
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
		e.recallSite(s, &rec)
	}
	e.regroupOwners()
	e.setScratch()
}

func (e *Engine) recallSite(s int, rec *learned) {
	si := &e.sites[s]
	if si.Anchor {
		return
	}
	for k, names := range rec.traits() {
		if k == traitCDN && si.CDN != "" {
			continue
		}
		t := trait{}
		for i, name := range names {
			if t[i].name = name; name != "" {
				t[i].seen = e.now
			}
		}
		si.traits[k] = t
	}
	si.baseline = baseline{
		from: e.now, before: max(0, min(rec.Days*24*3600, remembered)), onsets: max(0, rec.Onsets), blips: max(0, rec.Blips),
	}
	for _, name := range slices.Sorted(maps.Keys(rec.With)) {
		n := rec.With[name]
		if o, ok := e.siteNo[name]; ok && o != s && len(e.together) < keptPairs {
			e.together[pair{min(s, o), max(s, o)}] = n
		}
	}
	e.enlist(s)
	if !rec.Cert.none() {
		e.recallCert(s, rec.Cert)
	}
	if good := stampOf(rec.Good); rec.Good.IsZero() || e.now.sub(good) >= wellFor {
		return
	}
	for l := range e.lanes {
		if e.uses(s, l) {
			c := e.cell(s, l)
			c.well = rec.Well
		}
	}
}
