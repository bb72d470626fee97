package report

import (
	"bytes"
	"fmt"
	"io"
	"regexp"
	"strings"
	"unicode/utf8"
)

// Markdown writes the report for a wiki, an issue or a mail. Whatever comes from outside stands in code where it could mean
// something there: it makes no link, mentions nobody, and opens no HTML.
func (r *Report) Markdown(w io.Writer) error {
	var m markdown
	m.story(r.story())
	if _, err := w.Write(m.Bytes()); err != nil {
		return fmt.Errorf("writing the report as Markdown: %w", err)
	}
	return nil
}

type markdown struct{ bytes.Buffer }

func (m *markdown) printf(format string, args ...any) { fmt.Fprintf(m, format, args...) }

func (m *markdown) story(s *story) {
	m.printf("# %s\n\n%s\n\n", prose(s.Title), prose(strings.Join(s.Tags, " · ")))
	for _, f := range s.Facts {
		m.fact(f)
	}
	m.section("What it probably was")
	if s.Probably != "" {
		m.printf("%s\n\n", prose(s.Probably))
	}
	m.list(s.Why)
	if len(s.Fine) > 0 {
		m.section("What was not failing")
		m.list(s.Fine)
	}
	m.timeline(s)
	m.course(s.Course)
	m.members(s)
	m.looks(s.Looks)
	m.deliveries(s)
	m.printf("\n---\n\nIncident %s, key %s. Made on %s.\n", prose(s.ID), prose(s.Key), prose(s.Made))
}

func (m *markdown) section(title string) { m.printf("\n## %s\n\n", title) }

func (m *markdown) list(items []string) {
	for _, s := range items {
		m.printf("- %s\n", prose(s))
	}
}

func (m *markdown) fact(f fact) {
	if len(f.Bodies) == 1 {
		m.printf("- **%s:** %s\n", f.Head, prose(f.Bodies[0]))
		return
	}
	m.printf("- **%s:**\n", f.Head)
	for _, s := range f.Bodies {
		m.printf("  - %s\n", prose(s))
	}
}

// row writes a row of a table. In a cell no escape of a bar is safe everywhere: it is shown as a broken one.
func (m *markdown) row(cells ...string) {
	for n := range cells {
		cells[n] = strings.ReplaceAll(cells[n], "|", "¦")
	}
	m.printf("| %s |\n", strings.Join(cells, " | "))
}

func (m *markdown) heads(heads ...string) {
	m.row(heads...)
	m.printf("|%s\n", strings.Repeat(" --- |", len(heads)))
}

func (m *markdown) timeline(s *story) {
	m.section("Timeline")
	m.printf("%s\n\n", s.When)
	m.heads("Time", "After the onset", "What")
	for _, e := range s.Timeline {
		m.row(e.At, e.After, prose(e.What))
	}
}

func (m *markdown) course(c *course) {
	if c == nil {
		return
	}
	m.section("How much failed when")
	m.printf("%s\n\n", prose(c.Summary))
	m.heads("Time", "Failing", "Share", "")
	for _, r := range c.Rows {
		m.row(r.At, r.Failing, fmt.Sprintf("%d %%", r.Share), strings.Repeat("█", (r.Share+2)/5))
	}
}

func (m *markdown) members(s *story) {
	if len(s.Members) == 0 {
		return
	}
	m.section("Failing sites")
	m.heads("Site", "Owner", "First failing answer", "What", "Seen from", "Still failing")
	for _, x := range s.Members[:min(len(s.Members), unfolded)] {
		m.row(prose(x.Site), prose(x.Owner), x.Since, prose(x.What), prose(x.From), x.Still)
	}
	if len(s.Members) > unfolded {
		var names []string
		for _, x := range s.Members[unfolded:] {
			names = append(names, prose(x.Site))
		}
		m.printf("\nAnd %d more: %s.\n", len(names), strings.Join(names, ", "))
	}
	if s.NotListed > 0 {
		m.printf("\n%d more failed that are not listed.\n", s.NotListed)
	}
}

func (m *markdown) looks(looks []look) {
	if len(looks) == 0 {
		return
	}
	m.section("Evidence")
	m.printf("Failing answers of different sites, as they came; cookies and secrets are taken out.\n")
	for n := range looks {
		m.look(n+1, &looks[n])
	}
}

func (m *markdown) look(n int, l *look) {
	m.printf("\n### %d. %s from %s\n\n", n, prose(l.Site), prose(l.Vantage))
	m.printf("At %s: %s", l.At, prose(l.What))
	if l.Why != "" {
		m.printf(": %s", prose(l.Why))
	}
	m.printf("\n\n")
	for _, f := range l.Facts {
		m.fact(f)
	}
	m.fence(l.Head + "\n" + l.Body)
	if l.More > 0 {
		m.printf("\n%s of the body are not shown.\n", plural(l.More, "more byte", "more bytes"))
	}
	m.fence(strings.Join(l.Messages, "\n"))
}

func (m *markdown) deliveries(s *story) {
	if len(s.Deliveries) == 0 {
		return
	}
	m.section("Deliveries")
	m.heads("Time", "After the onset", "Channel", "Message", "Outcome", "Failed tries before", "Error")
	for _, d := range s.Deliveries {
		m.row(d.At, d.After, prose(d.Channel), prose(d.Event), prose(d.Outcome), d.Tries, prose(d.Error))
	}
	if s.More > 0 {
		m.printf("\n%d more are not shown.\n", s.More)
	}
}

// fence sets s as a block that nothing in it can end.
func (m *markdown) fence(s string) {
	if s = strings.Trim(s, "\n"); s == "" {
		return
	}
	ticks := strings.Repeat("`", max(3, longestRun(s)+1))
	m.printf("\n%stext\n%s\n%s\n", ticks, s, ticks)
}

func longestRun(s string) int {
	longest, run := 0, 0
	for _, r := range s {
		if run++; r != '`' {
			run = 0
		}
		longest = max(longest, run)
	}
	return longest
}

var (
	harmless = regexp.MustCompile(`^\[?[\p{L}\p{M}\p{N}.,;()'"%/+=…–—−·→-][\p{L}\p{M}\p{N}.,:;()'"%/+=…–—−·→_-]*\]?[.,:;]*$`)
	special  = regexp.MustCompile(`(?i)://|www\.|_$|_[.,:;()'"%/+=\]-]|[.,:;()'"%/+=-]_`) // links, and what an underscore might stress
	begins   = regexp.MustCompile(`^([-+=[].*|[0-9]+[.)])$`)                              // a list, a heading, the definition of a link
)

// prose sets a line of text. Words that could mean something to some reader of Markdown are set as code, in which nothing does.
func prose(s string) string {
	words := strings.Fields(s)
	var out []string
	for n := 0; n < len(words); n++ {
		if meansNothing(words[n], n == 0) {
			out = append(out, words[n])
			continue
		}
		end := n + 1
		for end < len(words) && !meansNothing(words[end], false) {
			end++
		}
		span := strings.Join(words[n:end], " ")
		bare := strings.TrimRight(span, ".,:;")
		out = append(out, code(bare)+span[len(bare):])
		n = end - 1
	}
	return strings.Join(out, " ")
}

func meansNothing(word string, first bool) bool {
	return utf8.ValidString(word) && harmless.MatchString(word) && !special.MatchString(word) && !(first && begins.MatchString(word))
}

// code sets s as code that nothing in it can end.
func code(s string) string {
	ticks := strings.Repeat("`", longestRun(s)+1)
	if strings.HasPrefix(s, "`") || strings.HasSuffix(s, "`") {
		s = " " + s + " "
	}
	return ticks + s + ticks
}
