package web

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"faultline/alert"
)

// Bounds of the status page.
const (
	maxDomainRows = 40
	maxCards      = 20
	maxResolved   = 5
	stallAfter    = 30 * time.Second // a view older than that is no news any more
)

// tones colour the verdict at the top of the page.
const (
	toneBad     = "bad"
	toneWarn    = "warn"
	toneWell    = "well"
	toneUnknown = "unknown"
)

// status is what the status page shows.
type status struct {
	Tone, Headline, Sub string
	QuietTill           time.Time // zero when over
	StalledAt           time.Time // zero when the view is fresh

	Open     []card // not resolved, those that page first
	MoreOpen int    // of those, without a card
	Resolved []*alert.Incident
	Domains  []domainRow
	Quiet    int // domains left out, nothing of which is failing
	Matrix   matrix
	Vantages []vantageRow
}

type domainRow struct {
	alert.DomainView
	State   string
	Tone    string
	Percent int
}

type vantageRow struct {
	alert.VantageView
	State       string
	OK, Failing int
	Anchors     int // that answer
	OfAnchors   int
	SilentSince time.Time // zero when results come in
}

// card is an open incident, and whether people are told of it.
type card struct {
	*alert.Incident
	Silenced bool
}

func newStatus(v *alert.View, now time.Time, f filter, silenced func(*alert.Incident) []string) *status {
	s := &status{Matrix: newMatrix(v, f), Vantages: vantageRows(v)}
	for _, i := range newestFirst(v) {
		switch {
		case i.State != alert.StateResolved:
			s.Open = append(s.Open, card{i, len(silenced(i)) > 0})
		case len(s.Resolved) < maxResolved:
			s.Resolved = append(s.Resolved, i)
		}
	}
	slices.SortStableFunc(s.Open, func(a, b card) int { return cmp.Compare(urgency(a.Incident), urgency(b.Incident)) })
	s.Domains, s.Quiet = domainRows(v)
	s.judge()
	s.MoreOpen = max(0, len(s.Open)-maxCards)
	s.Open = s.Open[:len(s.Open)-s.MoreOpen]
	if v.QuietTill.After(v.At) {
		s.QuietTill = v.QuietTill
	}
	if stalled(v, now) {
		s.StalledAt = v.At
	}
	return s
}

func stalled(v *alert.View, now time.Time) bool { return now.Sub(v.At) > stallAfter }

// urgency orders incidents: what woke somebody and goes on, what pages, the rest.
func urgency(i *alert.Incident) int {
	n := 0
	if i.Severity != alert.SeverityPage {
		n += 2
	}
	if i.State == alert.StateRecovering {
		n++
	}
	return n
}

// judge says in one sentence how things are. No data is never good news.
func (s *status) judge() {
	var failing []string // domains of the incidents that page and go on
	for _, i := range s.Open {
		if i.Severity == alert.SeverityPage && i.State == alert.StateOpen {
			failing = append(failing, i.Domain.String())
		}
	}
	c := &s.Matrix.Counts
	s.Sub = fmt.Sprintf("%s watched from %s.", plural(s.Matrix.Sites, "site"), plural(len(s.Vantages), "vantage"))
	switch {
	case len(failing) == 1:
		s.Tone, s.Headline = toneBad, failing[0]+" is failing"
	case len(failing) > 1:
		s.Tone, s.Headline = toneBad, fmt.Sprintf("%d shared parts are failing", len(failing))
	case len(s.Open) > 0 && s.Open[0].Severity == alert.SeverityPage:
		s.Tone, s.Headline = toneWarn, s.Open[0].Domain.String()+" is recovering"
	case c.OK == 0 && c.Failing == 0:
		s.Tone, s.Headline = toneUnknown, "Nothing can be said yet"
		s.Sub += " No site has an answer that counts: there are no results, or every vantage is sick or blocked."
	case s.Matrix.SitesFailing > 0 || len(s.Open) > 0:
		s.Tone, s.Headline = toneWarn, "Nothing shared is failing"
		s.Sub += fmt.Sprintf(" %s failing by itself.", pluralIs(s.Matrix.SitesFailing, "site"))
	case c.OK < c.total():
		s.Tone, s.Headline = toneWell, "Nothing is failing"
		s.Sub += " Some answers do not count: see the table."
	default:
		s.Tone, s.Headline = toneWell, "Everything answers"
	}
}

// domainRows are the domains worth a row, the worst first, and the number of the others.
func domainRows(v *alert.View) (rows []domainRow, others int) {
	recovering := map[string]bool{}
	for n := range v.Incidents {
		if v.Incidents[n].State == alert.StateRecovering {
			recovering[v.Incidents[n].ID] = true
		}
	}
	for _, d := range v.Domains {
		if d.Open == "" && !d.Suspect && !d.Quorum && d.Failing == 0 {
			others++
			continue
		}
		r := domainRow{DomainView: d, Percent: int(100*min(max(d.Ratio, 0), 1) + 0.5)}
		switch {
		case recovering[d.Open]:
			r.State, r.Tone = "recovering", toneWarn
		case d.Open != "":
			r.State, r.Tone = "failing", toneBad
		case d.Suspect:
			r.State, r.Tone = "suspected", toneWarn
		case !d.Quorum:
			r.State, r.Tone = "below quorum", toneUnknown
		case d.Failing > 0:
			r.State, r.Tone = "some fail", toneWarn
		default:
			r.State, r.Tone = "well", toneWell
		}
		rows = append(rows, r)
	}
	rank := map[string]int{"failing": 0, "suspected": 1, "recovering": 2, "some fail": 3, "below quorum": 4, "well": 5}
	slices.SortStableFunc(rows, func(a, b domainRow) int {
		return cmp.Or(cmp.Compare(rank[a.State], rank[b.State]), cmp.Compare(b.Ratio, a.Ratio), cmp.Compare(b.Owners, a.Owners))
	})
	if len(rows) > maxDomainRows {
		others += len(rows) - maxDomainRows
		rows = rows[:maxDomainRows]
	}
	return rows, others
}

func vantageRows(v *alert.View) []vantageRow {
	rows := make([]vantageRow, len(v.Vantages))
	for n, x := range v.Vantages {
		rows[n] = vantageRow{VantageView: x}
		r := &rows[n]
		switch {
		case x.LastAt.IsZero():
			r.State = "no data"
		case x.Healthy:
			r.State = "healthy"
		default:
			r.State = "sick"
		}
		if !x.LastAt.IsZero() && v.At.Sub(x.LastAt) > 2*time.Minute {
			r.SilentSince = x.LastAt
		}
	}
	for n := range v.Sites {
		s := &v.Sites[n]
		for i, c := range s.Cells[:min(len(s.Cells), len(rows))] {
			rows[i].count(s.Anchor, c.State)
		}
	}
	return rows
}

func (r *vantageRow) count(anchor bool, st alert.CellState) {
	switch {
	case anchor:
		r.OfAnchors++
		if st == alert.CellOK {
			r.Anchors++
		}
	case st == alert.CellOK:
		r.OK++
	case st == alert.CellFailing:
		r.Failing++
	}
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func pluralIs(n int, what string) string {
	if n == 1 {
		return "1 " + what + " is"
	}
	return fmt.Sprintf("%d %ss are", n, what)
}

// contains tells whether any of in holds what, which is in lower case.
func contains(what string, in ...string) bool {
	for _, s := range in {
		if strings.Contains(strings.ToLower(s), what) {
			return true
		}
	}
	return false
}
