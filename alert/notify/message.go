package notify

import "faultline/alert"

// Event says in one word what a message is to the one who receives it.
type Event string

// The events.
const (
	EventPage       Event = "page"       // wake someone
	EventUpdate     Event = "update"     // more is known of what was told before
	EventRecovering Event = "recovering" // it works again, but not yet for long
	EventResolved   Event = "resolved"   // it is over; with a channel that could not be reached in time, also the first it hears of it
	EventNotice     Event = "notice"     // wakes nobody
	EventTest       Event = "test"
)

// Event tells what m is.
func (m *Message) Event() Event {
	i := m.Incident
	switch {
	case m.Test:
		return EventTest
	case i == nil:
		return EventNotice
	case i.State == alert.StateResolved:
		return EventResolved
	case m.First && i.Severity == alert.SeverityPage:
		return EventPage
	case m.First:
		return EventNotice
	case i.State == alert.StateRecovering:
		return EventRecovering
	default:
		return EventUpdate
	}
}

// Key is the same for all that is said of one thing: a receiver that knows it folds repeats, updates and the end into one.
func (m *Message) Key() string {
	if m.Incident != nil {
		return m.Incident.Key
	}
	return m.Notice.Key
}

// Title says it in at most 160 characters.
func (m *Message) Title() string {
	if m.Incident != nil {
		return m.Incident.Title()
	}
	if r := []rune(m.Notice.Text); len(r) > 160 {
		return string(r[:159]) + "…"
	}
	return m.Notice.Text
}

// Text says it in full.
func (m *Message) Text() string {
	if m.Incident != nil {
		return m.Incident.Text()
	}
	return m.Notice.Text
}
