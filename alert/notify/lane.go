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
	since   map[string]time.Time // by incident: when what it has not accepted yet was told
	notices []queued
	busy    int // notices that are being delivered
}

type queued struct {
	notice alert.Notice
	told   time.Time
}

func newLane(c NamedChannel) *lane {
	return &lane{NamedChannel: c, wake: make(chan struct{}, 1), noticed: make(chan struct{}, 1), since: map[string]time.Time{}}
}

func (l *lane) find(incident string) int {
	return slices.IndexFunc(l.ds, func(d Delivery) bool { return d.Incident == incident })
}

func (l *lane) put(d Delivery, told time.Time) {
	if _, ok := l.since[d.Incident]; !ok && !d.Done() {
		l.since[d.Incident] = told
	}
	if n := l.find(d.Incident); n >= 0 {
		l.ds[n] = d
		return
	}
	l.ds = append(l.ds, d)
}

func (l *lane) remove(incident string) {
	l.ds = slices.DeleteFunc(l.ds, func(d Delivery) bool { return d.Incident == incident })
	delete(l.since, incident)
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
	due, next := Due(time.Now(), l.ds)
	var best *Message
	for _, x := range due {
		i := d.incidents[x.Incident]
		if best != nil && !sooner(&i, best.Incident) {
			continue
		}
		best = &Message{Incident: &i, First: x.Acked == 0 || i.Severity == alert.SeverityPage && !x.Paged}
	}
	return best, next
}

func sooner(a, b *alert.Incident) bool {
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
	latency := now.Sub(l.since[i.ID])
	if err == nil {
		*x = Accepted(*x, i.Rev, i.Severity)
	} else {
		*x = Failed(*x, i.Rev, err, now, d.c.Backoff, rand.Float64())
	}
	if x.Done() {
		delete(l.since, i.ID)
	} else if err == nil {
		l.since[i.ID] = now
	}
	gone := x.Gone != ""
	if _, ok := d.unsaved[i.ID]; !ok {
		d.unsaved[i.ID] = false
	}
	d.mu.Unlock()
	nudge(d.wake)
	if gone {
		d.c.Log.Error().Str("channel", l.Name).Str("incident", i.ID).Uint64("rev", i.Rev).Err(err).Msg("channel refuses the message for good")
	}
	d.outcome(l, outcomeOf(err), latency)
	return true
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
	for {
		q, ok := d.nextNotice(l)
		if ok {
			d.deliverNotice(ctx, stop, l, &q)
			continue
		}
		select {
		case <-stop:
			return
		case <-l.noticed:
		}
	}
}

func (d *Deliverer) nextNotice(l *lane) (q queued, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	l.busy = 0
	if len(l.notices) == 0 {
		return q, false
	}
	q, l.notices, l.busy = l.notices[0], l.notices[1:], 1
	return q, true
}

func (d *Deliverer) deliverNotice(ctx context.Context, stop <-chan struct{}, l *lane, q *queued) {
	var x Delivery
	x.Want = 1
	for {
		err := d.try(ctx, l, &Message{Notices: []alert.Notice{q.notice}, First: true})
		if err != nil && ctx.Err() != nil {
			return
		}
		now := time.Now()
		if err == nil || outcomeOf(err) == OutcomeRefused {
			d.outcome(l, outcomeOf(err), now.Sub(q.told))
			return
		}
		x = Failed(x, 1, err, now, d.c.Backoff, rand.Float64())
		if x.Tries == noticeTries || !sleep(stop, time.Until(x.NotBefore)) {
			d.c.Log.Warn().Str("channel", l.Name).Str("notice", q.notice.ID).Err(err).Msg("notice dropped")
			d.outcome(l, OutcomeDropped, now.Sub(q.told))
			return
		}
		d.outcome(l, OutcomeFailed, now.Sub(q.told))
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
