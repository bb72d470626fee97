package cdn

import (
	"bytes"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	headBytes  = 16 << 10 // of a body that are searched from its start
	tailBytes  = 4 << 10  // and before its end: error pages are small, custom ones carry their reference at the end
	errorBytes = 24 << 10 // at either end where a server fails: some pages bring their styles along
)

// marks finds many fixed texts in one pass over a body, without regard to the case of ASCII letters (an Aho-Corasick
// automaton). It is immutable once built.
type marks struct {
	ids   map[string]int
	size  int        // bytes of all marks
	json  []bool     // those that are keys of JSON, by number
	class [256]uint8 // byte -> column of its row in next; 0 = in no mark
	// A state is the offset of its row in next. A row has the following state for each class, with hit set where marks
	// end in that state, and in its last column the index in ends of the marks that end in its own.
	width uint32
	next  []uint32
	ends  [][]uint16 // the first is empty
}

const hit = 1 << 31

// add returns the number of a mark; s is lower case. All marks are added before build.
func (m *marks) add(s string) int {
	if m.ids == nil {
		m.ids = map[string]int{}
	}
	id, ok := m.ids[s]
	if !ok {
		id = len(m.ids)
		m.ids[s] = id
		m.json = append(m.json, strings.HasPrefix(s, "\""))
		m.size += len(s)
	}
	return id
}

func (m *marks) build() {
	m.width = 1
	for s := range m.ids {
		for i := range len(s) {
			if m.class[s[i]] == 0 {
				m.class[s[i]] = uint8(m.width)
				m.width++
			}
		}
	}
	for c := 'A'; c <= 'Z'; c++ {
		m.class[c] = m.class[c-'A'+'a']
	}
	m.width++
	m.next, m.ends = make([]uint32, m.width), make([][]uint16, 1)
	for s, id := range m.ids {
		m.insert(s, id)
	}
	m.link()
	for i, to := range m.next {
		if uint32(i)%m.width != m.width-1 && m.next[to+m.width-1] != 0 {
			m.next[i] |= hit
		}
	}
}

func (m *marks) insert(s string, id int) {
	state := uint32(0)
	for i := range len(s) {
		cell := state + uint32(m.class[s[i]])
		if m.next[cell] == 0 {
			m.next[cell] = uint32(len(m.next))
			m.next = append(m.next, make([]uint32, m.width)...)
		}
		state = m.next[cell]
	}
	m.end(state, uint16(id))
}

// end notes that marks end in a state.
func (m *marks) end(state uint32, ids ...uint16) {
	at := &m.next[state+m.width-1]
	if *at == 0 && len(ids) > 0 {
		*at = uint32(len(m.ends))
		m.ends = append(m.ends, nil)
	}
	m.ends[*at] = append(m.ends[*at], ids...)
}

// link fills the missing transitions, breadth first, with those of the longest proper suffix that is a state.
func (m *marks) link() {
	suffix := map[uint32]uint32{}
	queue := []uint32{0}
	for len(queue) > 0 {
		state := queue[0]
		queue = queue[1:]
		back := suffix[state]
		for c := uint32(1); c < m.width-1; c++ {
			child := m.next[state+c]
			switch {
			case child == 0 && state != 0:
				m.next[state+c] = m.next[back+c]
			case child != 0 && state != 0:
				to := m.next[back+c]
				suffix[child] = to
				m.end(child, m.ends[m.next[to+m.width-1]]...)
				queue = append(queue, child)
			case child != 0:
				queue = append(queue, child)
			}
		}
	}
}

// scan sets at[id] to the end of the first occurrence of each mark in text that it finds; 0 = not there. It walks the four
// quarters of the text at once, because one walk does nothing but wait for its next state.
func (m *marks) scan(text []byte, at []int32) {
	n := len(text) / 4
	q0, q1, q2, q3 := text[:n], text[n:2*n], text[2*n:3*n], text[3*n:4*n]
	var a, b, c, d uint32
	for i := range q0 {
		a = m.next[a+uint32(m.class[q0[i]])]
		b = m.next[b+uint32(m.class[q1[i]])]
		c = m.next[c+uint32(m.class[q2[i]])]
		d = m.next[d+uint32(m.class[q3[i]])]
		if (a|b|c|d)&hit != 0 {
			a, b = m.note(a, i+1, at), m.note(b, n+i+1, at)
			c, d = m.note(c, 2*n+i+1, at), m.note(d, 3*n+i+1, at)
		}
	}
	m.cross(a, text, n, at)
	m.cross(b, text, 2*n, at)
	m.cross(c, text, 3*n, at)
	for i := 4 * n; i < len(text); i++ {
		d = m.note(m.next[d+uint32(m.class[text[i]])], i+1, at)
	}
}

// cross finds the marks that lie across a place in the text, to which a walk has come in some state: until it is at its
// beginning again, where nothing of what stood before counts.
func (m *marks) cross(state uint32, text []byte, from int, at []int32) {
	for i := from; state != 0 && i < min(from+maxMark, len(text)); i++ {
		state = m.note(m.next[state+uint32(m.class[text[i]])], i+1, at)
	}
}

// note records the marks that end in a state, and returns it without its flag.
func (m *marks) note(state uint32, end int, at []int32) uint32 {
	if state&hit == 0 {
		return state
	}
	state &^= hit
	for _, id := range m.ends[m.next[state+m.width-1]] {
		if at[id] == 0 || int32(end) < at[id] {
			at[id] = int32(end)
		}
	}
	return state
}

// searchable returns the parts of a body that are searched, more of them where a server fails, with HTML entities undone. The
// text is in body or in buf, which is returned to be used again.
func searchable(body, buf []byte, fails bool) (text, reuse []byte) {
	atHead, atTail := headBytes, tailBytes
	if fails {
		atHead, atTail = errorBytes, errorBytes
	}
	head, tail := body, []byte(nil)
	if len(body) > atHead+atTail {
		head, tail = body[:atHead], body[len(body)-atTail:]
	}
	if tail == nil && bytes.IndexByte(body, '&') < 0 {
		return body, buf
	}
	buf = unescape(buf[:0], head)
	if tail != nil {
		buf = append(buf, 0)
		buf = unescape(buf, tail)
	}
	return buf, buf
}

// unescape appends src to dst with the numeric entities, and those named ones that error pages use, undone.
func unescape(dst, src []byte) []byte {
	for {
		i := bytes.IndexByte(src, '&')
		if i < 0 {
			return append(dst, src...)
		}
		dst = append(dst, src[:i]...)
		r, n := entity(src[i:])
		dst = utf8.AppendRune(dst, r)
		src = src[i+n:]
	}
}

// entity reads the entity at the start of b, and how long it is. An & that begins none stands for itself, and so does a < that is
// written so: it is the text of a tag, quoted, and no tag.
func entity(b []byte) (r rune, n int) {
	end := bytes.IndexByte(b[:min(len(b), 12)], ';')
	if end < 2 {
		return '&', 1
	}
	if name := b[1:end]; name[0] != '#' {
		if r := named(name); r != 0 {
			return r, end + 1
		}
		return '&', 1
	}
	digits, base := string(b[2:end]), 10
	if hex, ok := strings.CutPrefix(strings.ToLower(digits), "x"); ok {
		digits, base = hex, 16
	}
	v, err := strconv.ParseUint(digits, base, 21)
	if err != nil || v == '<' {
		return '&', 1
	}
	return rune(v), end + 1
}

// named is the character of a named entity; 0 = unknown here.
func named(name []byte) rune {
	switch string(name) {
	case "amp":
		return '&'
	case "gt":
		return '>'
	case "quot":
		return '"'
	case "apos":
		return '\''
	case "nbsp":
		return ' '
	case "num":
		return '#'
	case "period":
		return '.'
	case "colon":
		return ':'
	case "sol":
		return '/'
	case "lsquo":
		return '‘'
	case "rsquo":
		return '’'
	}
	return 0
}
