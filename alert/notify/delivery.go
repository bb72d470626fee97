// Package notify brings incidents to people: which deliveries are due (pure), where they are kept (Book), and the
// channels that carry them.
package notify

import (
	"context"
	"time"

	"faultline/alert"
)

// Delivery is the state of one incident on one channel. It is level-triggered: it says which revision the channel should
// have and which it has taken, so that updates coalesce and a resolution can never overtake its page.
type Delivery struct {
	Incident  string    `json:"incident"` // Incident.ID
	Channel   string    `json:"channel"`
	Want      uint64    `json:"want"`             // the revision the channel should have
	Acked     uint64    `json:"acked"`            // the newest revision that it took; 0 = none yet
	Paged     bool      `json:"paged,omitempty"`  // it has taken a revision with severity page
	Knows     bool      `json:"knows,omitempty"`  // it has taken a revision that someone had acknowledged
	Since     time.Time `json:"since,omitzero"`   // when what it is to take now was told
	Took      time.Time `json:"took,omitzero"`    // when it took something last
	Repeat    int       `json:"repeat,omitempty"` // how often it should be told again, though nothing is new, since Acked moved
	Repeated  int       `json:"repeated,omitempty"`
	Tries     int       `json:"tries"` // failed attempts since it last took something
	NotBefore time.Time `json:"not_before,omitzero"`
	Silenced  string    `json:"silenced,omitempty"` // what keeps it quiet, in a few words
	Note      string    `json:"note,omitempty"`     // what the next message says of its delivery
	Gone      string    `json:"gone,omitempty"`     // refused for good: why; nothing more is tried for this revision
}

// Done tells whether nothing is left to try for the wanted revision.
func (d *Delivery) Done() bool { return d.Acked >= d.Want && d.Repeated >= d.Repeat || d.Gone != "" }

// Book keeps incidents and their deliveries. Save puts each in the place of the one with the same ID (of a delivery:
// incident and channel), all or nothing, and leaves the others; it may forget an incident that is resolved, with its
// deliveries, once all of them are done. Load gives back what was not forgotten.
type Book interface {
	Save(ctx context.Context, incidents []alert.Incident, deliveries []Delivery) error
	Load(ctx context.Context) ([]alert.Incident, []Delivery, error)
}

// Channel brings one incident's present state to one place. Deliver returns nil when the place has taken it, an
// error marked by Permanent when trying again cannot help, a *RetryError when the place named a time, and any other
// error when trying again may help. It must return soon after ctx is done, never show a secret in an error, and be safe
// for concurrent use.
type Channel interface {
	Deliver(ctx context.Context, m Message) error
}

// NamedChannel is a channel, and what it is to be told.
type NamedChannel struct {
	Name    string
	Channel Channel
	Notices bool // it takes notices too

	Fallback      string        // channel that takes over a page that this one does not take; "" = none
	FallbackAfter time.Duration // … within so long
	Remind        time.Duration // a page that nobody has acknowledged is told again so often; 0 = never
	Resend        time.Duration // whatever is not resolved is told again so often; 0 = never
	PerMinute     int           // most messages of incidents, and most of notices; 0 = as many as there are
	Timeout       time.Duration // of one attempt; 0 = as the Deliverer has it
	Gather        time.Duration // least time between two messages of notices, which go together; 0 = each goes at once
}
