package probe

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/net/publicsuffix"
)

// Bounds of following redirects: how many, and how long a Location may be, in bytes.
const (
	maxHops     = 5
	maxLocation = 8 << 10
)

// follow makes requests from the site's URL to where its redirects end.
func (a *attempt) follow() (Class, string) {
	u := a.t.Site.URL
	seen := map[string]bool{}
	for range maxHops + 1 {
		if seen[u.String()] {
			return ClassHTTPRedirectLoop, "the redirects lead back to " + a.shown(u)
		}
		seen[u.String()] = true
		a.e.Host, a.e.Response, a.e.CNAME = u.Hostname(), nil, nil
		class, detail := a.hop(u)
		next := a.redirect(u)
		if class != ClassOK || next == nil {
			return class, detail
		}
		if next.Scheme != "http" && next.Scheme != "https" || next.Hostname() == "" {
			return ClassOK, "" // nowhere to follow: the redirect is the answer
		}
		a.e.Foreign = a.e.Foreign || foreign(a.t.Site.URL.Hostname(), next.Hostname())
		u = next
		a.r.Final = a.shown(u)
	}
	return ClassHTTPRedirectLoop, "more than " + strconv.Itoa(maxHops) + " redirects"
}

// shown is a URL for people. The query of one that is not the site's own can be a secret of the visit.
func (a *attempt) shown(u *url.URL) string {
	if u.RawQuery == "" || u.RawQuery == a.t.Site.URL.RawQuery {
		return clip(u.String())
	}
	bare := *u
	bare.RawQuery = ""
	return clip(bare.String()) + "?" + redacted
}

// hop makes one request: resolve, connect, tls, http.
func (a *attempt) hop(u *url.URL) (Class, string) {
	started, host := time.Now(), u.Hostname()
	addrs, class, detail := a.addresses(host)
	a.r.Time.Resolve += time.Since(started)
	if class != ClassOK {
		return class, clip(detail)
	}
	if a.overQUIC(u) {
		return a.hopOverQUIC(u, addrs)
	}
	started = time.Now()
	wire, class, detail := a.connect(addrs, u)
	a.r.Time.Connect += time.Since(started)
	if class != ClassOK {
		return class, clip(detail)
	}
	defer wire.Close()
	_ = wire.SetDeadline(a.deadline)
	stop := closing(a.ctx, wire)
	defer stop()
	if u.Scheme != "https" {
		return a.fetch(wire, u)
	}
	started = time.Now()
	secure, class, detail := a.handshake(wire, host)
	a.r.Time.TLS += time.Since(started)
	if class != ClassOK {
		return class, detail
	}
	if secure.ConnectionState().NegotiatedProtocol == "h2" {
		return a.fetchHTTP2(secure, u)
	}
	return a.fetch(secure, u)
}

// addresses are those that host has and that a probe may go to; none where the vantage's proxy is given the name. The result
// shows the DNS of the first name, which is the site's, or of the one that failed.
func (a *attempt) addresses(host string) ([]netip.Addr, Class, string) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return a.literal(addr.Unmap())
	}
	if a.only.IsValid() && host == a.t.Site.URL.Hostname() {
		return []netip.Addr{a.only}, ClassOK, ""
	}
	if a.t.Vantage.Proxy != nil && len(a.t.Vantage.Resolvers) == 0 {
		if a.r.Final != "" && !publicName(host) {
			return nil, ClassHTTPInterference, fmt.Sprintf("it leads to %s, which is no public name", clip(host))
		}
		return nil, ClassOK, ""
	}
	res := a.p.resolve(a.ctx, a.t.Vantage, a.t.Family, host)
	a.e.CNAME = res.info.CNAME
	may := a.p.guarded(a.t.Site, res.info.Addrs)
	if res.class == ClassOK && len(may) == 0 {
		res.class = ClassDNSBogusAnswer
		res.detail = fmt.Sprintf("%s leads to %v, which is no public address; allow_addresses would let it through", host, res.info.Addrs[0])
	}
	if a.name == "" || res.class != ClassOK {
		a.r.DNS, a.name, a.raw, a.res = res.info, host, res.raw, res
	}
	if a.first == nil && host == a.t.Site.URL.Hostname() {
		a.first = may
	}
	return may, res.class, res.detail
}

// literal is the address that stands in a URL in place of a name. One where no public site is, is our own guard's to
// refuse; a site that leads there is not the site, but what captive portals do.
func (a *attempt) literal(addr netip.Addr) ([]netip.Addr, Class, string) {
	if fam := a.t.Family; fam != FamilyAny && addr.Is4() != (fam == FamilyIP4) {
		return nil, ClassDNSNoData, fmt.Sprintf("%v is no address of the family %v", addr, fam)
	}
	may := a.p.guarded(a.t.Site, []netip.Addr{addr})
	switch {
	case len(may) > 0:
		return may, ClassOK, ""
	case a.r.Final != "":
		return nil, ClassHTTPInterference, fmt.Sprintf("it leads to %v, which is no public address", addr)
	default:
		return nil, ClassConnectDenied, fmt.Sprintf("%v is no public address; allow_addresses would let it through", addr)
	}
}

// publicName tells whether host can be a name of a public site: a proxy that is given another one may find an address in its
// own network, or take it for a number.
func publicName(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	i := strings.LastIndexByte(host, '.')
	last := host[i+1:]
	return i > 0 && strings.Trim(last, "0123456789") != "" && !strings.HasPrefix(last, "0x") &&
		!slices.Contains([]string{"localhost", "local", "internal", "lan", "home", "arpa", "onion"}, last)
}

// port is the port of a URL; 0, which refuses, where what it says is none.
func port(u *url.URL) uint16 {
	switch {
	case u.Port() != "":
		n, err := strconv.ParseUint(u.Port(), 10, 16)
		if err != nil {
			return 0
		}
		return uint16(n)
	case u.Scheme == "http":
		return 80
	default:
		return 443
	}
}

// redirect is where the answer leads; nil = it is the answer itself.
func (a *attempt) redirect(from *url.URL) *url.URL {
	resp := a.e.Response
	if resp == nil || !slices.Contains([]int{301, 302, 303, 307, 308}, resp.Status) {
		return nil
	}
	if e := &a.t.Site.Expect; len(e.Status) > 0 && e.OK(resp.Status) {
		return nil
	}
	location := resp.Get("Location")
	if location == "" || len(location) > maxLocation {
		return nil
	}
	to, err := from.Parse(location)
	if err != nil {
		return nil
	}
	to.Fragment, to.User = "", nil
	if ASCIIHost(to) != nil {
		return nil
	}
	return to
}

// ASCIIHost gives u's host the form in which DNS, TLS and HTTP carry it: in lower case, an internationalised name in
// Punycode. The error says that the name cannot be one.
func ASCIIHost(u *url.URL) error {
	host := u.Hostname()
	if !strings.ContainsFunc(host, func(r rune) bool { return r >= utf8.RuneSelf }) {
		u.Host = strings.ToLower(u.Host)
		return nil
	}
	ascii, err := idna.Lookup.ToASCII(host)
	if err != nil {
		return fmt.Errorf("%q is no name: %w", clip(host), err)
	}
	u.Host = ascii + strings.TrimPrefix(u.Host, host)
	return nil
}

// foreign tells whether two hosts are of different registrable domains.
func foreign(a, b string) bool {
	reg := func(h string) string {
		h = strings.ToLower(strings.TrimSuffix(h, "."))
		if d, err := publicsuffix.EffectiveTLDPlusOne(h); err == nil {
			return d
		}
		return h
	}
	return reg(a) != reg(b)
}
