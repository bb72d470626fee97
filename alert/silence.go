package alert

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"faultline/probe"
)

// Silence keeps messages of planned work, or of what is known, from going out. It changes nothing of what is seen and
// decided: what still fails when it ends is told then.
type Silence struct {
	ID      string    `json:"id"`
	Match   Match     `json:"match"`
	From    time.Time `json:"from,omitzero"`    // zero = always
	Till    time.Time `json:"till,omitzero"`    // zero = for good
	Weekly  []Weekly  `json:"weekly,omitempty"` // between From and Till only then; none = all the time
	Zone    string    `json:"zone,omitempty"`   // of Weekly; "" = UTC
	Comment string    `json:"comment,omitempty"`
	By      string    `json:"by,omitempty"`     // who made it
	Config  bool      `json:"config,omitempty"` // it stands in the config, and can only be changed there
}

// Bounds of what a silence may hold.
const (
	maxComment   = 1000
	mostSilenced = 400 * 24 * time.Hour
)

// Check says what is wrong with a silence and what would be right; nil = nothing.
func (s *Silence) Check(now time.Time) error {
	errs := []error{s.Match.Check()}
	if len(s.Weekly) == 0 && s.Till.IsZero() {
		errs = append(errs, errors.New("it has no end; say how long it is to last, or when in the week it is to be"))
	}
	if !s.Till.IsZero() && !s.Till.After(s.From) {
		errs = append(errs, errors.New("it ends before it begins"))
	}
	if !s.Till.IsZero() && !s.Till.After(now) {
		errs = append(errs, errors.New("its end is past"))
	}
	if s.Till.After(now.Add(mostSilenced)) {
		errs = append(errs, errors.New("it lasts for more than 400 days; write a shorter one, or a weekly one"))
	}
	if _, err := time.LoadLocation(s.Zone); err != nil {
		errs = append(errs, fmt.Errorf("%q is no time zone; write one as in \"Asia/Hong_Kong\"", s.Zone))
	}
	if len(s.Comment) > maxComment || len(s.By) > maxComment {
		errs = append(errs, fmt.Errorf("its comment is longer than %d bytes", maxComment))
	}
	return errors.Join(errs...)
}

// zone is where Weekly's clock hangs.
func (s *Silence) zone() *time.Location {
	if loc, err := time.LoadLocation(s.Zone); err == nil {
		return loc
	}
	return time.UTC
}

// Active tells whether s holds at t.
func (s *Silence) Active(t time.Time) bool { return s.activeIn(s.zone(), t) }

func (s *Silence) activeIn(zone *time.Location, t time.Time) bool {
	if t.Before(s.From) || s.Over(t) {
		return false
	}
	there := t.In(zone)
	return len(s.Weekly) == 0 || slices.ContainsFunc(s.Weekly, func(w Weekly) bool { return w.Covers(there) })
}

// Over tells whether s will never hold again.
func (s *Silence) Over(t time.Time) bool { return !s.Till.IsZero() && !t.Before(s.Till) }

// change is when, after t, Active may be another; zero = never.
func (s *Silence) change(zone *time.Location, t time.Time) time.Time {
	var next time.Time
	for _, at := range [...]time.Time{s.From, s.Till} {
		if at.After(t) {
			next = earlier(next, at)
		}
	}
	if s.Over(t) {
		return next
	}
	there := t.In(zone)
	for i := range s.Weekly {
		next = earlier(next, s.Weekly[i].change(there))
	}
	return next
}

// Silences are all there are at a time. They are not changed once made.
type Silences struct {
	list  []Silence
	zones []*time.Location // of each
	site  func(name string) *probe.Site
}

// NewSilences makes one of a list, which it keeps. Site gives the site of a name, nil = not known.
func NewSilences(list []Silence, site func(name string) *probe.Site) *Silences {
	x := &Silences{list: list, site: site}
	for n := range list {
		x.zones = append(x.zones, list[n].zone())
	}
	return x
}

// Change is when, after t, something may be silenced that was not, or the other way round; zero = never.
func (x *Silences) Change(t time.Time) time.Time {
	var next time.Time
	for n := range x.list {
		next = earlier(next, x.list[n].change(x.zones[n], t))
	}
	return next
}

// Of gives the silences that keep quiet about an incident at t: every site that fails, or failed, must be silenced by one
// of them. None = it is not silenced.
func (x *Silences) Of(t time.Time, i *Incident) []Silence {
	var active []*Silence
	for n := range x.list {
		if s := &x.list[n]; s.Match.fits(matchDomain, i.Domain.String()) && s.activeIn(x.zones[n], t) {
			active = append(active, s)
		}
	}
	if len(active) == 0 {
		return nil
	}
	members := i.Members
	if slices.ContainsFunc(members, func(m Member) bool { return m.Now }) {
		members = slices.DeleteFunc(slices.Clone(members), func(m Member) bool { return !m.Now })
	}
	used := map[*Silence]bool{}
	for n := range members {
		s := x.ofMember(active, &members[n])
		if s == nil {
			return nil
		}
		used[s] = true
	}
	if len(members) == 0 || i.Failing.Sites > len(i.Members) { // and those that are not listed
		n := slices.IndexFunc(active, func(s *Silence) bool { return len(s.Match[matchVantage]) == 0 && !s.Match.isAboutSites() })
		if n < 0 {
			return nil
		}
		used[active[n]] = true
	}
	var out []Silence
	for _, s := range active {
		if used[s] {
			out = append(out, *s)
		}
	}
	return out
}

// ofMember is the first silence that fits a failing site and every vantage that it fails from.
func (x *Silences) ofMember(active []*Silence, m *Member) *Silence {
	for _, s := range active {
		if s.Match.fitsSite(m.Site, x.site(m.Site)) && !slices.ContainsFunc(m.Vantages, func(v string) bool { return !s.Match.fits(matchVantage, v) }) {
			return s
		}
	}
	return nil
}

// OfNotice gives a silence that keeps quiet about a notice at t; nil = it is not silenced.
func (x *Silences) OfNotice(t time.Time, n *Notice) *Silence {
	for k := range x.list {
		s := &x.list[k]
		if MatchesNotice(s.Match, n, x.site) && s.activeIn(x.zones[k], t) {
			return s
		}
	}
	return nil
}

// SortSilences orders silences for people: those that hold first, then those to come, then those that are over, and of each the
// one that ends first.
func SortSilences(list []Silence, now time.Time) {
	rank := func(s *Silence) int {
		switch {
		case s.Active(now):
			return 0
		case !s.Over(now):
			return 1
		default:
			return 2
		}
	}
	slices.SortStableFunc(list, func(a, b Silence) int {
		return cmp.Or(cmp.Compare(rank(&a), rank(&b)), a.Till.Compare(b.Till), cmp.Compare(a.ID, b.ID))
	})
}
