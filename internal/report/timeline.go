package report

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"faultline/alert"
	"faultline/alert/notify"
)

// event is one moment in the life of an incident.
type event struct {
	at    time.Time
	At    string
	After string // the onset
	What  string
	Turn  bool // one of the incident's own life, not of its telling
}

// maxRepeats is how many updates and reminders a timeline has room for; where there are more, the table of deliveries has them.
const maxRepeats = 12

func (r *Report) timeline(clock func(time.Time) string) []event {
	events := slices.Concat(r.beginning(), r.telling(), r.ending())
	events = slices.DeleteFunc(events, func(e event) bool { return e.at.IsZero() })
	slices.SortStableFunc(events, func(a, b event) int { return a.at.Compare(b.at) })
	for n := range events {
		e := &events[n]
		e.At, e.After = clock(e.at), offset(e.at.Sub(r.Incident.Onset))
	}
	return events
}

func (r *Report) beginning() []event {
	i := &r.Incident
	decided := "decided that this is one failure"
	if i.PagedAt.Equal(i.OpenedAt) {
		decided += ", and to wake someone"
	}
	out := []event{
		{at: i.Onset, What: "onset, estimated: the first failing answer less its own length", Turn: true},
		firstFailing(i),
		{at: i.OpenedAt, What: decided, Turn: true},
	}
	if !i.PagedAt.Equal(i.OpenedAt) {
		out = append(out, event{at: i.PagedAt, What: "decided to wake someone", Turn: true})
	}
	if worst := worstPoint(i.Course); worst != nil {
		out = append(out, event{at: worst.At, What: fmt.Sprintf("at its worst: %d of %d sites failing", worst.Failing, worst.Of), Turn: true})
	}
	if i.Ack != nil {
		what := "taken on by " + plain(i.Ack.By, maxName)
		if i.Ack.Comment != "" {
			what += ": " + plain(i.Ack.Comment, maxSentence)
		}
		out = append(out, event{at: i.Ack.At, What: what, Turn: true})
	}
	return out
}

// firstFailing is the first failing answer that is known in full, else the first failing member.
func firstFailing(i *alert.Incident) event {
	var first event
	for n := range i.Evidence {
		if e := &i.Evidence[n]; first.at.IsZero() || e.At.Before(first.at) {
			what := fmt.Sprintf("first failing answer: %s from %s: %s", plain(e.Site, maxName), plain(e.Vantage, maxName), saidBy(e))
			first = event{at: e.At, What: what, Turn: true}
		}
	}
	for n := range i.Members {
		if m := &i.Members[n]; len(i.Evidence) == 0 && (first.at.IsZero() || m.Since.Before(first.at)) {
			first = event{at: m.Since, What: "first failing answer: " + plain(m.Site, maxName), Turn: true}
		}
	}
	return first
}

func (r *Report) ending() []event {
	i := &r.Incident
	var out []event
	if !i.RecoveringAt.IsZero() {
		what := "its members answer again"
		if i.Waves > 1 {
			what += fmt.Sprintf(", after %d waves", i.Waves)
		}
		out = append(out, event{at: i.RecoveringAt, What: what, Turn: true})
	}
	if !i.ResolvedAt.IsZero() {
		return append(out, event{at: i.ResolvedAt, What: "resolved: they went on answering", Turn: true})
	}
	what := "this report is made, and it still fails"
	if i.State == alert.StateRecovering {
		what = "this report is made, and it has answered for a short time only"
	}
	return append(out, event{at: r.Made, What: what, Turn: true})
}

// telling is how people were told. Where updates and reminders are many, they are left out, and that is said where the first
// one would be.
func (r *Report) telling() []event {
	var out []event
	repeats := 0
	for _, d := range r.shown() {
		repeats += btoi(repeat(d))
	}
	skipped := false
	for _, d := range r.shown() {
		switch {
		case !repeat(d) || repeats <= maxRepeats:
			out = append(out, event{at: d.At, What: toldWords(d)})
		case !skipped:
			skipped = true
			out = append(out, event{at: d.At, What: fmt.Sprintf("the first of %d updates and reminders, which are listed under Deliveries", repeats)})
		}
	}
	return out
}

func repeat(d notify.Told) bool {
	return d.Event == notify.EventUpdate || d.Event == notify.EventReminder
}

func (r *Report) shown() []notify.Told { return r.Deliveries[:min(len(r.Deliveries), maxDeliveries)] }

var eventWords = map[notify.Event]string{
	notify.EventPage:         "the page",
	notify.EventUpdate:       "an update",
	notify.EventAcknowledged: "the acknowledgement",
	notify.EventReminder:     "a reminder",
	notify.EventRecovering:   "the recovery",
	notify.EventResolved:     "the resolution",
	notify.EventNotice:       "the notice",
}

func toldWords(d notify.Told) string {
	channel, what := plain(d.Channel, maxName), cmp.Or(eventWords[d.Event], plain(string(d.Event), maxName))
	var s string
	switch d.Outcome {
	case notify.OutcomeAccepted:
		s = channel + " took " + what
		if d.Tries > 0 {
			s += " after " + plural(d.Tries, "failed try", "failed tries")
		}
	case notify.OutcomeFailed:
		s = channel + " did not take " + what + ", to be tried again"
	case notify.OutcomeRefused:
		s = channel + " refused " + what
	case notify.OutcomeSilenced:
		s = channel + " was not told of " + what + ": silenced"
	default:
		s = channel + ": " + what + ": " + plain(string(d.Outcome), maxName)
	}
	if d.Error != "" {
		s += ": " + plain(d.Error, maxSentence)
	}
	return s
}

// delivery is what became of one message.
type delivery struct{ At, After, Channel, Event, Outcome, Tries, Error string }

func (r *Report) deliveries(clock func(time.Time) string) []delivery {
	var out []delivery
	for _, d := range r.shown() {
		tries := ""
		if d.Tries > 0 {
			tries = fmt.Sprint(d.Tries)
		}
		out = append(out, delivery{
			clock(d.At), offset(d.At.Sub(r.Incident.Onset)), plain(d.Channel, maxName), plain(string(d.Event), maxName),
			plain(string(d.Outcome), maxName), tries, plain(d.Error, maxSentence),
		})
	}
	return out
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}
