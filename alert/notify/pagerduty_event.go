package notify

import (
	"fmt"
	"time"

	"faultline/alert"
)

// event begins one; a test's key is never that of anything real.
func (p *PagerDuty) event(m *Message, action, key string) *pdEvent {
	if m.Test {
		key = "test/" + key
	}
	return &pdEvent{RoutingKey: p.routingKey, Action: action, DedupKey: fold(key, pdMaxKey)}
}

// trigger adds what wakes people.
func (e *pdEvent) trigger(m *Message, payload *pdPayload) *pdEvent {
	if m.Test {
		payload.Summary = "TEST: " + payload.Summary
	}
	payload.Summary, payload.Source = clip(payload.Summary, pdMaxSummary), fold(payload.Source, pdMaxKey)
	e.Payload, e.Client = payload, "Faultline"
	if link := webLink(m.Link); link != "" {
		e.ClientURL, e.Links = link, []pdLink{{link, "What is known now"}}
	}
	return e
}

func (p *PagerDuty) incidentEvent(m *Message, action string) *pdEvent {
	i := m.Incident
	e := p.event(m, action, i.Key)
	if action != pdTrigger {
		return e
	}
	severity := "critical"
	if i.Severity != alert.SeverityPage {
		severity = "warning"
	}
	return e.trigger(m, &pdPayload{
		Summary: i.Title(), Source: i.Domain.Name, Severity: severity, Timestamp: i.Onset.UTC().Format(time.RFC3339Nano),
		Component: i.Domain.Kind, Group: p.fleet, Class: string(i.Assessment), Details: incidentDetails(m),
	})
}

func (p *PagerDuty) noticeEvent(m *Message, n *alert.Notice) *pdEvent {
	key := "faultline/" + p.fleet + "/notice/" + n.Key
	if n.Over {
		return p.event(m, pdResolve, key)
	}
	source := "faultline"
	for _, s := range []string{n.Domain.Name, n.Vantage, n.Site} {
		if s != "" {
			source = s
		}
	}
	return p.event(m, pdTrigger, key).trigger(m, &pdPayload{
		Summary: n.Text, Source: source, Severity: "info", Timestamp: n.At.UTC().Format(time.RFC3339Nano),
		Component: n.Domain.Kind, Group: p.fleet, Class: n.Kind, Details: noticeDetails{clip(n.Text, pdMaxDetail), n.Site, n.Vantage, phrases(m.Notes)},
	})
}

type noticeDetails struct {
	Text    string   `json:"text"`
	Site    string   `json:"site,omitempty"`
	Vantage string   `json:"vantage,omitempty"`
	Notes   []string `json:"notes,omitempty"`
}

// pdDetails is what PagerDuty shows as a table beside the summary, and what its rules can look at.
type pdDetails struct {
	Incident   string       `json:"incident"`
	State      alert.State  `json:"state"`
	Wave       int          `json:"wave"`
	Scope      alert.Scope  `json:"scope"`
	Or         []string     `json:"or,omitempty"`
	Why        []string     `json:"why,omitempty"`
	LookAt     string       `json:"look_at"`
	Failing    alert.Counts `json:"failing"`
	Of         alert.Counts `json:"of"`
	Regions    []string     `json:"regions,omitempty"`
	Sites      []string     `json:"sites,omitempty"`
	MoreSites  int          `json:"more_sites,omitempty"`
	Answers    []string     `json:"answers,omitempty"`
	NotFailing []string     `json:"not_failing,omitempty"`
	Notes      []string     `json:"notes,omitempty"`
}

// The bounds of the details: at most some 100 kB.
const (
	pdMaxPhrases = 20
	pdMaxDetail  = 500 // characters of one
)

func incidentDetails(m *Message) pdDetails {
	i := m.Incident
	d := pdDetails{
		Incident: i.ID, State: i.State, Wave: i.Waves, Scope: i.Scope, Why: phrases(i.Why), LookAt: clip(i.WhereToLook(), pdMaxDetail),
		Failing: i.Failing, Of: i.Of, Regions: phrases(i.Regions), NotFailing: phrases(i.Fine), Notes: phrases(m.Notes),
		MoreSites: max(0, len(i.Members)-pdMaxPhrases),
	}
	for _, o := range i.Or {
		d.Or = append(d.Or, o.String())
	}
	for _, s := range i.Members {
		d.Sites = append(d.Sites, s.Site)
	}
	for n := range i.Evidence {
		r := &i.Evidence[n]
		d.Answers = append(d.Answers, fmt.Sprintf("%s from %s: %s, fault %s: %s", r.Site, r.Vantage, r.Class, r.Fault, r.Why))
	}
	d.Or, d.Sites, d.Answers = phrases(d.Or), phrases(d.Sites), phrases(d.Answers)
	return d
}

// phrases bounds how many there are, and each of them.
func phrases(all []string) []string {
	var out []string
	for _, s := range all[:min(len(all), pdMaxPhrases)] {
		out = append(out, clip(s, pdMaxDetail))
	}
	return out
}
