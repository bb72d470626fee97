package simnet

import (
	"cmp"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"
)

//go:embed scenarios/*.toml
var builtin embed.FS

const (
	maxFile     = 1 << 20 // bytes of a scenario
	maxPhases   = 1000
	maxSites    = 2000 // of each kind
	maxVantages = 200  // loopback addresses 127.0.1.1 and on
)

var noticeKinds = []string{
	"vantage_unhealthy", "vantage_blocked", "unreachable_from", "cofailure", "mass_block", "slow", "owner", "site",
	"cert_expiry", "unobservable", "clock",
}

// Names lists the built-in scenarios in the order of the alphabet.
func Names() []string {
	files, _ := fs.Glob(builtin, "scenarios/*.toml") // the pattern is well-formed
	for i, f := range files {
		files[i] = strings.TrimSuffix(strings.TrimPrefix(f, "scenarios/"), ".toml")
	}
	return files
}

// Open reads a built-in scenario by its name, or a scenario file.
func Open(nameOrFile string) (*Scenario, error) {
	if slices.Contains(Names(), nameOrFile) {
		text, err := builtin.ReadFile("scenarios/" + nameOrFile + ".toml")
		if err != nil {
			return nil, fmt.Errorf("reading scenario %q: %w", nameOrFile, err)
		}
		return Parse(nameOrFile+".toml", text)
	}
	f, err := os.Open(nameOrFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%q is neither a built-in scenario nor a file; the built-in ones: %s", nameOrFile, strings.Join(Names(), ", "))
	}
	if err != nil {
		return nil, fmt.Errorf("opening a scenario: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("reading scenario %s: %w", nameOrFile, err)
	}
	return Parse(nameOrFile, text)
}

// Parse reads a scenario. A key that it does not know is an error, and so is a value that cannot be: all are told at
// once, joined, each as NAME:LINE: KEY: what is wrong; what would be right.
func Parse(name string, text []byte) (*Scenario, error) {
	if len(text) > maxFile {
		return nil, fmt.Errorf("%s:1: more than %d bytes are no scenario", name, maxFile)
	}
	r := &reader{file: name}
	t, err := r.parse(text)
	if err != nil {
		return nil, err
	}
	s := &Scenario{
		Name: t.str("name", strings.TrimSuffix(name, ".toml")), Title: t.str("title", ""), ProberSaw: t.str("prober_saw", ""),
		Notes:          cmp.Or(t.str("notes", ""), t.str("note", "")),
		ProviderDetect: t.knownAfter("provider_detect_s"), StatusPage: t.knownAfter("status_page_s"),
	}
	s.readOnset(t)
	for _, t := range t.subs("source") {
		s.Sources = append(s.Sources, Source{t.str("figure", ""), t.str("status", ""), t.str("where", ""), t.str("note", "")})
		t.done()
	}
	s.readDomain(t.sub("domain"))
	s.readPhases(t)
	s.readWorld(t.sub("world"))
	s.readExpect(t.sub("expect"))
	t.done()
	if err := r.err(); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Scenario) readOnset(t *table) {
	v, ok := t.take("onset")
	if !ok {
		return
	}
	if s.Onset, ok = v.(time.Time); !ok {
		t.errorf("onset", "%v is not a time; 2019-07-02T13:42:00Z, without quotes", v)
	}
}

func (s *Scenario) readDomain(t *table) {
	s.Domain = Ref{t.str("kind", ""), t.str("name", "")}
	t.str("note", "")
	if s.Domain.Kind == "" {
		t.errorf("kind", "is missing; the kind of what failed, as in cdn, or none")
	}
	t.done()
}

func (s *Scenario) readPhases(t *table) {
	tables := t.subs("phase")
	if _, ok := t.m["phase"]; !ok || len(tables) > maxPhases {
		t.errorf("phase", "%d phases; from 1 to %d", len(tables), maxPhases)
	}
	for _, t := range tables {
		s.Phases = append(s.Phases, readPhase(t))
	}
	// The order in the file is free, so none of it may show in what happens.
	slices.SortStableFunc(s.Phases, func(a, b Phase) int {
		return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.Class, b.Class), cmp.Compare(a.Applies, b.Applies),
			cmp.Compare(b.Share, a.Share), cmp.Compare(b.Fail, a.Fail), slices.Compare(a.Regions, b.Regions))
	})
}

var regionForm = regexp.MustCompile(`^([a-z][a-z0-9]*(-[a-z0-9]+)*|\*|\*other)$`)

func readPhase(t *table) Phase {
	p := Phase{
		At: t.seconds("at_s", 0), Share: t.num("share_of_sites_failing", 1, 0, 1), Fail: t.num("request_fail", 1, 0, 1),
		Independent: t.boolean("independent"), Note: t.str("note", ""), Regions: t.strs("regions"),
	}
	if class := t.oneOf("class", "", classNames); class != "" {
		p.Class = Class(slices.Index(classNames, class))
	} else if _, ok := t.m["class"]; !ok {
		t.errorf("class", "is missing; one of %s", strings.Join(classNames, ", "))
	}
	p.Applies = Applies(slices.Index(appliesNames, t.oneOf("applies", "domain", appliesNames)))
	for _, r := range p.Regions {
		if !regionForm.MatchString(r) {
			t.errorf("regions", "%q is no region; a region such as us-east, a vantage, * or *other", r)
		}
	}
	if len(p.Regions) == 0 {
		if _, ok := t.m["regions"]; ok {
			t.errorf("regions", "is empty; [\"*\"] for all")
		}
		p.Regions = []string{"*"}
	}
	t.done()
	return p
}

func (s *Scenario) readExpect(t *table) {
	e := &s.Expect
	*e = Expect{
		Page: t.boolean("page"), PageOptional: t.boolean("page_optional"), AlsoAccept: t.refs("also_accept"), Forbid: t.refs("forbid"),
		Scope: t.oneOf("scope", "any", []string{"global", "regional", "any", "none"}), Visible: t.seconds("visible_s", 0),
		MaxDetect: t.seconds("max_detect_s", 0), MustBeat: s.readMustBeat(t), Notices: t.strs("notices"),
		Notify: t.str("notify", ""), PageIf: t.str("page_if", ""), Note: t.str("note", ""),
	}
	pages := 0
	if e.Page {
		pages = 1
	}
	e.Pages = t.count("pages", pages, 0, 1000)
	e.MaxPages = t.count("max_pages", e.Pages, 0, 1000)
	if e.MaxPages < e.Pages {
		t.errorf("max_pages", "%d is fewer than pages = %d", e.MaxPages, e.Pages)
	}
	if e.Page != (e.Pages > 0) {
		t.errorf("pages", "%d does not go with page = %t", e.Pages, e.Page)
	}
	if d := t.str("domain", ""); d != "" {
		e.Domain = t.ref("domain", d)
	} else if e.Page {
		t.errorf("domain", "is missing; whom the page must name, as in cdn:cloudflare")
	}
	for _, n := range e.Notices {
		if !slices.Contains(noticeKinds, n) {
			t.errorf("notices", "%q is unknown; one of %s", n, strings.Join(noticeKinds, ", "))
		}
	}
	t.done()
}

// readMustBeat takes the name of a baseline, or its seconds. One that is unknown cannot be beaten.
func (s *Scenario) readMustBeat(t *table) time.Duration {
	baselines := map[string]time.Duration{"provider_detect_s": s.ProviderDetect, "status_page_s": s.StatusPage}
	if _, named := t.m["must_beat"].(string); !named {
		return t.seconds("must_beat", 0)
	}
	name := t.str("must_beat", "")
	at, ok := baselines[name]
	if !ok {
		t.errorf("must_beat", "%q is unknown; provider_detect_s, status_page_s, or seconds", name)
	}
	return max(0, at)
}
