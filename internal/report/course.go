package report

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"faultline/alert"
)

// course is how much failed when.
type course struct {
	Summary string // what the chart shows, in words
	Rows    []row  // some of its points
	Wide    *chart
	Narrow  *chart // for a phone
}

// row is one point of a course, in figures.
type row struct {
	At      string
	Failing string
	Share   int // per cent
}

// maxRows is how many points of a course are told in figures.
const maxRows = 12

func newCourse(i *alert.Incident, clock func(time.Time) string) *course {
	points := usable(i.Course)
	if len(points) == 0 {
		return nil
	}
	vantages := chosen(points)
	c := &course{Summary: summary(points, vantages, clock), Wide: newChart(i, points, vantages, wide), Narrow: newChart(i, points, vantages, narrow)}
	c.Wide.Alt, c.Narrow.Alt = c.Summary, c.Summary
	for _, n := range sample(len(points), maxRows, worstOf(points)) {
		p := &points[n]
		c.Rows = append(c.Rows, row{clock(p.At), fmt.Sprintf("%d of %d", p.Failing, p.Of), share(p)})
	}
	return c
}

// usable are the points that have a time, in its order.
func usable(points []alert.Point) []alert.Point {
	out := slices.DeleteFunc(slices.Clone(points), func(p alert.Point) bool { return p.At.IsZero() })
	slices.SortStableFunc(out, func(a, b alert.Point) int { return a.At.Compare(b.At) })
	return out[:min(len(out), alert.MaxCourse)]
}

// share is how many per cent fail.
func share(p *alert.Point) int {
	if p.Of <= 0 {
		return 0
	}
	return min(max((100*p.Failing+p.Of/2)/p.Of, 0), 100)
}

// worstOf is the first of the points at which most fails.
func worstOf(points []alert.Point) int {
	worst := 0
	for n := range points {
		if share(&points[n]) > share(&points[worst]) {
			worst = n
		}
	}
	return worst
}

// worstPoint is when most failed; nil = nothing is known of that.
func worstPoint(points []alert.Point) *alert.Point {
	points = usable(points)
	if len(points) < 2 {
		return nil
	}
	return &points[worstOf(points)]
}

// sample chooses at most `most` of n points, evenly, among them the first one, the last one, and keep.
func sample(n, most, keep int) []int {
	var out []int
	if n <= most {
		for k := range n {
			out = append(out, k)
		}
		return out
	}
	for k := range most {
		out = append(out, k*(n-1)/(most-1))
	}
	if at, found := slices.BinarySearch(out, keep); !found {
		out[min(max(at, 1), most-2)] = keep
	}
	slices.Sort(out)
	return out
}

// vantage is a place of the chart, and the most that failed there.
type vantage struct {
	name  string
	worst int
}

// chosen are the vantages that a chart has room for, by name: where there are more, those at which most failed.
func chosen(points []alert.Point) []vantage {
	worst := map[string]int{}
	for n := range points {
		for name, percent := range points[n].Vantages {
			worst[name] = max(worst[name], min(percent, 100))
		}
	}
	var out []vantage
	for _, name := range slices.Sorted(maps.Keys(worst)) {
		out = append(out, vantage{name, worst[name]})
	}
	if len(out) > maxVantages {
		slices.SortStableFunc(out, func(a, b vantage) int { return cmp.Compare(b.worst, a.worst) })
		out = out[:maxVantages]
		slices.SortFunc(out, func(a, b vantage) int { return cmp.Compare(a.name, b.name) })
	}
	return out
}

// summary is the chart in words.
func summary(points []alert.Point, vantages []vantage, clock func(time.Time) string) string {
	first, last, worst := &points[0], &points[len(points)-1], &points[worstOf(points)]
	tell := func(p *alert.Point) string {
		return fmt.Sprintf("%d %% (%d of %d) at %s", share(p), p.Failing, p.Of, clock(p.At))
	}
	s := "Share of the sites that failed: " + tell(first)
	if len(points) > 1 {
		s = fmt.Sprintf("Share of the sites that failed: first %s, at worst %s, last %s", tell(first), tell(worst), tell(last))
	}
	var places []string
	for _, v := range vantages {
		places = append(places, fmt.Sprintf("%s %d %%", plain(v.name, maxName), v.worst))
	}
	if len(places) > 0 {
		s += ". At worst from each vantage: " + strings.Join(places, ", ")
	}
	return s + "."
}
