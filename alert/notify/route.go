package notify

import (
	"slices"
	"time"

	"faultline/alert"
	"faultline/probe"
)

// Route sends what fits it to some channels. An empty field fits everything.
type Route struct {
	Severity alert.Severity
	Match    alert.Match    // of an incident, some failing site and vantage must fit; see alert.Match
	Kinds    []string       // of domain, or of notice
	When     []alert.Weekly // when it was told: of an incident, when it became what it is, page or notice
	Zone     *time.Location // of When; not nil
	Channels []string
	Continue bool // the routes after it are looked at too
}

// Router says which channels are told of what. Without a route that fits, all are.
type Router struct {
	Routes   []Route
	Channels []NamedChannel
	Site     func(name string) *probe.Site // of a name; nil = not known
}

// Of gives the channels that are told of an incident. Those that take no notices are not told of one that wakes nobody.
func (r *Router) Of(i *alert.Incident) []string {
	at := i.OpenedAt
	if i.Severity == alert.SeverityPage {
		at = i.PagedAt
	}
	return r.channels(i.Severity, func(x *Route) bool {
		return x.fits(i.Severity, i.Domain.Kind, at) && alert.MatchesIncident(x.Match, i, r.Site)
	})
}

// OfNotice gives the channels that are told of a notice.
func (r *Router) OfNotice(n *alert.Notice) []string {
	return r.channels(alert.SeverityNotice, func(x *Route) bool {
		return x.fits(alert.SeverityNotice, n.Kind, n.At) && alert.MatchesNotice(x.Match, n, r.Site)
	})
}

func (x *Route) fits(s alert.Severity, kind string, at time.Time) bool {
	return (x.Severity == "" || x.Severity == s) && (len(x.Kinds) == 0 || slices.Contains(x.Kinds, kind)) &&
		(len(x.When) == 0 || slices.ContainsFunc(x.When, func(w alert.Weekly) bool { return w.Covers(at.In(x.Zone)) }))
}

func (r *Router) channels(s alert.Severity, fits func(*Route) bool) []string {
	var wanted []string
	routed := false
	for n := range r.Routes {
		x := &r.Routes[n]
		if !fits(x) {
			continue
		}
		routed = true
		wanted = append(wanted, x.Channels...)
		if !x.Continue {
			break
		}
	}
	var out []string
	for _, c := range r.Channels {
		if (s == alert.SeverityPage || c.Notices) && (!routed || slices.Contains(wanted, c.Name)) {
			out = append(out, c.Name)
		}
	}
	return out
}
