package alert

import (
	"slices"

	"faultline/probe"
)

// The engine's unit of looking is a lane: a vantage, over one family of addresses. Each vantage has a main lane, and one
// for IPv6 where any site is looked at over it by itself. Lanes fall sick by themselves, but places are counted: the two
// lanes of one vantage are one witness.
//
// Lane l is at place l % places: first come the main lanes in the order of the vantages, then those for IPv6.

func (e *Engine) place(l int) int {
	if l >= e.places {
		return l - e.places
	}
	return l
}

// lanesAt yields the lanes of a place.
func (e *Engine) lanesAt(p int) func(yield func(l int) bool) {
	return func(yield func(l int) bool) {
		for l := p; l < len(e.lanes); l += e.places {
			if !yield(l) {
				return
			}
		}
	}
}

// family is the index of a lane's family: 0 = main, 1 = IPv6.
func (e *Engine) family(l int) int { return btoi(e.lanes[l].six) }

// lanesOf tells which lanes a site is looked at in: the main ones, those for IPv6.
func lanesOf(s *probe.Site) [numFamilies]bool {
	six := slices.Contains(s.Families, probe.FamilyIP6)
	return [numFamilies]bool{!six || len(s.Families) > 1, six}
}

const numFamilies = 2

// uses tells whether site s is looked at in lane l.
func (e *Engine) uses(s, l int) bool { return e.sites[s].lanes[e.family(l)] }

// laneOf is the lane that a result belongs to.
func (e *Engine) laneOf(s, place int, f probe.Family) (l int, ok bool) {
	lanes := &e.sites[s].lanes
	if f == probe.FamilyIP6 && lanes[1] {
		return place + e.places, true
	}
	return place, lanes[0]
}

// laneAt is the lane of a place for a wish about site s: that of the family wished where the site uses it.
func (e *Engine) laneAt(s, place, family int) int {
	if lanes := &e.sites[s].lanes; lanes[1] && (family == 1 || !lanes[0]) {
		return place + e.places
	}
	return place
}

// familyOf is the family to ask site s over in lane l.
func (e *Engine) familyOf(s, l int) probe.Family {
	switch {
	case e.lanes[l].six:
		return probe.FamilyIP6
	case e.sites[s].lanes[1] && slices.Contains(e.sites[s].Families, probe.FamilyIP4):
		return probe.FamilyIP4
	default:
		return probe.FamilyAny
	}
}

// pool is what check-ups of the lanes of one family ask.
type pool struct {
	sites []int // the anchors, or, where there are too few, all sites of the lanes
	all   bool  // the latter
}

// leastAnchors is how many anchors check-ups need, not to ask the sites themselves.
const leastAnchors = 3

// setLanes makes the lanes of a world. Those of vantages that stay keep what is known of them; from gives the number
// that a lane had before, or -1.
func (e *Engine) setLanes(w World, all []*probe.Site) (from []int) {
	old, oldNo, oldPlaces := e.lanes, e.vantageNo, e.places
	e.places, e.vantageNo = len(w.Vantages), make(map[string]int, len(w.Vantages))
	n := e.places
	if slices.ContainsFunc(all, func(s *probe.Site) bool { return lanesOf(s)[1] }) {
		n *= numFamilies
	}
	e.lanes, from = make([]lane, n), make([]int, n)
	for l := range e.lanes {
		v, six := w.Vantages[e.place(l)], l >= e.places
		e.vantageNo[v.Name] = e.place(l)
		from[l], e.lanes[l].added = -1, e.now
		if j, ok := oldNo[v.Name]; ok && j+btoi(six)*oldPlaces < len(old) {
			from[l] = j + btoi(six)*oldPlaces
			e.lanes[l] = old[from[l]]
			e.lanes[l].losses = losses{} // it names sites by their old numbers
			e.lanes[l].spoke = [mostSpoke]int{}
		}
		e.lanes[l].Vantage, e.lanes[l].six, e.lanes[l].label = v, six, v.Name
		if six {
			e.lanes[l].label += " (ip6)"
		}
	}
	for j := range old {
		if old[j].sick && !slices.Contains(from, j) {
			e.untell(old[j].notice("").Key, "vantage "+old[j].Name+" is no longer looked from"+old[j].over())
		}
	}
	return from
}

func (e *Engine) setPools() {
	for f := range numFamilies {
		var anchors, all []int
		for s := range e.sites {
			if e.sites[s].lanes[f] {
				all = append(all, s)
				if e.sites[s].Anchor {
					anchors = append(anchors, s)
				}
			}
		}
		e.pools[f] = pool{sites: anchors}
		if len(anchors) < leastAnchors {
			e.pools[f] = pool{sites: all, all: true}
		}
	}
	e.settling = 0
	for _, p := range e.pools {
		for _, s := range p.sites {
			e.settling = max(e.settling, e.sites[s].Interval+e.sites[s].Timeout)
		}
	}
}
