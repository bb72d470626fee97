package main

import (
	"sync"
	"time"

	"faultline/alert"
)

// troubles are the daemon's own: it cannot do what it promises. Each is an incident that pages.
type troubles struct {
	fleet string

	mu   sync.Mutex
	open map[string]alert.Incident // by name
}

// raise opens the incident of that name, unless it is open.
func (t *troubles) raise(name, why string, tell func([]alert.Incident, []alert.Notice)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, known := t.open[name]; known {
		return
	}
	if t.open == nil {
		t.open = map[string]alert.Incident{}
	}
	now := time.Now().UTC()
	t.open[name] = alert.Incident{
		ID: now.Format("20060102T150405Z") + "-self-" + name, Key: "faultline/" + t.fleet + "/self/" + name, Rev: 1,
		Domain: alert.Domain{Kind: alert.KindSelf, Name: name}, State: alert.StateOpen, Severity: alert.SeverityPage,
		Scope: alert.ScopeNone, Assessment: alert.ProberTrouble, Why: []string{why},
		Onset: now, OpenedAt: now, PagedAt: now, Waves: 1,
	}
	tell([]alert.Incident{t.open[name]}, nil)
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
	tell([]alert.Incident{i}, nil)
}
