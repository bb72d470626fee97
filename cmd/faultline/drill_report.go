package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"faultline/alert"
	"faultline/internal/simnet"
)

// drillReport is what came of a drill; times are scenario seconds since the onset.
type drillReport struct {
	Scenario    string        `json:"scenario"`
	Onset       string        `json:"onset,omitempty"` // of the real outage
	Excerpt     bool          `json:"excerpt"`
	FirstFailS  float64       `json:"first_fail_s,omitempty"`
	Pages       []drillPage   `json:"pages"`
	Notices     []drillNotice `json:"notices"`
	RecoveringS *float64      `json:"recovering_s,omitempty"`
	ResolvedS   *float64      `json:"resolved_s,omitempty"`
	Deliveries  int           `json:"deliveries"`
	Expected    drillExpected `json:"expected"`
	Verdict     string        `json:"verdict"` // pass or fail
	Why         string        `json:"why"`

	scope       alert.Scope // of the page, at its resolution
	resolutions int
	endsWell    bool // nothing fails any more at the end
}

type drillPage struct {
	AtS        float64      `json:"at_s"`
	Incident   string       `json:"incident"`
	Domain     alert.Domain `json:"domain"`
	Scope      string       `json:"scope"`
	Assessment string       `json:"assessment"`
	Text       string       `json:"text"`
}

type drillNotice struct {
	AtS     float64      `json:"at_s"`
	Kind    string       `json:"kind"`
	Domain  alert.Domain `json:"domain,omitzero"`
	Vantage string       `json:"vantage,omitempty"`
	Text    string       `json:"text"`
}

type drillExpected struct {
	Page       bool     `json:"page"`
	Pages      int      `json:"pages"`
	MaxPages   int      `json:"max_pages"`
	Domain     string   `json:"domain,omitempty"`
	AlsoAccept []string `json:"also_accept,omitempty"`
	Forbid     []string `json:"forbid,omitempty"`
	Scope      string   `json:"scope,omitempty"`
	VisibleS   float64  `json:"visible_s"`
	MaxDetectS float64  `json:"max_detect_s,omitempty"`
	Notices    []string `json:"notices,omitempty"`
}

func newReport(sc *simnet.Scenario) drillReport {
	e := &sc.Expect
	r := drillReport{
		Scenario: sc.Name, endsWell: sc.EndsWell(), Pages: []drillPage{}, Notices: []drillNotice{},
		Expected: drillExpected{
			Page: e.Page, Pages: e.Pages, MaxPages: e.MaxPages, Scope: e.Scope,
			VisibleS: e.Visible.Seconds(), MaxDetectS: e.MaxDetect.Seconds(), Notices: e.Notices,
		},
	}
	if !sc.Onset.IsZero() {
		r.Onset = sc.Onset.UTC().Format("2006-01-02T15:04:05Z")
	}
	if e.Domain != (simnet.Ref{}) {
		r.Expected.Domain = e.Domain.String()
	}
	for _, a := range e.AlsoAccept {
		r.Expected.AlsoAccept = append(r.Expected.AlsoAccept, a.String())
	}
	for _, f := range e.Forbid {
		r.Expected.Forbid = append(r.Expected.Forbid, f.String())
	}
	return r
}

// hook is what the daemon's webhook channel posts.
type hook struct {
	Event    string          `json:"event"`
	Severity alert.Severity  `json:"severity"`
	Title    string          `json:"title"`
	Text     string          `json:"text"`
	Incident *alert.Incident `json:"incident"`
	Notices  []alert.Notice  `json:"notices"`
}

// delivered enters and shows what the receiver got.
func (s *stage) delivered(d simnet.Delivery) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.report.Deliveries++
	var h hook
	if err := json.Unmarshal(d.Body, &h); err != nil {
		s.line(d.At, "a delivery that cannot be read: %v", err)
		return
	}
	at := s.at(d.At)
	switch {
	case len(h.Notices) > 0:
		for _, n := range h.Notices {
			s.report.Notices = append(s.report.Notices, drillNotice{at, n.Kind, n.Domain, n.Vantage, n.Text})
			s.line(d.At, "notice %s: %s", n.Kind, n.Text)
		}
	case h.Incident == nil:
		s.line(d.At, "%s: %s", h.Event, h.Title)
	case h.Severity != alert.SeverityPage:
		s.entered(h.Incident, at)
		s.line(d.At, "notice (%s): %s", h.Event, h.Title)
	default:
		s.paged(&h, at)
		if h.Event == "page" || h.Event == "update" {
			s.line(d.At, "%s: %s", strings.ToUpper(h.Event), h.Title)
		} else {
			s.line(d.At, "%s", h.Title) // which says so itself
		}
		if h.Event == "page" {
			for _, l := range strings.Split(strings.TrimSpace(h.Text), "\n") {
				fmt.Fprintf(s.screen, "          | %s\n", l)
			}
		}
	}
}

// entered notes an incident that wakes nobody, once.
func (s *stage) entered(i *alert.Incident, at float64) {
	kind := alert.NoticeSite
	if i.Of.Sites > 1 {
		kind = alert.NoticeOwner
	}
	if i.State == alert.StateOpen && i.Rev == 1 {
		s.report.Notices = append(s.report.Notices, drillNotice{AtS: at, Kind: kind, Domain: i.Domain, Text: i.Title()})
	}
}

func (s *stage) paged(h *hook, at float64) {
	r, i := &s.report, h.Incident
	known := slices.ContainsFunc(r.Pages, func(p drillPage) bool { return p.Incident == i.ID })
	if h.Event == "page" || !known {
		r.Pages = append(r.Pages, drillPage{at, i.ID, i.Domain, string(i.Scope), string(i.Assessment), h.Text})
	}
	r.life(i, at)
}

// life notes where a page's incident is in its life.
func (r *drillReport) life(i *alert.Incident, at float64) {
	r.scope = i.Scope
	switch i.State {
	case alert.StateOpen:
		r.RecoveringS = nil
	case alert.StateRecovering:
		r.RecoveringS = &at
	case alert.StateResolved:
		r.ResolvedS = &at
		r.resolutions++
	}
}

// over tells whether nothing more is to come: every page is resolved, and there is one if one is expected.
func (s *stage) over() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.report.resolutions >= len(s.report.Pages) && (len(s.report.Pages) > 0 || !s.sc.Expect.Page)
}

// judge holds what came of the drill against what was expected, and shows the verdict.
func (s *stage) judge() *drillReport {
	s.mu.Lock()
	defer s.mu.Unlock()
	missed := s.report.missed(&s.sc.Expect)
	s.report.Verdict, s.report.Why = "pass", "as expected"
	if len(missed) > 0 {
		s.report.Verdict, s.report.Why = "fail", strings.Join(missed, "; ")
	}
	fmt.Fprintf(s.screen, "\nexpected: %s\n", s.report.Expected)
	fmt.Fprintf(s.screen, "came:     %s\n", s.report.summary())
	fmt.Fprintf(s.screen, "verdict:  %s: %s\n", s.report.Verdict, s.report.Why)
	r := s.report
	return &r
}

// missed names every expectation that was not met.
func (r *drillReport) missed(e *simnet.Expect) []string {
	var m []string
	say := func(format string, args ...any) { m = append(m, fmt.Sprintf(format, args...)) }
	for _, p := range r.Pages {
		switch {
		case e.Forbids(p.Domain.Kind, p.Domain.Name):
			say("a page names %v, which none may", p.Domain)
		case (e.Page || e.PageOptional) && !e.Accepts(p.Domain.Kind, p.Domain.Name):
			say("a page names %v, not %v", p.Domain, e.Domain)
		}
	}
	for _, kind := range e.Notices {
		if !slices.ContainsFunc(r.Notices, func(n drillNotice) bool { return n.Kind == kind }) {
			say("there was no notice %s", kind)
		}
	}
	if len(r.Pages) > max(e.MaxPages, e.Pages) && !(e.PageOptional && len(r.Pages) <= 1) {
		say("%d pages, expected %d", len(r.Pages), e.Pages)
	}
	if e.PageOptional || !e.Page {
		return m
	}
	if len(r.Pages) < max(1, e.Pages) {
		say("%d pages, expected %d", len(r.Pages), max(1, e.Pages))
		return m
	}
	return append(m, r.missedTimes(e)...)
}

func (r *drillReport) missedTimes(e *simnet.Expect) []string {
	var m []string
	first := r.Pages[0].AtS
	if latest := (e.Visible + e.MaxDetect).Seconds(); e.MaxDetect > 0 && first > latest {
		m = append(m, fmt.Sprintf("the page came at %.1f s, expected by %.0f s", first, latest))
	}
	if e.MustBeat > 0 && first >= e.MustBeat.Seconds() {
		m = append(m, fmt.Sprintf("the page came at %.1f s, after the %.0f s it must beat", first, e.MustBeat.Seconds()))
	}
	if e.Scope == "global" || e.Scope == "regional" {
		if string(r.scope) != e.Scope {
			m = append(m, fmt.Sprintf("scope %s, expected %s", r.scope, e.Scope))
		}
	}
	if r.endsWell && r.resolutions != len(r.Pages) {
		m = append(m, fmt.Sprintf("%d resolutions of %d pages", r.resolutions, len(r.Pages)))
	}
	return m
}

func (e drillExpected) String() string {
	switch {
	case !e.Page:
		return "no page; notices: " + strings.Join(append([]string{}, e.Notices...), ", ")
	case e.MaxDetectS > 0:
		return fmt.Sprintf("%d page naming %s, %s, at most %.0f s after it can be seen (%.0f s)", e.Pages, e.Domain, e.Scope, e.MaxDetectS, e.VisibleS)
	default:
		return fmt.Sprintf("%d page naming %s, %s", e.Pages, e.Domain, e.Scope)
	}
}

func (r *drillReport) summary() string {
	if len(r.Pages) == 0 {
		return fmt.Sprintf("no page, %d notices, %d deliveries", len(r.Notices), r.Deliveries)
	}
	s := fmt.Sprintf("%d page naming %s at %.1f s", len(r.Pages), r.Pages[0].Domain, r.Pages[0].AtS)
	if r.FirstFailS > 0 {
		s += fmt.Sprintf(", %.1f s after the first failing probe", r.Pages[0].AtS-r.FirstFailS)
	}
	if r.RecoveringS != nil {
		s += fmt.Sprintf("; recovery told at %.0f s", *r.RecoveringS)
	}
	if r.ResolvedS != nil {
		s += fmt.Sprintf("; resolved at %.0f s", *r.ResolvedS)
	}
	return s + fmt.Sprintf("; %d deliveries", r.Deliveries)
}
