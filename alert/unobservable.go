package alert

import (
	"fmt"
	"slices"
	"strings"

	"faultline/probe"
)

// heedBlock notes since when a site only blocks.
func (e *Engine) heedBlock(s int, r *probe.Result) {
	switch si := &e.sites[s]; {
	case r.Fault == probe.FaultBlocked:
		if o := e.oddityOf(s); o.blocked == 0 {
			o.blocked = stampOf(r.At)
			e.lookAgain(o.blocked.add(e.p.Unobservable))
		}
	case si.odd != nil && si.odd.blocked != 0 && r.Class != probe.ClassUnknown:
		si.odd.blocked = 0
		e.lookAgain(e.now)
	}
}

// reviewBlock tells of a site that has only blocked for long, and of the end. It says when to look again.
func (e *Engine) reviewBlock(s int, o *oddity) (next stamp) {
	si := &e.sites[s]
	key := siteNoticeKey(NoticeUnobservable, si)
	if o.blocked == 0 {
		e.untell(key, si.Name+" can be observed again: an answer came that is not a block")
		return 0
	}
	if due := o.blocked.add(e.p.Unobservable); e.now < due {
		return due
	}
	if e.told[key].Key != "" {
		return 0
	}
	seen, classes := e.blockedFrom(s)
	if seen == 0 || si.Alert == probe.AlertNone {
		return e.now.add(e.p.Update)
	}
	d, who := e.ownerDomain(s), "the site, or a firewall before it,"
	if c := e.cdn(s); c != nil {
		d, who = c.Domain, c.Name
	}
	if len(classes) == 1 && classes[0] == probe.ClassHTTPInterference.String() {
		who = "the network on the way"
	}
	e.tellSite(NoticeUnobservable, key, s, d,
		"%s cannot be observed: %s has blocked every probe since %s UTC (%s, from %s). An outage would not be seen. Let the prober's User-Agent or addresses in, look from another network, or watch another URL of the site, such as a status page or a feed",
		si.Name, who, clock(o.blocked.time()), strings.Join(classes, ", "), plural(seen, "vantage", "vantages"))
	return 0
}

// blockedFrom counts the healthy vantages that look at site s, and gives the classes of their newest answers: none
// unless all of these are blocks.
func (e *Engine) blockedFrom(s int) (vantages int, classes []string) {
	for v := range e.places {
		here := false
		for l := range e.lanesAt(v) {
			c := e.cell(s, l)
			if e.lanes[l].sick || c.at == 0 || e.stale(s, c) {
				continue
			}
			if c.fault != probe.FaultBlocked {
				return 0, nil
			}
			here = true
			classes = append(classes, c.class.String())
		}
		vantages += btoi(here)
	}
	slices.Sort(classes)
	return vantages, slices.Compact(classes)
}

// deadInARow is how many consecutive answers must agree on whether addresses are dead.
const deadInARow = 2

// heedAddresses notes whether some of a site's addresses are dead. An answer that is not good, and at which all are,
// says nothing of that.
func (e *Engine) heedAddresses(s, l int, r *probe.Result) {
	dead := slices.ContainsFunc(r.Dead(), isDead)
	if !dead && (e.sites[s].odd == nil || !r.OK()) {
		return
	}
	o := &e.oddityOf(s).lanes[l]
	if dead {
		o.looks = r.Addresses
	}
	if dead == o.dead {
		o.changes = 0
		return
	}
	o.changes++
	if o.changes < deadInARow {
		return
	}
	o.dead, o.changes = dead, 0
	if !dead {
		o.looks = nil
	}
	e.lookAgain(e.now)
}

// isDead tells whether an address failed, and not because of the prober.
func isDead(l probe.AddressLook) bool { return l.Class != probe.ClassOK && l.Fault != probe.FaultLocal }

// reviewAddresses tells of dead addresses of a site that answers at others, and of the end. It says when to look again.
func (e *Engine) reviewAddresses(s int, o *oddity) (next stamp) {
	si := &e.sites[s]
	key := siteNoticeKey(NoticeSite, si)
	var from []int
	trusted := false
	for v := range e.places {
		for l := range e.lanesAt(v) {
			if o.lanes[l].dead {
				from = append(from, v)
				trusted = trusted || !e.lanes[l].sick
			}
		}
	}
	switch {
	case len(from) == 0:
		e.untell(key, si.Name+": all of its addresses answer again")
		return 0
	case e.told[key].Key != "":
		return 0
	case !trusted || e.mute(s):
		return e.now.add(e.p.Update)
	}
	all, dead := deadAddresses(o)
	fail := "fail"
	if len(dead) == 1 {
		fail = "fails"
	}
	e.tellSite(NoticeSite, key, s, e.ownerDomain(s), "%s: %d of %d addresses %s: %s, seen from %s. Whoever is sent there cannot reach the site: mend that server, or take its address out of DNS",
		si.Name, len(dead), all, fail, strings.Join(dead, ", "), e.names(slices.Compact(from)))
	return 0
}

// deadAddresses counts a site's addresses and describes the dead ones, each once: "192.0.2.7:443 connect_refused".
func deadAddresses(o *oddity) (all int, dead []string) {
	var seen, failed []string
	for l := range o.lanes {
		if !o.lanes[l].dead {
			continue
		}
		for _, look := range o.lanes[l].looks {
			addr := look.Addr.String()
			if !slices.Contains(seen, addr) {
				seen = append(seen, addr)
			}
			if isDead(look) && !slices.Contains(failed, addr) {
				failed = append(failed, addr)
				dead = append(dead, fmt.Sprintf("%s %s", addr, look.Class))
			}
		}
	}
	return len(seen), dead
}
