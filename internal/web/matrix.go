package web

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"faultline/alert"
	"faultline/probe"
)

const (
	maxRows   = 300 // of the matrix. With more sites than that, only those that fail are shown unasked
	maxGroups = 50
	maxQuery  = 100 // bytes of a search
)

// filter is which sites the reader asked for; the zero filter is his asking for none.
type filter struct {
	Q     string // in the site's name, URL, group, owner or CDN; lower case
	State alert.CellState
}

func parseFilter(r *http.Request) filter {
	q := strings.ToLower(strings.TrimSpace(r.URL.Query().Get("q")))
	q = strings.ToValidUTF8(q[:min(len(q), maxQuery)], "")
	return filter{q, alert.CellState(clip(20, r.URL.Query().Get("state")))}
}

func (f filter) takes(s *alert.SiteView) bool {
	if f.Q != "" && !contains(f.Q, s.Site, s.URL, s.Group, s.Owner, s.CDN) {
		return false
	}
	return f.State == "" || slices.ContainsFunc(s.Cells, func(c alert.CellView) bool { return c.State == f.State })
}

// matrix is the table of sites by vantages.
type matrix struct {
	Filter       filter
	Counts       counts
	Sites        int // watched; anchors are not
	SitesFailing int
	Columns      []alert.VantageView
	Rows         []matrixRow
	Found        int         // sites that could have a row
	Groups       []groupLink // of the sites without a row; nil when all have one, or when a filter is on
	Hidden       int
}

// counts counts cells by state.
type counts struct{ OK, Failing, Pending, Blocked, Sick, Stale, None int }

func (c *counts) total() int {
	return c.OK + c.Failing + c.Pending + c.Blocked + c.Sick + c.Stale + c.None
}

// List is the counts that are not zero, in the order in which people want them.
func (c *counts) List() []stateCount {
	all := []stateCount{
		{alert.CellFailing, c.Failing},
		{alert.CellPending, c.Pending},
		{alert.CellBlocked, c.Blocked},
		{alert.CellSick, c.Sick},
		{alert.CellStale, c.Stale},
		{alert.CellNone, c.None},
		{alert.CellOK, c.OK},
	}
	return slices.DeleteFunc(all, func(s stateCount) bool { return s.N == 0 })
}

type stateCount struct {
	State alert.CellState
	N     int
}

// Class is the state as a name for the style sheet.
func (s stateCount) Class() string { return styleOf(s.State) }

type groupLink struct {
	Group string
	Sites int
}

type matrixRow struct {
	*alert.SiteView
	Cells []matrixCell
}

type matrixCell struct{ Class, Text, Title string }

func newMatrix(v *alert.View, f filter) matrix {
	m := matrix{Filter: f, Columns: v.Vantages}
	var found, rest []*alert.SiteView
	few := len(v.Sites) <= maxRows
	for n := range v.Sites {
		s := &v.Sites[n]
		if s.Anchor {
			continue
		}
		m.add(s)
		switch {
		case f != (filter{}) && !f.takes(s):
		case f == (filter{}) && !few && rankOf(s) > rankPending:
			rest = append(rest, s)
		default:
			found = append(found, s)
		}
	}
	m.Found = len(found)
	slices.SortStableFunc(found, func(a, b *alert.SiteView) int { return cmp.Compare(rankOf(a), rankOf(b)) })
	if len(found) > maxRows {
		found = found[:maxRows]
	}
	for _, s := range found {
		m.Rows = append(m.Rows, newRow(v, s))
	}
	m.Hidden, m.Groups = len(rest), groupsOf(rest)
	return m
}

// Cut is the number of sites that were found and have no row.
func (m *matrix) Cut() int { return m.Found - len(m.Rows) }

func (m *matrix) add(s *alert.SiteView) {
	m.Sites++
	failing := false
	for _, c := range s.Cells {
		failing = failing || c.State == alert.CellFailing
		*m.Counts.of(c.State)++
	}
	if failing {
		m.SitesFailing++
	}
}

func (c *counts) of(s alert.CellState) *int {
	switch s {
	case alert.CellOK:
		return &c.OK
	case alert.CellFailing:
		return &c.Failing
	case alert.CellPending:
		return &c.Pending
	case alert.CellBlocked:
		return &c.Blocked
	case alert.CellSick:
		return &c.Sick
	case alert.CellStale:
		return &c.Stale
	default:
		return &c.None
	}
}

// The order of the rows: what fails, what may be about to, what is not known, what is well.
const (
	rankFailing = iota
	rankPending
	rankUnknown
	rankWell
)

func rankOf(s *alert.SiteView) int {
	rank := rankWell
	for _, c := range s.Cells {
		switch c.State {
		case alert.CellFailing:
			return rankFailing
		case alert.CellPending:
			rank = rankPending
		case alert.CellOK:
		default:
			rank = min(rank, rankUnknown)
		}
	}
	return rank
}

func newRow(v *alert.View, s *alert.SiteView) matrixRow {
	r := matrixRow{SiteView: s, Cells: make([]matrixCell, 0, len(v.Vantages))}
	for n := range v.Vantages {
		c := alert.CellView{State: alert.CellNone}
		if n < len(s.Cells) {
			c = s.Cells[n]
		}
		r.Cells = append(r.Cells, newCell(s.Site, v.Vantages[n].Name, c))
	}
	return r
}

// newCell says a cell in a word and in a sentence. It leaves out the time of the last answer, which would make the page
// change with every result.
func newCell(site, vantage string, c alert.CellView) matrixCell {
	m := matrixCell{Class: styleOf(c.State), Text: string(c.State)}
	m.Title = fmt.Sprintf("%s from %s: %s", clip(80, site), clip(40, vantage), c.State)
	switch c.State {
	case alert.CellOK:
		m.Text = "✓"
	case alert.CellPending:
		m.Text = "slow …"
	case alert.CellFailing:
		m.Text = "✕ " + faultWord(c.Fault)
		m.Title += fmt.Sprintf(", %s, fault %s", c.Class, c.Fault)
	}
	if !c.Since.IsZero() {
		m.Title += ", since " + c.Since.UTC().Format("2 Jan, 15:04:05 UTC")
	}
	return m
}

// faultWord is a fault in a word short enough for a cell.
func faultWord(f probe.Fault) string {
	switch f {
	case probe.FaultNone:
		return "4xx" // the only failure that is nobody's fault
	case probe.FaultAmbiguous:
		return "?"
	default:
		return f.String()
	}
}

// styleOf is the class of a state in the style sheet; one that this version does not know looks like no data.
func styleOf(s alert.CellState) string {
	switch s {
	case alert.CellOK, alert.CellFailing, alert.CellPending, alert.CellBlocked, alert.CellSick, alert.CellStale:
		return string(s)
	default:
		return "none"
	}
}

// groupsOf counts sites by group, the largest first.
func groupsOf(sites []*alert.SiteView) []groupLink {
	n := map[string]int{}
	for _, s := range sites {
		n[s.Group]++
	}
	var out []groupLink
	for g, k := range n {
		out = append(out, groupLink{g, k})
	}
	slices.SortFunc(out, func(a, b groupLink) int {
		return cmp.Or(cmp.Compare(b.Sites, a.Sites), cmp.Compare(a.Group, b.Group))
	})
	return out[:min(len(out), maxGroups)]
}
