package probe

import "net/netip"

// notPublic are the addresses that no public site has: IANA's special-purpose registries, and multicast.
var notPublic = prefixes(
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24",
	"192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3",
	"::/8", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "3fff::/20", "5f00::/16", "fc00::/7", "fe80::/9", "ff00::/8",
)

// Prefixes of IPv6 that carry an IPv4 address, which is then the one that counts, and where in the address it stands.
var carriers = []struct {
	prefix netip.Prefix
	at     int
}{
	{netip.MustParsePrefix("64:ff9b::/96"), 12}, // NAT64
	{netip.MustParsePrefix("2002::/16"), 2},     // 6to4
}

func prefixes(list ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(list))
	for i, s := range list {
		out[i] = netip.MustParsePrefix(s)
	}
	return out
}

// public tells whether a is an address that a public site can have.
func public(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	for _, c := range carriers {
		if c.prefix.Contains(a) {
			b := a.As16()
			return public(netip.AddrFrom4([4]byte(b[c.at : c.at+4])))
		}
	}
	return a.IsValid() && !contains(notPublic, a)
}

func contains(list []netip.Prefix, a netip.Addr) bool {
	for _, p := range list {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// guarded keeps those addresses that a probe of site may go to. Redirects above all could lead it into the network that it
// stands in.
func (p *Prober) guarded(site *Site, addrs []netip.Addr) []netip.Addr {
	kept := addrs[:0:0]
	for _, a := range addrs {
		if public(a) || contains(p.c.Allow, a.Unmap()) || contains(site.AllowAddresses, a.Unmap()) {
			kept = append(kept, a)
		}
	}
	return kept
}
