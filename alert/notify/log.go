package notify

import (
	"context"

	"github.com/rs/zerolog"

	"faultline/alert"
)

// Log is the channel that writes each message as one event to a log. It takes everything and never fails.
type Log struct{ Logger zerolog.Logger }

// Deliver writes m.
func (l Log) Deliver(_ context.Context, m Message) error {
	event := m.Event()
	e := l.Logger.Info()
	if m.Severity() == alert.SeverityPage && event != EventResolved && event != EventRecovering {
		e = l.Logger.Warn()
	}
	e = e.Str("event", string(event)).Str("key", m.Key())
	if i := m.Incident; i != nil {
		e = e.Str("incident", i.ID).Uint64("rev", i.Rev).Stringer("domain", i.Domain).Str("severity", string(i.Severity))
	} else {
		e = e.Int("notices", len(m.Notices))
	}
	e.Str("title", m.Title()).Str("text", m.Text()).Msg("notification")
	return nil
}
