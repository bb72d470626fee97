package web

import (
	"encoding/json"
	"errors"
	"sync"
	"sync/atomic"

	"faultline/alert"
	"faultline/probe"
)

// Bounds of the event stream.
const (
	maxSubscribers = 200
	feedBuffer     = 256 // events that may wait for one subscriber before it is dropped
)

var errFeedFull = errors.New("as many streams as allowed are open")

// topics is a set of the kinds of event.
type topics uint8

const (
	topicResult topics = 1 << iota
	topicIncident
	topicView
)

// Feed hands results and incidents to whoever listens on the event stream. Publishing never waits for a listener: one
// that falls behind is dropped. The zero value is ready; it is safe for concurrent use.
type Feed struct {
	listened atomic.Uint32 // the topics that somebody wants

	mu   sync.Mutex
	subs map[*subscriber]struct{} // guarded by mu
}

// An event is encoded by the first subscriber that sends it, not by the publisher.
type event struct {
	name string
	data func() ([]byte, error)
}

type subscriber struct {
	want   topics
	events chan event    // closed when the subscriber was too slow
	view   chan struct{} // holds one token when there is a newer view than the last one told
}

// Result publishes a result. It copies *r.
func (f *Feed) Result(r *probe.Result) {
	if f.wants(topicResult) {
		v := *r
		f.publish(topicResult, event{"result", sync.OnceValues(func() ([]byte, error) { return json.Marshal(v) })})
	}
}

// Incident publishes a new or changed incident. It copies *i.
func (f *Feed) Incident(i *alert.Incident) {
	if f.wants(topicIncident) {
		v := *i
		f.publish(topicIncident, event{"incident", sync.OnceValues(func() ([]byte, error) {
			return json.Marshal(apiIncident{Incident: &v, Title: v.Title(), Text: v.Text()})
		})})
	}
}

// ViewChanged tells that there is a newer view. Listeners hear of it at most once a second.
func (f *Feed) ViewChanged() {
	if !f.wants(topicView) {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for s := range f.subs {
		select {
		case s.view <- struct{}{}:
		default: // it has yet to tell of the one before
		}
	}
}

func (f *Feed) wants(t topics) bool { return topics(f.listened.Load())&t != 0 }

func (f *Feed) publish(t topics, e event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for s := range f.subs {
		if s.want&t == 0 {
			continue
		}
		select {
		case s.events <- e:
		default:
			close(s.events)
			f.remove(s)
		}
	}
}

// subscribe opens a subscription; the caller ends it with unsubscribe.
func (f *Feed) subscribe(want topics) (*subscriber, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.subs) >= maxSubscribers {
		return nil, errFeedFull
	}
	s := &subscriber{want: want, events: make(chan event, feedBuffer), view: make(chan struct{}, 1)}
	if f.subs == nil {
		f.subs = map[*subscriber]struct{}{}
	}
	f.subs[s] = struct{}{}
	f.listened.Store(f.listened.Load() | uint32(want))
	return s, nil
}

func (f *Feed) unsubscribe(s *subscriber) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.remove(s)
}

// remove wants mu held. Removing twice does nothing.
func (f *Feed) remove(s *subscriber) {
	delete(f.subs, s)
	var t topics
	for o := range f.subs {
		t |= o.want
	}
	f.listened.Store(uint32(t))
}
