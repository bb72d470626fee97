package chat

import "strings"

// limits say what a service shows of a message.
type limits struct {
	titled bool // it has a place for a title of its own
	most   int  // bytes of a text; what services count in characters has at least as many bytes
}

// byService holds what services document, and, where the library is stricter, the library's limits.
var byService = map[string]limits{
	"bark":       {true, 2000}, // the whole push has 4 KiB
	"discord":    {true, 2000},
	"generic":    {true, 64 << 10},
	"googlechat": {false, 4000},
	"gotify":     {true, 64 << 10},
	"hangouts":   {false, 4000},
	"join":       {true, 2000}, // goes into a URL
	"lark":       {true, 4000},
	"matrix":     {false, 32 << 10}, // an event has 64 KiB
	"mattermost": {false, 4000},     // 16,383 of newer servers
	"ntfy":       {true, 4096},      // more becomes an attachment
	"opsgenie":   {false, 15000},    // a title longer than 130 is refused
	"pagerduty":  {false, 1024},
	"pushbullet": {true, 4000},
	"pushover":   {true, 1024},
	"rocketchat": {false, 5000},
	"signal":     {false, 2000}, // more becomes an attachment
	"slack":      {true, 4000},
	"smtp":       {false, 64 << 10},
	"teams":      {true, 16 << 10}, // 28 KB, and every line becomes a section
	"telegram":   {false, 4096},
	"wecom":      {false, 2048},
	"zulip":      {false, 10000},
}

// limitsOf are those of a service, cautious ones for a service that is new in the library.
func limitsOf(scheme string) limits {
	if l, ok := byService[scheme]; ok {
		return l
	}
	return limits{false, 1000}
}

// shape gives title and text as the service takes them. Without a place for a title it begins the text.
func (l limits) shape(title, text string) (string, string) {
	title = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f { // the title becomes a header
			return -1
		}
		return r
	}, title)
	text = strings.TrimSpace(text)
	if !l.titled {
		title, text = "", title+"\n\n"+text
	}
	return title, shorten(text, l.most)
}

// shorten cuts a text to so many bytes, at the end of a line if there is one in its second half.
func shorten(s string, most int) string {
	const more = "\n…"
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= most {
		return s
	}
	s = strings.ToValidUTF8(s[:most-len(more)], "")
	if n := strings.LastIndexByte(s, '\n'); n > len(s)/2 {
		s = s[:n]
	}
	return s + more
}
