package cdn

import (
	"slices"
	"strings"

	"golang.org/x/net/publicsuffix"
)

const maxOperators = 3 // that one zone's name servers may name

// operator says who runs a zone's name servers: by the rules, else the registrable domain of each server's name. A zone
// with several operators has all of them in one name, sorted and joined by +, because only together can they fail it.
func (r *Rules) operator(ns []string) string {
	var names [maxOperators]string
	n := 0
	for _, host := range ns[:min(len(ns), maxNames)] {
		host = hostName(host)
		name, ok := r.operators.find(host)
		if !ok {
			name = registrable(host)
		}
		if name != "" && n < len(names) && !slices.Contains(names[:n], name) {
			names[n] = name
			n++
		}
	}
	if n == 1 {
		return names[0]
	}
	slices.Sort(names[:n])
	return strings.Join(names[:n], "+")
}

func registrable(host string) string {
	if len(host) > 255 {
		return ""
	}
	d, err := publicsuffix.EffectiveTLDPlusOne(host)
	if err != nil {
		return host
	}
	return d
}
