package alert

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"faultline/probe"
)

// Title says it in at most 160 characters, for an SMS or a subject line.
func (i *Incident) Title() string {
	subject, many := i.subject()
	counts := i.counts()
	works, answers := "works", "answers"
	if many {
		works, answers = "work", "answer"
	}
	var s string
	switch i.State {
	case StateResolved:
		s = fmt.Sprintf("RESOLVED: %s %s again. Failed from %s to %s UTC (%s)",
			subject, works, clock(i.Onset), clock(i.RecoveringAt), rough(i.RecoveringAt.Sub(i.Onset)))
		if i.Of.Sites > 0 {
			s += ", at worst " + counts
		}
	case StateRecovering:
		s = fmt.Sprintf("RECOVERING: %s %s again since %s UTC. Failed since %s, at worst %s",
			subject, answers, clock(i.RecoveringAt), clock(i.Onset), counts)
	default:
		again := ""
		if i.Waves > 1 {
			again = fmt.Sprintf(" again, wave %d", i.Waves)
		}
		if i.Of.Sites == 0 {
			counts = strings.Join(i.Why, "; ")
		}
		s = fmt.Sprintf("%s FAILING%s since %s UTC: %s", subject, again, clock(i.Onset), counts)
		if len(i.Evidence) > 0 {
			s += ": " + looks(&i.Evidence[0])
		}
	}
	return clip(s, 160)
}

// Line is one line of an incident's text. A line without Head goes on with what the one above speaks of.
type Line struct{ Head, Body string }

// Text is Lines for where only plain text goes.
func (i *Incident) Text() string { return TextOf(i.Lines()) }

// TextOf sets lines as plain text.
func TextOf(lines []Line) string {
	var b strings.Builder
	for _, l := range lines {
		if l.Head != "" {
			l.Head += ":"
		}
		fmt.Fprintf(&b, "%-12s %s\n", l.Head, l.Body)
	}
	return b.String()
}

// Lines tells the whole incident in plain words: what failed, since when, how much of what from where, what the answers
// look like, what is not failing, what it probably is and why, and where to look.
func (i *Incident) Lines() []Line {
	var out []Line
	line := func(head string, bodies ...string) {
		for _, body := range bodies {
			out = append(out, Line{head, printable(body)})
			head = ""
		}
	}
	subject, _ := i.subject()
	line("What", fmt.Sprintf("%s (%s), %s", subject, i.Domain, i.stateWords()))
	for _, o := range i.Or {
		line("or", fmt.Sprintf("%s (%s), which would explain it as well", subjectOf(o), o))
	}
	line("Since", i.Onset.UTC().Format("2006-01-02 15:04:05")+" UTC")
	if i.Of.Sites > 0 {
		line("How much", i.counts()+", "+i.scopeWords())
	}
	line("Answers", i.answers()...)
	if len(i.Members) > 0 {
		line("Sites", i.memberNames(12))
	}
	line("Not failing", i.Fine...)
	line("Probably", assessmentWords[i.Assessment])
	line("because", i.Why...)
	line("Look at", i.WhereToLook())
	if i.Ack != nil {
		line("Taken on", i.Ack.words())
	}
	line("Incident", i.ID)
	return out
}

// Subject is what fails, in plain words: "cloudflare's edge".
func (i *Incident) Subject() string {
	s, _ := i.subject()
	return s
}

// subject is the failing thing as the subject of a sentence, and whether it is several.
func (i *Incident) subject() (s string, many bool) {
	s, many = subjectOf(i.Domain), i.Domain.Kind == KindOrigin
	for _, o := range i.Or {
		s += " or " + subjectOf(o)
	}
	return s, many
}

func subjectOf(d Domain) string {
	switch d.Kind {
	case KindCDN:
		return d.Name + "'s edge"
	case KindCDNOrigin:
		return d.Name + "'s way to the origins behind it"
	case KindDNS:
		return "the DNS of " + d.Name
	case KindNetwork:
		return "network " + d.Name
	case KindCA:
		return "trust in certificates of " + d.Name
	case KindPath:
		if d.Name == everywhere {
			return "the way to many sites"
		}
		return "the way to many sites from " + strings.ReplaceAll(d.Name, "+", ", ")
	case KindOrigin:
		return "the sites of " + d.Name
	case KindSelf:
		if d == blindDomain {
			return "faultline's own sight"
		}
		return "faultline's own " + d.Name
	default:
		return d.Kind + " " + d.Name
	}
}

func (i *Incident) counts() string {
	s := fmt.Sprintf("%d of %d sites", i.Failing.Sites, i.Of.Sites)
	if i.Failing.Owners != i.Failing.Sites || i.Of.Owners != i.Of.Sites {
		s += fmt.Sprintf(" (%d of %d owners)", i.Failing.Owners, i.Of.Owners)
	}
	return s + fmt.Sprintf(" from %d of %d vantages", i.Failing.Vantages, i.Of.Vantages)
}

func (i *Incident) stateWords() string {
	switch i.State {
	case StateResolved:
		return "resolved: it failed until " + clock(i.RecoveringAt) + " UTC"
	case StateRecovering:
		return "answers again since " + clock(i.RecoveringAt) + " UTC"
	}
	if i.Waves > 1 {
		return fmt.Sprintf("failing again (wave %d)", i.Waves)
	}
	return "failing now"
}

func (i *Incident) scopeWords() string {
	where := strings.Join(i.Regions, ", ")
	switch {
	case i.Of.Vantages < 2:
		return "seen from the only vantage there is"
	case where == "":
		return string(i.Scope)
	default:
		return string(i.Scope) + ": " + where
	}
}

// answers describes the evidence, one line for each kind of answer, the most frequent first as the evidence has them.
func (i *Incident) answers() []string {
	var out []string
	seen := map[string]bool{}
	for n := range i.Evidence {
		r := &i.Evidence[n]
		s := fmt.Sprintf("%s (%s, fault %s): %s", looks(r), r.Class, r.Fault, r.Why)
		if key := r.Class.String() + r.Fault.String(); !seen[key] && len(out) < 3 {
			seen[key] = true
			out = append(out, s+fmt.Sprintf(" [first: %s from %s at %s UTC]", r.Site, r.Vantage, clock(r.At)))
		}
	}
	return out
}

func (i *Incident) memberNames(most int) string {
	var names []string
	for n, m := range i.Members {
		if n == most {
			return strings.Join(names, ", ") + fmt.Sprintf(" and %d more", len(i.Members)-most)
		}
		names = append(names, m.Site)
	}
	return strings.Join(names, ", ")
}

var assessmentWords = map[Assessment]string{
	ProviderOutage: "an outage of the provider, not of the sites: unrelated sites on it fail together",
	Interference:   "interference on the way: only some places cannot reach it",
	SingleOwner:    "the owner's own trouble, or an attack on him: his neighbours on the same provider are fine",
	PathTrouble:    "trouble on the network between, not at the sites",
	ProberTrouble:  "trouble of the prober itself, not of the sites",
	Unclear:        "unclear: the answers do not say",
}

// WhereToLook is the first thing to do at 3 a.m., in a sentence.
func (i *Incident) WhereToLook() string {
	switch i.Domain.Kind {
	case KindCDN:
		return fmt.Sprintf("%s's status page and, if you can bypass it, your origins directly; restarting your own servers will not help", i.Domain.Name)
	case KindCDNOrigin:
		return fmt.Sprintf("your origins, and what lies between them and %s: its edges work, and say that they cannot reach many unrelated origins", i.Domain.Name)
	case KindDNS:
		return fmt.Sprintf("%s's status page, and whether your zone has name servers elsewhere too; your web servers are not the cause", i.Domain.Name)
	case KindNetwork:
		return fmt.Sprintf("the status page of whoever runs %s, and whether your servers there can be reached from inside", i.Domain.Name)
	case KindCA:
		return "the certificates: what the answers above say of them, when they were issued and by whom; renew from another issuer if that one fails"
	case KindPath:
		return "the network between, not the sites: traceroutes from the vantages that fail and from those that do not, and the status of their providers"
	case KindOrigin:
		return "the owner's servers, certificate and DNS; `faultline probe URL` shows one look in full"
	case KindVantage:
		return "the vantage's own network and resolver; nothing is wrong with the sites"
	case KindSelf:
		if i.Domain == blindDomain {
			return "the vantages' own networks and resolvers, and faultline's log on them; until that is mended nobody is watching"
		}
		return "faultline's log, and the free space and permissions of its state directory"
	default:
		return fmt.Sprintf("what the sites with %s = %q share: its status page, then the servers themselves", i.Domain.Kind, i.Domain.Name)
	}
}

// looks is an answer in a few words: "502 Bad Gateway by cloudflare", "connect_timeout".
func looks(r *probe.Result) string {
	s := r.Class.String()
	if r.Status != 0 {
		s = fmt.Sprintf("HTTP %d", r.Status)
	}
	if r.CDN != "" && r.Fault == probe.FaultEdge {
		s += " made by " + r.CDN
	}
	return s
}

func clock(t time.Time) string { return t.UTC().Format("15:04:05") }

// rough is d as people say it: "27 min", "42 s".
func rough(d time.Duration) string {
	switch {
	case d < 0:
		return "0 s"
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()+0.5))
	case d < 3*time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()+0.5))
	default:
		return fmt.Sprintf("%.1f h", d.Hours())
	}
}

// printable replaces what could forge a line or a terminal's state in text that comes from remote answers.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == utf8.RuneError || (r >= 0x7f && r < 0xa0) {
			return '·'
		}
		return r
	}, s)
}

// clip shortens s to n runes.
func clip(s string, n int) string {
	s = printable(s)
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n-1]) + "…"
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
