package main

import (
	"maps"
	"slices"
	"sync"
	"time"

	"faultline/alert"
)

// The daemon's own troubles, as names of failure domains.
const (
	troubleStore   = "store"         // the state cannot be saved
	troubleDamaged = "state-damaged" // it was damaged when the daemon started
)

// troubles are the daemon's own: it cannot do what it promises. Each is an incident that pages.
type troubles struct {
	fleet string

	mu   sync.Mutex
	open map[string]alert.Incident // by name
	last map[string]alert.Incident // by name; as it was resolved
}

// take takes the incidents that are the daemon's own out of those that it begins with, and gives back the others, which are
// the engine's.
func (t *troubles) take(incidents []alert.Incident) (others []alert.Incident) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.open, t.last = map[string]alert.Incident{}, map[string]alert.Incident{}
	for _, i := range incidents {
		if i.Domain.Kind != alert.KindSelf || i.Domain.Name == alert.SelfBlind {
			others = append(others, i)
		} else if i.State != alert.StateResolved {
			t.open[i.Domain.Name] = i
		}
	}
	return others
}

// clearAll resolves all that are open: the daemon has begun anew, and what lasts is raised again.
func (t *troubles) clearAll(tell func([]alert.Incident, []alert.Notice)) {
	for _, i := range t.list() {
		t.clear(i.Domain.Name, tell)
	}
}

// list gives those that are open, by name.
func (t *troubles) list() []alert.Incident {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []alert.Incident
	for _, name := range slices.Sorted(maps.Keys(t.open)) {
		out = append(out, t.open[name])
	}
	return out
}

// raise opens the incident of that name, unless it is open.
func (t *troubles) raise(name, why string, tell func([]alert.Incident, []alert.Notice)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, known := t.open[name]; known {
		return
	}
	now := time.Now().UTC()
	i := alert.Incident{
		ID: now.Format("20060102T150405Z") + "-self-" + name, Key: "faultline/" + t.fleet + "/self/" + name, Rev: 1,
		Domain: alert.Domain{Kind: alert.KindSelf, Name: name}, State: alert.StateOpen, Severity: alert.SeverityPage,
		Scope: alert.ScopeNone, Assessment: alert.ProberTrouble, Why: []string{why},
		Onset: now, OpenedAt: now, PagedAt: now, Waves: 1,
	}
	if last := t.last[name]; last.ID == i.ID { // within the same second: it goes on
		i.Rev = last.Rev + 1
	}
	t.open[name] = i
	tell([]alert.Incident{i}, nil)
}

// clear resolves the incident of that name, if it is open.
func (t *troubles) clear(name string, tell func([]alert.Incident, []alert.Notice)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	i, known := t.open[name]
	if !known {
		return
	}
	delete(t.open, name)
	now := time.Now().UTC()
	i.State, i.RecoveringAt, i.ResolvedAt = alert.StateResolved, now, now
	i.Rev++
	t.last[name] = i
	tell([]alert.Incident{i}, nil)
}

// acknowledge notes that someone has taken on the incident of that ID; false = it is not open.
func (t *troubles) acknowledge(id string, ack alert.Ack, tell func([]alert.Incident, []alert.Notice)) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for name, i := range t.open {
		if i.ID != id {
			continue
		}
		if i.Ack == nil {
			i.Ack = &ack
			i.Rev++
			t.open[name] = i
			tell([]alert.Incident{i}, nil)
		}
		return true
	}
	return false
}

// failures are the purposes that the store fails for.
type failures struct {
	mu sync.Mutex
	of map[string]bool
}

// note notes how it went for one purpose. It calls fails, or, when it fails for none any more, works, before anything else is
// noted.
func (f *failures) note(what string, err error, fails, works func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil {
		if f.of == nil {
			f.of = map[string]bool{}
		}
		f.of[what] = true
		fails()
		return
	}
	delete(f.of, what)
	if len(f.of) == 0 {
		works()
	}
}
