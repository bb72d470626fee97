package report

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"faultline/alert"
)

// chart is a course drawn: the share of all over time, from 0 to 100 per cent, and below it a strip for each vantage. Its
// times are UTC, and where nothing is known nothing is drawn.
type chart struct {
	Alt           string
	Width, Height int
	Left, Right   int // of what is drawn
	Top, Bottom   int // of the share of all
	Foot          int // of everything that has a time
	Middle        int // of the share of all: 50 per cent
	Area, Line    string
	Ticks         []tick
	Marks         []mark
	Strips        []strip
	Unit          string // of the axis

	from, till time.Time
	held       time.Duration // how long a point holds where no other follows
}

// tick is a time on the axis.
type tick struct{ X, Label string }

// mark is a moment of the incident's life.
type mark struct {
	X, LabelX string
	Y         int
	Anchor    string
	Label     string
	at        time.Time
}

// strip is how much failed at one vantage when.
type strip struct {
	Name, Worst string
	Y, TextY    int
	Height      int
	Spans       []shade
}

// shade is a part of a strip: Tone n = more than 10(n-1) and up to 10n per cent.
type shade struct {
	X, Width string
	Tone     int
}

// layout is what differs between a chart for a wide page and one for a phone, in the chart's own pixels.
type layout struct{ width, left, name int }

var (
	wide   = layout{width: 880, left: 120, name: 15}
	narrow = layout{width: 360, left: 74, name: 9}
)

const (
	rightEdge   = 46
	labelHeight = 15
	plotHeight  = 150
	stripHeight = 14
	stripPitch  = 20
	charWidth   = 6.6
)

func newChart(i *alert.Incident, points []alert.Point, vantages []vantage, l layout) *chart {
	c := &chart{Width: l.width, Left: l.left, Right: l.width - rightEdge}
	c.limits(i, points)
	c.mark(i)
	c.Bottom = c.Top + plotHeight
	c.Middle = c.Top + plotHeight/2
	c.Foot = c.Bottom
	c.draw(points)
	for n, v := range vantages {
		s := strip{Name: ends(plain(v.name, maxName), l.name), Worst: fmt.Sprintf("%d %%", v.worst), Y: c.Bottom + 10 + n*stripPitch, Height: stripHeight}
		s.TextY, s.Spans = s.Y+stripHeight-3, c.shades(points, v.name)
		c.Strips, c.Foot = append(c.Strips, s), s.Y+stripHeight
	}
	c.ticks()
	c.Height = c.Foot + 40
	return c
}

// limits finds how long a point holds, and from when until when the chart goes.
func (c *chart) limits(i *alert.Incident, points []alert.Point) {
	var gaps []time.Duration
	for n := 1; n < len(points); n++ {
		gaps = append(gaps, points[n].At.Sub(points[n-1].At))
	}
	slices.Sort(gaps)
	c.held = time.Second
	if len(gaps) > 0 {
		c.held = max(c.held, gaps[len(gaps)/2])
	}
	c.from, c.till = points[0].At, points[len(points)-1].At.Add(c.held)
	for _, t := range []time.Time{i.Onset, i.RecoveringAt, i.ResolvedAt} {
		if !t.IsZero() {
			c.from = minTime(c.from, t)
			c.till = maxTime(c.till, t)
		}
	}
}

func minTime(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func maxTime(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func (c *chart) x(t time.Time) float64 {
	return float64(c.Left) + float64(c.Right-c.Left)*float64(t.Sub(c.from))/float64(c.till.Sub(c.from))
}

func (c *chart) y(percent int) float64 { return float64(c.Bottom) - plotHeight*float64(percent)/100 }

// until is how long a point holds: till the next one, unless that is so late that some are missing.
func (c *chart) until(points []alert.Point, n int) time.Time {
	end := points[n].At.Add(c.held)
	if n+1 < len(points) && points[n+1].At.Sub(points[n].At) <= 6*c.held {
		end = points[n+1].At
	}
	return minTime(end, c.till)
}

// draw makes the line of the share, in steps: a point holds until the next one.
func (c *chart) draw(points []alert.Point) {
	var line, area strings.Builder
	drawn := time.Time{}
	for n := range points {
		p, end := &points[n], c.until(points, n)
		x, y, to := px(c.x(p.At)), px(c.y(share(p))), px(c.x(end))
		step := "L"
		if !p.At.Equal(drawn) {
			step = "M"
		}
		fmt.Fprintf(&line, "%s%s %sH%s", step, x, y, to)
		fmt.Fprintf(&area, "M%s %dV%sH%sV%dZ", x, c.Bottom, y, to, c.Bottom)
		drawn = end
	}
	c.Line, c.Area = line.String(), area.String()
}

// shades are a vantage's shares, those alike that follow one another as one.
func (c *chart) shades(points []alert.Point, name string) []shade {
	var out []shade
	var from, till time.Time
	tone := -1
	flush := func() {
		if tone >= 0 {
			out = append(out, shade{px(c.x(from)), px(c.x(till) - c.x(from)), tone})
		}
	}
	for n := range points {
		percent, seen := points[n].Vantages[name]
		next := -1
		if seen {
			next = (min(max(percent, 0), 100) + 9) / 10
		}
		if next != tone || !points[n].At.Equal(till) {
			flush()
			from, tone = points[n].At, next
		}
		till = c.until(points, n)
	}
	flush()
	return out
}

var steps = []time.Duration{
	time.Second, 5 * time.Second, 15 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute,
	15 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour, 24 * time.Hour,
}

// ticks are round times, as many as there is room for.
func (c *chart) ticks() {
	step := steps[len(steps)-1]
	least := c.till.Sub(c.from) / time.Duration((c.Right-c.Left)/60)
	for _, s := range slices.Backward(steps) {
		if s >= least {
			step = s
		}
	}
	for step < least {
		step *= 2
	}
	c.Unit = "UTC, " + day(c.from)
	if day(c.from) != day(c.till) {
		c.Unit += " to " + day(c.till)
	}
	for t := c.from.UTC().Truncate(step); !t.After(c.till); t = t.Add(step) {
		if !t.Before(c.from) {
			c.Ticks = append(c.Ticks, tick{px(c.x(t)), tickLabel(t, step)})
		}
	}
}

// tickLabel is a round time; at midnight its day.
func tickLabel(t time.Time, step time.Duration) string {
	switch {
	case t.Equal(t.Truncate(24 * time.Hour)):
		return t.Format("2 Jan")
	case step < time.Minute:
		return t.Format("15:04:05")
	default:
		return t.Format("15:04")
	}
}

// mark notes the turns of the incident's life above the chart, each as low as there is room for it.
func (c *chart) mark(i *alert.Incident) {
	for _, m := range []mark{
		{Label: "onset", at: i.Onset},
		{Label: "paged", at: i.PagedAt},
		{Label: "answers again", at: i.RecoveringAt},
		{Label: "resolved", at: i.ResolvedAt},
	} {
		if !m.at.IsZero() && !m.at.Before(c.from) && !m.at.After(c.till) {
			c.Marks = append(c.Marks, m)
		}
	}
	slices.SortStableFunc(c.Marks, func(a, b mark) int { return a.at.Compare(b.at) })
	var ends []float64 // of what stands on each line already
	lines := make([]int, len(c.Marks))
	for n := range c.Marks {
		from, till := c.place(&c.Marks[n])
		line := slices.IndexFunc(ends, func(end float64) bool { return end < from })
		if line < 0 {
			line = len(ends)
			ends = append(ends, 0)
		}
		ends[line], lines[n] = till, line
	}
	c.Top = labelHeight*len(ends) + 8
	for n, line := range lines {
		c.Marks[n].Y = labelHeight * (line + 1)
	}
}

// place sets a mark's label beside its line, inside the chart, and gives from where to where it goes.
func (c *chart) place(m *mark) (from, till float64) {
	x, length := c.x(m.at), charWidth*float64(len(m.Label))
	m.X, m.Anchor, m.LabelX = px(x), "start", px(x+4)
	from = x
	if x+length+8 > float64(c.Width) {
		m.Anchor, m.LabelX = "end", px(x-4)
		from = x - length - 8
	}
	return from, from + length + 8
}

func px(f float64) string {
	return cmp.Or(strings.TrimSuffix(strconv.FormatFloat(f, 'f', 1, 64), ".0"), "0")
}
