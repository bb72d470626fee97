package simnet

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Kind is the part that a site plays.
type Kind uint8

// The kinds of sites.
const (
	KindDomain  Kind = iota // of the failing domain
	KindExtra               // the scenario's extra sites
	KindControl             // others, to compare with
	KindAnchor              // the vantages' own: they tell whether a vantage is well

	numKinds
)

// Sampling says how World.Sites get their U.
type Sampling uint8

const (
	// Stratified: the sites of each kind stand in an order drawn from the seed, and the one of rank r among N has
	// U = (r+0.5)/N. So the affected share of each kind is exact, to the nearest site, and affected sets are nested.
	// For a drill, which is played once and must show what the scenario says.
	Stratified Sampling = iota
	// Independent: each U is drawn by itself. Affected sets are nested still, but their sizes vary with the seed, as
	// they do in life. For many runs.
	Independent
)

// Site is one site of a World.
type Site struct {
	Name   string
	Kind   Kind
	Owner  string
	Host   string // of its URL
	Zone   string // the domain that was registered; sites of one owner share it
	CDN    string // "" = none
	Alert  string // what it asks for when it, or its owner, fails alone: none, notice or page
	Group  string
	Labels map[string]string // the failure domains that only a config can tell
	CA     string            // issuer of its certificate

	Network string // that its address lies in, where the scenario names it; "" = unknown

	Operator string   // of its name servers; "" = its own
	NS       []string // as names, without the final dot
	CNAME    []string // the chain from Host on; empty = the address stands at Host itself

	Addr      netip.Addr // its edge's, or its own
	BlackHole netip.Addr // an address in the same range at which nobody answers
	U         float64    // it is affected by phases of a larger share
}

// Range is a network of a World.
type Range struct {
	Name   string // the CDN's, or the network's
	CDN    bool
	Prefix netip.Prefix
	last   int // host number given out last
}

// World is what a scenario is played in, and the model of what happens there. It touches no socket, is deterministic,
// and safe for concurrent use once it was made.
type World struct {
	Scenario *Scenario
	Sites    []Site
	Vantages []VantageSpec
	Ranges   []*Range

	seed   uint64
	byHost map[string]int
	lines  [][]segment // a timeline for each vantage
}

const anchors = 12 // on half as many networks

// NewWorld builds the world of a scenario.
func NewWorld(sc *Scenario, seed uint64, sampling Sampling) *World {
	w := &World{Scenario: sc, Vantages: sc.World.Vantages, seed: seed, byHost: map[string]int{}}
	b := &builder{World: w, spec: &sc.World}
	b.healthy = healthyCDNs(&sc.World)
	b.domainSites()
	b.extraSites()
	b.controls()
	b.anchors()
	w.ready(sampling)
	return w
}

// WorldOf builds the world of a scenario around sites that are given: their kind, names, owner, CDN and labels. They get
// addresses, and what belongs to them in the DNS.
func WorldOf(sc *Scenario, seed uint64, sites []Site) *World {
	w := &World{Scenario: sc, Vantages: sc.World.Vantages, seed: seed, byHost: map[string]int{}}
	b := &builder{World: w, spec: &sc.World}
	for _, s := range sites {
		network := s.Network
		if network == "" {
			network = "others"
		}
		host, ns := s.Host, s.NS
		b.place(&s, network)
		if s.Host = host; len(ns) > 0 {
			s.NS = ns
		}
		w.Sites = append(w.Sites, s)
	}
	w.ready(Independent)
	return w
}

// ready makes of the sites and the scenario what is looked up when it is played.
func (w *World) ready(sampling Sampling) {
	w.drawShares(sampling)
	for v := range w.Vantages {
		w.lines = append(w.lines, w.timeline(v))
	}
	for i := range w.Sites {
		w.byHost[w.Sites[i].Host] = i
	}
}

// SiteOf finds a site by the host of its URL; -1 = there is none.
func (w *World) SiteOf(host string) int {
	if i, ok := w.byHost[host]; ok {
		return i
	}
	return -1
}

// drawShares gives every site its U.
func (w *World) drawShares(sampling Sampling) {
	for k := range numKinds {
		var of []int
		for i := range w.Sites {
			if w.Sites[i].Kind == k {
				of = append(of, i)
			}
		}
		rank := ranks(mix(w.seed, uint64(k)), len(of))
		for j, i := range of {
			if sampling == Independent {
				w.Sites[i].U = unit(w.seed, drawShare, uint64(i))
			} else {
				w.Sites[i].U = (float64(rank[j]) + 0.5) / float64(len(of))
			}
		}
	}
}

// healthyCDNs are two that the scenario does not speak of.
func healthyCDNs(spec *WorldSpec) [2]string {
	var out [2]string
	n := 0
	for _, c := range []string{"cloudflare", "fastly", "cloudfront", "akamai"} {
		if c != spec.OnCDN && c != spec.ExtraOnCDN && n < len(out) {
			out[n] = c
			n++
		}
	}
	return out
}

// builder fills a World.
type builder struct {
	*World
	spec    *WorldSpec
	healthy [2]string
}

// group is a batch of sites that are alike.
type group struct {
	kind     Kind
	n        int
	owners   int
	names    []string
	alert    string
	onCDN    string
	memberOf []Ref
	network  string
}

func (b *builder) domainSites() {
	b.add(group{
		kind: KindDomain, n: b.spec.Sites, owners: b.spec.Owners, names: forumNames, alert: b.spec.SiteAlert,
		onCDN: b.spec.OnCDN, memberOf: b.spec.MemberOf,
	})
}

func (b *builder) extraSites() {
	b.add(group{
		kind: KindExtra, n: b.spec.Extra, owners: b.spec.ExtraOwners, names: controlPlaneNames, alert: b.spec.SiteAlert,
		onCDN: b.spec.ExtraOnCDN, memberOf: b.spec.ExtraMemberOf,
	})
}

func (b *builder) controls() {
	b.add(group{
		kind: KindControl, n: b.spec.Controls, owners: b.spec.Controls, names: controlNames, alert: "notice", onCDN: "spread",
	})
}

func (b *builder) anchors() {
	for i := range anchors {
		b.add(group{
			kind: KindAnchor, n: 1, owners: 1, names: anchorNames[i : i+1], alert: "none", onCDN: "none",
			network: fmt.Sprintf("anchors-%d", i/2+1),
		})
	}
}

func (b *builder) add(g group) {
	if slices.ContainsFunc(g.memberOf, func(m Ref) bool { return m.Kind == "origin" }) {
		g.owners = 1
	}
	for i := range g.n {
		owner := i % g.owners
		name := nameOf(g.names, owner)
		s := Site{
			Name: name, Kind: g.kind, Owner: name, Zone: name + ".example", Alert: g.alert, CDN: b.cdnOf(g.onCDN, i),
			CA: issuers[i%len(issuers)], Labels: map[string]string{}, Group: groupNames[g.kind], Operator: operatorNames[i%len(operatorNames)],
		}
		if s.CDN == "cloudflare" && i%5 != 4 { // most of its customers have given it their zone; the others come by CNAME
			s.Operator = "cloudflare"
		}
		network := g.network
		for _, m := range g.memberOf {
			b.join(&s, m, &network)
		}
		if s.CDN == "" && network != g.network {
			s.Network = network
		}
		s.Host = s.Zone
		if nth := i / g.owners; nth > 0 {
			s.Name = fmt.Sprintf("%s-%d", name, nth+1)
			s.Host = fmt.Sprintf("s%d.%s", nth+1, s.Zone)
		}
		b.place(&s, network)
		b.Sites = append(b.Sites, s)
	}
}

// join makes a site a member of a failure domain.
func (b *builder) join(s *Site, m Ref, network *string) {
	switch m.Kind {
	case "cdn": // by on_cdn
	case "dns":
		s.Operator = m.Name
	case "network":
		*network = m.Name
	case "ca":
		s.CA = m.Name
	case "origin":
		s.Owner, s.Zone = m.Name, strings.ToLower(m.Name)+".example"
	default:
		s.Labels[m.Kind] = m.Name
	}
}

func (b *builder) cdnOf(on string, i int) string {
	switch on {
	case "none":
		return ""
	case "spread":
		return [...]string{"", b.healthy[0], b.healthy[1]}[i%3]
	}
	return on
}

const edgesOfCDN = 4 // addresses that a CDN's sites share

// place gives a site its addresses and its names in the DNS.
func (b *builder) place(s *Site, network string) {
	var r *Range
	if s.CDN != "" {
		r = b.rangeOf(s.CDN, true)
		r.last = r.last%edgesOfCDN + 1
	} else {
		r = b.rangeOf(network, false)
		r.last++
	}
	a := r.Prefix.Addr().As4()
	a[2], a[3] = byte(r.last/250), byte(r.last%250+1)
	s.Addr = netip.AddrFrom4(a)
	a[2], a[3] = 255, 1
	s.BlackHole = netip.AddrFrom4(a)
	s.NS = nameServers(s.Operator, s.Zone)
	s.CNAME = cnameChain(s)
	if len(s.CNAME) > 0 && s.Host == s.Zone { // an apex cannot be an alias
		s.Host = "www." + s.Zone
		s.CNAME = cnameChain(s)
	}
}

// octets are the second ones of the ranges of networks that everyone knows, all in 127.0.0.0/8.
var octets = map[string]byte{
	"cloudflare": 104, "fastly": 151, "cloudfront": 99, "akamai": 23, "azure-front-door": 13, "google": 34, "bunny": 185, "imperva": 45, "vercel": 76,
	"": 80,
}

const firstOctet = 200 // of networks that get the next free one

func (b *builder) rangeOf(name string, cdn bool) *Range {
	others := 0
	for _, r := range b.Ranges {
		if r.Name == name && r.CDN == cdn {
			return r
		}
		if octets[r.Name] != r.Prefix.Addr().As4()[1] {
			others++
		}
	}
	octet, known := octets[name]
	if !known || !cdn && name != "" {
		octet = byte(firstOctet + others)
	}
	r := &Range{Name: name, CDN: cdn, Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{127, octet, 0, 0}), 16)}
	b.Ranges = append(b.Ranges, r)
	return r
}

// segment is a stretch of the outage in which nothing changes for one vantage.
type segment struct {
	from   time.Duration
	lost   bool // the vantage reports nothing
	active [numKinds][]span
}

// span is a phase that holds, for one vantage.
type span struct {
	phase    int
	from, to time.Duration
	carried  float64 // sites below this share were turned bad by the phase that this one continues
}

// Labels are those of the world's sites that are failure domains, sorted.
func (w *World) Labels() []string {
	var out []string
	for i := range w.Sites {
		for label := range w.Sites[i].Labels {
			if !slices.Contains(out, label) {
				out = append(out, label)
			}
		}
	}
	slices.Sort(out)
	return out
}
