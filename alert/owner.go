package alert

import (
	"net/netip"
	"slices"

	"faultline/probe"
)

// Sites of one owner are one witness: about half of all onsets have another site of the same owner going down with them
// (detection study, section 1). Who belongs together is told by the config or by the registrable domain, and found out
// from what only one owner's sites share: the address of the server, the names in a certificate, and failing together
// again and again.

func (e *Engine) owner(name string) int {
	n, ok := e.ownerNo[name]
	if !ok {
		n = len(e.owners)
		e.owners = append(e.owners, name)
		e.ownerNo[name] = n
	}
	return n
}

// learnAddress notes which server a good answer came from, and what certificate it showed. A CDN's tell nothing: many
// owners share them. It tells whether that changed.
func (e *Engine) learnAddress(s int, r *probe.Result) bool {
	si := &e.sites[s]
	addr, names := r.Addr, r.TLS.Names
	if si.CDN != "" || r.CDN != "" {
		addr, names = netip.AddrPort{}, 0
	}
	if si.Anchor || addr == si.addr && names == si.certNames || slices.Contains(si.addrs[:], addr) && names == si.certNames {
		return false
	}
	si.addrs[si.nextAddr%len(si.addrs)] = si.addr // one server of several is still the same site
	si.nextAddr++
	si.addr, si.certNames = addr, names
	return true
}

// regroupOwners finds anew which sites belong together, and enlists those whose owner changed.
func (e *Engine) regroupOwners() {
	e.regroup = false
	group := newGroups(len(e.sites))
	byName, byAddr, byCert := map[string]int{}, map[netip.AddrPort]int{}, map[uint64]int{}
	for s := range e.sites {
		si := &e.sites[s]
		if si.Anchor {
			continue
		}
		joinBy(group, byName, si.Owner, s)
		if si.OwnerFixed {
			continue
		}
		if si.addr.IsValid() {
			joinBy(group, byAddr, si.addr, s)
		}
		if si.certNames != 0 {
			joinBy(group, byCert, si.certNames, s)
		}
	}
	for p, n := range e.together {
		if e.alwaysTogether(p, n) && !e.sites[p[0]].OwnerFixed && !e.sites[p[1]].OwnerFixed {
			group.join(p[0], p[1])
		}
	}
	name := make([]string, len(e.sites))
	for s := range e.sites {
		g, own := group.of(s), e.sites[s].Owner
		if open := e.hasIncident(own); name[g] == "" || open && !e.hasIncident(name[g]) || open == e.hasIncident(name[g]) && own < name[g] {
			name[g] = own // an open incident keeps its name
		}
	}
	for s := range e.sites {
		si := &e.sites[s]
		if o := e.owner(name[group.of(s)]); o != si.owner || len(si.in) == 0 {
			for _, in := range si.in {
				in.domain.mixed, e.recount = true, true
			}
			si.owner = o
			e.enlist(s)
		}
	}
}

func (e *Engine) hasIncident(owner string) bool {
	d := e.domainOf[Domain{KindOrigin, owner}]
	return d != nil && d.open != nil
}

func joinBy[K comparable](g groups, first map[K]int, key K, s int) {
	if other, ok := first[key]; ok {
		g.join(other, s)
		return
	}
	first[key] = s
}

// groups is a union-find over numbers.
type groups []int

func newGroups(n int) groups {
	g := make(groups, n)
	for i := range g {
		g[i] = i
	}
	return g
}

func (g groups) of(i int) int {
	for g[i] != i {
		g[i] = g[g[i]]
		i = g[i]
	}
	return i
}

func (g groups) join(a, b int) {
	a, b = g.of(a), g.of(b)
	g[max(a, b)] = min(a, b)
}
