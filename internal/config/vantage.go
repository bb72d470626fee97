package config

import (
	"fmt"
	"net/netip"
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
			Name: r.uniqueName(t, names, "vantage"), Region: t.str("region", ""), Labels: t.words("labels"), Resolvers: r.resolvers(t, h),
		}
		if s := t.str("source", ""); s != "" {
			a, err := netip.ParseAddr(s)
			if err != nil {
				t.problem("source", "%q is no address; write one of this host's own, as in \"192.0.2.7\"", clip(s))
			}
			v.Source = a
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

// resolvers reads the recursive servers of a vantage: "system", an address, or udp:// or tcp:// and an address.
func (r *reader) resolvers(t *table, h host) []probe.Resolver {
	list := t.strs("resolvers", `["system"]`)
	if !t.has("resolvers") {
		list = []string{"system"}
	} else if len(list) == 0 {
		t.problem("resolvers", "there is none; write [\"system\"] or addresses, as in [\"9.9.9.9\"]")
	}
	var out []probe.Resolver
	for _, s := range list {
		if s == "system" {
			sys, err := h.systemResolvers()
			if err != nil {
				r.problem(t.at("resolvers"), "\"system\": %v; name resolvers, as in resolvers = [\"9.9.9.9\"]", err)
			}
			for _, a := range sys {
				out = append(out, probe.Resolver{Addr: a})
			}
			continue
		}
		res, err := ParseResolver(s)
		if err != nil {
			t.problem("resolvers", "%v", err)
			continue
		}
		out = append(out, res)
	}
	if len(out) > maxResolvers {
		t.problem("resolvers", "there are %d; write %d at most", len(out), maxResolvers)
	}
	return out
}

// ParseResolver reads a resolver as configs write it: an address with or without a port, after udp:// or tcp:// or neither.
func ParseResolver(s string) (probe.Resolver, error) {
	via := probe.ViaUDP
	rest, tcp := strings.CutPrefix(s, "tcp://")
	if tcp {
		via = probe.ViaTCP
	}
	rest = strings.TrimPrefix(rest, "udp://")
	if a, err := netip.ParseAddr(rest); err == nil {
		return probe.Resolver{Addr: netip.AddrPortFrom(a, 53), Via: via}, nil
	}
	a, err := netip.ParseAddrPort(rest)
	if err != nil {
		return probe.Resolver{}, fmt.Errorf("%q is no resolver; write \"system\", an address as in \"9.9.9.9\", or \"tcp://9.9.9.9:53\"", clip(s))
	}
	return probe.Resolver{Addr: a, Via: via}, nil
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
