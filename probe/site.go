// Package probe looks at web sites: what is watched and from where (Site, Vantage), when (Schedule), one look from
// the name to the answer (Prober), and what it found (Result). It decides nothing beyond one result and knows no CDN:
// whose failure an answer is comes from the Judge that its user hands in.
package probe

import (
	"fmt"
	"hash/fnv"
	"io"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"time"
)

// Alert says how loudly a site that fails alone is told.
type Alert uint8

// The levels of Alert.
const (
	AlertNone Alert = iota
	AlertNotice
	AlertPage
)

var alertNames = [...]string{"none", "notice", "page"}

func (a Alert) String() string { return nameOf(alertNames[:], uint8(a)) }

// Site is one URL that is watched, with what counts as a good answer. It is immutable once scheduled and shared by
// all who hold it.
type Site struct {
	Name   string   // unique in a config
	URL    *url.URL // absolute, http or https, without user info or fragment
	Group  string
	Labels map[string]string
	Owner  string // whose site it is; the registrable domain unless the config says otherwise
	// OwnerFixed: the config names the owner, and what its sites are found to share with others changes nothing.
	OwnerFixed bool

	CDN    string // the fronting CDN where the config knows better than the evidence; "" = find out
	Alert  Alert  // when it fails alone
	Anchor bool   // a control: it only serves to tell whether the vantage itself is well

	Families  []Family // looked at over each of these; empty = once, over whatever the name has
	HTTP      HTTPVersion
	Addresses Addresses

	Interval time.Duration // between two scheduled probes from one vantage
	Timeout  time.Duration // of one probe, redirects included, its re-check excluded; at most Interval
	Method   string        // GET or HEAD
	Headers  []Header      // sent besides our own, in this order
	Expect   Expect

	AllowAddresses []netip.Prefix // beside the prober's own: addresses that the guard lets through for this site
}

// HTTPVersion is the version of HTTP that a site is asked over.
type HTTPVersion uint8

// The versions of HTTP. A site without TLS is always asked over 1.1, one that does not offer HTTP/2 too.
const (
	HTTP11 HTTPVersion = iota
	HTTP2
	HTTP3
)

var httpNames = [...]string{"1.1", "2", "3"}

func (h HTTPVersion) String() string { return nameOf(httpNames[:], uint8(h)) }

// ParseHTTPVersion is the inverse of HTTPVersion.String.
func ParseHTTPVersion(s string) (HTTPVersion, error) {
	if i := slices.Index(httpNames[:], s); i >= 0 {
		return HTTPVersion(i), nil
	}
	return HTTP11, fmt.Errorf("unknown version of HTTP %q", s)
}

// Addresses says which of a site's addresses a probe looks at.
type Addresses uint8

// The choices of Addresses.
const (
	AddressFirst Addresses = iota // the first one that takes a connection, as a browser would
	AddressAll                    // every one, each by itself: see Result.Addresses
)

// families are those that the site is looked at over.
func (s *Site) families() []Family {
	if len(s.Families) == 0 {
		return anyFamily
	}
	return s.Families
}

var anyFamily = []Family{FamilyAny}

// Header is one header line of a request or a response, in the order and spelling seen.
type Header struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Expect says what a good answer is.
type Expect struct {
	Status  []StatusRange  // empty: 200 to 399
	Body    *regexp.Regexp // must be found in the first 64 KiB; nil = not asked
	NotBody *regexp.Regexp // must not be found there; nil = not asked
}

// StatusRange is an inclusive range of HTTP statuses.
type StatusRange struct{ From, To int }

// OK tells whether status is a good one.
func (e *Expect) OK(status int) bool {
	if len(e.Status) == 0 {
		return status >= 200 && status < 400
	}
	for _, r := range e.Status {
		if r.From <= status && status <= r.To {
			return true
		}
	}
	return false
}

// Key identifies a site over restarts and between hosts: a hash of its name and URL.
func (s *Site) Key() uint64 { return SiteKey(s.Name, s.URL.String()) }

// SiteKey is the Key of the site with that name and URL.
func SiteKey(name, url string) uint64 {
	h := fnv.New64a()
	_, _ = io.WriteString(h, name)
	_, _ = h.Write([]byte{0})
	_, _ = io.WriteString(h, url)
	return h.Sum64()
}

// Vantage is a place to look from.
type Vantage struct {
	Name      string // unique in a fleet
	Region    string // "eu-west"; "" = not said
	Labels    map[string]string
	Source    netip.Addr // local address to dial from; the zero Addr = the kernel's choice
	Interface string     // network interface to dial through; "" = the kernel's choice
	Proxy     *Proxy     // nil = none
	Resolvers []Resolver // tried in order; empty only with a proxy, which is then given the names
	Second    *Resolver  // only asked where it tells whose failure it is that those fail; nil = none
}

// Proxy is what a vantage goes through. What goes wrong there is the vantage's failure, never a site's.
type Proxy struct {
	Kind     ProxyKind
	Addr     netip.AddrPort
	User     string
	Password string
}

// ProxyKind is the protocol of a proxy.
type ProxyKind uint8

// The kinds of proxy.
const (
	ProxySOCKS5 ProxyKind = iota // RFC 1928
	ProxyHTTP                    // CONNECT for https, absolute requests for http
)

// String shows no password.
func (p *Proxy) String() string {
	if p.Kind == ProxyHTTP {
		return "http://" + p.Addr.String()
	}
	return "socks5://" + p.Addr.String()
}

// Resolver is a recursive DNS server that a vantage asks.
type Resolver struct {
	Via  ResolverVia
	Addr netip.AddrPort
	Name string // that the certificate must be for; "" = the address
	Path string // of DNS over HTTPS
}

// ResolverVia is how a resolver is asked.
type ResolverVia uint8

// The ways to ask a resolver.
const (
	ViaUDP   ResolverVia = iota // with EDNS0; over TCP when truncated
	ViaTCP                      // RFC 7766
	ViaTLS                      // DoT, RFC 7858
	ViaHTTPS                    // DoH, RFC 8484
)

var viaNames = [...]string{"udp", "tcp", "tls", "https"}

func (v ResolverVia) String() string { return nameOf(viaNames[:], uint8(v)) }

// String is the form that results show and configs take: udp://9.9.9.9:53, tls://9.9.9.9:853#dns.quad9.net.
func (r Resolver) String() string {
	s := r.Via.String() + "://" + r.Addr.String() + r.Path
	if r.Name != "" {
		s += "#" + r.Name
	}
	return s
}
