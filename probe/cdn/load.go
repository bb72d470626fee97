package cdn

import (
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/simplifiedchinese"

	"faultline/probe"
)

//go:embed rules/*.toml
var embedded embed.FS

const (
	maxFile  = 1 << 20  // bytes of a rule file
	maxMark  = 200      // bytes of a text that is searched for
	maxMarks = 64 << 10 // bytes of all of them
)

// Load reads the embedded rules, then the user's files, which add to them: ranges, names, signs and rules of a CDN that
// is known already join what is there, before it; a rule with the id of one that is there takes its place. The error
// joins every mistake in every file, each as "FILE:LINE: KEY: what is wrong; what would be right".
func Load(files ...string) (*Rules, error) {
	names, err := fs.Glob(embedded, "rules/*.toml")
	if err != nil {
		return nil, err
	}
	b := newBuilder()
	for _, name := range names {
		text, err := embedded.ReadFile(name)
		if err != nil {
			return nil, err
		}
		b.add(path.Base(name), text)
	}
	for _, name := range files {
		text, err := readFile(name)
		if err != nil {
			b.errs = append(b.errs, err)
			continue
		}
		b.add(name, text)
	}
	return b.rules()
}

func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("reading rules: %w", err)
	}
	defer f.Close() //nolint:errcheck // only read
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("reading rules: %w", err)
	}
	if len(text) > maxFile {
		return nil, fmt.Errorf("reading rules: %s is longer than %d bytes; split it", name, maxFile)
	}
	return text, nil
}

// builder gathers files into rules.
type builder struct {
	r     *Rules
	codes []map[string]*code // by vendor
	errs  []error
}

func newBuilder() *builder {
	r := &Rules{
		byName:    map[string]int{},
		ranges:    ranges{vendor: map[netip.Prefix]int{}},
		rangeText: map[netip.Prefix]string{},
		cname:     suffixes[int]{exact: map[string]int{}},
		signs:     map[string][]sign{},
		operators: suffixes[string]{exact: map[string]string{}},
	}
	b := &builder{r: r}
	b.vendor("")
	return b
}

// rules builds what was added.
func (b *builder) rules() (*Rules, error) {
	r := b.r
	if r.marks.size > maxMarks {
		b.errs = append(b.errs, fmt.Errorf("reading rules: their texts to search for have %d bytes; at most %d are possible", r.marks.size, maxMarks))
	}
	if len(b.errs) > 0 {
		return nil, errors.Join(b.errs...)
	}
	r.marks.build()
	r.states.New = func() any { return r.newState() }
	return r, nil
}

func (b *builder) vendor(name string) (int, *vendor) {
	n, ok := b.r.byName[name]
	if !ok {
		n = len(b.r.vendors)
		b.r.byName[name] = n
		b.r.vendors = append(b.r.vendors, &vendor{name: name, title: name})
		b.codes = append(b.codes, map[string]*code{})
	}
	return n, b.r.vendors[n]
}

// add merges one file.
func (b *builder) add(name string, text []byte) {
	f := parseFile(name, text)
	n, v := b.vendor(f.Name)
	if f.Title != "" {
		v.title = f.Title
	}
	if f.Inner != nil {
		v.inner = *f.Inner
	}
	if f.Complete != nil {
		v.complete = *f.Complete
	}
	b.addFronting(f, n)
	b.addAsk(f)
	b.addCodes(f, n)
	for i := range f.Made {
		w := b.when(f, "made", i, &f.Made[i], n)
		f.checkReach("made", i, &w)
		v.edge = append(v.edge, w)
	}
	b.addRules(f, n, v)
	for i, o := range f.Operator {
		f.need("operator", i, "name", o.Name)
		for _, ns := range o.NS {
			b.r.operators.add(f.suffix("operator", i, "ns", ns), o.Name)
		}
	}
	for _, s := range f.Interceptors {
		b.r.interceptors = append(b.r.interceptors, f.mark("", 0, "interceptors", s))
	}
	b.errs = append(b.errs, f.errs...)
}

func (b *builder) addFronting(f *file, n int) {
	if n == 0 && len(f.Ranges)+len(f.CNAME)+len(f.Strong)+len(f.Weak)+len(f.Rewrites)+len(f.Text)+len(f.Made) > 0 {
		f.errorf("", 0, "name", `is missing; signs of a CDN need the CDN's name, such as name = "example-cdn"`)
		return
	}
	for _, s := range f.Ranges {
		p, err := netip.ParsePrefix(s)
		if err != nil || p != p.Masked() || p.Addr().Is4In6() {
			f.errorf("", 0, "ranges", `%q is no address range; write it as "192.0.2.0/24", with no bit set after the prefix`, s)
			continue
		}
		b.r.ranges.add(p, n)
		b.r.rangeText[p] = "address " + p.String()
	}
	for _, s := range f.CNAME {
		b.r.cname.add(f.suffix("", 0, "cname", s), n)
	}
	for _, kind := range []struct {
		key              string
		headers          []string
		strong, rewrites bool
	}{
		{"strong", f.Strong, true, false},
		{"weak", f.Weak, false, false},
		{"rewrites", f.Rewrites, false, true},
	} {
		for _, s := range kind.headers {
			h, err := parseHeader(s)
			if err == nil && h.absent {
				err = errors.New(`"!NAME" is not a sign; a sign is a header that is there`)
			}
			if err != nil {
				f.errorf("", 0, kind.key, "%v", err)
				continue
			}
			b.r.signs[h.name] = append(b.r.signs[h.name], sign{h, n, kind.strong, kind.rewrites})
		}
	}
	for _, s := range f.Text {
		b.r.texts = append(b.r.texts, text{b.r.marks.add(f.mark("", 0, "text", s)), n})
	}
}

// addAsk takes request headers that are to be sent to every site.
func (b *builder) addAsk(f *file) {
	for _, s := range f.Ask {
		name, value, ok := strings.Cut(s, ": ")
		if h, err := newHeader(name, header{}); !ok || err != nil || h.name == "" || !printable(value) || !strings.HasPrefix(h.name, "x-") {
			f.errorf("", 0, "ask", `%.60q is no header to ask with; write it as "X-NAME: VALUE"`, s)
			continue
		}
		b.r.ask = append(b.r.ask, probe.Header{Name: name, Value: value})
	}
}

func printable(s string) bool {
	return s != "" && len(s) <= 100 && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}

func (b *builder) addCodes(f *file, n int) {
	for i, c := range f.Code {
		f.need("code", i, "name", c.Name)
		out := &code{after: b.marks(f, "code", i, "after", c.After)}
		if c.Header != "" {
			h, err := parseHeader(c.Header)
			if err != nil {
				f.errorf("code", i, "header", "%v", err)
			}
			out.header = &h
		}
		b.codes[n][c.Name] = out
	}
}

// addRules puts a file's rules before those that are there, in the file's order.
func (b *builder) addRules(f *file, n int, v *vendor) {
	seen := map[string]bool{}
	var fresh [numTests][]*rule
	for i := range f.Rule {
		in := &f.Rule[i]
		by := &rule{when: b.when(f, "rule", i, &in.fileWhen, n), id: in.ID, why: in.Why, class: f.class(i), candidates: f.candidates(i)}
		for _, k := range []struct{ key, value string }{{"id", in.ID}, {"why", in.Why}, {"source", in.Source}} {
			f.need("rule", i, k.key, k.value)
		}
		if seen[in.ID] {
			f.errorf("rule", i, "id", "%q is there twice; every rule of a CDN needs its own", in.ID)
		}
		seen[in.ID] = true
		by.test = f.test(i, by.class)
		f.checkReach("rule", i, &by.when)
		f.checkOutage(i, by)
		for t := range v.rules {
			v.rules[t] = slices.DeleteFunc(v.rules[t], func(old *rule) bool { return old.id == in.ID })
		}
		fresh[by.test] = append(fresh[by.test], by)
	}
	for t := range fresh {
		v.rules[t] = append(fresh[t], v.rules[t]...)
	}
}

// when compiles conditions.
func (b *builder) when(f *file, table string, i int, in *fileWhen, n int) when {
	w := when{
		status: f.status(table, i, in.Status, table == "made"), bare: in.Bare, made: in.MadeByCDN, bodyMax: -1,
		bodyAny: b.anyMarks(f, table, i, "body_any", in.BodyAny), bodyAll: b.marks(f, table, i, "body_all", in.BodyAll),
		bodyNone: b.anyMarks(f, table, i, "body_none", in.BodyNone), says: b.anyMarks(f, table, i, "says", in.Says),
		codes: in.Is,
	}
	for _, s := range in.Says {
		w.reasons = append(w.reasons, strings.ToLower(s))
	}
	if in.BodyMax != nil {
		w.bodyMax = *in.BodyMax
	}
	for _, s := range in.Header {
		h, err := parseHeader(s)
		if err != nil {
			f.errorf(table, i, "header", "%v", err)
			continue
		}
		w.headers = append(w.headers, h)
	}
	if w.made && (n == 0 || table == "made") {
		f.errorf(table, i, "made_by_cdn", "cannot be used here; it is for the rules of a named CDN")
		w.made = false
	}
	if (in.Code == "") != (len(in.Is) == 0) {
		f.errorf(table, i, "code", "needs both code = NAME of a [[code]] and is = [values]")
	} else if in.Code != "" {
		if w.code = b.codes[n][in.Code]; w.code == nil {
			f.errorf(table, i, "code", "there is no [[code]] named %q in this CDN's files; name one that is", in.Code)
		}
	}
	return w
}

// charsets are those of the pages that are not in UTF-8 where texts beyond ASCII are looked for.
var charsets = []encoding.Encoding{charmap.Windows1251, charmap.Windows1254, simplifiedchinese.GBK}

// anyMarks is marks where one of them is enough: a text beyond ASCII, of which case is not folded, is looked for with a capital
// at its head too, and as older charsets write it.
func (b *builder) anyMarks(f *file, table string, i int, key string, texts []string) []int {
	ids := b.marks(f, table, i, key, texts)
	for _, s := range texts {
		if !strings.ContainsFunc(s, func(r rune) bool { return r >= utf8.RuneSelf }) {
			continue
		}
		first, size := utf8.DecodeRuneInString(s)
		for _, s := range []string{s, string(unicode.ToUpper(first)) + s[size:]} {
			forms := []string{s}
			for _, c := range charsets {
				if old, err := c.NewEncoder().String(s); err == nil {
					forms = append(forms, old)
				}
			}
			for _, form := range forms {
				if id := b.r.marks.add(lowerASCII(form)); !slices.Contains(ids, id) {
					ids = append(ids, id)
				}
			}
		}
	}
	return ids
}

func (b *builder) marks(f *file, table string, i int, key string, texts []string) []int {
	var ids []int
	for _, s := range texts {
		ids = append(ids, b.r.marks.add(f.mark(table, i, key, s)))
	}
	return ids
}
