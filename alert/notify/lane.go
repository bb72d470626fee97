package notify

import (
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
	notices []queued
	busy    int       // notices that are being delivered
	spoke   time.Time // when notices were told last
	tokens  bucket
}

type queued struct {
	notice alert.Notice
	told   time.Time
}

func newLane(c NamedChannel) *lane {
	return &lane{NamedChannel: c, wake: make(chan struct{}, 1), noticed: make(chan struct{}, 1), tokens: bucket{perMinute: c.PerMinute}}
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

// pick chooses the next message, pages before notices and the oldest incident first, or says when there will be one.
func (d *Deliverer) pick(l *lane) (*Message, time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	due, next := Due(now, l.ds)
	var best *Message
	for n := range due {
		i := d.incidents[due[n].Incident]
		if best == nil || sooner(&i, best.Incident) {
			best = d.message(&due[n], &i)
		}
	}
	if best == nil {
		return nil, next
	}
	if best.Reminder == 0 || l.Resend == 0 { // what is told again all the time is none too many
		if at := l.tokens.take(now); at.After(now) {
			return nil, at
		}
	}
	return best, time.Time{}
}

// successor is the ID of a newer incident with the same key as i's that waits for the channel too; "" = none does. A channel
// that folds by the key would take the late end of i for that one's.
func (d *Deliverer) successor(l *lane, i *alert.Incident) string {
	for n := range l.ds {
		if other := d.incidents[l.ds[n].Incident]; other.Key == i.Key && other.OpenedAt.After(i.OpenedAt) && !l.ds[n].Done() {
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

func sooner(a, b *alert.Incident) bool {
	if a.Key == b.Key && !a.OpenedAt.Equal(b.OpenedAt) {
		return a.OpenedAt.Before(b.OpenedAt)
	}
	if a.Severity != b.Severity {
		return a.Severity == alert.SeverityPage
	}
	if !a.OpenedAt.Equal(b.OpenedAt) {
		return a.OpenedAt.Before(b.OpenedAt)
	}
	return a.ID < b.ID
}

// attempt makes one attempt and notes how it ended; false = it was cut short by our own end.
func (d *Deliverer) attempt(ctx context.Context, l *lane, m *Message) bool {
	err := d.try(ctx, l, m)
	if err != nil && ctx.Err() != nil {
		return false
	}
	now := time.Now()
	i := m.Incident
	d.mu.Lock()
	n := l.find(i.ID)
	x := &l.ds[n]
	latency, failures := now.Sub(x.Since), x.Tries
	if err == nil {
		*x = Accepted(*x, m, now)
	} else {
		*x = Failed(*x, i.Rev, err, now, d.c.Backoff, rand.Float64())
		if next := d.successor(l, i); next != "" && i.State == alert.StateResolved {
			x.Gone = "it is failing again, as " + next
		}
	}
	gone := x.Gone != ""
	d.touch(i.ID)
	d.mu.Unlock()
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
	ctx, cancel := context.WithTimeout(ctx, d.c.Timeout)
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
	l.busy = 0
	if len(l.notices) == 0 {
		return nil, time.Time{}
	}
	now, n := time.Now(), 1
	if l.Gather > 0 {
		n = min(len(l.notices), maxDigest)
		next = l.spoke.Add(l.Gather)
		if first := l.notices[0].told.Add(min(together, l.Gather)); first.After(next) {
			next = first
		}
	}
	if !atOnce && next.After(now) {
		return nil, next
	}
	if at := l.tokens.take(now); at.After(now) {
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
