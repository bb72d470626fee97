package config

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"faultline/probe"
)

func (r *reader) vantages(ts []*table, h host) []*probe.Vantage {
	if len(ts) == 0 {
		r.problem("vantage", "there is none; write at least [[vantage]] with a name")
	}
	var out []*probe.Vantage
	names := map[string]string{}
	for _, t := range ts {
		v := &probe.Vantage{
			Name: r.uniqueName(t, names, "vantage"), Region: t.str("region", ""), Labels: t.words("labels"),
			Interface: t.str("interface", ""), Proxy: r.proxy(t),
		}
		v.Resolvers, v.Second = r.resolvers(t, h, v.Proxy != nil), r.secondResolver(t, v.Proxy != nil)
		if s := t.str("source", ""); s != "" {
			a, err := netip.ParseAddr(s)
			if err != nil {
				t.problem("source", "%q is no address; write one of this host's own, as in \"192.0.2.7\"", clip(s))
			}
			v.Source = a.Unmap()
		}
		if len(v.Interface) > maxInterface || hasControl(v.Interface) {
			t.problem("interface", "%q is no network interface; write a name that `ip link` shows, as in \"wg0\"", clip(v.Interface))
		}
		t.done()
		out = append(out, v)
	}
	return out
}

// uniqueName takes the name of a table in a list.
func (r *reader) uniqueName(t *table, names map[string]string, what string) string {
	name := t.str("name", "")
	switch {
	case !t.has("name"):
		r.problem(t.path, "it has no name; write name = \"…\"")
	case !isName(name):
		t.problem("name", "%q is no name; write letters, digits, dots, dashes and underscores, 100 at most", clip(name))
	case names[name] != "":
		t.problem("name", "%q is the name of %s already; write another, every %s needs its own", name, names[name], what)
	default:
		names[name] = t.path
	}
	return name
}

// maxInterface is the longest name of a network interface, in bytes (IFNAMSIZ - 1).
const maxInterface = 15

// proxy reads what a vantage goes through; its URL may hold a password and counts as a secret.
func (r *reader) proxy(t *table) *probe.Proxy {
	raw := t.secret("proxy")
	if raw == "" {
		return nil
	}
	const right = "write socks5://ADDRESS:PORT or http://ADDRESS:PORT, with USER:PASSWORD@ before the address where that is needed"
	u, err := url.Parse(raw)
	if err != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" {
		t.problem("proxy", "it is no proxy; %s", right)
		return nil
	}
	p := &probe.Proxy{}
	switch u.Scheme {
	case "socks5":
	case "http":
		p.Kind = probe.ProxyHTTP
	default:
		t.problem("proxy", "%q is no kind of proxy; %s", clip(u.Scheme), right)
		return nil
	}
	if p.Addr, err = netip.ParseAddrPort(strings.Replace(u.Host, "localhost:", "127.0.0.1:", 1)); err != nil {
		t.problem("proxy", "%q is no address with a port; %s", clip(u.Host), right)
	}
	p.User = u.User.Username()
	p.Password, _ = u.User.Password()
	if len(p.User) > 255 || len(p.Password) > 255 {
		t.problem("proxy", "user and password may have 255 bytes each; %s", right)
	}
	return p
}

// resolvers reads the recursive servers of a vantage. One behind a proxy leaves names to the proxy unless it is told otherwise.
func (r *reader) resolvers(t *table, h host, proxied bool) []probe.Resolver {
	list := t.strs("resolvers", `["system"]`)
	switch {
	case proxied && (!t.has("resolvers") || slices.Equal(list, []string{"proxy"})):
		return nil
	case !t.has("resolvers"):
		list = []string{"system"}
	case len(list) == 0:
		t.problem("resolvers", "there is none; write [\"system\"] or addresses, as in [\"9.9.9.9\"]")
	}
	var out []probe.Resolver
	for _, s := range list {
		if s == "system" && !proxied {
			sys, err := h.systemResolvers()
			if err != nil {
				r.problem(t.at("resolvers"), "\"system\": %v; name resolvers, as in resolvers = [\"9.9.9.9\"]", err)
			}
			for _, a := range sys {
				out = append(out, probe.Resolver{Addr: a})
			}
			continue
		}
		if res := r.resolver(t, "resolvers", s, proxied); res != nil {
			out = append(out, *res)
		}
	}
	if len(out) > maxResolvers {
		t.problem("resolvers", "there are %d; write %d at most", len(out), maxResolvers)
	}
	return out
}

func (r *reader) secondResolver(t *table, proxied bool) *probe.Resolver {
	s := t.str("second_resolver", "")
	if s == "" {
		return nil
	}
	return r.resolver(t, "second_resolver", s, proxied)
}

func (r *reader) resolver(t *table, key, s string, proxied bool) *probe.Resolver {
	res, err := ParseResolver(s)
	switch {
	case proxied && (s == "system" || err == nil && res.Via == probe.ViaUDP):
		t.problem(key, "%q cannot go through the vantage's proxy; write \"proxy\" to leave names to it, or a resolver over tcp://, tls:// or https://", clip(s))
	case err != nil:
		t.problem(key, "%v", err)
	default:
		return &res
	}
	return nil
}

const resolverForms = `write "9.9.9.9", "tcp://9.9.9.9", "tls://9.9.9.9#dns.quad9.net" or "https://9.9.9.9/dns-query#dns.quad9.net"`

// ParseResolver reads a resolver as configs write it: an address with or without a port, after udp://, tcp://, tls:// or https://
// or none of these. The name that its certificate must be for follows a #; without it, that is the address.
func ParseResolver(s string) (probe.Resolver, error) {
	bad := func(why string) (probe.Resolver, error) {
		return probe.Resolver{}, fmt.Errorf("%q is no resolver: %s; %s", clip(s), why, resolverForms)
	}
	r := probe.Resolver{}
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		scheme, rest = "udp", s
	}
	via := slices.Index([]string{"udp", "tcp", "tls", "https"}, scheme)
	if via < 0 {
		return bad("it begins with " + clip(scheme) + "://")
	}
	r.Via = probe.ResolverVia(via)
	rest, r.Name, _ = strings.Cut(rest, "#")
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		rest, r.Path = rest[:i], rest[i:]
	}
	switch secure := r.Via == probe.ViaTLS || r.Via == probe.ViaHTTPS; {
	case r.Name != "" && !secure:
		return bad("a name after # is for tls:// and https:// only")
	case r.Name != "" && !isHostName(r.Name):
		return bad(clip(r.Name) + " is no host name")
	case r.Path != "" && r.Via != probe.ViaHTTPS || hasControl(r.Path):
		return bad("it has a path")
	case r.Path == "" && r.Via == probe.ViaHTTPS:
		r.Path = "/dns-query"
	}
	if a, err := netip.ParseAddr(strings.Trim(rest, "[]")); err == nil {
		r.Addr = netip.AddrPortFrom(a, defaultPorts[r.Via])
		return r, nil
	}
	var err error
	if r.Addr, err = netip.ParseAddrPort(rest); err != nil {
		return bad("it begins with no address")
	}
	return r, nil
}

var defaultPorts = map[probe.ResolverVia]uint16{probe.ViaUDP: 53, probe.ViaTCP: 53, probe.ViaTLS: 853, probe.ViaHTTPS: 443}

// isHostName tells whether s can stand in a certificate and in a Host header.
func isHostName(s string) bool {
	return len(s) <= 253 && !strings.ContainsFunc(s, func(r rune) bool {
		return r != '-' && r != '.' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	})
}

// SystemResolvers are the resolvers of this host.
func SystemResolvers() ([]probe.Resolver, error) {
	addrs, err := systemHost().systemResolvers()
	var out []probe.Resolver
	for _, a := range addrs {
		out = append(out, probe.Resolver{Addr: a})
	}
	return out, err
}
