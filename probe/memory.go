package probe

import (
	"encoding/json"
	"fmt"
	"maps"
	"sync"
	"time"
)

// Memory is what probers learn of sites: who fronts them, and how long they are wont to take. It is safe for concurrent
// use and outlives reloads.
type Memory struct {
	mu    sync.Mutex
	sites map[uint64]*siteMemory // by Site.Key; guarded by mu
}

type siteMemory struct {
	front  Fronting
	habits map[string]time.Duration // p99 of a good probe, by vantage
	saved  time.Time                // the Fronting.At that Dirty last gave
	dirty  bool
}

// frontingLasts is how long a fronting is remembered without confirmation.
const frontingLasts = 7 * 24 * time.Hour

// NewMemory is an empty memory.
func NewMemory() *Memory { return &Memory{sites: map[uint64]*siteMemory{}} }

func (m *Memory) site(key uint64) *siteMemory {
	s := m.sites[key]
	if s == nil {
		s = &siteMemory{}
		m.sites[key] = s
	}
	return s
}

// fronting is who fronted the site when it was last well.
func (m *Memory) fronting(key uint64, now time.Time) Fronting {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.sites[key]
	if s == nil || now.Sub(s.front.At) > frontingLasts {
		return Fronting{}
	}
	return s.front
}

// learn takes in who fronts the site now.
func (m *Memory) learn(key uint64, f Fronting) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.site(key)
	s.dirty = s.dirty || s.front.CDN != f.CDN || f.At.Sub(s.saved) > time.Hour
	s.front = f
}

// habit is the 99th percentile of what good probes of the site from a vantage take; 0 = not known yet.
func (m *Memory) habit(key uint64, vantage string) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s := m.sites[key]; s != nil {
		return s.habits[vantage]
	}
	return 0
}

// took enters the length of a good probe. The percentile is followed by steps: up by 99 for each probe above, down by
// one for each below.
func (m *Memory) took(key uint64, vantage string, d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.site(key)
	if s.habits == nil {
		s.habits = map[string]time.Duration{}
	}
	q, known := s.habits[vantage]
	step := max(q/20, time.Millisecond)
	switch {
	case !known:
		q = d
	case d > q:
		q += step * 99 / 100
	default:
		q = max(0, q-step/100)
	}
	s.habits[vantage] = q
}

// Keep forgets every site but these.
func (m *Memory) Keep(sites []*Site) {
	keys := make(map[uint64]bool, len(sites))
	for _, s := range sites {
		keys[s.Key()] = true
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	maps.DeleteFunc(m.sites, func(k uint64, _ *siteMemory) bool { return !keys[k] })
}

// memoryRecord is how a site's memory is kept over restarts.
type memoryRecord struct {
	CDN    string                   `json:"cdn"`
	By     []string                 `json:"by,omitempty"`
	At     time.Time                `json:"at,omitzero"`
	Habits map[string]time.Duration `json:"habits,omitempty"`
}

const memoryPrefix = "probe/"

// Dirty yields the records that have changed since the last call.
func (m *Memory) Dirty(yield func(key string, b []byte)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for key, s := range m.sites {
		if !s.dirty {
			continue
		}
		b, err := json.Marshal(memoryRecord{s.front.CDN, s.front.By, s.front.At, s.habits})
		if err != nil {
			continue
		}
		s.dirty, s.saved = false, s.front.At
		yield(fmt.Sprintf("%s%016x", memoryPrefix, key), b)
	}
}

// Load takes in records that Dirty gave. Those that cannot be read are left out: they are learned again.
func (m *Memory) Load(records map[string][]byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name, b := range records {
		var key uint64
		if _, err := fmt.Sscanf(name, memoryPrefix+"%016x", &key); err != nil {
			continue
		}
		var r memoryRecord
		if json.Unmarshal(b, &r) != nil {
			continue
		}
		m.sites[key] = &siteMemory{front: Fronting{CDN: r.CDN, By: r.By, At: r.At}, habits: r.Habits, saved: r.At}
	}
}
