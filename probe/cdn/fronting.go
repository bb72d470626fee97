package cdn

import (
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"faultline/probe"
)

const maxNames = 16 // of a CNAME chain, or name servers, that are looked at

// sign is a header by which a CDN shows itself.
type sign struct {
	header
	vendor   int
	strong   bool
	rewrites bool
}

// text is what only one CDN's error pages say.
type text struct{ mark, vendor int }

// sighting is what one response shows of one CDN.
type sighting struct {
	addr     netip.Prefix // the range that holds the address; the zero Prefix = none
	name     string       // the last of the CNAME chain that is the CDN's
	nameAt   int          // its place in the chain, from 1
	strong   int
	weak     int
	rewrites bool
	by       [4]string // evidence among the headers, strong or weak
	n        int
}

// add notes evidence and tells whether it is new: two lines of one header are one piece of it.
func (g *sighting) add(by string) bool {
	if g.n == len(g.by) || slices.Contains(g.by[:g.n], by) {
		return false
	}
	g.by[g.n] = by
	g.n++
	return true
}

// byHeader: one strong header is enough, of weak ones it takes two, or one where the CDN is remembered.
func (g *sighting) byHeader(remembered bool) bool {
	return g.strong > 0 || g.weak >= 2 || g.weak == 1 && remembered
}

// ranges finds the longest published range that holds an address.
type ranges struct {
	vendor map[netip.Prefix]int
	bits4  []int // lengths in use, longest first
	bits6  []int
}

func (t *ranges) add(p netip.Prefix, vendor int) {
	t.vendor[p] = vendor
	bits := &t.bits4
	if p.Addr().Is6() {
		bits = &t.bits6
	}
	if !slices.Contains(*bits, p.Bits()) {
		*bits = append(*bits, p.Bits())
		slices.SortFunc(*bits, func(a, b int) int { return b - a })
	}
}

func (t *ranges) find(a netip.Addr) (p netip.Prefix, vendor int, ok bool) {
	a = a.Unmap().WithZone("")
	bits := t.bits4
	if a.Is6() {
		bits = t.bits6
	}
	for _, n := range bits {
		p, err := a.Prefix(n)
		if err != nil {
			return p, 0, false
		}
		if vendor, ok = t.vendor[p]; ok {
			return p, vendor, true
		}
	}
	return p, 0, false
}

// suffixes finds a value by the end of a host name, on a label boundary; * in a suffix stands for any part of a label.
type suffixes[T any] struct {
	exact map[string]T
	globs []glob[T]
}

type glob[T any] struct {
	re    *regexp.Regexp
	value T
}

func (s *suffixes[T]) add(suffix string, value T) {
	if !strings.Contains(suffix, "*") {
		s.exact[suffix] = value
		return
	}
	re := strings.ReplaceAll(regexp.QuoteMeta(suffix), `\*`, `[^.]*`)
	s.globs = append(s.globs, glob[T]{regexp.MustCompile(`(?:^|\.)` + re + `$`), value})
}

func (s *suffixes[T]) find(host string) (value T, ok bool) {
	if len(host) > 255 {
		return value, false
	}
	for rest := host; rest != ""; {
		if value, ok = s.exact[rest]; ok {
			return value, true
		}
		_, rest, _ = strings.Cut(rest, ".")
	}
	for i := range s.globs {
		if s.globs[i].re.MatchString(host) {
			return s.globs[i].value, true
		}
	}
	return value, false
}

func hostName(s string) string { return strings.ToLower(strings.TrimSuffix(s, ".")) }

// look gathers what the evidence shows of every CDN.
func (r *Rules) look(s *state) {
	if a := s.e.Addr.Addr(); a.IsValid() {
		if p, v, ok := r.ranges.find(a); ok {
			s.seen[v].addr = p
		}
	}
	for i, name := range s.e.CNAME[:min(len(s.e.CNAME), maxNames)] {
		name = hostName(name)
		if v, ok := r.cname.find(name); ok {
			s.seen[v].name, s.seen[v].nameAt = name, i+1
		}
	}
	if s.resp == nil {
		return
	}
	for i := range s.resp.Headers {
		r.lookAtHeader(s, &s.resp.Headers[i])
	}
	for _, t := range r.texts {
		if s.resp.Status >= 400 && s.mark(t.mark) > 0 {
			s.seen[t.vendor].weak++
			s.seen[t.vendor].add("text of its error page")
		}
	}
}

func (r *Rules) lookAtHeader(s *state, h *probe.Header) {
	var lower [40]byte
	if len(h.Name) > len(lower) {
		return
	}
	for i := range len(h.Name) {
		c := h.Name[i]
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		lower[i] = c
	}
	signs := r.signs[string(lower[:len(h.Name)])]
	for i := range signs {
		g := &signs[i]
		if !g.fits(h.Value) {
			continue
		}
		seen := &s.seen[g.vendor]
		seen.rewrites = seen.rewrites || g.rewrites
		fresh := seen.add(g.by)
		switch {
		case g.strong:
			seen.strong++
		case fresh:
			seen.weak++
		}
	}
}

// rank orders the CDNs of a stack, the outermost highest; 0 = not seen. The owner of the address is the outermost;
// failing that a platform yields to a CDN, then come the name (the chain's last one), a header that the last hop
// always rewrites, what is remembered, and a strong header.
func (r *Rules) rank(s *state, v int, was string) int {
	g := &s.seen[v]
	remembered := r.vendors[v].name == was
	byHeader := g.byHeader(remembered)
	if !g.addr.IsValid() && g.nameAt == 0 && !byHeader {
		return 0
	}
	bit := func(cond bool, n int) int {
		if cond {
			return 1 << n
		}
		return 0
	}
	return 1 + bit(g.addr.IsValid(), 12) + bit(!r.vendors[v].inner, 11) + g.nameAt<<6 + bit(!r.outside(s, v), 5) +
		bit(g.rewrites, 4) + bit(remembered, 3) + bit(g.strong > 0, 2)
}

// outside tells whether the address contradicts that CDN: its published ranges are all it has, and this is in none.
func (r *Rules) outside(s *state, v int) bool {
	return s.e.Addr.Addr().IsValid() && r.vendors[v].complete && !s.seen[v].addr.IsValid()
}

// stack fills s.stack with the CDNs that the evidence shows, the outermost first.
func (r *Rules) stack(s *state, was string) {
	var ranks [8]int
	for v := 1; v < len(s.seen); v++ { // 0 holds the rules for everyone
		g := &s.seen[v]
		if g.strong+g.weak+g.nameAt == 0 && !g.addr.IsValid() {
			continue
		}
		rank := r.rank(s, v, was)
		if rank == 0 {
			continue
		}
		s.bare = s.bare && !g.byHeader(r.vendors[v].name == was)
		i := len(s.stack)
		if i == len(ranks) {
			break
		}
		s.stack = append(s.stack, v)
		for ; i > 0 && ranks[i-1] < rank; i-- {
			ranks[i], s.stack[i] = ranks[i-1], s.stack[i-1]
		}
		ranks[i], s.stack[i] = rank, v
	}
}

// front says which CDN stands before the site: the config's word, what the evidence shows, else what is remembered.
func (r *Rules) front(s *state, was probe.Fronting) (name string, by []string, now bool) {
	if site := s.e.Site; site != nil && site.CDN != "" {
		return site.CDN, []string{"config"}, true
	}
	if len(s.stack) > 0 {
		return r.vendors[s.stack[0]].name, r.evidence(s), true
	}
	if was.CDN == "" || r.moved(s, was) {
		return "", nil, false
	}
	by = []string{"remembered"}
	if !was.At.IsZero() {
		by[0] = "remembered from " + was.At.UTC().Format(time.RFC3339)
	}
	return was.CDN, by, false
}

// moved tells whether the address proves that the site has left the CDN that is remembered by its address.
func (r *Rules) moved(s *state, was probe.Fronting) bool {
	v, ok := r.byName[was.CDN]
	if !ok || !r.outside(s, v) {
		return false
	}
	return slices.ContainsFunc(was.By, func(by string) bool { return strings.HasPrefix(by, "address ") })
}

func (r *Rules) evidence(s *state) []string {
	v := s.stack[0]
	g := &s.seen[v]
	by := make([]string, 0, 3)
	if g.addr.IsValid() {
		by = append(by, r.rangeText[g.addr])
	}
	if g.name != "" {
		by = append(by, "cname "+g.name)
	}
	by = append(by, g.by[:g.n]...)
	for _, inner := range s.stack[1:] {
		by = append(by, "behind it: "+r.vendors[inner].name)
	}
	return by
}
