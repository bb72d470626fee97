package alert

import (
	"fmt"
	"slices"
	"strings"
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
	if i.d.Kind == KindOrigin {
		return SingleOwner, "only this owner's sites fail; others on the same provider answer"
	}
	regions := map[string]bool{}
	for l := range i.shown {
		regions[e.lanes[l].Region] = true
	}
	switch {
	case e.places == 1:
		return ProviderOutage, "it is seen from the only vantage there is: its other sites answer, so its own network works"
	case i.Scope == ScopeGlobal:
		return ProviderOutage, fmt.Sprintf("unrelated owners fail alike from %s", plural(len(regions), "region", "regions"))
	case len(regions) == 1 && e.byWayOnly(i):
		return Interference, "only one region shows it, by resets or silence, while the same sites answer elsewhere"
	default:
		return ProviderOutage, "unrelated owners fail alike, so far mostly from " + strings.Join(i.Regions, ", ")
	}
}

// byWayOnly tells whether no answer of the edge itself is among the evidence: only resets, silence and the like.
func (e *Engine) byWayOnly(i *incident) bool {
	for n := range i.Evidence {
		if i.Evidence[n].Status != 0 {
			return false
		}
	}
	return len(i.Evidence) > 0
}

// maxFine bounds what a page says is not failing.
const maxFine = 4

// fine says what is not failing, so that whoever is paged knows where not to look: the other CDNs, then the rest.
func (e *Engine) fine(d *domain) []string {
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
