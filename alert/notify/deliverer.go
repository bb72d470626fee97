package notify

import (
	"context"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"faultline/alert"
)

// Config is what a Deliverer works with. Durations that are zero get the default named beside them.
type Config struct {
	Book     Book
	Channels []NamedChannel // with different names
	Log      zerolog.Logger

	Timeout     time.Duration // of one attempt; 10 s
	Backoff     Backoff       // 1 s, 60 s
	SaveTimeout time.Duration // a page waits no longer for the Book; 2 s
	Grace       time.Duration // for the attempts under way, and those due, when Run is to end; 5 s

	// OnOutcome, if set, is told of every attempt, and how long it is since the message was told. It is called from
	// several goroutines and must not block.
	OnOutcome func(channel string, o Outcome, latency time.Duration)
	// OnStoreError, if set, is told whenever the Book fails or is too slow, and with nil when it works again. It must not
	// block; it may call Tell.
	OnStoreError func(error)
}

// NamedChannel is a channel with the name that deliveries know it by.
type NamedChannel struct {
	Name    string
	Channel Channel
	Notices bool // it takes notices too
}

// Outcome is how an attempt ended, or what became of a message without one.
type Outcome string

// The outcomes.
const (
	OutcomeAccepted Outcome = "accepted"
	OutcomeFailed   Outcome = "failed"  // will be tried again
	OutcomeRefused  Outcome = "refused" // for good
	OutcomeDropped  Outcome = "dropped" // a notice: failed too often, or too many were waiting
)

// Outcomes are all there are, for metrics.
var Outcomes = []Outcome{OutcomeAccepted, OutcomeFailed, OutcomeRefused, OutcomeDropped}

// Bounds of what is kept in memory.
const (
	maxNotices  = 1000 // waiting for one channel
	maxIncident = 1000 // of those that are over and delivered, but not saved
)

// Deliverer brings what it is told to all channels, each at its own pace, and keeps the Book.
type Deliverer struct {
	c     Config
	wake  chan struct{} // holds one token: there is something for Run
	lanes []*lane
	book  keeper // of Run's goroutine

	mu        sync.Mutex // guards all that follows, and the lanes; never held while anything waits
	mail      map[string]letter
	opened    map[string]letter // the mail that is being saved
	incidents map[string]alert.Incident
	unsaved   map[string]bool // by Incident.ID; true = the incident too, not its deliveries only
	orphans   []Delivery      // of channels that are no more: saved once, so that the Book can forget them
}

// letter is the newest state of an incident, and when the oldest that it stands for was told.
type letter struct {
	incident alert.Incident
	told     time.Time
}

// NewDeliverer starts from what Book.Load gave: a channel that has taken the newest revision of an incident is told
// nothing, one that was refused is asked once more, and one that is new hears of the incidents that are open.
func NewDeliverer(c Config, incidents []alert.Incident, ds []Delivery) *Deliverer {
	setDefault(&c.Timeout, 10*time.Second)
	setDefault(&c.Backoff.Base, time.Second)
	setDefault(&c.Backoff.Cap, 60*time.Second)
	setDefault(&c.SaveTimeout, 2*time.Second)
	setDefault(&c.Grace, 5*time.Second)
	d := &Deliverer{
		c: c, wake: make(chan struct{}, 1),
		mail: map[string]letter{}, incidents: map[string]alert.Incident{}, unsaved: map[string]bool{},
	}
	for _, ch := range c.Channels {
		d.lanes = append(d.lanes, newLane(ch))
	}
	for _, i := range incidents {
		d.incidents[i.ID] = i
	}
	d.restore(time.Now(), ds)
	for _, i := range incidents {
		if i.State != alert.StateResolved {
			d.mail[i.ID] = letter{i, time.Now()} // finds the channels that are new
		}
	}
	return d
}

func setDefault(d *time.Duration, v time.Duration) {
	if *d == 0 {
		*d = v
	}
}

func (d *Deliverer) restore(now time.Time, ds []Delivery) {
	lanes := map[string]*lane{}
	for _, l := range d.lanes {
		lanes[l.Name] = l
	}
	farthest := now.Add(maxRetryAfter * d.c.Backoff.Cap)
	for _, x := range ds {
		l := lanes[x.Channel]
		_, known := d.incidents[x.Incident]
		switch {
		case !known:
		case l == nil:
			x.Gone = "the channel is not configured any more"
			d.orphans = append(d.orphans, x)
		default:
			x.Gone = ""
			if x.NotBefore.After(farthest) { // the clock was wrong, then or now
				x.NotBefore = time.Time{}
			}
			l.put(x, now)
		}
	}
}

// Tell hands over incidents that are new or have changed, and notices. It never blocks. What is told after Run has
// returned is not delivered.
func (d *Deliverer) Tell(incidents []alert.Incident, notices []alert.Notice) {
	now := time.Now()
	d.mu.Lock()
	for _, i := range incidents {
		l, waiting := d.mail[i.ID]
		if waiting && l.incident.Rev > i.Rev {
			continue
		}
		if !waiting {
			l.told = now
		}
		l.incident = i
		d.mail[i.ID] = l
	}
	dropped := d.queueNotices(now, notices)
	d.mu.Unlock()
	for _, l := range dropped {
		d.outcome(l, OutcomeDropped, 0)
	}
	nudge(d.wake)
}

func (d *Deliverer) queueNotices(now time.Time, notices []alert.Notice) (dropped []*lane) {
	for _, l := range d.lanes {
		if !l.Notices || len(notices) == 0 {
			continue
		}
		for _, n := range notices {
			if len(l.notices) >= maxNotices {
				l.notices = l.notices[1:]
				dropped = append(dropped, l)
			}
			l.notices = append(l.notices, queued{n, now})
		}
		nudge(l.noticed)
	}
	return dropped
}

// Pending is how many messages are still to be accepted, or refused, by a channel.
func (d *Deliverer) Pending() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := len(d.mail) + len(d.opened)
	for _, l := range d.lanes {
		n += len(l.notices) + l.busy
		for i := range l.ds {
			if !l.ds[i].Done() {
				n++
			}
		}
	}
	return n
}

// Run delivers until ctx is done, then tries what is due once more within the grace, and returns when everything that it
// has started has ended; a Book that ignores its own ctx is left behind. An error says that the Book does not hold the
// last outcomes, so that messages may be sent again after the next start. It must be called once.
func (d *Deliverer) Run(ctx context.Context) error {
	attempts, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	stop := make(chan struct{})
	var wg sync.WaitGroup

	d.step()
	for _, l := range d.lanes {
		wg.Go(func() { d.deliver(attempts, stop, l) })
		if l.Notices {
			wg.Go(func() { d.deliverNotices(attempts, stop, l) })
		}
	}
	for ctx.Err() == nil {
		d.wait(ctx.Done())
		d.step()
	}
	close(stop)
	grace := time.AfterFunc(d.c.Grace, cut)
	defer grace.Stop()
	wg.Wait()
	return d.lastSave()
}

// wait returns when there is something to do: mail, outcomes to save, the end of a save, a save to try again.
func (d *Deliverer) wait(done <-chan struct{}) {
	var again alarm
	defer again.stop()
	select {
	case <-done:
	case <-d.wake:
	case <-again.at(d.saveAgain()):
	case err := <-d.book.running:
		d.saved(err)
	}
}

// step saves what has changed and only then, or when saving takes too long, lets the channels have it.
func (d *Deliverer) step() {
	d.open()
	d.save(false)
	d.release()
}

func (d *Deliverer) open() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.opened, d.mail = d.mail, map[string]letter{}
	for id, m := range d.opened {
		if m.incident.Rev < d.incidents[id].Rev {
			delete(d.opened, id)
			continue
		}
		d.unsaved[id] = true
	}
}

func (d *Deliverer) release() {
	d.mu.Lock()
	defer d.mu.Unlock()
	planned := d.plan()
	for _, l := range d.lanes {
		for _, x := range planned {
			if x.Channel == l.Name {
				l.put(x, d.opened[x.Incident].told)
			}
		}
		nudge(l.wake)
	}
	for id, m := range d.opened {
		d.incidents[id] = m.incident
	}
	d.opened = nil
	d.forget()
}

// plan says what the opened mail does to the deliveries. d.mu is held.
func (d *Deliverer) plan() []Delivery {
	var changed []alert.Incident
	for _, m := range d.opened {
		changed = append(changed, m.incident)
	}
	var routes []Route
	var have []Delivery
	for _, l := range d.lanes {
		routes = append(routes, Route{l.Name, l.Notices})
		have = append(have, l.ds...)
	}
	return Plan(changed, routes, have)
}

// forget drops the incidents that are over, delivered and saved. d.mu is held.
func (d *Deliverer) forget() {
	for id, i := range d.incidents {
		_, unsaved := d.unsaved[id]
		_, saving := d.book.saving[id]
		if i.State != alert.StateResolved || (unsaved || saving) && len(d.incidents) <= maxIncident || !d.done(id) {
			continue
		}
		delete(d.incidents, id)
		delete(d.unsaved, id)
		for _, l := range d.lanes {
			l.remove(id)
		}
	}
}

func (d *Deliverer) done(incident string) bool {
	for _, l := range d.lanes {
		if n := l.find(incident); n >= 0 && !l.ds[n].Done() {
			return false
		}
	}
	return true
}

func (d *Deliverer) outcome(l *lane, o Outcome, latency time.Duration) {
	if d.c.OnOutcome != nil {
		d.c.OnOutcome(l.Name, o, latency)
	}
}

// nudge puts a token into c unless there is one.
func nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
