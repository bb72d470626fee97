package simnet

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/BurntSushi/toml"
)

// reader gathers the mistakes of one file, so that all are told at once.
type reader struct {
	file  string
	lines map[string]int // of a key's path; phase[2].class is a key of the second [[phase]]
	errs  []mistake
}

type mistake struct {
	line int
	text string
}

func (r *reader) errorf(path, format string, args ...any) {
	line := max(1, r.lines[path])
	if line == 1 {
		if table := path[:max(0, strings.LastIndexByte(path, '.'))]; table != "" {
			line = max(1, r.lines[table]) // of a key that is not there: its table's
		}
	}
	r.errs = append(r.errs, mistake{line, fmt.Sprintf("%s:%d: %s: %s", r.file, line, path, fmt.Sprintf(format, args...))})
}

func (r *reader) err() error {
	slices.SortStableFunc(r.errs, func(a, b mistake) int {
		return cmp.Or(cmp.Compare(a.line, b.line), strings.Compare(a.text, b.text))
	})
	errs := make([]error, len(r.errs))
	for i, m := range r.errs {
		errs[i] = errors.New(m.text)
	}
	return errors.Join(errs...)
}

// table is a table of the file whose keys are taken one by one; what is left at the end is unknown.
type table struct {
	r    *reader
	path string
	m    map[string]any
	seen map[string]bool
}

func (r *reader) parse(text []byte) (*table, error) {
	var m map[string]any
	if err := toml.Unmarshal(text, &m); err != nil {
		if p, ok := errors.AsType[toml.ParseError](err); ok {
			return nil, fmt.Errorf("%s:%d: %s; the file is no TOML", r.file, p.Position.Line, p.Message)
		}
		return nil, fmt.Errorf("%s:1: %w", r.file, err)
	}
	r.lines = keyLines(string(text))
	return &table{r: r, m: m, seen: map[string]bool{}}, nil
}

func (t *table) at(key string) string {
	if t.path == "" {
		return key
	}
	return t.path + "." + key
}

func (t *table) errorf(key, format string, args ...any) { t.r.errorf(t.at(key), format, args...) }

func (t *table) take(key string) (any, bool) {
	t.seen[key] = true
	v, ok := t.m[key]
	return v, ok
}

// done tells of the keys that nobody took.
func (t *table) done() {
	var known []string
	for key := range t.seen {
		known = append(known, key)
	}
	slices.Sort(known)
	for key := range t.m {
		if !t.seen[key] {
			t.errorf(key, "is not a key of scenarios; here they are: %s", strings.Join(known, ", "))
		}
	}
}

func (t *table) str(key, def string) string {
	v, ok := t.take(key)
	if !ok {
		return def
	}
	s, ok := v.(string)
	if !ok {
		t.errorf(key, "%v is not a string; put it in quotes", v)
	}
	return s
}

func (t *table) oneOf(key, def string, names []string) string {
	_, given := t.m[key]
	s := t.str(key, def)
	if given && !slices.Contains(names, s) {
		t.errorf(key, "%q is unknown; one of %s", s, strings.Join(names, ", "))
		return def
	}
	return s
}

func (t *table) strs(key string) []string {
	v, ok := t.take(key)
	if !ok {
		return nil
	}
	list, ok := v.([]any)
	if !ok {
		t.errorf(key, "is not a list; [\"…\", \"…\"]")
	}
	out := make([]string, 0, len(list))
	for _, e := range list {
		s, ok := e.(string)
		if !ok {
			t.errorf(key, "%v is not a string; put it in quotes", e)
			continue
		}
		out = append(out, s)
	}
	return out
}

func (t *table) boolean(key string) bool {
	v, _ := t.take(key)
	b, ok := v.(bool)
	if v != nil && !ok {
		t.errorf(key, "%v is neither true nor false", v)
	}
	return b
}

func (t *table) num(key string, def, lo, hi float64) float64 {
	v, ok := t.take(key)
	if !ok {
		return def
	}
	var f float64
	switch v := v.(type) {
	case int64:
		f = float64(v)
	case float64:
		f = v
	default:
		t.errorf(key, "%v is not a number", v)
		return def
	}
	if math.IsNaN(f) || f < lo || f > hi {
		t.errorf(key, "%v is out of range; from %g to %g", v, lo, hi)
		return def
	}
	return f
}

func (t *table) count(key string, def, lo, hi int) int {
	f := t.num(key, float64(def), float64(lo), float64(hi))
	if f != math.Trunc(f) {
		t.errorf(key, "%g is not a whole number", f)
	}
	return int(f)
}

const longest = 366 * 24 * 3600 // seconds

// seconds takes a time in seconds that is not negative.
func (t *table) seconds(key string, def float64) time.Duration {
	return time.Duration(t.num(key, def, 0, longest) * float64(time.Second))
}

// knownAfter takes a time in seconds, of which -1 means unknown.
func (t *table) knownAfter(key string) time.Duration {
	f := t.num(key, -1, -1, longest)
	if f < 0 && f != -1 {
		t.errorf(key, "%g is negative; seconds, or -1 for unknown", f)
	}
	return time.Duration(f * float64(time.Second))
}

var refForm = regexp.MustCompile(`^[a-z][a-z-]*:\S+$`)

func (t *table) ref(key, s string) Ref {
	if !refForm.MatchString(s) {
		t.errorf(key, "%q names no failure domain; KIND:NAME, as in cdn:cloudflare", s)
	}
	kind, name, _ := strings.Cut(s, ":")
	return Ref{kind, name}
}

func (t *table) refs(key string) []Ref {
	var refs []Ref
	for _, s := range t.strs(key) {
		refs = append(refs, t.ref(key, s))
	}
	return refs
}

// sub takes a table; one that is not there is empty.
func (t *table) sub(key string) *table {
	v, ok := t.take(key)
	m, isTable := v.(map[string]any)
	if ok && !isTable {
		t.errorf(key, "is not a table; [%s]", t.at(key))
	}
	return &table{r: t.r, path: t.at(key), m: m, seen: map[string]bool{}}
}

// subs takes an array of tables.
func (t *table) subs(key string) []*table {
	v, ok := t.take(key)
	if !ok {
		return nil
	}
	var list []map[string]any
	switch v := v.(type) {
	case []map[string]any:
		list = v
	case []any:
		for _, e := range v {
			m, _ := e.(map[string]any)
			list = append(list, m)
		}
	}
	if len(list) == 0 || slices.ContainsFunc(list, func(m map[string]any) bool { return m == nil }) {
		t.errorf(key, "is not a list of tables; [[%s]]", t.at(key))
		return nil
	}
	out := make([]*table, len(list))
	for i, m := range list {
		out[i] = &table{r: t.r, path: fmt.Sprintf("%s[%d]", t.at(key), i+1), m: m, seen: map[string]bool{}}
	}
	return out
}

var (
	tableLine = regexp.MustCompile(`^\s*(\[\[?)\s*([A-Za-z0-9_."' -]+?)\s*\]`)
	keyLine   = regexp.MustCompile(`^\s*([A-Za-z0-9_-]+|"[^"]*"|'[^']*')\s*(?:\.\s*\S+\s*)?=`)
)

// keyLines finds the lines of keys and tables, by their paths. The text is TOML that was parsed already; what it takes
// wrongly (a key inside a multi-line string) costs only a line number.
func keyLines(text string) map[string]int {
	lines, count, path := map[string]int{}, map[string]int{}, ""
	for i, s := range strings.Split(text, "\n") {
		if m := tableLine.FindStringSubmatch(s); m != nil {
			path = m[2]
			if m[1] == "[[" {
				lines[path] = cmp.Or(lines[path], i+1)
				count[m[2]]++
				path = fmt.Sprintf("%s[%d]", m[2], count[m[2]])
			}
			lines[path] = i + 1
		} else if m := keyLine.FindStringSubmatch(s); m != nil {
			key := strings.Trim(m[1], `"'`)
			if path != "" {
				key = path + "." + key
			}
			lines[key] = i + 1
		}
	}
	return lines
}
