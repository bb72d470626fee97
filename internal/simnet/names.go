package simnet

import (
	"fmt"
	"strings"
)

// The names are made up; what they stand for is not.
var (
	forumNames = []string{
		"harbourtalk", "goldenpeak", "standpost", "discussbay", "islandnews", "kowloonboard", "ferryforum", "lionrock",
		"tramwire", "citizenpage", "nightmarket", "typhoonwatch", "newterritory", "causeway", "victoriapost", "mongkokchat",
		"starpress", "openlegco", "districtvoice", "peaktimes", "campusboard", "jadewire", "cableview", "appleyard",
	}
	controlPlaneNames = []string{"provider-console", "provider-portal", "provider-status"}
	controlNames      = []string{
		"alder-books", "birch-bank", "cedar-air", "damson-shop", "elm-library", "fir-radio", "gorse-post", "hazel-tickets",
		"ivy-museum", "juniper-mail", "kelp-transit", "larch-health", "maple-council", "nettle-maps", "oak-insurance",
		"pine-weather", "quince-recipes", "rowan-college", "sorrel-music", "teasel-games", "umber-paints", "vetch-farms",
		"willow-travel", "yarrow-parts", "zinnia-garden",
	}
	anchorNames = []string{
		"anchor-aachen", "anchor-bergen", "anchor-cusco", "anchor-dakar", "anchor-espoo", "anchor-fukuoka", "anchor-ghent",
		"anchor-hobart", "anchor-izmir", "anchor-jaipur", "anchor-kigali", "anchor-lima",
	}
	groupNames    = [numKinds]string{"forums-and-news", "provider", "others", "anchors"}
	issuers       = []string{"harbour-trust", "northern-certificates", "delta-sign"}
	operatorNames = []string{"route53", "", "ns1", "google-cloud-dns", ""} // "" = its own name servers
)

// nameOf is the i-th of endless names.
func nameOf(names []string, i int) string {
	if i < len(names) {
		return names[i]
	}
	return fmt.Sprintf("%s%d", names[i%len(names)], i/len(names)+1)
}

// nameServers are those that an operator gives a zone.
func nameServers(operator, zone string) []string {
	switch operator {
	case "":
		return []string{"ns1." + zone, "ns2." + zone}
	case "cloudflare":
		return []string{"anna.ns.cloudflare.com", "bob.ns.cloudflare.com"}
	case "akamai-edge-dns":
		return []string{"a1-66.akam.net", "a9-67.akam.net", "a22-64.akam.net"}
	case "route53":
		return []string{"ns-102.awsdns-12.com", "ns-801.awsdns-36.net", "ns-1402.awsdns-47.org"}
	case "ns1":
		return []string{"dns1.p01.nsone.net", "dns2.p01.nsone.net"}
	case "google-cloud-dns":
		return []string{"ns-cloud-a1.googledomains.com", "ns-cloud-a2.googledomains.com"}
	case "azure-dns":
		return []string{"ns1-01.azure-dns.com", "ns2-01.azure-dns.net"}
	}
	host := operatorZone(operator)
	return []string{"a." + host, "b." + host}
}

// operatorZone is the domain of the name servers of an operator that is not one of the well-known.
func operatorZone(operator string) string { return strings.ToLower(operator) + "-ns.example" }

// cnameChain is how a site's host leads to its CDN; empty for CDNs whose customers point at addresses, and without one.
func cnameChain(s *Site) []string {
	h := mix(hashString(s.Zone))
	switch s.CDN {
	case "cloudflare":
		if s.Operator != "cloudflare" {
			return []string{s.Host + ".cdn.cloudflare.net"}
		}
	case "fastly":
		return []string{fmt.Sprintf("%s.map.fastly.net", s.Name)}
	case "cloudfront":
		return []string{fmt.Sprintf("d%013x.cloudfront.net", h>>12)}
	case "akamai":
		return []string{s.Host + ".edgekey.net", fmt.Sprintf("e%d.a.akamaiedge.net", h%90000+1000)}
	case "azure-front-door":
		return []string{s.Name + ".azurefd.net", "star-azurefd-prod.trafficmanager.net", "shed.dual-low.part-0012.t-0009.t-msedge.net"}
	case "bunny":
		return []string{s.Name + ".b-cdn.net"}
	case "imperva":
		return []string{fmt.Sprintf("%.6x.x.incapdns.net", h>>40)}
	case "vercel":
		return []string{"cname.vercel-dns.com"}
	}
	return nil
}

func hashString(s string) uint64 {
	h := uint64(len(s))
	for i := range len(s) {
		h = mix(h, uint64(s[i]))
	}
	return h
}

// pops are the airports by which CDNs name their places, by region.
var pops = map[string]string{
	"us-east": "IAD", "us-west": "SJC", "us-central": "DFW", "eu-west": "LHR", "eu-north": "ARN", "eu-central": "FRA",
	"ap-east": "HKG", "ap-northeast": "NRT", "ap-southeast": "SIN", "sa-east": "GRU", "ru": "DME", "es": "MAD",
	"in": "BOM", "au": "SYD", "af": "JNB", "me": "DXB",
}

func popOf(region string) string {
	if p, ok := pops[region]; ok {
		return p
	}
	return "AMS"
}
