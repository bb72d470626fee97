package report

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// plain is s fit for one line of at most n characters: valid UTF-8, and what controls a terminal or hides among the letters
// shown by its escape.
func plain(s string, n int) string {
	return clip(visible(strings.TrimSpace(head(s, 4*n)), ""), n)
}

// block is the first n bytes of s fit for several lines.
func block(s string, n int) string {
	return visible(strings.ReplaceAll(head(s, n), "\r\n", "\n"), "\n\t")
}

// head is the first n bytes of s, less what is left of a character that is cut.
func head(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

func visible(s, but string) string {
	var b strings.Builder
	for _, r := range strings.ToValidUTF8(s, "\uFFFD") {
		switch {
		case strings.ContainsRune(but, r):
			b.WriteRune(r)
		case unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co, unicode.Zl, unicode.Zp):
			b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// clip shortens s to n characters.
func clip(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}

// ends shortens s to n characters and keeps both its ends: names of vantages often differ in the last one.
func ends(s string, n int) string {
	r := []rune(s)
	if len(r) <= n {
		return s
	}
	return string(r[:n/2]) + "…" + string(r[len(r)-(n-n/2-1):])
}

func day(t time.Time) string    { return t.UTC().Format("2 January 2006") }
func moment(t time.Time) string { return t.UTC().Format("2 January 2006, 15:04:05") }

// span is from when until when.
func span(from, till time.Time) string {
	if day(from) == day(till) {
		return moment(from) + " to " + till.UTC().Format("15:04:05") + " UTC"
	}
	return moment(from) + " to " + moment(till) + " UTC"
}

// length is how long something took, as people say it.
func length(d time.Duration) string {
	d = max(d, 0).Round(time.Second)
	h, m, s := int(d.Hours()), int(d.Minutes())%60, int(d.Seconds())%60
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", s)
	case d < time.Hour && s == 0:
		return fmt.Sprintf("%d min", m)
	case d < time.Hour:
		return fmt.Sprintf("%d min %d s", m, s)
	case m == 0:
		return fmt.Sprintf("%d h", h)
	default:
		return fmt.Sprintf("%d h %d min", h, m)
	}
}

// offset is how long after the onset something was: in seconds where these tell how soon it was.
func offset(d time.Duration) string {
	switch {
	case d <= -time.Minute:
		return "−" + length(-d)
	case d < 0:
		return fmt.Sprintf("−%.1f s", -d.Seconds())
	case d < 10*time.Minute:
		return fmt.Sprintf("+%.1f s", d.Seconds())
	default:
		return "+" + length(d)
	}
}

// several is a list of names of which the first few are told.
func several(names []string, most, ofAll int) string {
	if len(names) > 3 && len(names) == ofAll {
		return fmt.Sprintf("all %d", ofAll)
	}
	var out []string
	for _, name := range names[:min(len(names), most)] {
		out = append(out, plain(name, maxName))
	}
	s := strings.Join(out, ", ")
	if more := len(names) - most; more > 0 {
		s += fmt.Sprintf(" and %d more", more)
	}
	return s
}

func capital(s string) string {
	for _, r := range s {
		return string(unicode.ToUpper(r)) + s[utf8.RuneLen(r):]
	}
	return ""
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
