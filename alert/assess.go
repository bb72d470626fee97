package alert

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"faultline/probe"
)

// assess says what kind of trouble an incident looks like, and adds the reason to it.
func (e *Engine) assess(i *incident) Assessment {
	a, why := e.look(i)
	if i.over[1] && !i.over[0] {
		why += "; it is seen over IPv6 only"
	}
	i.Why = slices.DeleteFunc(i.Why, func(s string) bool { return s == i.because })
	i.Why = append(i.Why, why)
	i.because = why
	return a
}

func (e *Engine) look(i *incident) (Assessment, string) {
	here, regions, others := e.regionsOfIncident(i)
	oneRegion := len(regions) == 1 && others > 0
	switch {
	case i.d.Kind == KindSelf:
		return ProberTrouble, "too little is seen to tell"
	case i.d.Kind == KindOrigin:
		return SingleOwner, e.neighbours(i)
	case i.d.Kind == KindPath && oneRegion:
		return Interference, fmt.Sprintf("only vantages in %s cannot reach them, by %s, whatever CDN they are behind, and the same sites answer elsewhere; a network that fails on the way there would look alike", regions[0], e.byWhat(i))
	case i.d.Kind == KindPath && others == 0:
		return Unclear, "they fail from everywhere, by silence or resets, and nothing that they share is known"
	case i.d.Kind == KindPath:
		return PathTrouble, "the same sites answer from elsewhere, and sites of all kinds fail from these regions: " + strings.Join(regions, ", ")
	case e.places == 1:
		return ProviderOutage, "it is seen from the only vantage there is: its other sites answer, so its own network works"
	case oneRegion && e.byWayOnly(i):
		return Interference, fmt.Sprintf("only %s shows it, by %s, while the same sites answer elsewhere", regions[0], e.byWhat(i))
	case i.Scope == ScopeGlobal:
		return ProviderOutage, fmt.Sprintf("unrelated owners fail alike from %s of %s", plural(here, "vantage", "vantages"), plural(len(regions), "region", "regions"))
	default:
		return ProviderOutage, "unrelated owners fail alike, so far mostly from " + strings.Join(regions, ", ")
	}
}

// regionsOfIncident gives how many vantages show an incident, their regions, sorted, and how many healthy vantages there are in
// other regions.
func (e *Engine) regionsOfIncident(i *incident) (here int, regions []string, others int) {
	for p, n := range i.showing {
		if r := e.lanes[p].Region; n > 0 {
			here++
			if r == "" {
				r = e.lanes[p].Name
			}
			if !slices.Contains(regions, r) {
				regions = append(regions, r)
			}
		}
	}
	for p := range i.showing {
		r := e.lanes[p].Region
		if r == "" {
			r = e.lanes[p].Name
		}
		others += btoi(!slices.Contains(regions, r) && !e.lanes[p].sick)
	}
	slices.Sort(regions)
	return here, regions, others
}

// neighbours says how the other sites on the CDNs of an owner's failing sites fare.
func (e *Engine) neighbours(i *incident) string {
	var names []string
	var sites []int
	for k := range i.members {
		if c := e.cdn(i.members[k].site); c != nil && !slices.Contains(names, c.Name) {
			names = append(names, c.Name)
			for _, m := range c.members {
				if e.sites[m.site].owner != e.sites[i.members[k].site].owner {
					sites = append(sites, m.site)
				}
			}
		}
	}
	well, of := e.wellOf(sites)
	switch {
	case len(names) == 0:
		return "only this owner's sites fail: overload, an attack on them, or a fault of their own"
	case of == 0:
		return fmt.Sprintf("only this owner's sites fail, as far as is seen: no other site behind %s is watched", strings.Join(names, ", "))
	default:
		return fmt.Sprintf("only this owner's sites fail; %d of %d others behind %s answer: overload, an attack on them, or a fault of their own", well, of, strings.Join(names, ", "))
	}
}

// byWayOnly tells whether no answer of the edge itself is among the evidence: only resets, silence, lies and block pages.
func (e *Engine) byWayOnly(i *incident) bool {
	for n := range i.Evidence {
		if r := &i.Evidence[n]; r.Status != 0 && r.Class != probe.ClassHTTPInterference {
			return false
		}
	}
	return len(i.Evidence) > 0
}

// byWhat names the kinds of answers among the evidence: "connect_timeout, tls_reset".
func (e *Engine) byWhat(i *incident) string {
	var out []string
	for n := range i.Evidence {
		if c := i.Evidence[n].Class.String(); !slices.Contains(out, c) {
			out = append(out, c)
		}
	}
	if len(out) == 0 {
		return "silence or resets"
	}
	return strings.Join(out, ", ")
}

// howSure says how often chance alone would do this, from how much a score exceeds what one false page a year, over all
// domains, allows.
func howSure(score, threshold, falsePages float64) string {
	years := math.Exp(min(score-threshold, 30)) / falsePages
	const most = 1e6
	switch {
	case years > most:
		return "chance alone would do this less than once in a million years"
	case years < 1.5:
		return "chance alone would do this about once a year"
	default:
		return fmt.Sprintf("chance alone would do this about once in %.2g years", years)
	}
}

// maxFine bounds what a page says is not failing.
const maxFine = 4

// fine says what is not failing, so that whoever is paged knows where not to look: the other CDNs, then the rest.
func (e *Engine) fine(d *domain) []string {
	if d.Kind == KindOrigin {
		return nil // its assessment says so
	}
	var out []string
	for _, other := range e.domains {
		if other == d || other.Kind != KindCDN || other.open != nil || len(other.members) == 0 || len(out) == maxFine-1 {
			continue
		}
		if well, of := e.wellOf(sitesOf(other.members)); of > 0 && well*10 >= of*9 {
			out = append(out, fmt.Sprintf("%s: %d of %d sites answer", other.Name, well, of))
		}
	}
	var rest []int
	for s := range e.sites {
		if e.cdn(s) == nil && !e.sites[s].memberOf(d) {
			rest = append(rest, s)
		}
	}
	if well, of := e.wellOf(rest); of > 0 && well*10 >= of*9 {
		out = append(out, fmt.Sprintf("sites behind no known CDN, and anchors: %d of %d answer", well, of))
	}
	return out
}

// wellOf counts the sites that answered lately at a healthy vantage, and those of them that answered well everywhere.
func (e *Engine) wellOf(sites []int) (well, of int) {
	for _, s := range sites {
		saw, bad := false, false
		for l := range e.lanes {
			c := e.cell(s, l)
			if e.lanes[l].sick || c.at == 0 || e.stale(s, c) {
				continue
			}
			saw = true
			bad = bad || c.since != 0
		}
		of += btoi(saw)
		well += btoi(saw && !bad)
	}
	return well, of
}

func sitesOf(members []membership) []int {
	out := make([]int, len(members))
	for i, m := range members {
		out[i] = m.site
	}
	return out
}
