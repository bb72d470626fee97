package cdn

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"

	"faultline/probe"
)

const (
	maxHeaders = 256     // of a response that are looked at
	maxValue   = 4 << 10 // bytes of a header value that are looked at
	maxCode    = 48      // bytes of a code that a page states
	maxSkipped = 120     // and of tags before it
)

// header is one condition on a response's headers: "NAME" is there, "!NAME" is not there, "NAME = VALUE" is that value
// without regard to case, "NAME ~ REGEXP" matches it without regard to case.
type header struct {
	name   string // lower case
	absent bool
	value  string
	like   *regexp.Regexp
	by     string // what a verdict shows as evidence
}

func parseHeader(s string) (header, error) {
	if name, re, ok := strings.Cut(s, " ~ "); ok {
		like, err := regexp.Compile("(?i)" + strings.TrimSpace(re))
		if err != nil {
			return header{}, fmt.Errorf("%w; a Go regular expression is needed after ~", err)
		}
		return newHeader(name, header{like: like})
	}
	if name, value, ok := strings.Cut(s, " = "); ok {
		return newHeader(name, header{value: strings.TrimSpace(value)})
	}
	if name, ok := strings.CutPrefix(s, "!"); ok {
		return newHeader(name, header{absent: true})
	}
	return newHeader(s, header{})
}

func newHeader(name string, h header) (header, error) {
	h.name = strings.ToLower(strings.TrimSpace(name))
	h.by = "header " + h.name
	if h.name == "" || strings.ContainsAny(h.name, " =~!:\t") {
		return h, fmt.Errorf(`%q is no header name; write "NAME", "!NAME", "NAME = VALUE" or "NAME ~ REGEXP"`, name)
	}
	return h, nil
}

// fits tells whether a header of that name has a fitting value.
func (h *header) fits(value string) bool {
	if len(value) > maxValue {
		value = value[:maxValue]
	}
	switch {
	case h.like != nil:
		return h.like.MatchString(value)
	case h.value != "":
		return strings.EqualFold(strings.TrimSpace(value), h.value)
	}
	return true
}

func (h *header) holds(headers []probe.Header) bool {
	for i := range headers {
		if len(headers[i].Name) == len(h.name) && strings.EqualFold(headers[i].Name, h.name) && h.fits(headers[i].Value) {
			return !h.absent
		}
	}
	return h.absent
}

// code is a number or word by which a CDN states a cause, in a header or right after a text in its page.
type code struct {
	header *header
	after  []int // marks
}

// get returns the code that the response states; "" = none.
func (c *code) get(s *state) string {
	if c.header != nil {
		if v := c.header.find(s.resp.Headers); v != "" {
			return v
		}
	}
	for _, id := range c.after {
		if at := s.mark(id); at > 0 {
			if w := word(s.text[at:]); w != "" {
				return w
			}
		}
	}
	return ""
}

// find returns the code in the first header that has one: the first group of the expression, or the first word.
func (h *header) find(headers []probe.Header) string {
	for i := range headers {
		if !strings.EqualFold(headers[i].Name, h.name) {
			continue
		}
		v := headers[i].Value
		v = v[:min(len(v), maxValue)]
		if h.like == nil {
			return word([]byte(v))
		}
		if m := h.like.FindStringSubmatch(v); m != nil {
			return word([]byte(m[len(m)-1]))
		}
	}
	return ""
}

// word is the letters, digits, _ and - at the start of b, white space and tags before them skipped; "" when there are none or
// too many.
func word(b []byte) string {
	b = b[:min(len(b), maxCode+maxSkipped)]
	for len(b) > 0 && (b[0] == '<' || b[0] <= ' ') {
		end := 0
		if b[0] == '<' {
			if end = bytes.IndexByte(b, '>'); end < 0 {
				return ""
			}
		}
		b = b[end+1:]
	}
	b = b[:min(len(b), maxCode+1)]
	n := 0
	for n < len(b) && isWord(b[n]) {
		n++
	}
	if n > maxCode {
		return ""
	}
	return string(b[:n])
}

func isWord(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c == '-'
}

// when is a set of conditions, all of which must hold.
type when struct {
	status   []probe.StatusRange
	headers  []header
	bare     bool // no CDN's header is on the response
	made     bool // the CDN itself made the response
	bodyMax  int  // bytes; -1 = any length
	bodyAny  []int
	bodyAll  []int
	bodyNone []int
	says     []int    // marks of which one is in the body,
	reasons  []string // or in the reason phrase
	code     *code
	codes    []string // with a * at the end: every code that begins so
}

// holds tests the cheap conditions first: the body is searched only for what needs it.
func (w *when) holds(s *state, v *vendor) bool {
	if !inStatus(w.status, s.resp.Status) || w.bodyMax >= 0 && len(s.resp.Body) > w.bodyMax || w.bare && !s.bare {
		return false
	}
	for i := range w.headers {
		if !w.headers[i].holds(s.resp.Headers) {
			return false
		}
	}
	if w.made && !v.made(s) {
		return false
	}
	return w.bodyHolds(s) && w.saysHolds(s) && (w.code == nil || w.codeHolds(w.code.get(s)))
}

func (w *when) bodyHolds(s *state) bool {
	for _, id := range w.bodyAll {
		if s.mark(id) == 0 {
			return false
		}
	}
	if len(w.bodyAny) > 0 && !s.anyMark(w.bodyAny) {
		return false
	}
	return len(w.bodyNone) == 0 || !s.anyMark(w.bodyNone)
}

func (w *when) saysHolds(s *state) bool {
	if len(w.says) == 0 {
		return true
	}
	for _, r := range w.reasons {
		if strings.Contains(s.reason, r) {
			return true
		}
	}
	return s.anyMark(w.says)
}

func (w *when) codeHolds(got string) bool {
	for _, want := range w.codes {
		if prefix, ok := strings.CutSuffix(want, "*"); ok && got != "" && len(got) >= len(prefix) {
			if strings.EqualFold(got[:len(prefix)], prefix) {
				return true
			}
		} else if strings.EqualFold(got, want) && got != "" {
			return true
		}
	}
	return false
}

func inStatus(rs []probe.StatusRange, status int) bool {
	for _, r := range rs {
		if r.From <= status && status <= r.To {
			return true
		}
	}
	return false
}
