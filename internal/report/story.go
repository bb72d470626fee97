package report

import (
	"fmt"
	"strings"
	"time"

	"faultline/alert"
	"faultline/alert/notify"
)

// story is a report in words: the same ones for Markdown and HTML, which only set them. Every string of it is plain, and none
// is escaped.
type story struct {
	Title      string
	Tone       string // of its state: bad, warn or well
	Tags       []string
	Facts      []fact
	Probably   string
	Why        []string
	Fine       []string
	When       string // which day the times without one are of
	Timeline   []event
	Course     *course // nil = not recorded
	Members    []member
	NotListed  int // failing sites that are not among Members
	Looks      []look
	Deliveries []delivery
	More       int // deliveries that are not among Deliveries
	ID, Key    string
	Made       string
}

// fact is something that is known, under its name.
type fact struct {
	Head   string
	Bodies []string
}

func (r *Report) story() *story {
	i := &r.Incident
	said := saidOf(i)
	clock, when := r.clock()
	s := &story{
		Title: title(i), Tone: tone(i), Tags: tags(i), Facts: r.facts(said),
		Probably: capital(strings.Join(sentences(said["Probably"]), "")), Why: sentences(i.Why), Fine: sentences(i.Fine),
		When: when, Timeline: r.timeline(clock), Course: newCourse(i, clock),
		Members: members(i, clock), Looks: r.looks(clock), Deliveries: r.deliveries(clock),
		ID: plain(i.ID, maxSentence), Key: plain(i.Key, maxSentence), Made: moment(r.Made) + " UTC",
	}
	s.NotListed = max(i.Failing.Sites-len(s.Members), 0)
	s.More = len(r.Deliveries) - len(s.Deliveries)
	if r.Version != "" {
		s.Made += " by faultline " + plain(r.Version, maxName)
	}
	return s
}

// saidOf is what an incident says of itself in its pages, by the heads of its lines.
func saidOf(i *alert.Incident) map[string][]string {
	said := map[string][]string{}
	head := ""
	for _, l := range i.Lines() {
		if l.Head != "" {
			head = l.Head
		}
		said[head] = append(said[head], l.Body)
	}
	return said
}

func sentences(list []string) []string {
	var out []string
	for _, s := range list[:min(len(list), maxReasons)] {
		out = append(out, plain(s, maxSentence))
	}
	return out
}

func title(i *alert.Incident) string {
	subject := capital(plain(i.Subject(), 2*maxName))
	switch end := ended(i); {
	case end.IsZero():
		return subject + " failing since " + moment(i.Onset) + " UTC"
	case day(i.Onset) == day(end):
		return fmt.Sprintf("%s failed for %s on %s", subject, length(end.Sub(i.Onset)), day(end))
	default:
		return fmt.Sprintf("%s failed for %s from %s", subject, length(end.Sub(i.Onset)), day(i.Onset))
	}
}

// ended is since when the members of an incident answer again; zero = they do not.
func ended(i *alert.Incident) time.Time {
	switch {
	case i.State == alert.StateOpen:
		return time.Time{}
	case i.RecoveringAt.IsZero():
		return i.ResolvedAt
	default:
		return i.RecoveringAt
	}
}

func tone(i *alert.Incident) string {
	switch {
	case i.State == alert.StateResolved:
		return "well"
	case i.State == alert.StateOpen && i.Severity == alert.SeverityPage:
		return "bad"
	default:
		return "warn"
	}
}

func tags(i *alert.Incident) []string {
	out := []string{string(i.State), string(i.Severity)}
	if i.Scope != alert.ScopeNone {
		out = append(out, string(i.Scope))
	}
	out = append(out, strings.ReplaceAll(string(i.Assessment), "_", " "))
	for n := range out {
		out[n] = plain(out[n], maxName)
	}
	return out
}

func (r *Report) facts(said map[string][]string) []fact {
	i := &r.Incident
	alone := *i
	alone.Or = nil
	out := []fact{
		{"What failed", sentences([]string{fmt.Sprintf("%s (%s)", alone.Subject(), i.Domain)})},
		{"When", []string{r.when()}},
	}
	add := func(head string, bodies []string) {
		if len(bodies) > 0 {
			out = append(out, fact{head, sentences(bodies)})
		}
	}
	add("Or", said["or"])
	add("How much", howMuch(i, said))
	add("Answers", said["Answers"])
	add("People", r.told())
	add("Taken on", said["Taken on"])
	if i.State == alert.StateOpen {
		add("Look at", said["Look at"])
	}
	return out
}

func howMuch(i *alert.Incident, said map[string][]string) []string {
	list := said["How much"]
	if len(list) > 0 && i.State != alert.StateOpen {
		return []string{"at worst " + list[0]}
	}
	return list
}

func (r *Report) when() string {
	i := &r.Incident
	waves := ""
	if i.Waves > 1 {
		waves = fmt.Sprintf(", in %d waves", i.Waves)
	}
	end := ended(i)
	if end.IsZero() {
		return fmt.Sprintf("since %s UTC%s; it still failed when this report was made, after %s", moment(i.Onset), waves, length(r.Made.Sub(i.Onset)))
	}
	s := fmt.Sprintf("%s: %s%s", span(i.Onset, end), length(end.Sub(i.Onset)), waves)
	if i.State == alert.StateRecovering {
		s += "; it is not over yet, as it has answered for a short time only"
	}
	return s
}

// told says how soon someone knew.
func (r *Report) told() []string {
	i := &r.Incident
	if i.PagedAt.IsZero() {
		return []string{"nobody was woken: it was worth a notice only"}
	}
	s := fmt.Sprintf("it was decided %.1f s after the onset to wake someone", i.PagedAt.Sub(i.Onset).Seconds())
	for _, d := range r.Deliveries {
		if d.Outcome == notify.OutcomeAccepted && d.Event == notify.EventPage {
			return []string{s + fmt.Sprintf("; %s took the page after %.1f s", plain(d.Channel, maxName), d.At.Sub(i.Onset).Seconds())}
		}
	}
	return []string{s}
}

// clock gives the form of the times in tables, which have no date where all are of one day, and what to say of that.
func (r *Report) clock() (clock func(time.Time) string, when string) {
	i := &r.Incident
	times := []time.Time{i.RecoveringAt, i.ResolvedAt}
	if i.State != alert.StateResolved {
		times = append(times, r.Made)
	}
	for n := range r.Deliveries {
		times = append(times, r.Deliveries[n].At)
	}
	for n := range i.Members {
		times = append(times, i.Members[n].Since)
	}
	form, when := "15:04:05", "All times are UTC, of "+day(i.Onset)+"."
	for _, t := range times {
		if !t.IsZero() && day(t) != day(i.Onset) {
			form, when = "2 Jan 15:04:05", "All times are UTC."
		}
	}
	return func(t time.Time) string { return t.UTC().Format(form) }, when
}

// member is one failing site.
type member struct{ Site, Owner, Since, What, From, Still string }

func members(i *alert.Incident, clock func(time.Time) string) []member {
	var out []member
	for n := range i.Members[:min(len(i.Members), maxMembers)] {
		m := &i.Members[n]
		what := plain(m.Class, maxName)
		if m.Status != 0 {
			what = fmt.Sprintf("HTTP %d, %s", m.Status, what)
		}
		still := "no"
		if m.Now {
			still = "yes"
		}
		out = append(out, member{
			plain(m.Site, maxName), plain(m.Owner, maxName), clock(m.Since), what, several(m.Vantages, 6, i.Of.Vantages), still,
		})
	}
	return out
}
