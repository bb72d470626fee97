package main

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"faultline/alert"
	"faultline/internal/store"
	"faultline/internal/web"
	"faultline/probe"
)

// silences are those of the config and those that people make, which are saved before they hold.
type silences struct {
	store   *store.Store
	site    func(name string) *probe.Site
	changed func(*alert.Silences) // is told whenever they are others

	mu    sync.Mutex // guards what follows, and the order in which changed hears of it
	made  []alert.Silence
	fixed []alert.Silence // in the config
}

// load takes up those that were made before, and those of a config.
func (s *silences) load(fixed []alert.Silence) error {
	made, err := s.store.Silences()
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.made, s.fixed = made, fixed
	s.tell()
	return nil
}

// configure takes those of another config.
func (s *silences) configure(fixed []alert.Silence) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fixed = fixed
	s.tell()
}

// tell tells of those that there are now. s.mu is held.
func (s *silences) tell() {
	s.changed(alert.NewSilences(slices.Concat(s.fixed, s.made), s.site))
}

func (s *silences) set() *alert.Silences { return alert.NewSilences(s.list(), s.site) }

func (s *silences) list() []alert.Silence {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Concat(s.fixed, s.made)
}

// add makes a silence hold, under an ID that it is given.
func (s *silences) add(now time.Time, x alert.Silence) (alert.Silence, error) {
	if x.From.IsZero() {
		x.From = now
	}
	x.ID, x.Config = silenceID(now), false
	if err := x.Check(now); err != nil {
		return x, web.Wrong(err)
	}
	return x, s.keep(now, x)
}

// expire ends a silence now.
func (s *silences) expire(now time.Time, id string) (alert.Silence, error) {
	list := s.list()
	n := slices.IndexFunc(list, func(x alert.Silence) bool { return x.ID == id })
	switch {
	case n < 0:
		return alert.Silence{}, web.NotFound(fmt.Errorf("there is no silence %q; `faultline silence list` shows those that there are", id))
	case list[n].Config:
		return alert.Silence{}, web.Wrong(errors.New("it stands in the config: take it out there, and reload"))
	case list[n].Over(now):
		return list[n], nil
	}
	x := list[n]
	x.Till = now
	if x.From.After(now) {
		x.From = now
	}
	return x, s.keep(now, x)
}

func (s *silences) keep(now time.Time, x alert.Silence) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.store.PutSilence(now, &x); err != nil {
		return err
	}
	made, err := s.store.Silences()
	if err != nil {
		return err
	}
	s.made = made
	s.tell()
	return nil
}

func silenceID(now time.Time) string {
	b := make([]byte, 3)
	_, _ = rand.Read(b) // never fails
	return now.UTC().Format("20060102T150405Z") + "-" + hex.EncodeToString(b)
}
