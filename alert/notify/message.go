package notify

import (
	"cmp"
	"fmt"
	"strings"

	"faultline/alert"
)

// Message is what a channel delivers: an incident as it is now, or the notices of an interval; one of the two is set. The
// channel must not change what it points at.
type Message struct {
	Incident *alert.Incident
	Notices  []alert.Notice // the oldest first

	First    bool     // the channel has not taken anything of this incident yet, or no page of one that has become a page
	Acked    bool     // someone has acknowledged it since the channel last took anything of it
	Reminder int      // nothing is new: the how manyth repetition since the channel last took something; 0 = none
	Notes    []string // what its delivery adds, a sentence each: that it was silenced, that another channel does not take it
	Link     string   // to the incident's page; "" = nobody said where that is served
	Test     bool     // someone wants to see the channel work; what the message tells is made up
}

// Event says in one word what a message is to the one who receives it.
type Event string

// The events.
const (
	EventPage         Event = "page"         // wake someone
	EventUpdate       Event = "update"       // more is known of what was told before
	EventAcknowledged Event = "acknowledged" // someone has taken it on
	EventReminder     Event = "reminder"     // nobody has, and it still fails
	EventRecovering   Event = "recovering"   // it works again, but not yet for long
	EventResolved     Event = "resolved"     // it is over; with a channel that could not be reached in time, also the first it hears of it
	EventNotice       Event = "notice"       // wakes nobody
	EventTest         Event = "test"
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
	case m.Acked:
		return EventAcknowledged
	case m.Reminder > 0:
		return EventReminder
	case i.State == alert.StateRecovering:
		return EventRecovering
	default:
		return EventUpdate
	}
}

// Severity tells whether m is about something that people are woken for.
func (m *Message) Severity() alert.Severity {
	if m.Incident != nil {
		return m.Incident.Severity
	}
	return alert.SeverityNotice
}

// Key is the same for all that is said of one thing: a receiver that knows it folds repeats, updates and the end into one.
// Several notices together have none: "".
func (m *Message) Key() string {
	switch {
	case m.Incident != nil:
		return m.Incident.Key
	case len(m.Notices) == 1:
		return m.Notices[0].Key
	default:
		return ""
	}
}

// ID is the same for repeats of one message only. The next outage under the same key begins its revisions anew, so the
// incident's own ID belongs to it.
func (m *Message) ID() string {
	if i := m.Incident; i != nil {
		id := fmt.Sprintf("%s/%s/%d", i.Key, i.ID, i.Rev)
		if m.Reminder > 0 {
			id += fmt.Sprintf("/%d", m.Reminder)
		}
		return id
	}
	if len(m.Notices) == 0 {
		return ""
	}
	first, last := &m.Notices[0], &m.Notices[len(m.Notices)-1]
	if first == last {
		return first.Key + "/" + first.ID
	}
	return fmt.Sprintf("notices/%s/%s/%d", first.ID, last.ID, len(m.Notices))
}

// maxTitle is how many characters an SMS has.
const maxTitle = 160

// Title says it in at most 160 characters.
func (m *Message) Title() string {
	if m.Test {
		untold := *m
		untold.Test = false
		return clip("TEST: "+untold.Title(), maxTitle)
	}
	switch {
	case m.Incident != nil:
		return m.Incident.Title()
	case len(m.Notices) == 1:
		return clip(m.Notices[0].Text, maxTitle)
	default:
		return clip(fmt.Sprintf("%d notices: %s", len(m.Notices), cmp.Or(m.firstNotice().Text, "none")), maxTitle)
	}
}

func (m *Message) firstNotice() alert.Notice {
	if len(m.Notices) == 0 {
		return alert.Notice{}
	}
	return m.Notices[0]
}

// Lines says it in full.
func (m *Message) Lines() []alert.Line {
	var out []alert.Line
	if m.Test {
		out = append(out, alert.Line{Head: "Test", Body: "someone wants to see this channel work; all that follows is made up, and nothing has failed"})
	}
	if m.Incident != nil {
		out = append(out, m.Incident.Lines()...)
	}
	for n := range m.Notices {
		out = append(out, alert.Line{Head: m.Notices[n].At.UTC().Format("15:04:05"), Body: m.Notices[n].Text})
	}
	for _, s := range m.Notes {
		out = append(out, alert.Line{Head: "Note", Body: s})
	}
	if m.Link != "" {
		out = append(out, alert.Line{Head: "More", Body: m.Link})
	}
	return out
}

// Text is Lines for where only plain text goes.
func (m *Message) Text() string { return alert.TextOf(m.Lines()) }

// clip shortens s to n characters, on one line.
func clip(s string, n int) string {
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}
