package alert

import (
	"fmt"
	"time"
)

// watchLost tells of vantages that have sent nothing for p.Lost, and for longer than any of their sites may take.
func (e *Engine) watchLost() {
	for p := range e.places {
		last := max(e.start, e.lanes[p].added)
		var wait time.Duration
		for l := range e.lanesAt(p) {
			last = max(last, e.lanes[l].last)
			for s := range e.sites {
				if e.uses(s, l) {
					wait = max(wait, 2*e.sites[s].Interval+e.sites[s].Timeout)
				}
			}
		}
		name := e.lanes[p].Name
		n := Notice{Kind: NoticeVantageUnhealthy, Key: "lost/" + name, Domain: Domain{KindVantage, name}, Vantage: name}
		switch {
		case wait == 0: // nothing is looked at from there
		case e.now.sub(last) >= max(e.p.Lost, wait):
			n.Text = fmt.Sprintf("vantage %s is lost: nothing has come from it for %s, and nobody looks from there; look whether it runs, and whether it reaches its hub", name, rough(e.now.sub(last)))
			e.tell(n)
		default:
			e.untell(n.Key, "vantage "+name+" is back: results come from it again")
		}
	}
}
