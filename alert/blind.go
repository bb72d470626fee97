package alert

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// blindness is what is known of whether enough can be seen at all.
type blindness struct {
	next  stamp // when to look again
	since stamp // since when too little is seen; 0 = enough is
	well  stamp // since when enough is seen again
	open  *incident
}

// SelfBlind is the name of the KindSelf domain of the engine's own: too little can be seen. Others of that kind are the
// daemon's.
const SelfBlind = "blind"

var blindDomain = Domain{KindSelf, SelfBlind}

// lookEvery is the part of a Blind time after which it is looked at again whether enough is seen.
const lookEvery = 3

// blindAt is when it is to be looked at again.
func (e *Engine) blindAt() stamp { return e.blind.next }

// watchBlind pages when too little can be seen for any other page to be trusted: fewer healthy vantages than two, where
// two are configured, or more than half of all that is watched without a result.
func (e *Engine) watchBlind(out *Effects) {
	b := &e.blind
	if e.now < b.next || e.places == 0 {
		return
	}
	b.next = e.now.add(e.p.Blind / lookEvery)
	e.watchLost()
	why := e.blindBy()
	switch {
	case why != "" && b.open != nil:
		b.well = 0
	case why != "" && b.since == 0:
		b.since = e.now
	case why != "" && e.now.sub(b.since) >= e.p.Blind:
		e.goBlind(why, out)
	case why == "" && b.open == nil:
		b.since = 0
	case why == "" && b.well == 0:
		b.well = e.now
	case why == "" && e.now.sub(b.well) >= e.p.Blind:
		e.seeAgain(out)
	}
}

// blindBy says why too little is seen; "" = enough is.
func (e *Engine) blindBy() string {
	healthy := 0
	for p := range e.places {
		well := false
		for l := range e.lanesAt(p) {
			la := &e.lanes[l]
			well = well || !la.sick || la.vouched > la.since && !la.lossy // its anchors answer again
		}
		healthy += btoi(well)
	}
	if need := min(2, e.places); healthy < need {
		return fmt.Sprintf("%d of %s, and %d at least are needed%s", healthy, plural(e.places, "vantage is well", "vantages are well"), need, e.oneResolver())
	}
	pairs, silent := 0, 0
	for s := range e.sites {
		wait := 3*e.sites[s].Interval + e.sites[s].Timeout
		for l := range e.lanes {
			if e.uses(s, l) && e.now.sub(max(e.start, e.sites[s].added, e.lanes[l].added)) >= wait {
				pairs++
				silent += btoi(e.now.sub(e.cell(s, l).at) > wait && !e.lanes[l].sick)
			}
		}
	}
	if pairs > 0 && silent*2 > pairs {
		return fmt.Sprintf("%d of %d pairs of site and vantage have had no result for three intervals", silent, pairs)
	}
	return ""
}

// oneResolver says that all sick lanes are so because of one resolver; "" = they are not.
func (e *Engine) oneResolver() string {
	name := ""
	for l := range e.lanes {
		if la := &e.lanes[l]; la.sick {
			if la.resolver == "" || name != "" && la.resolver != name {
				return ""
			}
			name = la.resolver
		}
	}
	if name == "" {
		return ""
	}
	return "; what the sick ones share is the resolver " + name
}

func (e *Engine) goBlind(why string, out *Effects) {
	i := e.open(e.domain(blindDomain), blindDomain, e.blind.since, SeverityPage, []string{
		why, "until that is mended no outage can be told from the prober's own trouble, and none is paged",
	})
	i.Assessment, i.Scope = ProberTrouble, ScopeNone
	e.blind.open, e.blind.well = i, 0
	e.emit(i, out)
}

func (e *Engine) seeAgain(out *Effects) {
	i := e.blind.open
	i.Rev++
	i.State, i.RecoveringAt, i.ResolvedAt = StateResolved, e.blind.well.time(), e.now.time()
	e.emit(i, out)
	e.close(i)
	for n := range e.incidents {
		if e.incidents[n] == i {
			e.incidents = append(e.incidents[:n], e.incidents[n+1:]...)
			break
		}
	}
	e.blind = blindness{next: e.blind.next}
}

// Jumped tells the engine that the clock was set, or that the process stood still, and why that is known: what it knows of the
// order of things is worth nothing now. It begins anew, with what was learned and with the open incidents, and tells so.
func (e *Engine) Jumped(now time.Time, w World, why string) {
	saved := Saved{Learned: map[string][]byte{}}
	clear(e.learned)
	e.Dirty(func(key string, b []byte) { saved.Learned[key] = b })
	for _, i := range e.incidents {
		saved.Incidents = append(saved.Incidents, i.snapshot())
	}
	resolved, told, wantID := e.resolved, e.told, e.wantID
	*e = *New(now, e.p, w, saved)
	e.resolved, e.told, e.wantID = resolved, told, wantID
	for _, key := range slices.Sorted(maps.Keys(e.told)) {
		if e.told[key].Kind != NoticeCertExpiry {
			e.untell(key, "judging began anew: it is told again if it lasts")
		}
	}
	n := Notice{
		Kind: NoticeClock, Key: NoticeClock + "/self", At: e.now.time(), Domain: Domain{KindSelf, "clock"},
		Text: why + fmt.Sprintf(": judging begins anew, and nothing is decided for %s; open incidents stay open", rough(e.p.Quiet)),
	}
	n.ID = fmt.Sprintf("%s-%s", n.At.Format("20060102T150405Z"), n.Key)
	e.notices = append(e.notices, n)
}
