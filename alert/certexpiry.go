package alert

import (
	"fmt"
	"slices"
	"time"

	"faultline/probe"
)

// certSteps are the days before a certificate's end at which it is told, once each.
var certSteps = [...]int{21, 7, 1}

const day = 24 * time.Hour

// certStep is the nearest step that is reached with so much time left; 0 = none is.
func certStep(left time.Duration) int {
	step := 0
	for _, days := range certSteps {
		if left < time.Duration(days)*day {
			step = days
		}
	}
	return step
}

// certTold is what is known of the certificate that a site's notices are about. It is part of the site's learned record,
// so that no step is told twice.
type certTold struct {
	Of   time.Time `json:"of,omitzero"`    // its end; zero = there were no notices
	Step int       `json:"step,omitempty"` // the nearest step that was told, or that it had reached when it was new; 0 = none
	Told []int     `json:"told,omitempty"` // the steps whose notices are not over

	// The one before, until its end: an edge may show it again.
	Was     time.Time `json:"was,omitzero"`
	WasStep int       `json:"was_step,omitempty"`
}

func (c *certTold) none() bool { return c.Of.IsZero() }

func certKey(s *site, step int) string {
	return fmt.Sprintf("%s/%dd", siteNoticeKey(NoticeCertExpiry, s), step)
}

// until is the time left; far away for the zero time. A certificate's end may lie beyond what a stamp can hold.
func (e *Engine) until(t time.Time) time.Duration {
	if t.IsZero() {
		return 1 << 62
	}
	return t.Sub(e.now.time())
}

// heedCert takes the end of the certificate that a good answer came with. It is kept only where it is near, or where
// something is kept of the site anyway.
func (e *Engine) heedCert(s, l int, r *probe.Result) {
	end := r.TLS.NotAfter
	if !r.OK() || end.IsZero() || e.sites[s].odd == nil && certStep(end.Sub(r.At)) == 0 {
		return
	}
	o := &e.oddityOf(s).lanes[l]
	if !o.notAfter.Equal(end) {
		o.notAfter, o.issuer = end, r.TLS.Issuer
		e.lookAgain(e.now)
	}
}

// recallCert takes in what was told of a certificate before a restart.
func (e *Engine) recallCert(s int, told certTold) {
	told.Told = slices.DeleteFunc(told.Told, func(step int) bool { return !slices.Contains(certSteps[:], step) })
	e.oddityOf(s).cert = told
	for _, step := range told.Told {
		key := certKey(&e.sites[s], step)
		e.told[key] = Notice{Kind: NoticeCertExpiry, Key: key, Site: e.sites[s].Name, Domain: e.ownerDomain(s)}
	}
}

// reviewCert tells of a certificate that ends soon, once at each step, and of a later one in its place. Of those that the
// vantages see, the earliest counts. It says when to look again.
func (e *Engine) reviewCert(s int, o *oddity) (next stamp) {
	si := &e.sites[s]
	if all := e.start.add(si.Interval + si.Timeout); e.now < all {
		return all // not every lane has seen it yet
	}
	if e.until(o.cert.Was) < 0 {
		o.cert.Was, o.cert.WasStep = time.Time{}, 0
		if o.cert.Step == 0 {
			o.cert = certTold{}
		}
	}
	worst, ok := e.earliestCert(s, o)
	if !ok {
		return e.certAgain(o, 0)
	}
	c, end := &o.cert, o.lanes[worst].notAfter
	step := certStep(e.until(end))
	switch {
	case !c.none() && end.After(c.Of):
		e.renewed(s, o, end, step)
	case step == 0:
	case !end.After(c.Was):
		if step < c.WasStep {
			o.cert = certTold{}
			e.tellCert(s, o, worst, step)
		}
	case c.Step == 0 || step < c.Step:
		e.tellCert(s, o, worst, step)
	case end.Before(c.Of):
		c.Of = end
	}
	return e.certAgain(o, e.until(end))
}

// earliestCert is the lane that sees the certificate that ends first.
func (e *Engine) earliestCert(s int, o *oddity) (lane int, ok bool) {
	for l := range o.lanes {
		x := &o.lanes[l]
		if x.notAfter.IsZero() || e.stale(s, e.cell(s, l)) {
			continue
		}
		if !ok || x.notAfter.Before(o.lanes[lane].notAfter) {
			lane, ok = l, true
		}
	}
	return lane, ok
}

// certAgain is when a certificate with so much time left is to be looked at again: at the next step, and now and then
// while there is something that a vantage which falls silent, or speaks again, could change.
func (e *Engine) certAgain(o *oddity, left time.Duration) (next stamp) {
	if !o.cert.none() || e.nearCert(o) {
		next = e.now.add(e.p.Window)
	}
	for _, days := range certSteps {
		if wait := left - time.Duration(days)*day; wait >= 0 && wait < 30*day {
			next = sooner(next, e.now.add(wait+1))
		}
	}
	return next
}

// nearCert tells whether any lane saw a certificate that has reached a step.
func (e *Engine) nearCert(o *oddity) bool {
	return slices.ContainsFunc(o.lanes, func(x odd) bool { return certStep(e.until(x.notAfter)) != 0 })
}

// renewed ends what was told, now that every vantage sees a later certificate. One that is short-lived is not told of at
// the steps that it had reached when it was new.
func (e *Engine) renewed(s int, o *oddity, end time.Time, step int) {
	si, was := &e.sites[s], o.cert
	for _, told := range was.Told {
		e.untell(certKey(si, told), fmt.Sprintf("%s: there is a new certificate everywhere, valid until %s", si.Name, date(end)))
	}
	o.cert = certTold{Of: end, Step: step, Was: was.Of, WasStep: was.Step}
	if was.Step == 0 {
		o.cert.Was, o.cert.WasStep = was.Was, was.WasStep
	}
}

// tellCert tells that the certificate that a lane sees has reached a step.
func (e *Engine) tellCert(s int, o *oddity, worst, step int) {
	si, x := &e.sites[s], &o.lanes[worst]
	o.cert.Of, o.cert.Step = x.notAfter, step
	o.cert.Told = append(slices.Clone(o.cert.Told), step)
	var sees []int
	later := false
	for v := range e.places {
		for l := range e.lanesAt(v) {
			switch {
			case o.lanes[l].notAfter.IsZero():
			case o.lanes[l].notAfter.Equal(x.notAfter):
				sees = append(sees, v)
			default:
				later = true
			}
		}
	}
	do := "renew it and load it wherever the site is served, and see why that did not happen by itself"
	if later {
		do = "elsewhere a later one is served already: find the server or edge that still has the old one, and load the new one there"
	}
	e.tellSite(NoticeCertExpiry, certKey(si, step), s, e.ownerDomain(s), "%s: the certificate %s, on %s (issuer: %s; seen from %s). After that browsers refuse the site: %s",
		si.Name, ends(e.until(x.notAfter)), date(x.notAfter), x.issuer, e.names(slices.Compact(sees)), do)
}

// ends says how soon something ends.
func ends(left time.Duration) string {
	switch {
	case left <= 0:
		return "has ended"
	case left < 2*day:
		return "ends in " + plural(int(left/time.Hour), "hour", "hours")
	default:
		return "ends in " + plural(int(left/day), "day", "days")
	}
}

func date(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }
