package alert

import (
	"cmp"
	"slices"
	"time"

	"faultline/probe"
)

// View fills v anew with what the engine sees at now.
func (e *Engine) View(now time.Time, v *View) {
	e.now = max(e.now, stampOf(now))
	*v = View{At: e.now.time(), Incidents: v.Incidents[:0], Domains: v.Domains[:0], Vantages: v.Vantages[:0], Sites: v.Sites[:0]}
	if till := e.start.add(e.p.Quiet); e.now < till {
		v.QuietTill = till.time()
	}
	for _, i := range e.incidents {
		v.Incidents = append(v.Incidents, i.snapshot())
	}
	v.Incidents = append(v.Incidents, e.resolved...)
	for _, d := range e.domains {
		if len(d.members) > 0 && e.inView(d) {
			v.Domains = append(v.Domains, e.viewDomain(d))
		}
	}
	slices.SortFunc(v.Domains, func(a, b DomainView) int { return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name)) })
	for l := range e.lanes {
		la := &e.lanes[l]
		v.Vantages = append(v.Vantages, VantageView{
			Name: la.label, Region: la.Region, Healthy: !la.sick, Since: la.since.time(), Why: la.why, LastAt: la.last.time(),
		})
	}
	for s := range e.sites {
		v.Sites = append(v.Sites, e.viewSite(s))
	}
}

// inView tells whether a domain is worth showing: there are as many owners as sites.
func (e *Engine) inView(d *domain) bool {
	e.tidy(d)
	return d.open != nil || d.shared() && d != e.way && (d.Kind == KindCDN || d.owners >= e.p.MinOwners)
}

func (e *Engine) viewDomain(d *domain) DomainView {
	e.tidy(d)
	w := DomainView{Domain: d.Domain, Sites: len(d.members), Owners: d.owners, Quorum: d.owners >= e.p.MinOwners, Score: d.score}
	if w.Quorum {
		w.Threshold = e.threshold(d)
	}
	e.epoch++
	seen := 0
	for _, m := range d.members {
		o := &e.marks[e.sites[m.site].owner]
		if o.epoch != e.epoch {
			*o = mark{epoch: e.epoch}
		}
		for l := range e.lanes {
			c := e.cell(m.site, l)
			if e.lanes[l].sick || c.said&d.part == 0 || e.stale(m.site, c) {
				continue
			}
			seen += btoi(!o.seen)
			o.seen = true
			if c.accused&d.part != 0 && !o.fails {
				o.fails = true
				w.Failing++
			}
		}
	}
	if seen > 0 {
		w.Ratio = float64(w.Failing) / float64(seen)
	}
	w.Suspect = d.swept != 0 && e.now.sub(d.swept) < e.p.Window && d.failing > 0
	if d.open != nil {
		w.Domain, w.Open = d.open.Domain, d.open.ID // a path has its name from there
	}
	return w
}

func (e *Engine) viewSite(s int) SiteView {
	si := &e.sites[s]
	w := SiteView{Site: si.Name, URL: si.URL.String(), Group: si.Group, Owner: si.Owner, Anchor: si.Anchor, Cells: make([]CellView, len(e.lanes))}
	if c := e.cdn(s); c != nil {
		w.CDN = c.Name
	}
	for l := range e.lanes {
		c := e.cell(s, l)
		w.Cells[l] = CellView{State: e.state(s, l, c), Class: c.class, Fault: c.fault, At: c.at.time(), Since: c.since.time()}
	}
	return w
}

func (e *Engine) state(s, l int, c *cell) CellState {
	switch {
	case !e.uses(s, l):
		return CellNone
	case e.lanes[l].sick:
		return CellSick
	case c.at == 0 && c.late == 0:
		return CellNone
	case c.late != 0:
		return CellPending
	case e.stale(s, c):
		return CellStale
	case c.fault == probe.FaultBlocked:
		return CellBlocked
	case c.class == probe.ClassOK:
		return CellOK
	default:
		return CellFailing
	}
}
