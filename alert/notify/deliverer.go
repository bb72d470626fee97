package notify

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"faultline/alert"
	"faultline/probe"
)

// Config is what a Deliverer works with. Durations that are zero get the default named beside them.
type Config struct {
	Book     Book
	Channels []NamedChannel // with different names
	Routes   []Route
	Site     func(name string) *probe.Site // of a name, for routes; nil = not known
	Silences *alert.Silences               // nil = none; see SetSilences
	Link     func(incident string) string  // to the page of an incident, by its ID; nil = none
	Present  func() []alert.Incident       // as they are now, told or not; asked only while one is silenced; nil = as they were told
	Peers    Peers                         // none where Tell is nil
	Log      zerolog.Logger

	Timeout     time.Duration // of one attempt; 10 s
	Backoff     Backoff       // 1 s, 60 s
	SaveTimeout time.Duration // a page waits no longer for the Book; 2 s
	Grace       time.Duration // for the attempts under way, and those due, when Run is to end; 5 s

	// OnOutcome, if set, is told of every attempt, and how long it is since the message was told. It is called from
	// several goroutines and must not block.
	OnOutcome func(channel string, o Outcome, latency time.Duration)
	// OnTold, if set, is told how the way of an incident to a channel went: whatever it took, and the first failure before
	// that. Like OnOutcome it must not block.
	OnTold func(incident string, t Told)
	// OnStoreError, if set, is told whenever the Book fails or is too slow, and with nil when it works again. It must not
	// block; it may call Tell.
	OnStoreError func(error)
}

// Outcome is how an attempt ended, or what became of a message without one.
type Outcome string

// The outcomes.
const (
	OutcomeAccepted  Outcome = "accepted"
	OutcomeFailed    Outcome = "failed"    // will be tried again
	OutcomeRefused   Outcome = "refused"   // for good
	OutcomeDropped   Outcome = "dropped"   // a notice: failed too often, or too many were waiting
	OutcomeSilenced  Outcome = "silenced"  // it began and ended while a silence held
	OutcomeElsewhere Outcome = "elsewhere" // another hub has told it
)

// Told is what became of a message of an incident, for those who look at it later.
type Told struct {
	At      time.Time `json:"at"`
	Channel string    `json:"channel"`
	Event   Event     `json:"event"`
	Outcome Outcome   `json:"outcome"`
	Tries   int       `json:"tries,omitempty"` // that failed before
	Error   string    `json:"error,omitempty"`
	By      string    `json:"by,omitempty"` // the hub that told it; "" = this one
}

// Outcomes are all there are, for metrics.
var Outcomes = []Outcome{OutcomeAccepted, OutcomeFailed, OutcomeRefused, OutcomeDropped, OutcomeSilenced, OutcomeElsewhere}

// Bounds of what is kept in memory.
const (
	maxNotices  = 1000 // waiting for one channel
	maxShown    = 10000
	maxIncident = 1000 // of those that are over and delivered, but not saved
)

// Deliverer brings what it is told to all channels, each at its own pace, and keeps the Book.
type Deliverer struct {
	c     Config
	wake  chan struct{} // holds one token: there is something for Run
	lanes []*lane
	route Router
	book  keeper    // of Run's goroutine
	asked time.Time // likewise: when Present was
	next  time.Time // likewise: when something is to be repeated or taken over, or a silence changes; zero = never

	turned atomic.Int64 // Unix nanoseconds of Run's last turn

	mu        sync.Mutex // guards all that follows, and the lanes; never held while anything waits
	mail      map[string]letter
	opened    map[string]letter // the mail that is being saved
	incidents map[string]alert.Incident
	unsaved   map[string]bool // by Incident.ID; true = the incident too, not its deliveries only
	orphans   []Delivery      // of channels that are no more: to be saved once
	parted    []Delivery      // likewise, all of them
	silences  *alert.Silences // nil = none
	held      []alert.Notice  // that silences keep back
	marks     []Mark          // of other hubs
	shown     map[string]bool // keys of notices that were queued and are not over; see queueNotices
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
	if c.Site == nil {
		c.Site = func(string) *probe.Site { return nil }
	}
	d := &Deliverer{
		c: c, wake: make(chan struct{}, 1), route: Router{c.Routes, c.Channels, c.Site}, silences: c.Silences,
		mail: map[string]letter{}, incidents: map[string]alert.Incident{}, unsaved: map[string]bool{}, shown: map[string]bool{},
	}
	for _, ch := range c.Channels {
		d.lanes = append(d.lanes, newLane(ch))
	}
	for _, i := range incidents {
		d.incidents[i.ID] = i
	}
	d.turned.Store(time.Now().UnixNano())
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
			d.part(x)
		default:
			if x.Silenced == "" {
				x.Gone = ""
			}
			if x.NotBefore.After(farthest) { // the clock was wrong, then or now
				x.NotBefore = time.Time{}
			}
			if x.Since.IsZero() || x.Since.After(now) {
				x.Since = now
			}
			if x.Took.After(now) {
				x.Took = now
			}
			l.put(x)
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

// queueNotices puts notices in the way of the channels that take them, but for those that are silenced: these wait for the
// silence to end, and are told then unless what they say is over. Whoever was told of something is told of its end.
func (d *Deliverer) queueNotices(now time.Time, notices []alert.Notice) (dropped []*lane) {
	for _, n := range notices {
		was := len(d.held)
		d.held = slices.DeleteFunc(d.held, func(h alert.Notice) bool { return h.Key == n.Key })
		switch {
		case n.Over && len(d.held) < was && !d.shown[n.Key]: // nobody was told of it
		case !n.Over && d.silences != nil && d.silences.OfNotice(now, &n) != nil:
			if len(d.held) < maxNotices {
				d.held = append(d.held, n)
			}
		default:
			dropped = append(dropped, d.queueNotice(now, n)...)
		}
	}
	return dropped
}

func (d *Deliverer) queueNotice(now time.Time, n alert.Notice) (dropped []*lane) {
	if len(d.shown) >= maxShown { // to forget one costs at most its end
		clear(d.shown)
	}
	if delete(d.shown, n.Key); !n.Over {
		d.shown[n.Key] = true
	}
	to := d.route.OfNotice(&n)
	for _, l := range d.lanes {
		if !slices.Contains(to, l.Name) {
			continue
		}
		if len(l.notices) >= maxNotices {
			l.notices = l.notices[1:]
			dropped = append(dropped, l)
		}
		l.notices = append(l.notices, queued{n, now})
		nudge(l.noticed)
	}
	return dropped
}

// SetSilences goes on with other silences. It never blocks for long.
func (d *Deliverer) SetSilences(s *alert.Silences) {
	d.mu.Lock()
	d.silences = s
	d.mu.Unlock()
	nudge(d.wake)
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

// turn is the longest time between two turns of Run, so that Turned tells whether it lives.
const turn = time.Second

// Turned is when Run last looked at what there is to do.
func (d *Deliverer) Turned() time.Time { return time.Unix(0, d.turned.Load()) }

// Untold is how long the oldest page has been waiting that nobody has taken, and which it is; "" = none waits. One that
// goes to no channel, or is silenced, does not wait; one that is over does, as somebody should know that it was. A channel
// that reaches nobody (Log) counts as one only where a page goes to no other.
func (d *Deliverer) Untold(now time.Time) (incident string, age time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	told, since := map[string]bool{}, map[string]time.Time{}
	for _, l := range d.lanes {
		_, nobody := l.Channel.(Log)
		for n := range l.ds {
			switch x := &l.ds[n]; {
			case x.Paged:
				told[x.Incident] = told[x.Incident] || !nobody
			case x.Silenced == "":
				since[x.Incident] = earlier(since[x.Incident], x.Since)
			}
		}
	}
	for id, at := range since {
		if i := d.incidents[id]; told[id] || i.Severity != alert.SeverityPage {
			continue
		}
		if a := now.Sub(at); a > age || incident == "" {
			incident, age = id, a
		}
	}
	return incident, age
}

// Run delivers until ctx is done, then tries what is due once more within the grace, and returns when everything that it
// has started has ended; a Book that ignores its own ctx is left behind. What was told before ctx was done is among that,
// and what is left is for the Next. An error says that the Book does not hold the last outcomes, so that messages may be
// sent again after the next start. It must be called once.
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
		d.refresh()
		d.step()
	}
	d.step() // what was told during the last one
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
	case <-again.at(earlier(earlier(d.saveAgain(), d.next), time.Now().Add(turn))):
	case err := <-d.book.running:
		d.saved(err)
	}
}

// step saves what has changed and only then, or when saving takes too long, lets the channels have it.
func (d *Deliverer) step() {
	d.turned.Store(time.Now().UnixNano())
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
	for id, m := range d.opened {
		d.incidents[id] = m.incident
	}
	for _, l := range d.lanes {
		for _, x := range planned {
			if x.Channel == l.Name {
				l.put(x)
			}
		}
	}
	d.opened = nil
	d.age(time.Now())
	for _, l := range d.lanes {
		nudge(l.wake)
	}
	d.forget()
}

// plan says what the opened mail does to the deliveries. d.mu is held.
func (d *Deliverer) plan() []Delivery {
	var changed []alert.Incident
	for _, m := range d.opened {
		changed = append(changed, m.incident)
	}
	var have []Delivery
	for _, l := range d.lanes {
		have = append(have, l.ds...)
	}
	return Plan(changed, func(id string) time.Time { return d.opened[id].told }, d.route.Of, have)
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
	d.unpart()
}

func (d *Deliverer) done(incident string) bool {
	for _, l := range d.lanes {
		if l.flying == incident {
			return false
		}
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
