package notify

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"faultline/alert"
)

// lane is one channel with all that waits for it. Its slices and maps are guarded by Deliverer.mu.
type lane struct {
	NamedChannel
	wake    chan struct{} // holds one token: its deliveries have changed
	noticed chan struct{} // likewise: there are notices

	ds      []Delivery
	flying  string // the incident whose message is under way; "" = none
	notices []queued
	busy    int       // notices that are being delivered
	spoke   time.Time // when notices were told last
	tokens  bucket    // for messages of incidents
	spare   bucket    // for notices, which keep no page waiting
}

type queued struct {
	notice alert.Notice
	told   time.Time
}

func newLane(c NamedChannel) *lane {
	return &lane{NamedChannel: c, wake: make(chan struct{}, 1), noticed: make(chan struct{}, 1), tokens: bucket{perMinute: c.PerMinute}, spare: bucket{perMinute: c.PerMinute}}
}

func (l *lane) find(incident string) int {
	return slices.IndexFunc(l.ds, func(d Delivery) bool { return d.Incident == incident })
}

func (l *lane) put(d Delivery) {
	if n := l.find(d.Incident); n >= 0 {
		l.ds[n] = d
		return
	}
	l.ds = append(l.ds, d)
}

func (l *lane) remove(incident string) {
	l.ds = slices.DeleteFunc(l.ds, func(d Delivery) bool { return d.Incident == incident })
}

// deliver brings incidents to one channel, one at a time, until stop is closed and nothing is due. It returns at once when
// ctx is done.
func (d *Deliverer) deliver(ctx context.Context, stop <-chan struct{}, l *lane) {
	var due alarm
	defer due.stop()
	for {
		m, next := d.pick(l)
		if m != nil {
			if !d.attempt(ctx, l, m) {
				return
			}
			continue
		}
		select {
		case <-stop:
			return
		case <-l.wake:
		case <-due.at(next):
		}
	}
}

// pick chooses the next message and notes that it is under way, or says when there will be one.
func (d *Deliverer) pick(l *lane) (*Message, time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	d.giveUpEnds(l)
	due, next := Due(now, d.leave(l, now))
	if len(due) == 0 {
		return nil, next
	}
	x := slices.MinFunc(due, d.sooner)
	if n := d.endBefore(l, x.Incident); n >= 0 {
		x = l.ds[n]
	}
	i := d.incidents[x.Incident]
	m := d.message(&x, &i)
	if m.Reminder == 0 || l.Resend == 0 { // what is told again all the time is none too many
		if at := l.tokens.take(now); at.After(now) {
			return nil, at
		}
	}
	l.flying = i.ID
	return m, time.Time{}
}

// sooner orders deliveries: pages that wake someone, the rest of pages, notices; and of each the oldest first.
func (d *Deliverer) sooner(a, b Delivery) int {
	x, y := d.incidents[a.Incident], d.incidents[b.Incident]
	return cmp.Or(cmp.Compare(urgency(&a, &x), urgency(&b, &y)), x.OpenedAt.Compare(y.OpenedAt), cmp.Compare(x.ID, y.ID))
}

func urgency(x *Delivery, i *alert.Incident) int {
	switch {
	case i.Severity != alert.SeverityPage:
		return 2
	case x.Paged || i.State == alert.StateResolved:
		return 1
	default:
		return 0
	}
}

// endBefore finds the end of an older incident with the same key, which goes first; -1 = there is none. A receiver that
// folds by the key would take it for the end of the newer one.
func (d *Deliverer) endBefore(l *lane, incident string) int {
	i := d.incidents[incident]
	return slices.IndexFunc(l.ds, func(x Delivery) bool {
		other := d.incidents[x.Incident]
		return other.Key == i.Key && other.OpenedAt.Before(i.OpenedAt) && other.State == alert.StateResolved && !x.Done() && x.Silenced == ""
	})
}

// giveUpEnds gives up the ends that come too late: of what is failing again, of which the channel has taken something
// already, or is to be told while it has never heard of the older one.
func (d *Deliverer) giveUpEnds(l *lane) {
	for n := range l.ds {
		x := &l.ds[n]
		i := d.incidents[x.Incident]
		if x.Done() || i.State != alert.StateResolved {
			continue
		}
		if newer := d.successor(l, &i, func(y *Delivery) bool { return y.Acked > 0 || x.Acked == 0 && !y.Done() }); newer != "" {
			d.giveUpEnd(x, newer)
		}
	}
}

func (d *Deliverer) giveUpEnd(x *Delivery, newer string) {
	x.Gone = "it is failing again, as " + newer
	d.touch(x.Incident)
}

// successor is the ID of a newer incident with the same key as i's whose delivery over l fits; "" = there is none.
func (d *Deliverer) successor(l *lane, i *alert.Incident, fits func(*Delivery) bool) string {
	for n := range l.ds {
		if other := d.incidents[l.ds[n].Incident]; other.Key == i.Key && other.OpenedAt.After(i.OpenedAt) && fits(&l.ds[n]) {
			return other.ID
		}
	}
	return ""
}

// message is what a delivery has to tell of its incident.
func (d *Deliverer) message(x *Delivery, i *alert.Incident) *Message {
	m := &Message{
		Incident: i, First: x.Acked == 0 || i.Severity == alert.SeverityPage && !x.Paged, Acked: i.Ack != nil && !x.Knows,
	}
	if x.Acked >= x.Want {
		m.Reminder = x.Repeat
	}
	if x.Note != "" {
		m.Notes = []string{x.Note}
	}
	if d.c.Link != nil {
		m.Link = d.c.Link(i.ID)
	}
	return m
}

// attempt makes one attempt and notes how it ended; false = it was cut short by our own end.
func (d *Deliverer) attempt(ctx context.Context, l *lane, m *Message) bool {
	err := d.try(ctx, l, m)
	now := time.Now()
	i := m.Incident
	d.mu.Lock()
	l.flying = ""
	if err != nil && ctx.Err() != nil {
		d.mu.Unlock()
		return false
	}
	x := &l.ds[l.find(i.ID)] // it is not forgotten while it flies
	latency, failures := now.Sub(x.Since), x.Tries
	if err == nil {
		*x = Accepted(*x, m, now)
	} else {
		*x = Failed(*x, i.Rev, err, now, d.c.Backoff, rand.Float64())
		if newer := d.successor(l, i, func(y *Delivery) bool { return !y.Done() }); newer != "" && i.State == alert.StateResolved {
			d.giveUpEnd(x, newer)
		}
	}
	gone := x.Gone != ""
	d.touch(i.ID)
	d.mu.Unlock()
	if err == nil {
		d.tellPeers(l, m, now)
	}
	if gone {
		d.c.Log.Error().Str("channel", l.Name).Str("incident", i.ID).Uint64("rev", i.Rev).Err(err).Msg("channel refuses the message for good")
	}
	o := outcomeOf(err)
	d.outcome(l, o, latency)
	if o != OutcomeFailed || failures == 0 {
		t := Told{At: now, Channel: l.Name, Event: m.Event(), Outcome: o, Tries: failures}
		if err != nil {
			t.Error = clip(err.Error(), maxErrorLen)
		}
		d.tellOf(i.ID, t)
	}
	return true
}

func (d *Deliverer) tellOf(incident string, t Told) {
	if d.c.OnTold != nil {
		d.c.OnTold(incident, t)
	}
}

func (d *Deliverer) try(ctx context.Context, l *lane, m *Message) error {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(l.Timeout, d.c.Timeout))
	defer cancel()
	return l.Channel.Deliver(ctx, *m)
}

func outcomeOf(err error) Outcome {
	switch {
	case err == nil:
		return OutcomeAccepted
	case errors.As(err, new(*permanentError)):
		return OutcomeRefused
	default:
		return OutcomeFailed
	}
}

// noticeTries is how often a notice is tried. It is not worth more, and not worth saving.
const noticeTries = 3

// deliverNotices brings notices to one channel, beside its incidents, so that no page waits for a notice.
func (d *Deliverer) deliverNotices(ctx context.Context, stop <-chan struct{}, l *lane) {
	var due alarm
	defer due.stop()
	for {
		stopping, end := isClosed(stop), stop
		batch, next := d.nextNotices(l, stopping)
		if len(batch) > 0 {
			d.deliverBatch(ctx, stop, l, batch)
			continue
		}
		if stopping {
			if next.IsZero() {
				return
			}
			end = ctx.Done()
		}
		select {
		case <-end:
		case <-l.noticed:
		case <-due.at(next):
		}
		if ctx.Err() != nil {
			return
		}
	}
}

// Notices of one cause come within seconds of each other, and are worth one message. A message holds so many at most.
const (
	together  = 10 * time.Second
	maxDigest = 100
)

// nextNotices takes the notices that are to go now, or says when there will be some; zero = none is waiting.
func (d *Deliverer) nextNotices(l *lane, atOnce bool) (batch []queued, next time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now, n := time.Now(), 1
	l.busy = 0
	next = d.leaveNotices(l, now)
	if len(l.notices) == 0 {
		return nil, time.Time{}
	}
	if l.Gather > 0 {
		n = min(len(l.notices), maxDigest)
		next = later(next, l.spoke.Add(l.Gather))
		if first := l.notices[0].told.Add(min(together, l.Gather)); first.After(next) {
			next = first
		}
	}
	if !atOnce && next.After(now) {
		return nil, next
	}
	if at := l.spare.take(now); at.After(now) {
		return nil, at
	}
	batch, l.notices, l.busy, l.spoke = l.notices[:n:n], l.notices[n:], n, now
	return batch, time.Time{}
}

func (d *Deliverer) deliverBatch(ctx context.Context, stop <-chan struct{}, l *lane, batch []queued) {
	m := Message{First: true}
	for _, q := range batch {
		m.Notices = append(m.Notices, q.notice)
	}
	told := batch[0].told
	x := Delivery{Want: 1}
	for {
		err := d.try(ctx, l, &m)
		if err != nil && ctx.Err() != nil {
			return
		}
		now := time.Now()
		if err == nil {
			d.tellPeers(l, &m, now)
		}
		if err == nil || outcomeOf(err) == OutcomeRefused {
			d.outcome(l, outcomeOf(err), now.Sub(told))
			return
		}
		x = Failed(x, 1, err, now, d.c.Backoff, rand.Float64())
		if x.Tries == noticeTries || !sleep(stop, time.Until(x.NotBefore)) {
			d.c.Log.Warn().Str("channel", l.Name).Int("notices", len(batch)).Str("first", batch[0].notice.ID).Err(err).Msg("notices dropped")
			d.outcome(l, OutcomeDropped, now.Sub(told))
			return
		}
		d.outcome(l, OutcomeFailed, now.Sub(told))
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// sleep is false when stop is closed before d has passed.
func sleep(stop <-chan struct{}, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-stop:
		return false
	case <-t.C:
		return true
	}
}

// alarm is a timer that can be set again and again.
type alarm struct{ t *time.Timer }

// at sets the alarm; at the zero time it never rings.
func (a *alarm) at(when time.Time) <-chan time.Time {
	a.stop()
	if when.IsZero() {
		return nil
	}
	a.t = time.NewTimer(time.Until(when))
	return a.t.C
}

func (a *alarm) stop() {
	if a.t != nil {
		a.t.Stop()
	}
}
