package config

import (
	"fmt"
	"strings"
)

// positions finds the line of every key and table of a TOML text by its path: "daemon.listen", "site[2].url". The text is
// valid TOML: its parser has seen it before. (The parser itself gives positions for syntax errors only.)
func positions(text string) map[string]int {
	s := &scanner{text: text, line: 1, at: map[string]int{}, count: map[string]int{}, list: map[string]bool{}}
	for s.blank(true); !s.end(); s.blank(true) {
		if s.peek() == '[' {
			s.header()
		} else {
			s.pair(s.prefix)
		}
	}
	return s.at
}

type scanner struct {
	text   string
	pos    int
	line   int
	prefix string // path of the table that keys go into
	at     map[string]int
	count  map[string]int  // how often [[path]] has stood
	list   map[string]bool // paths that are lists of tables
}

func (s *scanner) end() bool { return s.pos >= len(s.text) }

func (s *scanner) peek() byte {
	if s.end() {
		return 0
	}
	return s.text[s.pos]
}

func (s *scanner) next() byte {
	c := s.peek()
	if c == '\n' {
		s.line++
	}
	s.pos++
	return c
}

func (s *scanner) starts(with string) bool {
	return strings.HasPrefix(s.text[min(s.pos, len(s.text)):], with)
}

// blank skips spaces and, where lines says so, line ends and comments.
func (s *scanner) blank(lines bool) {
	for !s.end() {
		switch c := s.peek(); {
		case c == ' ' || c == '\t' || lines && (c == '\n' || c == '\r' || c == ','):
			s.next()
		case lines && c == '#':
			for !s.end() && s.peek() != '\n' {
				s.next()
			}
		default:
			return
		}
	}
}

// header reads [a.b] or [[a.b]].
func (s *scanner) header() {
	line, many := s.line, s.starts("[[")
	s.pos++
	if many {
		s.pos++
	}
	name := s.key()
	for !s.end() && s.peek() != '\n' {
		s.next()
	}
	path := s.indexed(name)
	if many {
		if s.at[path] == 0 {
			s.at[path] = line
		}
		s.list[path] = true
		s.count[path]++
		path = fmt.Sprintf("%s[%d]", path, s.count[path])
	}
	s.at[path] = line
	s.prefix = path
}

// indexed puts in the numbers of the lists that a table's path leads through.
func (s *scanner) indexed(name []string) string {
	path := ""
	for i, part := range name {
		path = join(path, part)
		if i < len(name)-1 && s.list[path] {
			path = fmt.Sprintf("%s[%d]", path, s.count[path])
		}
	}
	return path
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// key reads a key, bare or quoted, dotted or not.
func (s *scanner) key() []string {
	var parts []string
	for !s.end() {
		s.blank(false)
		switch c := s.peek(); c {
		case '"', '\'':
			parts = append(parts, s.str())
		default:
			from := s.pos
			for !s.end() && !strings.ContainsRune(".=]\"' \t\r\n#,{}[", rune(s.peek())) {
				s.pos++
			}
			parts = append(parts, s.text[from:s.pos])
		}
		s.blank(false)
		if s.peek() != '.' {
			return parts
		}
		s.next()
	}
	return parts
}

// pair reads key = value under prefix.
func (s *scanner) pair(prefix string) {
	line, from := s.line, s.pos
	path := prefix
	for _, part := range s.key() {
		path = join(path, part)
		if s.at[path] == 0 {
			s.at[path] = line
		}
	}
	s.blank(false)
	if s.peek() == '=' {
		s.next()
		s.blank(false)
		s.value(path)
	}
	if s.pos == from { // no progress: this is no TOML
		s.next()
	}
}

// value skips one value and enters the keys inside it.
func (s *scanner) value(path string) {
	switch s.peek() {
	case '"', '\'':
		s.str()
	case '{':
		s.next()
		for s.blank(true); !s.end() && s.peek() != '}'; s.blank(true) {
			s.pair(path)
		}
		s.next()
	case '[':
		s.next()
		n := 0
		for s.blank(true); !s.end() && s.peek() != ']'; s.blank(true) {
			n++
			from, item := s.pos, path
			if s.peek() == '{' {
				item = fmt.Sprintf("%s[%d]", path, n)
				s.at[item] = s.line
			}
			s.value(item)
			if s.pos == from {
				s.next()
			}
		}
		s.next()
	default:
		for !s.end() && !strings.ContainsRune(",]}\n#", rune(s.peek())) {
			s.next()
		}
	}
}

// str reads a string of any of the four kinds and gives its text, escapes as they stand.
func (s *scanner) str() string {
	quote := s.text[s.pos : s.pos+1]
	escapes := quote == `"`
	if s.starts(strings.Repeat(quote, 3)) {
		quote = strings.Repeat(quote, 3)
	}
	s.pos += len(quote)
	from := s.pos
	for !s.end() && !s.starts(quote) {
		if escapes && s.peek() == '\\' {
			s.next()
		}
		s.next()
	}
	text := s.text[from:min(s.pos, len(s.text))]
	s.pos += len(quote)
	for len(quote) == 3 && s.peek() == quote[0] { // up to two quotes may end the text itself
		s.pos++
	}
	return text
}
