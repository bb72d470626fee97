package config

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Problem is one mistake, or one thing that is unwise, in a config.
type Problem struct {
	File    string `json:"file"`
	Line    int    `json:"line"` // 0 = of the whole file
	Key     string `json:"key"`  // "site[2].timeout": tables of a list are counted from 1
	Message string `json:"message"`
}

// String gives FILE:LINE: KEY: what is wrong; what would be right.
func (p Problem) String() string {
	return fmt.Sprintf("%s:%d: %s: %s", p.File, p.Line, p.Key, p.Message)
}

// Errors are all the mistakes of a config, in the order of the file.
type Errors []Problem

func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, p := range e {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// reader collects what is wrong with a file, and which keys exist, with their defaults.
type reader struct {
	file     string
	fleet    string
	dir      string // of the file: relative paths start there
	lines    map[string]int
	problems []Problem
	warnings []Problem
	keys     map[string]string // "site.timeout" to its default, as it stands in the example
}

func (r *reader) problem(path, format string, args ...any) {
	r.problems = append(r.problems, Problem{r.file, r.line(path), path, fmt.Sprintf(format, args...)})
}

func (r *reader) warn(path, format string, args ...any) {
	r.warnings = append(r.warnings, Problem{r.file, r.line(path), path, fmt.Sprintf(format, args...)})
}

// line is where a key stands, or else the table that it would stand in.
func (r *reader) line(path string) int {
	for {
		if n, ok := r.lines[path]; ok {
			return n
		}
		i := strings.LastIndexByte(path, '.')
		if i < 0 {
			return 0
		}
		path = path[:i]
	}
}

// table is one table of the file while it is read: keys are taken out, and those left over are unknown.
type table struct {
	r     *reader
	path  string // "site[2]"; "" = the top
	kind  string // "site"
	m     map[string]any
	known []string
}

func (t *table) at(key string) string {
	if t.path == "" {
		return key
	}
	return t.path + "." + key
}

func (t *table) problem(key, format string, args ...any) { t.r.problem(t.at(key), format, args...) }

// has tells whether the key is given.
func (t *table) has(key string) bool { _, ok := t.m[key]; return ok }

// take removes a key of the table and gives its value. def is its default for the documentation.
func (t *table) take(key, def string) (any, bool) {
	t.known = append(t.known, key)
	t.r.keys[strings.TrimPrefix(t.kind+"."+key, ".")] = def
	v, ok := t.m[key]
	return v, ok
}

// typed takes a key of one type.
func typed[T any](t *table, key, def, want string) (T, bool) {
	var zero T
	v, ok := t.take(key, def)
	if !ok {
		return zero, false
	}
	x, ok := v.(T)
	if !ok {
		t.problem(key, "it is %s; write %s", kindOf(v), want)
		return zero, false
	}
	return x, true
}

func kindOf(v any) string {
	switch v.(type) {
	case string:
		return "a string"
	case int64, float64:
		return "a number"
	case bool:
		return "true or false"
	case map[string]any:
		return "a table"
	case []any, []map[string]any:
		return "a list"
	default:
		return "a date"
	}
}

func (t *table) str(key, def string) string {
	if s, ok := typed[string](t, key, fmt.Sprintf("%q", def), "a string in quotes"); ok {
		return s
	}
	return def
}

// oneOf takes a string that is one of a few.
func (t *table) oneOf(key, def string, names ...string) string {
	s := t.str(key, def)
	if !slices.Contains(names, s) {
		t.problem(key, "%q is not known; write one of %s", s, strings.Join(names, ", "))
		return def
	}
	return s
}

func (t *table) boolean(key string, def bool) bool {
	if b, ok := typed[bool](t, key, fmt.Sprint(def), "true or false, without quotes"); ok {
		return b
	}
	return def
}

func (t *table) integer(key string, def, lo, hi int) int {
	n, ok := typed[int64](t, key, fmt.Sprint(def), "a whole number, without quotes")
	if !ok {
		return def
	}
	if n < int64(lo) || n > int64(hi) {
		t.problem(key, "%d is out of range; write a number from %d to %d", n, lo, hi)
		return def
	}
	return int(n)
}

// share takes a number over 0 and up to 1.
func (t *table) share(key string, def float64) float64 {
	return t.fraction(key, def, func(f float64) bool { return f > 0 && f <= 1 }, "it is no share; write a number over 0 and up to 1, as in 0.5")
}

func (t *table) number(key string, def, least, most float64) float64 {
	return t.fraction(key, def, func(f float64) bool { return f >= least && f <= most }, fmt.Sprintf("it must be a number from %g to %g", least, most))
}

func (t *table) fraction(key string, def float64, allowed func(float64) bool, wrong string) float64 {
	v, ok := t.take(key, fmt.Sprint(def))
	if !ok {
		return def
	}
	f, ok := v.(float64)
	if n, whole := v.(int64); whole {
		f, ok = float64(n), true
	}
	if !ok || !allowed(f) {
		t.problem(key, "%v: %s", v, wrong)
		return def
	}
	return f
}

func (t *table) duration(key string, def, lo, hi time.Duration) time.Duration {
	s, ok := typed[string](t, key, fmt.Sprintf("%q", short(def)), `a time in quotes, as in "30s"`)
	if !ok {
		return def
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		t.problem(key, "%q is no time; write a number with its unit, as in \"30s\", \"500ms\" or \"2m\"", clip(s))
		return def
	}
	if d < lo || d > hi {
		t.problem(key, "%s is out of range; write a time from %s to %s", short(d), short(lo), short(hi))
		return def
	}
	return d
}

// short writes a time without what is nought: "1m" and not "1m0s".
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}

// list takes a list of values of any type.
func (t *table) list(key, def string) []any {
	v, ok := t.take(key, def)
	if !ok {
		return nil
	}
	l, ok := v.([]any)
	if !ok {
		t.problem(key, "it is %s; write a list in brackets", kindOf(v))
		return nil
	}
	return l
}

func (t *table) strs(key, def string) []string {
	var out []string
	for i, v := range t.list(key, def) {
		s, ok := v.(string)
		if !ok {
			t.problem(key, "value %d of the list is %s; write strings in quotes", i+1, kindOf(v))
			continue
		}
		out = append(out, s)
	}
	return out
}

// words takes a table of strings, as labels are.
func (t *table) words(key string) map[string]string {
	m, ok := typed[map[string]any](t, key, "{}", `a table of strings, as in { country = "hk" }`)
	if !ok {
		return nil
	}
	out := make(map[string]string, len(m))
	for _, k := range sortedKeys(m) {
		s, ok := m[k].(string)
		if !ok {
			t.problem(key+"."+k, "it is %s; write a string in quotes", kindOf(m[k]))
			continue
		}
		out[k] = s
	}
	return out
}

// sub takes a table; one that is not given is empty.
func (t *table) sub(key string) *table {
	s := &table{r: t.r, path: t.at(key), kind: key}
	t.known = append(t.known, key)
	if v, ok := t.m[key]; ok {
		m, ok := v.(map[string]any)
		if !ok {
			t.problem(key, "it is %s; write a table, [%s]", kindOf(v), key)
		}
		s.m = m
	}
	return s
}

// subs takes a list of tables.
func (t *table) subs(key string) []*table {
	t.known = append(t.known, key)
	v, ok := t.m[key]
	if !ok {
		return nil
	}
	var list []map[string]any
	switch v := v.(type) {
	case []map[string]any:
		list = v
	case []any: // inline
		for _, x := range v {
			if m, ok := x.(map[string]any); ok {
				list = append(list, m)
			}
		}
	}
	if list == nil {
		t.problem(key, "it is %s; write [[%s]], with two brackets, for each", kindOf(v), key)
	}
	out := make([]*table, len(list))
	for i, m := range list {
		out[i] = &table{r: t.r, path: fmt.Sprintf("%s[%d]", t.at(key), i+1), kind: key, m: m}
	}
	return out
}

// done reports the keys that nobody took.
func (t *table) done() {
	for _, k := range sortedKeys(t.m) {
		if slices.Contains(t.known, k) {
			continue
		}
		if near := nearest(k, t.known); near != "" {
			t.problem(k, "it is not known; did you mean %s?", near)
		} else {
			known := slices.Clone(t.known)
			slices.Sort(known)
			t.problem(k, "it is not known; known here: %s", strings.Join(known, ", "))
		}
	}
}

func sortedKeys(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// nearest is the name closest to a mistyped one; "" = none is close.
func nearest(typed string, names []string) string {
	best, at := "", 3
	for _, n := range names {
		if d := distance(typed, n); d < at && d*2 < len(n) {
			best, at = n, d
		}
	}
	return best
}

// distance is Levenshtein's, of short names.
func distance(a, b string) int {
	if len(a) > 64 {
		return len(a)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// clip bounds what of a wrong value is repeated in a message.
func clip(s string) string { return clipTo(s, 60) }

func clipTo(s string, n int) string {
	if len(s) > n {
		s = strings.ToValidUTF8(s[:n], "") + "…"
	}
	return s
}
