package alert

import (
	"math/bits"
	"slices"

	"faultline/probe"
)

// parts is a set of what takes part in an answer and can fail by itself. Each kind of domain stands for one of them.
type parts uint8

const (
	partEdge    parts = 1 << iota // the CDN's edge
	partBehind                    // what lies between a CDN and the origin, the origin included, as the CDN reports it
	partDNS                       // the servers of the zone
	partCA                        // whoever issued the certificate
	partNetwork                   // the network that the answering address lies in
	partPath                      // the way there
	partShared                    // anything else that sites can have in common, as a label of the config says
	partSite                      // the site itself

	numParts  = 8
	noParts   = parts(0)
	allParts  = parts(1<<numParts - 1)
	wholeSite = partSite | partShared | partBehind // what a block hides
)

// index is the number of a single part.
func (p parts) index() int { return bits.TrailingZeros8(uint8(p)) }

// each yields the single parts of a set.
func (p parts) each(yield func(one parts) bool) {
	for ; p != 0; p &= p - 1 {
		if !yield(p & -p) {
			return
		}
	}
}

// weigh is the only table of what a result is worth as evidence: which parts it accuses, and which it shows at work. Of
// the rest it says nothing. Taxonomy, sections 5 and 6.
func weigh(r *probe.Result) (accused, well parts) {
	if r.Class == probe.ClassUnknown {
		return noParts, noParts
	}
	if r.Class == probe.ClassOK {
		return noParts, allParts
	}
	there := partDNS // an address was found
	switch {
	case answered(r.Class):
		there = partDNS | partCA | partNetwork | partPath
	case r.Class.Phase() == probe.PhaseResolve:
		there = noParts
	}
	const site = partSite | partShared
	switch r.Fault {
	case probe.FaultLocal:
		return noParts, noParts
	case probe.FaultBlocked:
		if answered(r.Class) && r.Class != probe.ClassHTTPInterference {
			return noParts, there | partEdge
		}
		return noParts, noParts
	case probe.FaultEdge:
		return site | partEdge, there
	case probe.FaultOrigin:
		return weighOrigin(r, there)
	case probe.FaultDNS:
		return site | partDNS, noParts
	case probe.FaultPath:
		return site | partPath | partNetwork, there &^ (partPath | partNetwork)
	case probe.FaultConfig:
		return weighConfig(r, there)
	case probe.FaultAmbiguous:
		accused = site
		if slices.Contains(r.Candidates, probe.FaultEdge) {
			accused |= partEdge
		}
		if !answered(r.Class) {
			accused |= partPath | partNetwork
		}
		return accused, there &^ accused
	default: // the site answers, only not as it should
		return partSite, allParts &^ partSite
	}
}

func weighOrigin(r *probe.Result, there parts) (accused, well parts) {
	const site = partSite | partShared
	switch {
	case r.CDN != "":
		return site | partBehind, there | partEdge
	case answered(r.Class):
		return site | partNetwork, there &^ partNetwork
	case r.Class == probe.ClassConnectRefused:
		return site | partNetwork, there | partPath
	default: // a reset may come from the way
		return site | partNetwork | partPath, there
	}
}

func weighConfig(r *probe.Result, there parts) (accused, well parts) {
	const site = partSite | partShared
	switch r.Class {
	case probe.ClassDNSNXDomain, probe.ClassDNSNoData:
		return site | partDNS, noParts
	case probe.ClassTLSCertExpired, probe.ClassTLSCertUntrusted, probe.ClassTLSCertInvalid:
		return site | partCA, there | partPath | partNetwork
	}
	if answered(r.Class) {
		return site, there | partEdge
	}
	return site, there
}

// answered tells whether a class comes with a response's header.
func answered(c probe.Class) bool {
	switch c {
	case probe.ClassOK, probe.ClassHTTPRedirectLoop, probe.ClassHTTPInterference, probe.ClassHTTPChallenged, probe.ClassHTTPRateLimited,
		probe.ClassHTTPBlocked, probe.ClassHTTPConfigError, probe.ClassHTTPEdgeError, probe.ClassHTTPOriginError,
		probe.ClassHTTPServerErrorUnattributed, probe.ClassHTTPClientError, probe.ClassHTTPContentMismatch:
		return true
	}
	return false
}
