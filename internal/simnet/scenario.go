// Package simnet is an internet on loopback in which whole outages are played: name servers and resolvers, the edges of
// CDNs with origins behind them, sites without a CDN, and their failures, phase by phase and region by region, as a
// scenario file tells them.
//
// It has two layers. [Scenario] and [World] are a pure model: what is there, and what a probe of one site from one
// vantage meets at one moment. [Net] puts the model on real sockets.
package simnet

import (
	"slices"
	"strings"
	"time"

	"faultline/alert"
)

// Class is what the probes of an affected site see, in the words of scenario files.
type Class uint8

// The classes. After ClassOK they stand in the order in which a probe meets them: where two phases hold together, the
// one that comes first on the wire hides the other.
const (
	ClassOK Class = iota
	ClassVantageLost
	ClassDNSTimeout
	ClassDNSServfail
	ClassConnectTimeout
	ClassTLSCert
	ClassBlocked
	ClassEdge500
	ClassEdge502
	ClassEdge503
	ClassEdge5xx // one of the three, drawn per site: World.Fault never returns it
	ClassCF522
	ClassOrigin5xx
	ClassSlow

	numClasses
)

var classNames = []string{
	"ok", "vantage_lost", "dns_timeout", "dns_servfail", "connect_timeout", "tls_cert", "blocked",
	"edge_500", "edge_502", "edge_503", "edge_5xx", "cf_522", "origin_5xx", "slow",
}

func (c Class) String() string { return classNames[c] }

// Applies says which sites a phase may hit.
type Applies uint8

// The values of Applies.
const (
	AppliesDomain     Applies = iota // the sites of the failing domain
	AppliesExtra                     // the extra sites of the world
	AppliesAll                       // every site, anchors excepted
	AppliesAllAnchors                // every site and the anchors

	numApplies
)

var appliesNames = []string{"domain", "extra", "all", "all+anchors"}

func (a Applies) String() string { return appliesNames[a] }

func (a Applies) covers(k Kind) bool {
	switch a {
	case AppliesDomain:
		return k == KindDomain
	case AppliesExtra:
		return k == KindExtra
	case AppliesAll:
		return k != KindAnchor
	}
	return true
}

// Ref names a failure domain. In an expectation a Name of "*" stands for any.
type Ref struct{ Kind, Name string }

func (r Ref) String() string { return r.Kind + ":" + r.Name }

// Matches tells whether r, which may end in a star, means the domain of that kind and name.
func (r Ref) Matches(kind, name string) bool {
	if r.Kind != kind {
		return false
	}
	return r.Name == "*" || r.Name == name || kind == alert.KindCA && alert.Authority(r.Name) == alert.Authority(name)
}

// Scenario is one outage, or a trap, as a prober would have met it. It is not changed after it was read.
type Scenario struct {
	Name, Title string
	Onset       time.Time // when it really happened; zero = not said
	ProberSaw   string
	Notes       string
	Sources     []Source

	ProviderDetect time.Duration // until the provider's own monitoring knew; negative = unknown
	StatusPage     time.Duration // until its status page said so; negative = unknown

	Domain Ref     // what really failed
	Phases []Phase // in the order of time, never empty
	World  WorldSpec
	Expect Expect
}

// Source says where a figure of the scenario comes from.
type Source struct{ Figure, Status, Where, Note string }

// Phase is one stretch of the outage.
type Phase struct {
	At          time.Duration // after the onset
	Applies     Applies
	Share       float64 // of the sites that it applies to, 0 to 1
	Fail        float64 // of the probes of an affected site, 0 to 1
	Class       Class
	Regions     []string // region, prefix of regions, vantage, "*" or "*other"
	Independent bool     // each affected site turns bad at its own time
	Note        string
}

// WorldSpec is the world in which a scenario is played, with its defaults filled in.
type WorldSpec struct {
	Interval      time.Duration
	Sites, Owners int
	MemberOf      []Ref
	OnCDN         string // a CDN's name, "none", or "spread"
	Extra         int
	ExtraOwners   int
	ExtraMemberOf []Ref
	ExtraOnCDN    string
	Controls      int
	Vantages      []VantageSpec
	Normal        string // "ok", or "blocked": the domain's sites answer with a challenge even when all is well
	SiteAlert     string // "notice" or "page"
	Noise         float64
	Warmup, Tail  time.Duration
}

// VantageSpec is a vantage and where it stands.
type VantageSpec struct{ Name, Region string }

// Expect is what must come of the scenario.
type Expect struct {
	Page         bool
	PageOptional bool // a page, a notice or neither: what a page names is still judged
	Pages        int
	MaxPages     int // at least Pages
	Domain       Ref // zero = not said
	AlsoAccept   []Ref
	Forbid       []Ref
	Scope        string        // global, regional, any or none
	Visible      time.Duration // after the onset: when it can be seen at all
	MaxDetect    time.Duration // after Visible: the latest first page; zero = not judged
	MustBeat     time.Duration // after the onset: a baseline that the first page must beat; zero = none
	Notices      []string
	Notify       string // in words, not judged
	PageIf       string // likewise
	Note         string
}

// Accepts tells whether a page may name that domain.
func (e *Expect) Accepts(kind, name string) bool {
	matches := func(r Ref) bool { return r.Matches(kind, name) }
	return matches(e.Domain) || slices.ContainsFunc(e.AlsoAccept, matches)
}

// Forbids tells whether no page may name that domain.
func (e *Expect) Forbids(kind, name string) bool {
	return slices.ContainsFunc(e.Forbid, func(r Ref) bool { return r.Matches(kind, name) })
}

// Last is when the last phase begins.
func (s *Scenario) Last() time.Duration { return s.Phases[len(s.Phases)-1].At }

const (
	excerptAfter  = 30 * time.Minute // played after the outage must have been told
	excerptBefore = 10 * time.Minute // played before the last change
)

// Excerpt returns the scenario without its patient middle when, with its tail, it takes longer than limit. The first
// change and the last one are played in full; what lay between happens in one moment. It reports whether it cut.
func (s *Scenario) Excerpt(limit time.Duration) (*Scenario, bool) {
	from := max(s.Phases[0].At, s.Expect.Visible+s.Expect.MaxDetect) + excerptAfter
	to := s.Last() - excerptBefore
	if s.Last()+s.World.Tail <= limit || to <= from {
		return s, false
	}
	cut := *s
	cut.Phases = slices.Clone(s.Phases)
	at, was := from, time.Duration(-1)
	for i := range cut.Phases {
		p := &cut.Phases[i]
		switch {
		case p.At >= to:
			p.At -= to - from
		case p.At > from:
			if p.At != was { // what did not begin together still does not
				at, was = at+time.Millisecond, p.At
			}
			p.At = at
		}
	}
	return &cut, true
}

// inRegion tells whether a region of a scenario file means the vantage: its name, its region, or a prefix of that.
func inRegion(token string, v VantageSpec) bool {
	return token == "*" || token == v.Name || token == v.Region || strings.HasPrefix(v.Region, token+"-")
}
