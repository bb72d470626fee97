package cdn

import (
	"bytes"
	"html"
)

const (
	headBytes = 16 << 10 // of a body that are searched from its start
	tailBytes = 4 << 10  // and before its end: error pages are small, custom ones carry their reference at the end
)

// marks finds many fixed texts in one pass over a body, without regard to the case of ASCII letters (an Aho-Corasick
// automaton). It is immutable once built.
type marks struct {
	ids   map[string]int
	size  int        // bytes of all marks
	class [256]uint8 // byte -> column of next; 0 = in no mark
	width uint32
	next  []uint32   // row (state times width) + column -> row of the following state
	ends  [][]uint16 // by state: the marks that end there
}

// add returns the number of a mark; s is lower case. All marks are added before build.
func (m *marks) add(s string) int {
	if m.ids == nil {
		m.ids = map[string]int{}
	}
	id, ok := m.ids[s]
	if !ok {
		id = len(m.ids)
		m.ids[s] = id
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
	m.next, m.ends = make([]uint32, m.width), make([][]uint16, 1)
	for s, id := range m.ids {
		m.insert(s, id)
	}
	m.link()
}

func (m *marks) insert(s string, id int) {
	row := uint32(0)
	for i := range len(s) {
		cell := row + uint32(m.class[s[i]])
		if m.next[cell] == 0 {
			m.next[cell] = uint32(len(m.next))
			m.next = append(m.next, make([]uint32, m.width)...)
			m.ends = append(m.ends, nil)
		}
		row = m.next[cell]
	}
	m.ends[row/m.width] = append(m.ends[row/m.width], uint16(id))
}

// link fills the missing transitions, breadth first, with those of the longest proper suffix.
func (m *marks) link() {
	suffix := make([]uint32, len(m.ends))
	queue := []uint32{0}
	for len(queue) > 0 {
		row := queue[0]
		queue = queue[1:]
		back := suffix[row/m.width]
		for c := uint32(1); c < m.width; c++ {
			child := m.next[row+c]
			if child == 0 {
				m.next[row+c] = m.next[back+c]
				continue
			}
			if row != 0 {
				to := m.next[back+c]
				suffix[child/m.width] = to
				m.ends[child/m.width] = append(m.ends[child/m.width], m.ends[to/m.width]...)
			}
			queue = append(queue, child)
		}
	}
}

// scan sets at[id] to the end of the first occurrence of each mark in text that it finds; 0 = not there.
func (m *marks) scan(text []byte, at []int32) {
	row := uint32(0)
	for i, b := range text {
		row = m.next[row+uint32(m.class[b])]
		if row == 0 {
			continue
		}
		for _, id := range m.ends[row/m.width] {
			if at[id] == 0 {
				at[id] = int32(i + 1)
			}
		}
	}
}

// searchable returns the parts of a body that are searched, with HTML entities undone; it may be in buf or body.
func searchable(body, buf []byte) (text, newBuf []byte) {
	text = body
	if len(body) > headBytes+tailBytes {
		buf = append(buf[:0], body[:headBytes]...)
		buf = append(buf, 0)
		buf = append(buf, body[len(body)-tailBytes:]...)
		text = buf
	}
	if bytes.IndexByte(text, '&') >= 0 {
		buf = append(buf[:0], html.UnescapeString(string(text))...)
		text = buf
	}
	return text, buf
}
