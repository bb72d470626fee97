package notify

import (
	"errors"
	"time"

	"faultline/alert"
)

// Route says what a channel is told of. Incidents with severity page go to every channel, the others, and notices, to those
// that take notices.
type Route struct {
	Channel string
	Notices bool
}

// Plan says which deliveries follow from changed incidents, given those that there are. Only new and changed ones are in
// the answer. A channel that has a delivery of an incident hears of it to its end, whatever becomes of its severity.
//
// An incident that is resolved before a channel has taken anything of it is still delivered, once, as resolved: someone
// should know that it was, and the text tells the whole story.
func Plan(changed []alert.Incident, routes []Route, have []Delivery) []Delivery {
	known := make(map[deliveryKey]Delivery, len(have))
	for _, d := range have {
		known[d.key()] = d
	}
	var out []Delivery
	for i := range changed {
		for _, r := range routes {
			in := &changed[i]
			d, ok := known[deliveryKey{in.ID, r.Channel}]
			if !ok && in.Severity != alert.SeverityPage && !r.Notices || in.Rev <= d.Want {
				continue
			}
			d.Incident, d.Channel, d.Want, d.Gone = in.ID, r.Channel, in.Rev, ""
			known[deliveryKey{in.ID, r.Channel}] = d
			out = append(out, d)
		}
	}
	return out
}

type deliveryKey struct{ incident, channel string }

func (d *Delivery) key() deliveryKey { return deliveryKey{d.Incident, d.Channel} }

// Due says which deliveries are to be tried now, in the order of ds, and when the next of the others is; zero = none is.
func Due(now time.Time, ds []Delivery) (try []Delivery, next time.Time) {
	for _, d := range ds {
		switch {
		case d.Done():
		case !d.NotBefore.After(now):
			try = append(try, d)
		case next.IsZero() || d.NotBefore.Before(next):
			next = d.NotBefore
		}
	}
	return try, next
}

// Accepted is d after its channel has taken revision rev, which had the severity.
func Accepted(d Delivery, rev uint64, severity alert.Severity) Delivery {
	d.Acked = max(d.Acked, rev)
	d.Paged = d.Paged || severity == alert.SeverityPage
	d.Tries, d.NotBefore = 0, time.Time{}
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
