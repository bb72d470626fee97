package notify

import (
	"errors"
	"time"

	"faultline/alert"
)

// Plan says which deliveries follow from changed incidents, given those that there are: an incident goes to the channels
// that to gives, which were told of it since then, and a channel that has a delivery hears of the incident to its end,
// whatever becomes of its severity. Only new and changed ones are in the answer.
//
// An incident that is resolved before a channel has taken anything of it is still delivered, once, as resolved: someone
// should know that it was, and the text tells the whole story.
func Plan(changed []alert.Incident, since func(incident string) time.Time, to func(*alert.Incident) []string, have []Delivery) []Delivery {
	var out []Delivery
	for n := range changed {
		in := &changed[n]
		enter := func(d Delivery) {
			if in.Rev <= d.Want {
				return
			}
			if d.Done() {
				d.Since = since(in.ID)
			}
			d.Want, d.Gone, d.Repeat, d.Repeated = in.Rev, "", 0, 0
			out = append(out, d)
		}
		known := map[string]bool{}
		for _, d := range have {
			if d.Incident == in.ID {
				known[d.Channel] = true
				enter(d)
			}
		}
		for _, name := range to(in) {
			if !known[name] {
				enter(Delivery{Incident: in.ID, Channel: name})
			}
		}
	}
	return out
}

// Hush is d as the silences have it: by says in a few words what keeps its incident quiet now; "" = nothing does. Whoever
// was told of an incident is told of its end. Of one that begins and ends in silence nothing is told.
func Hush(now time.Time, d Delivery, i *alert.Incident, by string) Delivery {
	over := i.State == alert.StateResolved
	switch {
	case by == "" && d.Silenced != "" && !d.Done():
		d.Note, d.Since = "until now it was silenced: "+d.Silenced, now
	case by != "" && over && d.Acked > 0:
		by = ""
	case by != "" && over && !d.Done():
		d.Gone = "silenced to its end: " + by
	}
	d.Silenced = by
	return d
}

// Repeat is d with another repetition to be told, if it is time for one: of a page that nobody has acknowledged every
// c.Remind, and of whatever is not resolved every c.Resend. Else next is when it will be; zero = never.
func Repeat(now time.Time, d Delivery, i *alert.Incident, c *NamedChannel) (_ Delivery, next time.Time) {
	every := c.Resend
	if i.Severity == alert.SeverityPage && i.Ack == nil && c.Remind > 0 && (every == 0 || c.Remind < every) {
		every = c.Remind
	}
	if every == 0 || i.State == alert.StateResolved || d.Acked == 0 || !d.Done() || d.Gone != "" || d.Silenced != "" {
		return d, time.Time{}
	}
	if next = d.Took.Add(every); next.After(now) {
		return d, next
	}
	d.Repeat, d.Since = d.Repeated+1, now
	return d, time.Time{}
}

// Takeover is the delivery by which c's fallback takes over a page that c, whose delivery is d, has refused or not taken in
// time. Else next is when that time is over; zero = never. Nobody takes over what is acknowledged, resolved or silenced.
func Takeover(now time.Time, d Delivery, i *alert.Incident, c *NamedChannel) (_ Delivery, ok bool, next time.Time) {
	if c.Fallback == "" || i.Severity != alert.SeverityPage || i.State == alert.StateResolved || i.Ack != nil || d.Paged || d.Silenced != "" {
		return Delivery{}, false, time.Time{}
	}
	if at := d.Since.Add(c.FallbackAfter); d.Gone == "" && at.After(now) {
		return Delivery{}, false, at
	}
	return Delivery{Incident: d.Incident, Channel: c.Fallback, Want: i.Rev, Since: now, Note: "channel " + c.Name + " has not taken it"}, true, time.Time{}
}

type deliveryKey struct{ incident, channel string }

func (d *Delivery) key() deliveryKey { return deliveryKey{d.Incident, d.Channel} }

// Due says which deliveries are to be tried now, in the order of ds, and when the next of the others is; zero = none is.
func Due(now time.Time, ds []Delivery) (try []Delivery, next time.Time) {
	for _, d := range ds {
		switch {
		case d.Done() || d.Silenced != "":
		case !d.NotBefore.After(now):
			try = append(try, d)
		default:
			next = earlier(next, d.NotBefore)
		}
	}
	return try, next
}

// earlier is the first of two times of which one may be zero: none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// later is the last of two times.
func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// Accepted is d after its channel has taken m, of an incident, at now.
func Accepted(d Delivery, m *Message, now time.Time) Delivery {
	i := m.Incident
	d.Acked = max(d.Acked, i.Rev)
	d.Paged = d.Paged || i.Severity == alert.SeverityPage
	d.Knows = d.Knows || i.Ack != nil
	d.Took, d.Since, d.Repeated = now, now, max(d.Repeated, m.Reminder)
	d.Tries, d.NotBefore, d.Note = 0, time.Time{}, ""
	return d
}

// Failed is d after an attempt to deliver revision rev ended at now with err, which may be marked by Permanent or be a
// *RetryError. jitter is a random number in [0, 1).
func Failed(d Delivery, rev uint64, err error, now time.Time, b Backoff, jitter float64) Delivery {
	var permanent *permanentError
	var retry *RetryError
	switch {
	case errors.As(err, &permanent):
		d.Tries, d.NotBefore = 0, time.Time{}
		if rev >= d.Want {
			d.Gone = err.Error()
		}
		return d
	case errors.As(err, &retry):
		d.NotBefore = now.Add(min(max(retry.After, b.Base), maxRetryAfter*b.Cap))
	default:
		d.NotBefore = now.Add(b.After(d.Tries, jitter))
	}
	d.Tries++
	return d
}

// Backoff is how long to wait between attempts: Base after the first failure, twice as long after each further one, at
// most Cap, and all that give or take a fifth.
type Backoff struct{ Base, Cap time.Duration }

// maxRetryAfter, times the cap, is the longest wait that a receiver can ask for.
const maxRetryAfter = 10

// After is the wait after a failure that others have gone before. jitter is a random number in [0, 1).
func (b Backoff) After(before int, jitter float64) time.Duration {
	d := b.Base
	for ; before > 0 && d < b.Cap; before-- {
		d *= 2
	}
	return time.Duration(float64(min(d, b.Cap)) * (0.8 + 0.4*jitter))
}

// RetryError is what a channel returns when the receiver has said when to try again.
type RetryError struct {
	After time.Duration
	Err   error
}

func (e *RetryError) Error() string { return e.Err.Error() }
func (e *RetryError) Unwrap() error { return e.Err }

// Permanent marks an error that the same message will always meet.
func Permanent(err error) error { return &permanentError{err} }

type permanentError struct{ err error }

func (e *permanentError) Error() string { return e.err.Error() }
func (e *permanentError) Unwrap() error { return e.err }
