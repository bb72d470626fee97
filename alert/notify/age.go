package notify

import (
	"cmp"
	"slices"
	"time"

	"faultline/alert"
)

// age does what only time brings about: silences begin and end, pages are repeated, and other channels take them over. It
// notes when it is to be called again. The caller holds mu.
func (d *Deliverer) age(now time.Time) {
	d.next = time.Time{}
	if d.silences != nil {
		d.next = d.silences.Change(now)
	}
	d.letOut(now)
	for _, l := range d.lanes {
		for n := range l.ds {
			d.ageDelivery(now, l, &l.ds[n])
		}
	}
	for _, l := range d.lanes {
		for _, x := range slices.Clone(l.ds) {
			d.takeOver(now, l, x)
		}
	}
}

func (d *Deliverer) ageDelivery(now time.Time, l *lane, x *Delivery) {
	was := *x
	i := d.incidents[x.Incident]
	by := d.silencedBy(now, &i)
	if l.Resend > 0 && x.Acked > 0 {
		by = "" // what it is not told again it takes to be over
	}
	*x = Hush(now, *x, &i, by)
	var next time.Time
	*x, next = Repeat(now, *x, &i, &l.NamedChannel)
	d.next = earlier(d.next, next)
	if *x != was {
		d.touch(i.ID)
	}
	if x.Gone != was.Gone {
		d.outcome(l, OutcomeSilenced, 0)
		d.tellOf(i.ID, Told{At: now, Channel: l.Name, Event: EventResolved, Outcome: OutcomeSilenced})
	}
}

func (d *Deliverer) takeOver(now time.Time, l *lane, x Delivery) {
	i := d.incidents[x.Incident]
	other, ok, next := Takeover(now, x, &i, &l.NamedChannel)
	n := slices.IndexFunc(d.lanes, func(l *lane) bool { return l.Name == other.Channel })
	if !ok || n < 0 || d.lanes[n].find(i.ID) >= 0 {
		d.next = earlier(d.next, next)
		return
	}
	d.lanes[n].put(other)
	d.touch(i.ID)
	d.c.Log.Warn().Str("incident", i.ID).Str("channel", l.Name).Str("fallback", other.Channel).Msg("the fallback takes over")
}

// touch notes that deliveries of an incident are to be saved.
func (d *Deliverer) touch(incident string) {
	if _, known := d.unsaved[incident]; !known {
		d.unsaved[incident] = false
	}
	nudge(d.wake)
}

// presentEvery is how often silenced incidents are looked at as they are now: a site that is not silenced may have joined one,
// which is not always told at once.
const presentEvery = 10 * time.Second

// refresh brings the silenced incidents up to date.
func (d *Deliverer) refresh() {
	now := time.Now()
	if d.c.Present == nil || now.Sub(d.asked) < presentEvery || !d.anySilenced() {
		return
	}
	d.asked = now
	present := d.c.Present()
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, i := range present {
		if known, ok := d.incidents[i.ID]; ok && known.Rev == i.Rev {
			d.incidents[i.ID] = i
		}
	}
}

func (d *Deliverer) anySilenced() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, l := range d.lanes {
		if slices.ContainsFunc(l.ds, func(x Delivery) bool { return x.Silenced != "" && !x.Done() }) {
			return true
		}
	}
	return false
}

// silencedBy says in a few words what keeps an incident quiet; "" = nothing does.
func (d *Deliverer) silencedBy(now time.Time, i *alert.Incident) string {
	if d.silences == nil {
		return ""
	}
	by := d.silences.Of(now, i)
	if len(by) == 0 {
		return ""
	}
	return cmp.Or(by[0].Comment, by[0].Match.String())
}

// letOut tells of the notices that silences kept back, once these are over.
func (d *Deliverer) letOut(now time.Time) {
	held := d.held
	d.held = nil
	for _, n := range held {
		if d.silences != nil && d.silences.OfNotice(now, &n) != nil {
			d.held = append(d.held, n)
			continue
		}
		for _, l := range d.queueNotice(now, n) {
			d.outcome(l, OutcomeDropped, 0)
		}
	}
}
