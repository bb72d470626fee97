package alert

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"faultline/probe"
)

// oddity is what is remembered of a site with which something is unusual, though it need not fail: what notices about
// single sites are decided from. Most sites have none.
type oddity struct {
	blocked stamp    // since when every answer is a block; 0 = the newest is none
	cert    certTold // what was told of its certificate
	lanes   []odd
}

// odd is the part of an oddity that is known of one lane.
type odd struct {
	slow     stamp   // since when it is slow; 0 = it is not, see tempo
	lately   float32 // how long answers take since then, as cell.habit; seconds
	looks    []probe.AddressLook
	dead     bool  // addresses fail while others answer
	changes  uint8 // consecutive answers that say otherwise
	notAfter time.Time
	issuer   string
}

// notice takes what a final result of a healthy lane says that may be worth a notice about its site.
func (e *Engine) notice(s, l int, c *cell, r *probe.Result) {
	e.heedPace(s, l, c, r)
	if e.sites[s].Anchor {
		return
	}
	e.heedBlock(s, r)
	e.heedAddresses(s, l, r)
	e.heedCert(s, l, r)
}

// oddityOf is the site's oddity, made where it has none.
func (e *Engine) oddityOf(s int) *oddity {
	si := &e.sites[s]
	if si.odd == nil {
		si.odd = &oddity{lanes: make([]odd, len(e.lanes))}
		e.odd = append(e.odd, s)
		e.lookAgain(e.now)
	}
	return si.odd
}

// lookAgain has the sites that have an oddity reviewed at that time, or before.
func (e *Engine) lookAgain(at stamp) {
	if len(e.odd) > 0 && at != 0 {
		e.review = sooner(e.review, at)
	}
}

// reviewAt is when the next review is due; 0 = not before something changes.
func (e *Engine) reviewAt() stamp {
	if e.review == 0 {
		return 0
	}
	return max(e.review, e.start.add(e.p.Quiet), e.reviewed.add(e.p.SlowEvery))
}

// reviewOdd decides which notices about single sites begin and end, and forgets oddities that are over.
func (e *Engine) reviewOdd() {
	e.review, e.reviewed = 0, e.now
	next := stamp(0)
	e.odd = slices.DeleteFunc(e.odd, func(s int) bool {
		si := &e.sites[s]
		if !si.Anchor {
			next = sooner(next, e.reviewBlock(s, si.odd))
			next = sooner(next, e.reviewAddresses(s, si.odd))
			next = sooner(next, e.reviewCert(s, si.odd))
			next = sooner(next, e.reviewSlow(s, si.odd))
		}
		if e.calm(si.odd) {
			si.odd = nil
		}
		return si.odd == nil
	})
	e.lookAgain(next)
}

// calm tells whether there is nothing unusual any more.
func (e *Engine) calm(o *oddity) bool {
	return o.blocked == 0 && o.cert.none() && !e.nearCert(o) &&
		!slices.ContainsFunc(o.lanes, func(x odd) bool { return x.slow != 0 || x.dead || x.changes != 0 })
}

func siteNoticeKey(kind string, s *site) string { return kind + "/" + s.Name }

// tellSite emits a notice about site s, whose trouble lies in domain d.
func (e *Engine) tellSite(kind, key string, s int, d Domain, format string, args ...any) {
	e.tell(Notice{Kind: kind, Key: key, Site: e.sites[s].Name, Domain: d, Text: printable(fmt.Sprintf(format, args...))})
}

// mute tells whether notices about site s do not begin now: it asks for none, or an incident says it already.
func (e *Engine) mute(s int) bool {
	si := &e.sites[s]
	return si.Alert == probe.AlertNone || slices.ContainsFunc(si.in, func(in belonging) bool { return in.domain.open != nil && in.domain != e.way })
}

// names joins the vantages with these numbers: "hkg-1, fra-1".
func (e *Engine) names(vantages []int) string {
	var out []string
	for _, v := range vantages {
		out = append(out, e.lanes[v].Name)
	}
	return strings.Join(out, ", ")
}

// keepOdd takes what was known of the sites of an earlier world over into the present one. What was told of a site that
// is no longer watched ends.
func (e *Engine) keepOdd(old []site, from []int) {
	was := e.odd
	e.odd = nil
	for _, j := range was {
		s, ok := e.siteNo[old[j].Name]
		if !ok || e.sites[s].key != old[j].key || e.sites[s].Anchor != old[j].Anchor {
			e.endNotices(&old[j])
			continue
		}
		o := e.oddityOf(s)
		o.blocked, o.cert = old[j].odd.blocked, old[j].odd.cert
		for l := range e.lanes {
			if from[l] >= 0 && e.uses(s, l) {
				o.lanes[l] = old[j].odd.lanes[from[l]]
			}
		}
	}
	e.countPaces()
}

func (e *Engine) endNotices(s *site) {
	for _, kind := range []string{NoticeSlow, NoticeUnobservable, NoticeSite} {
		e.untell(siteNoticeKey(kind, s), s.Name+" is no longer watched")
	}
	for _, step := range certSteps {
		e.untell(certKey(s, step), s.Name+" is no longer watched")
	}
}
