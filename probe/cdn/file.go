package cdn

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"

	"faultline/probe"
)

// file is a rule file as it is written; rules/README.md says what each key means.
type file struct {
	Name     string `toml:"name"`
	Title    string `toml:"title"`
	Source   string `toml:"source"`
	Inner    *bool  `toml:"inner"`
	Complete *bool  `toml:"complete"`

	Ranges   []string `toml:"ranges"`
	CNAME    []string `toml:"cname"`
	Strong   []string `toml:"strong"`
	Weak     []string `toml:"weak"`
	Rewrites []string `toml:"rewrites"`
	Text     []string `toml:"text"`
	Ask      []string `toml:"ask"`

	Made         []fileWhen     `toml:"made"`
	Code         []fileCode     `toml:"code"`
	Rule         []fileRule     `toml:"rule"`
	Operator     []fileOperator `toml:"operator"`
	Interceptors []string       `toml:"interceptors"`

	path  string
	lines map[place]int
	errs  []error
}

type fileWhen struct {
	Status    string   `toml:"status"`
	Header    []string `toml:"header"`
	Bare      bool     `toml:"bare"`
	MadeByCDN bool     `toml:"made_by_cdn"`
	BodyMax   *int     `toml:"body_max"`
	BodyAny   []string `toml:"body_any"`
	BodyAll   []string `toml:"body_all"`
	BodyNone  []string `toml:"body_none"`
	Says      []string `toml:"says"`
	Code      string   `toml:"code"`
	Is        []string `toml:"is"`
}

type fileRule struct {
	ID         string   `toml:"id"`
	Class      string   `toml:"class"`
	Candidates []string `toml:"candidates"`
	Test       string   `toml:"test"`
	Why        string   `toml:"why"`
	Source     string   `toml:"source"`
	fileWhen
}

type fileCode struct {
	Name   string   `toml:"name"`
	Header string   `toml:"header"`
	After  []string `toml:"after"`
}

type fileOperator struct {
	Name   string   `toml:"name"`
	NS     []string `toml:"ns"`
	Source string   `toml:"source"`
}

// place is a key in a rule file: of the i-th [[table]], or of none.
type place struct {
	table string
	i     int
	key   string
}

// Mistake is one thing that is wrong in a rule file. An error of Load joins them.
type Mistake struct {
	File         string
	Line         int
	Key, Message string
}

// Error gives FILE:LINE: KEY: what is wrong; what would be right.
func (m *Mistake) Error() string {
	return fmt.Sprintf("%s:%d: %s: %s", m.File, m.Line, m.Key, m.Message)
}

var vendorName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,39}$`)

// parseFile reads a rule file; its mistakes are in errs.
func parseFile(path string, text []byte) *file {
	f := &file{path: path}
	f.lines = keyLines(text)
	md, err := toml.NewDecoder(bytes.NewReader(text)).Decode(f)
	if err != nil { // nothing of the file can be used
		m := tomlMistake(err)
		m.File, m.Message = path, m.Message+"; rules/README.md says what belongs there"
		return &file{path: path, errs: []error{m}}
	}
	for _, key := range md.Undecoded() {
		f.unknown(key)
	}
	if f.Name != "" && !vendorName.MatchString(f.Name) {
		f.errorf("", 0, "name", "%q is no name for a CDN; use at most 40 lower-case letters, digits and -", f.Name)
	}
	return f
}

// wrongType is how the decoder puts a value of another type than its key has; only its text tells the place.
var wrongType = regexp.MustCompile(`^toml: line (\d+) \(last key "([^"]*)"\): (.*)$`)

// tomlMistake is a decoder's error with its place.
func tomlMistake(err error) *Mistake {
	var p toml.ParseError
	if errors.As(err, &p) {
		return &Mistake{Line: p.Position.Line, Key: cmp.Or(p.LastKey, "syntax"), Message: p.Message}
	}
	if m := wrongType.FindStringSubmatch(err.Error()); m != nil {
		line, _ := strconv.Atoi(m[1])
		return &Mistake{Line: line, Key: m[2], Message: m[3]}
	}
	return &Mistake{Line: 1, Key: "syntax", Message: err.Error()}
}

func (f *file) unknown(key toml.Key) {
	table, last := "", key[len(key)-1]
	if len(key) > 1 {
		table = key[0]
	}
	found := false
	for p := range f.lines {
		if p.table == table && p.key == last {
			found = true
			f.errorf(p.table, p.i, p.key, "is not a key of rule files; see rules/README.md for those there are")
			delete(f.lines, p)
		}
	}
	if !found && table == "" {
		f.errorf("", 0, last, "is not a key of rule files; see rules/README.md for those there are")
	}
}

// errorf notes a mistake. A key that is not there is at its table's line.
func (f *file) errorf(table string, i int, key, format string, args ...any) {
	line, ok := f.lines[place{table, i, key}]
	if !ok {
		line = max(1, f.lines[place{table, i, ""}])
	}
	if table != "" {
		key = table + "." + key
	}
	f.errs = append(f.errs, &Mistake{f.path, line, key, fmt.Sprintf(format, args...)})
}

func (f *file) need(table string, i int, key, value string) {
	if strings.TrimSpace(value) == "" {
		f.errorf(table, i, key, "is missing; every [[%s]] needs one", table)
	}
}

// mark checks a text to search for and returns it as it is searched.
func (f *file) mark(table string, i int, key, s string) string {
	if len(s) < 3 || len(s) > maxMark {
		f.errorf(table, i, key, "%.20q has %d bytes; a text to search for has 3 to %d", s, len(s), maxMark)
	}
	return lowerASCII(s)
}

func lowerASCII(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] += 'a' - 'A'
		}
	}
	return string(b)
}

func (f *file) suffix(table string, i int, key, s string) string {
	out := hostName(strings.TrimPrefix(s, "."))
	if !strings.Contains(out, ".") || strings.ContainsAny(out, " /:") || len(out) > 253 {
		f.errorf(table, i, key, `%.60q is no end of a host name; write it as "cdn.example.net"`, s)
		return "invalid."
	}
	return out
}

// status reads "500", "500-599, 403" or "any"; where it is optional, none means every error.
func (f *file) status(table string, i int, s string, optional bool) []probe.StatusRange {
	switch {
	case s == "any":
		return []probe.StatusRange{{From: 100, To: 999}}
	case s == "" && optional:
		return []probe.StatusRange{{From: 400, To: 999}}
	}
	var out []probe.StatusRange
	for part := range strings.SplitSeq(s, ",") {
		from, to, isRange := strings.Cut(strings.TrimSpace(part), "-")
		if !isRange {
			to = from
		}
		a, errA := strconv.Atoi(from)
		b, errB := strconv.Atoi(to)
		if errA != nil || errB != nil || a < 100 || b > 999 || a > b {
			f.errorf(table, i, "status", `%.40q is not a list of statuses; write it as "502, 520-526", or "any"`, s)
			return nil
		}
		out = append(out, probe.StatusRange{From: a, To: b})
	}
	return out
}

func (f *file) class(i int) probe.Class {
	c := probe.ParseClass(f.Rule[i].Class)
	if c != probe.ClassLocalPath && (c < probe.ClassHTTPInterference || c > probe.ClassHTTPClientError) {
		f.errorf("rule", i, "class", "%q is not what a response can be; use one such as http_edge_error, http_origin_error or http_blocked", f.Rule[i].Class)
	}
	return c
}

func (f *file) candidates(i int) []probe.Fault {
	in := f.Rule[i].Candidates
	if f.Rule[i].Class != probe.ClassHTTPServerErrorUnattributed.String() {
		if len(in) > 0 {
			f.errorf("rule", i, "candidates", "can only be given with class http_server_error_unattributed; leave it out")
		}
		return nil
	}
	if len(in) == 0 {
		return []probe.Fault{probe.FaultEdge, probe.FaultOrigin}
	}
	var out []probe.Fault
	for _, s := range in {
		c, err := probe.ParseFault(s)
		if err != nil || c == probe.FaultNone || c == probe.FaultAmbiguous {
			f.errorf("rule", i, "candidates", "%q is nobody's fault; use edge, origin, blocked, config, dns, path or local", s)
		}
		out = append(out, c)
	}
	return out
}

// test is the place of a rule in the order of tests.
func (f *file) test(i int, c probe.Class) int {
	if name := f.Rule[i].Test; name != "" {
		for t, n := range testNames {
			if n == name {
				return t
			}
		}
		f.errorf("rule", i, "test", "%q is none of the tests; use %s", name, strings.Join(testNames[:], ", "))
	}
	switch c {
	case probe.ClassHTTPInterference:
		return testInterference
	case probe.ClassHTTPChallenged, probe.ClassHTTPRateLimited, probe.ClassHTTPBlocked, probe.ClassLocalPath:
		return testBlocked
	case probe.ClassHTTPConfigError:
		return testConfig
	case probe.ClassHTTPEdgeError:
		return testEdge
	case probe.ClassHTTPOriginError:
		return testOrigin
	}
	return testRest
}

// maxStub is the longest body, in bytes, that may be searched under a status below 400: only a block page is so short.
const maxStub = 8 << 10

// checkReach refuses conditions that would find an error where a good answer only writes about one.
func (f *file) checkReach(table string, i int, w *when) {
	texts := len(w.bodyAny)+len(w.bodyAll)+len(w.bodyNone)+len(w.says) > 0 || w.code != nil && len(w.code.after) > 0
	if texts && lowest(w.status) < 400 && (w.bodyMax < 0 || w.bodyMax > maxStub) {
		f.errorf(table, i, "status", "includes good answers, whose texts prove nothing; add body_max of at most %d, or use 400 and over", maxStub)
	}
}

// checkOutage refuses rules that would call an answer below 500 an outage.
func (f *file) checkOutage(i int, by *rule) {
	switch by.class {
	case probe.ClassHTTPEdgeError, probe.ClassHTTPOriginError, probe.ClassHTTPServerErrorUnattributed:
		if n := lowest(by.status); n < 500 {
			f.errorf("rule", i, "status", "includes %d, which is no outage; %v is for 500 and over only", n, by.class)
		}
	}
}

func lowest(rs []probe.StatusRange) int {
	n := 1000
	for _, r := range rs {
		n = min(n, r.From)
	}
	return n
}

// keyLines finds the line of each key and table header. It knows as much of TOML as a valid file needs.
func keyLines(text []byte) map[place]int {
	lines := map[place]int{}
	tables := map[string]int{}
	var at place
	var open value
	for n, line := range strings.Split(string(text), "\n") {
		line = strings.TrimSpace(line)
		if open.inside() {
			open.read(line)
			continue
		}
		if name, ok := strings.CutPrefix(line, "[["); ok {
			name, _, _ = strings.Cut(name, "]")
			name = strings.TrimSpace(name)
			at = place{table: name, i: tables[name]}
			tables[name]++
			lines[at] = n + 1
		} else if name, ok := strings.CutPrefix(line, "["); ok {
			name, _, _ = strings.Cut(name, "]")
			at = place{table: strings.TrimSpace(name)}
			lines[at] = n + 1
		} else if key, rest, ok := strings.Cut(line, "="); ok && !strings.HasPrefix(line, "#") {
			at.key = strings.Trim(strings.TrimSpace(key), `"'`)
			lines[at] = n + 1
			open.read(rest)
		}
	}
	return lines
}

// value follows a value over lines: how deep in brackets, and in which string it is.
type value struct {
	depth int
	quote string
}

func (v *value) inside() bool { return v.depth > 0 || v.quote != "" }

func (v *value) read(s string) {
	for i := 0; i < len(s); {
		rest := s[i:]
		switch {
		case v.quote != "" && v.quote[0] == '"' && rest[0] == '\\':
			i += 2
			continue
		case v.quote != "":
			if strings.HasPrefix(rest, v.quote) {
				i += len(v.quote)
				v.quote = ""
				continue
			}
		case rest[0] == '#':
			return
		case strings.HasPrefix(rest, `"""`) || strings.HasPrefix(rest, `'''`):
			v.quote = rest[:3]
			i += 3
			continue
		case rest[0] == '"' || rest[0] == '\'':
			v.quote = rest[:1]
		case rest[0] == '[':
			v.depth++
		case rest[0] == ']':
			v.depth--
		}
		i++
	}
	if len(v.quote) == 1 { // a string of one line ends with it
		v.quote = ""
	}
}
