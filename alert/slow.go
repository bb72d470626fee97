package alert

import (
	"fmt"
	"slices"
	"strings"

	"faultline/probe"
)

// tempo is how fast a cell answers: a count up to usual while the habit is not known yet; from there one step for each
// consecutive slow answer; from slowed one step for each consecutive answer of usual speed.
type tempo uint8

const (
	usual  tempo = 12
	slowed       = usual + inARow
	inARow       = 5 // answers that agree, before it counts
)

func (t tempo) next(slow bool) tempo {
	switch {
	case t < usual:
		return t + 1
	case t < slowed && !slow, t == slowed+inARow-1 && !slow:
		return usual
	case t >= slowed && slow:
		return slowed
	default:
		return t + 1
	}
}

// drags tells whether the newest answer was slow.
func (t tempo) drags() bool { return t > usual && t <= slowed }

// pace counts the cells of a lane whose habit is known, and those of them whose newest answer was slow.
type pace struct{ known, slow int }

func (p *pace) count(t tempo, n int) {
	p.known += n * btoi(t >= usual)
	p.slow += n * btoi(t.drags())
}

// slowTimes the habit, and Policy.SlowBy more, is slow for an answer.
const slowTimes = 3

// adapt moves a habit towards what an answer took, so that it settles where one answer in twenty takes longer.
func adapt(habit, took float32) float32 {
	const step = 0.05
	if took > habit {
		return habit * (1 + 0.95*step)
	}
	return habit * (1 - 0.05*step)
}

// heedPace takes what a result says of how fast its site answers. Only good first answers count.
func (e *Engine) heedPace(s, l int, c *cell, r *probe.Result) {
	if !r.OK() || r.Attempt > 1 || r.Time.Total <= 0 {
		return
	}
	took, was := float32(r.Time.Total.Seconds()), c.tempo
	slow := was >= usual && took > slowTimes*c.habit && took > c.habit+float32(e.p.SlowBy.Seconds())
	c.tempo = was.next(slow)
	switch {
	case was < usual:
		c.habit = max(c.habit, took)
	case c.tempo >= slowed:
		e.slowly(s, l, c, took)
	case was >= slowed:
		e.oddityOf(s).lanes[l].slow = 0
		e.lookAgain(e.now)
	case was == usual: // of several slow answers in a row the first counts
		c.habit = adapt(c.habit, took)
	}
	p := &e.lanes[l].pace[btoi(e.sites[s].Anchor)]
	if c.tempo != was {
		p.count(was, -1)
		p.count(c.tempo, 1)
	}
	if slow && e.lanes[l].drags() {
		e.lanes[l].dragged = c.at
	}
}

// slowly follows a cell that is slow. The habit stays as it was, until the slowness has become one.
func (e *Engine) slowly(s, l int, c *cell, took float32) {
	o := &e.oddityOf(s).lanes[l]
	if o.slow == 0 {
		o.slow, o.lately = c.at.add(-(inARow-1)*e.sites[s].Interval), took
		e.lookAgain(e.now)
	}
	o.lately = adapt(o.lately, took)
	if c.at.sub(o.slow) >= e.p.Accustom {
		c.habit, c.tempo, o.slow = o.lately, usual, 0
		e.lookAgain(e.now)
	}
}

// drags tells whether it is the lane that is slow, not the sites: half of all that is looked at, or of the anchors.
func (la *lane) drags() bool {
	sites, anchors := &la.pace[0], &la.pace[1]
	return sites.slow > 1 && sites.slow*2 >= sites.known || anchors.slow > 0 && anchors.slow*2 >= anchors.known
}

// countPaces counts anew after the world changed.
func (e *Engine) countPaces() {
	for l := range e.lanes {
		la := &e.lanes[l]
		la.pace = [2]pace{}
		for s := range e.sites {
			la.pace[btoi(e.sites[s].Anchor)].count(e.cell(s, l).tempo, 1)
		}
	}
}

// reviewSlow tells of a site that is slow from enough vantages, and of the end. It says when to look again.
func (e *Engine) reviewSlow(s int, o *oddity) (next stamp) {
	si := &e.sites[s]
	key := siteNoticeKey(NoticeSlow, si)
	need := max(1, min(e.p.MinVantages, e.places))
	var slow, trusted []int
	var since stamp
	var how []string
	for v := range e.places {
		for l := range e.lanesAt(v) {
			x := &o.lanes[l]
			if x.slow == 0 {
				continue
			}
			slow = append(slow, v)
			since = sooner(since, x.slow)
			if e.trustsPace(s, l, x) {
				trusted = append(trusted, v)
				how = append(how, fmt.Sprintf("%s from %s%s (usually %s)", seconds(x.lately), e.lanes[l].Name, e.lanes[l].over(), seconds(e.cell(s, l).habit)))
			}
		}
	}
	slow, trusted = slices.Compact(slow), slices.Compact(trusted)
	switch {
	case len(slow) < need:
		e.untell(key, si.Name+" answers as fast as usual again, or what was slow has become usual")
		return 0
	case e.told[key].Key != "":
		return 0
	case len(trusted) < need || e.mute(s):
		return e.now.add(min(e.p.Update, e.settling))
	}
	e.tellSite(NoticeSlow, key, s, e.ownerDomain(s),
		"%s answers, but far slower than usual since %s UTC: %s. Other sites and the anchors are as fast as ever from there: look at its servers, its database and what it waits for",
		si.Name, clock(since.time()), strings.Join(how, ", "))
	return 0
}

// trustsPace tells whether it is the site that is slow in lane l: the newest answer was, the anchors, whose habits must be
// known, have been looked at since it began, and the lane as a whole has not been slow after that.
func (e *Engine) trustsPace(s, l int, x *odd) bool {
	c, anchors := e.cell(s, l), &e.pools[e.family(l)]
	if !anchors.all && e.lanes[l].pace[1].known*2 < len(anchors.sites) {
		return false
	}
	return !e.lanes[l].sick && c.class == probe.ClassOK && c.tempo == slowed && !e.stale(s, c) &&
		c.at > e.lanes[l].dragged && e.now.sub(x.slow) >= min(e.settling, e.p.Window)
}

// seconds is a time in seconds as people say it: "310 ms", "3.2 s".
func seconds(s float32) string {
	if s < 1 {
		return fmt.Sprintf("%.0f ms", s*1000)
	}
	return fmt.Sprintf("%.1f s", s)
}
