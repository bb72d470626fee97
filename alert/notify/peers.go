package notify

import (
	"slices"
	"time"

	"faultline/alert"
)

// Mark says to the other hubs of a fleet that a channel whose receiver does not fold repeats has taken a message. Hubs have
// different names for an incident and count its revisions differently; its key is the same for all.
type Mark struct {
	Hub      string         `json:"hub"`
	Key      string         `json:"key"`
	Channel  string         `json:"channel"`
	State    alert.State    `json:"state"`
	Severity alert.Severity `json:"severity"`
	Acked    bool           `json:"acked,omitempty"`
	At       time.Time      `json:"at"`
}

// Peers are the other hubs, to a Deliverer.
type Peers struct {
	// Wait is how long this hub leaves the word to those before it, on channels that do not fold; 0 = it is the first.
	Wait time.Duration
	// Tell gives a mark to the others. It must not block.
	Tell func(Mark)
}

// Bounds of marks: they are kept so long, and so many of them. Clocks of hubs may differ by markSlack.
const (
	markLasts = 30 * time.Minute
	maxMarks  = 10000
	markSlack = 30 * time.Second
)

// Marked takes a mark of another hub.
func (d *Deliverer) Marked(m Mark) {
	d.mu.Lock()
	now := time.Now()
	if len(d.marks) >= maxMarks {
		d.marks = slices.DeleteFunc(d.marks, func(m Mark) bool { return now.Sub(m.At) > markLasts })
	}
	if len(d.marks) < maxMarks {
		m.At = now // by our own clock; it was on its way for less than markSlack
		d.marks = append(d.marks, m)
	}
	d.mu.Unlock()
	nudge(d.wake)
}

// alone tells whether what l brings is not to be told by several hubs.
func (d *Deliverer) alone(l *lane) bool { return d.c.Peers.Tell != nil && !Folds(l.Channel) }

// markOf is what the others hear of m, that l has taken.
func markOf(l *lane, i *alert.Incident, now time.Time) Mark {
	return Mark{Key: i.Key, Channel: l.Name, State: i.State, Severity: i.Severity, Acked: i.Ack != nil, At: now}
}

// markOfNotice is likewise.
func markOfNotice(l *lane, n *alert.Notice, now time.Time) Mark {
	m := Mark{Key: n.Key, Channel: l.Name, State: alert.StateOpen, Severity: alert.SeverityNotice, At: now}
	if n.Over {
		m.State = alert.StateResolved
	}
	return m
}

// covers tells whether what another hub has told is as much as want says. since is when that was decided here.
func (m *Mark) covers(want Mark, since time.Time) bool {
	return m.Key == want.Key && m.Channel == want.Channel && m.State == want.State && (m.Severity == alert.SeverityPage || want.Severity != alert.SeverityPage) &&
		(m.Acked || !want.Acked) && !m.At.Before(since.Add(-markSlack))
}

// marked gives the mark of another hub that covers a message; nil = there is none. d.mu is held.
func (d *Deliverer) marked(want Mark, since time.Time) *Mark {
	n := slices.IndexFunc(d.marks, func(m Mark) bool { return m.covers(want, since) })
	if n < 0 {
		return nil
	}
	return &d.marks[n]
}

// leave takes what other hubs have told for told, and gives the deliveries of l as this hub is to make them: not before the
// hubs ahead of it had their time. d.mu is held.
func (d *Deliverer) leave(l *lane, now time.Time) []Delivery {
	if !d.alone(l) {
		return l.ds
	}
	out := slices.Clone(l.ds)
	for n := range l.ds {
		x := &l.ds[n]
		i := d.incidents[x.Incident]
		if x.Done() || x.Silenced != "" {
			continue
		}
		if m := d.marked(markOf(l, &i, now), x.Since); m != nil {
			told := d.message(x, &i)
			*x = Accepted(*x, told, now)
			d.touch(i.ID)
			d.outcome(l, OutcomeElsewhere, 0)
			d.tellOf(i.ID, Told{At: now, Channel: l.Name, Event: told.Event(), Outcome: OutcomeElsewhere, By: m.Hub})
		}
		out[n] = *x
		if at := x.Since.Add(d.c.Peers.Wait); at.After(x.NotBefore) {
			out[n].NotBefore = at
		}
	}
	return out
}

// leaveNotices drops what other hubs have told, and says when the first of the others is this hub's to tell; zero = none is
// waiting. d.mu is held.
func (d *Deliverer) leaveNotices(l *lane, now time.Time) time.Time {
	if d.alone(l) {
		l.notices = slices.DeleteFunc(l.notices, func(q queued) bool {
			told := d.marked(markOfNotice(l, &q.notice, now), q.told) != nil
			if told {
				d.outcome(l, OutcomeElsewhere, 0)
			}
			return told
		})
	}
	if len(l.notices) == 0 || !d.alone(l) {
		return time.Time{}
	}
	return l.notices[0].told.Add(d.c.Peers.Wait)
}

// tellPeers tells the other hubs what l has taken.
func (d *Deliverer) tellPeers(l *lane, m *Message, now time.Time) {
	if !d.alone(l) {
		return
	}
	if m.Incident != nil {
		d.c.Peers.Tell(markOf(l, m.Incident, now))
	}
	for n := range m.Notices {
		d.c.Peers.Tell(markOfNotice(l, &m.Notices[n], now))
	}
}
