package notify

import (
	"context"
	"errors"
	"time"

	"github.com/rs/zerolog"

	"faultline/alert"
)

// Alertmanager is the channel that gives alerts to Prometheus' Alertmanager, API v2: to all that are named, as they want
// it. It counts as delivered when one of them has taken it; what becomes of the others is logged when that changes.
//
// An incident is one alert, with these labels through all its life:
//
//	alertname="FaultlineIncident", fleet, kind and name of its domain, severity="page" or "notice"
//
// and with the annotations summary, description, assessment, link and runbook. A notice has alertname="FaultlineNotice",
// its own kind, its key as name, and site and vantage. What only shows that the channel works has test="true" besides.
//
// Alertmanager takes an alert for over when its end has passed, so each Deliver moves it four repetitions ahead, and
// whoever delivers must do so again every Resend while an incident lasts. At its end the end is now. A notice is told
// once, so it lasts a day, or until it is said to be over.
//
// An incident that is told as a notice and becomes a page is another alert from then on, as its labels differ. The old
// one is ended with it at the moment when it became a page, for as long as it could still be alive somewhere; whether
// there was one is seen from the incident, which knows when it was opened and when it became a page. A group that is told
// of in that time shows the old one among its resolved alerts.
type Alertmanager struct {
	all    *alertmanagers
	fleet  string
	resend time.Duration
}

// AlertmanagerConfig is what an Alertmanager channel works with.
type AlertmanagerConfig struct {
	URLs   []string // as their pages have them; with user and password where those are asked for
	Token  string   // bearer token; "" = none
	Fleet  string
	Resend time.Duration // how often an incident that lasts is delivered again
}

// lives is how many repetitions an alert outlives the last one.
const lives = 4

// noticeLasts is how long a notice is shown that nobody takes back.
const noticeLasts = 24 * time.Hour

// NewAlertmanager makes a channel.
func NewAlertmanager(c AlertmanagerConfig, log zerolog.Logger) (*Alertmanager, error) {
	all, err := newAlertmanagers(c.URLs, c.Token, log)
	if err != nil {
		return nil, err
	}
	return &Alertmanager{all, c.Fleet, c.Resend}, nil
}

// Deliver tells all of them of m as it is now.
func (a *Alertmanager) Deliver(ctx context.Context, m Message) error {
	now := time.Now()
	if m.Incident != nil {
		return a.sooner(a.all.post(ctx, a.incident(&m, now)...))
	}
	var alerts []amAlert
	for i := range m.Notices {
		alerts = append(alerts, a.notice(&m, &m.Notices[i], now))
	}
	return a.all.post(ctx, alerts...)
}

// sooner keeps a wait that they ask for within a repetition: what lasts would be taken to be over after four.
func (a *Alertmanager) sooner(err error) error {
	var retry *RetryError
	if errors.As(err, &retry) && retry.After > a.resend {
		return &RetryError{a.resend, retry.Err}
	}
	return err
}

func (a *Alertmanager) incident(m *Message, now time.Time) []amAlert {
	i := m.Incident
	ends := now.Add(lives * a.resend)
	if i.State == alert.StateResolved {
		ends = now
	}
	labels := func(s alert.Severity) map[string]string {
		return map[string]string{
			"alertname": "FaultlineIncident", "fleet": a.fleet, "kind": i.Domain.Kind, "name": i.Domain.Name, "severity": string(s), "test": testLabel(m),
		}
	}
	annotations := map[string]string{
		"summary": summary(m, i.Title()), "description": m.Text(), "assessment": string(i.Assessment), "link": m.Link, "runbook": i.WhereToLook(),
	}
	out := []amAlert{newAMAlert(labels(i.Severity), annotations, i.Onset, ends, m.Link)}
	if i.PagedAt.After(i.OpenedAt) && now.Before(i.PagedAt.Add((lives+1)*a.resend)) {
		out = append(out, newAMAlert(labels(alert.SeverityNotice), annotations, i.Onset, i.PagedAt, m.Link))
	}
	return out
}

func (a *Alertmanager) notice(m *Message, n *alert.Notice, now time.Time) amAlert {
	labels := map[string]string{
		"alertname": "FaultlineNotice", "fleet": a.fleet, "kind": n.Kind, "name": n.Key, "severity": string(alert.SeverityNotice),
		"site": n.Site, "vantage": n.Vantage, "test": testLabel(m),
	}
	annotations := map[string]string{"summary": summary(m, n.Text), "link": m.Link}
	if n.Over { // when it began was said with its beginning
		return newAMAlert(labels, annotations, time.Time{}, now, m.Link)
	}
	lasts := noticeLasts
	if m.Test {
		lasts = lives * a.resend
	}
	return newAMAlert(labels, annotations, n.At, now.Add(lasts), m.Link)
}

func testLabel(m *Message) string {
	if m.Test {
		return "true"
	}
	return ""
}

func summary(m *Message, s string) string {
	if m.Test {
		s = "TEST: " + s
	}
	return clip(s, maxErrorLen)
}
