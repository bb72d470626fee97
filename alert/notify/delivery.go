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
	Want      uint64    `json:"want"`            // the revision the channel should have
	Acked     uint64    `json:"acked"`           // the newest revision that it took; 0 = none yet
	Paged     bool      `json:"paged,omitempty"` // it has taken a revision with severity page
	Tries     int       `json:"tries"`           // failed attempts since Acked last moved
	NotBefore time.Time `json:"not_before,omitzero"`
	Gone      string    `json:"gone,omitempty"` // refused for good: why; nothing more is tried for this revision
}

// Done tells whether nothing is left to try for the wanted revision.
func (d *Delivery) Done() bool { return d.Acked >= d.Want || d.Gone != "" }

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
