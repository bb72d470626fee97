// Package cdn says who fronts a site and whose failure an answer is. What it knows is in rule files (rules/*.toml,
// described in rules/README.md), one for each CDN; the code knows no CDN by name.
package cdn

import (
	"bytes"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"

	"faultline/probe"
)

// Rules are loaded rule files. They are immutable and safe for concurrent use.
type Rules struct {
	vendors      []*vendor // the first has no name: its rules are for every response
	byName       map[string]int
	ranges       ranges
	rangeText    map[netip.Prefix]string // "address 192.0.2.0/24"
	cname        suffixes[int]
	signs        map[string][]sign // by header name
	texts        []text            // in error pages
	marks        marks
	operators    suffixes[string]
	interceptors []string // lower case: parts of a certificate's issuer
	ask          []probe.Header
	states       sync.Pool
}

// vendor is a CDN, or a platform with an edge of its own.
type vendor struct {
	name     string
	title    string // as people write it
	inner    bool   // it often stands behind another CDN
	complete bool   // all of its addresses are in its published ranges
	edge     []when // each: the CDN itself made this response
	rules    [numTests][]*rule
}

// Ask gives the request headers that make CDNs say more about their failures. It must not be changed.
func (r *Rules) Ask() []probe.Header { return r.ask }

// made tells whether the CDN itself made the response, rather than passing on the origin's.
func (v *vendor) made(s *state) bool {
	for i := range v.edge {
		if v.edge[i].holds(s, v) {
			return true
		}
	}
	return false
}

// rule says what a response means for which all its conditions hold.
type rule struct {
	when
	id         string
	class      probe.Class
	candidates []probe.Fault
	why        string
	test       int
}

// The tests, in their order; the first rule that holds decides. A rule's class says to which it belongs, unless the rule does.
const (
	testInterference = iota
	testBlocked
	testStated // a cause in machine-readable form
	testConfig
	testEdge
	testOrigin
	testRest
	numTests
)

var testNames = [numTests]string{"interference", "blocked", "stated", "config", "edge", "origin", "rest"}

// state is what one judgement works on.
type state struct {
	e      *probe.Evidence
	resp   *probe.Response
	reason string // lower case
	seen   []sighting
	stack  []int // the CDNs seen, the outermost first
	bare   bool  // no CDN's header is on the response
	json   bool  // its body is JSON

	marks   *marks
	scanned bool
	text    []byte
	buf     []byte
	at      []int32
}

// mark returns where a mark ends in the searchable part of the body; 0 = it is not there. In JSON only the keys of JSON count:
// what else is found there is quoted from somewhere.
func (s *state) mark(id int) int {
	if s.json && !s.marks.json[id] {
		return 0
	}
	if !s.scanned {
		s.scanned = true
		clear(s.at)
		s.text, s.buf = searchable(s.resp.Body, s.buf, s.resp.Status >= 500)
		s.marks.scan(s.text, s.at)
	}
	return int(s.at[id])
}

func (s *state) anyMark(ids []int) bool {
	for _, id := range ids {
		if s.mark(id) > 0 {
			return true
		}
	}
	return false
}

func (r *Rules) newState() *state {
	return &state{marks: &r.marks, seen: make([]sighting, len(r.vendors)), at: make([]int32, len(r.marks.ids)), stack: make([]int, 0, 8)}
}

// Judge is a probe.Judge: it says what the evidence means, whose failure it is and who fronts the site. It keeps
// nothing of e. It searches the first 16 KiB of a body and the last 4 KiB.
func (r *Rules) Judge(e *probe.Evidence, was probe.Fronting) probe.Verdict {
	s := r.states.Get().(*state)
	defer r.states.Put(s)
	v, _ := r.judge(s, e, was)
	return v
}

// judge also returns the rule that decided, nil where none did.
func (r *Rules) judge(s *state, e *probe.Evidence, was probe.Fronting) (probe.Verdict, *rule) {
	s.begin(e)
	defer s.end()
	if s.resp != nil && len(s.resp.Headers) > maxHeaders {
		short := *s.resp
		short.Headers = short.Headers[:maxHeaders]
		s.resp = &short
	}
	s.joinLines("Proxy-Status")
	r.look(s)
	r.stack(s, was.CDN)
	f := fronting{}
	f.name, f.by, f.now = r.front(s, was)
	f.title = f.name
	if i, ok := r.byName[f.name]; ok {
		f.known, f.title = true, r.vendors[i].title
	}
	v := probe.Verdict{Operator: r.operator(e.NS)}
	var by *rule
	switch {
	case e.Class != probe.ClassOK:
		r.transport(e, f, &v)
	case e.Response == nil:
		v.Class, v.Why = probe.ClassUnknown, "there is no response to judge"
	default:
		by = r.response(s, f, &v)
	}
	v.CDN, v.CDNBy = f.name, f.by
	if !f.now && v.Learn { // a good answer that shows no CDN: the remembered one is gone
		v.CDN, v.CDNBy = "", nil
	}
	return v, by
}

func (s *state) begin(e *probe.Evidence) {
	clear(s.seen)
	s.e, s.resp, s.bare, s.scanned, s.reason, s.stack = e, e.Response, true, false, "", s.stack[:0]
	s.json = s.resp != nil && isJSON(s.resp.Get("Content-Type"))
	if s.resp != nil && s.resp.Status >= 400 {
		s.reason = strings.ToLower(s.resp.Reason[:min(len(s.resp.Reason), 200)])
	}
}

// joinLines makes one line of several of a header that is a list whose order tells (RFC 9110, section 5.3).
func (s *state) joinLines(name string) {
	var lines []string
	if s.resp == nil {
		return
	}
	for i := range s.resp.Headers {
		if h := &s.resp.Headers[i]; len(h.Name) == len(name) && strings.EqualFold(h.Name, name) {
			lines = append(lines, h.Value)
		}
	}
	if len(lines) < 2 {
		return
	}
	joined := *s.resp
	joined.Headers = slices.DeleteFunc(slices.Clone(s.resp.Headers), func(h probe.Header) bool { return strings.EqualFold(h.Name, name) })
	joined.Headers = append(joined.Headers, probe.Header{Name: name, Value: strings.Join(lines, ", ")})
	s.resp = &joined
}

func isJSON(contentType string) bool {
	kind, _, _ := strings.Cut(contentType, ";")
	kind = strings.TrimSpace(kind)
	return len(kind) <= 64 && (strings.EqualFold(kind, "application/json") || len(kind) > 5 && strings.EqualFold(kind[len(kind)-5:], "+json"))
}

func (s *state) end() {
	s.e, s.resp, s.text, s.reason = nil, nil, nil, ""
}

// fronting is who stands before the site.
type fronting struct {
	name, title string
	by          []string
	now         bool // by this evidence or the config, not from memory
	known       bool // there are rules for it
}

// response judges a whole response and returns the rule that decided, if one did.
func (r *Rules) response(s *state, f fronting, v *probe.Verdict) *rule {
	expect, asked := &probe.Expect{}, false
	if s.e.Site != nil {
		expect = &s.e.Site.Expect
		asked = s.resp.Status >= 400 && len(expect.Status) > 0 && expect.OK(s.resp.Status)
	}
	by, inner := r.decide(s, f)
	switch {
	case asked: // the config wants just this error status
		by = nil
		r.good(s, expect, v)
	case by != nil:
		r.apply(s, f, by, inner, v)
	case s.resp.Status >= 500:
		serverError(s, f, v)
	case s.resp.Status >= 400:
		v.Class, v.Why = probe.ClassHTTPClientError, statusText(s)+": the site answers, but not with what was asked for"
	default:
		r.good(s, expect, v)
	}
	if v.Fault = v.Class.Fault(); v.Fault != probe.FaultAmbiguous {
		v.Candidates = nil
	}
	v.Learn = learn(v.Class, f.now, s.e.Foreign)
	return by
}

// decide returns the first rule that holds in the order of the tests, and the CDN whose rule it is where that one
// stands behind the one in front; the outermost CDN's rules come first, those for everyone last.
func (r *Rules) decide(s *state, f fronting) (by *rule, inner *vendor) {
	for test := range numTests {
		for _, n := range s.stack {
			v := r.vendors[n]
			if by = first(v.rules[test], s, v); by != nil {
				if v.name != f.name {
					inner = v
				}
				return by, inner
			}
		}
		if by = first(r.vendors[0].rules[test], s, r.vendors[0]); by != nil {
			return by, nil
		}
	}
	return nil, nil
}

func first(rules []*rule, s *state, v *vendor) *rule {
	for _, by := range rules {
		if by.holds(s, v) {
			return by
		}
	}
	return nil
}

// apply gives the rule's verdict. A failure of a CDN behind another one is, to the outer one, the origin's; and a page
// that blames an edge is not believed when the address is not that edge's.
func (r *Rules) apply(s *state, f fronting, by *rule, inner *vendor, v *probe.Verdict) {
	v.Class, v.Candidates, v.Why = by.class, by.candidates, by.explain(s)
	ofEdge := by.class == probe.ClassHTTPEdgeError || by.class == probe.ClassHTTPServerErrorUnattributed
	switch {
	case inner != nil && ofEdge:
		v.Class = probe.ClassHTTPOriginError
		v.Why = inner.title + ", which stands behind " + f.title + ": " + v.Why
	case by.class == probe.ClassHTTPEdgeError && len(s.stack) > 0 && r.outside(s, s.stack[0]):
		v.Class, v.Candidates = probe.ClassHTTPServerErrorUnattributed, []probe.Fault{probe.FaultOrigin, probe.FaultEdge}
		v.Why += "; but " + s.e.Addr.Addr().String() + " is none of its published addresses"
	}
}

// serverError judges a 5xx that no rule knows: without the mark of an edge it was passed on.
func serverError(s *state, f fronting, v *probe.Verdict) {
	v.Class = probe.ClassHTTPOriginError
	switch {
	case f.now && !f.known:
		v.Class, v.Candidates = probe.ClassHTTPServerErrorUnattributed, []probe.Fault{probe.FaultEdge, probe.FaultOrigin}
		v.Why = statusText(s) + " behind " + f.title + ", of which no rule knows what its own errors look like"
	case f.now && len(s.resp.Body) == 0:
		v.Class, v.Candidates = probe.ClassHTTPServerErrorUnattributed, []probe.Fault{probe.FaultOrigin, probe.FaultEdge}
		v.Why = statusText(s) + " through " + f.title + " with an empty body, which does not show who made it"
	case f.now && unreadable(s.resp):
		v.Class, v.Candidates = probe.ClassHTTPServerErrorUnattributed, []probe.Fault{probe.FaultOrigin, probe.FaultEdge}
		v.Why = statusText(s) + " through " + f.title + " with a compressed body that cannot be read"
	case f.now:
		v.Why = statusText(s) + " passed on by " + f.title + ": nothing in it was made by the CDN"
	case f.name != "":
		v.Why = statusText(s) + " from the site's own server: it carries no mark of " + f.title
	default:
		v.Why = statusText(s) + " from the site's own server: no CDN is seen"
	}
}

// unreadable tells whether the body is still compressed: marks are not found in it, which proves nothing.
func unreadable(resp *probe.Response) bool {
	if resp.Get("Content-Encoding") == "" {
		return false
	}
	return bytes.ContainsFunc(resp.Body[:min(len(resp.Body), 256)], func(c rune) bool { return c < '\t' })
}

// good judges a response against what the site expects.
func (r *Rules) good(s *state, expect *probe.Expect, v *probe.Verdict) {
	body := s.e.Site == nil || s.e.Site.Method != "HEAD"
	switch {
	case !expect.OK(s.resp.Status):
		v.Why = statusText(s) + ", which is not a status that the site is expected to answer with"
	case body && expect.Body != nil && !expect.Body.Match(s.resp.Body):
		v.Why = statusText(s) + ", but the text that must be in the body is missing"
	case body && expect.NotBody != nil && expect.NotBody.Match(s.resp.Body):
		v.Why = statusText(s) + ", but the body has the text that must not be there"
	default:
		v.Class, v.Why = probe.ClassOK, statusText(s)+": the site answers as it should"
		return
	}
	v.Class, v.Candidates = probe.ClassHTTPContentMismatch, []probe.Fault{probe.FaultOrigin, probe.FaultBlocked}
}

// learn tells whether such an answer shows who fronts the site: a real answer, or an edge that turns the prober away.
// An answer from a foreign site proves a CDN that it shows, but not that there is none.
func learn(c probe.Class, now, foreign bool) bool {
	switch c {
	case probe.ClassOK, probe.ClassHTTPClientError:
		return now || !foreign
	case probe.ClassHTTPChallenged, probe.ClassHTTPRateLimited, probe.ClassHTTPBlocked:
		return now
	}
	return false
}

func statusText(s *state) string { return strconv.Itoa(s.resp.Status) }

// explain is the rule's sentence, with {status} and {code} filled in.
func (by *rule) explain(s *state) string {
	if !strings.Contains(by.why, "{") {
		return by.why
	}
	c := ""
	if by.code != nil {
		c = by.code.get(s)
	}
	return strings.NewReplacer("{status}", statusText(s), "{code}", c).Replace(by.why)
}
