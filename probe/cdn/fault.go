package cdn

import (
	"strings"

	"faultline/probe"
)

// maxDetail is how much of what the transport saw a sentence shows, in bytes.
const maxDetail = 160

// transport judges a failure that left no whole response. A dead edge says nothing, so here a remembered CDN counts
// as much as one that is seen.
func (r *Rules) transport(e *probe.Evidence, f fronting, v *probe.Verdict) {
	v.Class, v.Fault = e.Class, e.Class.Fault()
	v.Candidates = candidates(e.Class, f.name != "", e.Detail)
	switch {
	case len(v.Candidates) > 0:
		v.Fault = probe.FaultAmbiguous
	case r.intercepted(e):
		v.Fault = probe.FaultBlocked
	case e.ClockOff != 0 && e.Class == probe.ClassTLSCertExpired:
		v.Fault = probe.FaultLocal
	default:
		v.Fault = diagnosed(e, v.Fault)
	}
	v.Why = sentence(e.Class)
	if f.name != "" && e.Class.Phase() > probe.PhaseResolve {
		v.Why += ", on the way to " + f.title
	}
	if v.Fault == probe.FaultBlocked && e.Class.Phase() == probe.PhaseTLS {
		v.Why += "; the certificate is that of a filter or portal between"
	}
	if e.Detail != "" {
		v.Why += " (" + strings.ToValidUTF8(e.Detail[:min(len(e.Detail), maxDetail)], "") + ")"
	}
}

// diagnosed is the fault of a failing resolve phase when it is known what other resolvers and the zone's own servers say.
func diagnosed(e *probe.Evidence, fault probe.Fault) probe.Fault {
	switch d := e.Diagnosis; {
	case e.Class.Phase() != probe.PhaseResolve:
	case d == probe.DiagnosisLocal && (e.Class == probe.ClassDNSTimeout || e.Class == probe.ClassDNSUnreachable):
		return probe.FaultLocal
	case d == probe.DiagnosisPath && e.Class == probe.ClassDNSTimeout:
		return probe.FaultPath
	case d == probe.DiagnosisLying && e.Class != probe.ClassDNSBogusAnswer, d == probe.DiagnosisResolver:
		return probe.FaultDNS
	case d == probe.DiagnosisOperator && e.Class == probe.ClassDNSUnreachable:
		return probe.FaultDNS
	}
	return fault
}

// candidates says who may be at fault where one result cannot tell, likeliest first; nil where the class alone tells.
func candidates(c probe.Class, onCDN bool, detail string) []probe.Fault {
	switch c {
	case probe.ClassConnectRefused, probe.ClassTLSReset, probe.ClassTLSEOF, probe.ClassHTTPReset, probe.ClassHTTPEOF:
		if onCDN {
			return []probe.Fault{probe.FaultEdge, probe.FaultPath}
		}
	case probe.ClassConnectTimeout, probe.ClassTLSTimeout, probe.ClassHTTPTimeoutHeaders, probe.ClassHTTPBodyTimeout,
		probe.ClassConnectOther, probe.ClassTLSOther:
		if onCDN {
			return []probe.Fault{probe.FaultEdge, probe.FaultPath}
		}
		return []probe.Fault{probe.FaultOrigin, probe.FaultPath}
	case probe.ClassHTTPMalformed, probe.ClassHTTPBodyTruncated:
		if onCDN {
			return []probe.Fault{probe.FaultEdge, probe.FaultOrigin}
		}
	case probe.ClassTLSAlert:
		if onCDN && strings.Contains(strings.ReplaceAll(strings.ToLower(detail), "_", " "), "internal error") {
			return []probe.Fault{probe.FaultEdge, probe.FaultConfig}
		}
	case probe.ClassHTTPServerErrorUnattributed:
		return []probe.Fault{probe.FaultEdge, probe.FaultOrigin}
	case probe.ClassHTTPContentMismatch:
		return []probe.Fault{probe.FaultOrigin, probe.FaultBlocked}
	}
	return nil
}

// intercepted tells whether a certificate that was refused is a known filter's or portal's.
func (r *Rules) intercepted(e *probe.Evidence) bool {
	switch e.Class {
	case probe.ClassTLSNotTLS, probe.ClassTLSCertName, probe.ClassTLSCertUntrusted:
	default:
		return false
	}
	detail := strings.ToLower(e.Detail[:min(len(e.Detail), maxValue)])
	for _, part := range r.interceptors {
		if strings.Contains(detail, part) {
			return true
		}
	}
	return false
}

// sentence says in words what a class of transport failure is.
func sentence(c probe.Class) string {
	switch c {
	case probe.ClassLocalCancelled:
		return "the probe was stopped"
	case probe.ClassLocalResource:
		return "this host lacks what a connection takes: descriptors, ports, memory, an address or interface"
	case probe.ClassLocalNoNetwork:
		return "this host has no route there"
	case probe.ClassLocalPath:
		return "the vantage's own proxy is in the way"
	case probe.ClassDNSNXDomain:
		return "the name does not exist"
	case probe.ClassDNSNoData:
		return "the name has no address"
	case probe.ClassDNSServfail:
		return "the resolver could not get an answer (SERVFAIL)"
	case probe.ClassDNSRefused:
		return "the resolver refused to answer"
	case probe.ClassDNSTimeout:
		return "no DNS answer came in time"
	case probe.ClassDNSUnreachable:
		return "the resolver cannot be reached"
	case probe.ClassDNSOtherRcode:
		return "the resolver gave an answer that says neither yes nor no"
	case probe.ClassDNSMalformed:
		return "the resolver's answers cannot be read"
	case probe.ClassDNSBogusAnswer:
		return "the name resolves to an address that cannot be a public site's"
	case probe.ClassConnectRefused:
		return "the connection was refused"
	case probe.ClassConnectTimeout:
		return "the connection was not answered in time"
	case probe.ClassConnectReset:
		return "the connection was reset while it was being made"
	case probe.ClassConnectUnreachable:
		return "the address cannot be reached"
	case probe.ClassConnectDenied:
		return "this host may not connect there"
	case probe.ClassConnectOther:
		return "the connection could not be made"
	case probe.ClassTLSTimeout:
		return "the TLS handshake did not finish in time"
	case probe.ClassTLSReset:
		return "the connection was reset in the TLS handshake"
	case probe.ClassTLSEOF:
		return "the connection was closed in the TLS handshake"
	case probe.ClassTLSAlert:
		return "the server ended the TLS handshake with an alert"
	case probe.ClassTLSNotTLS:
		return "the server does not speak TLS"
	case probe.ClassTLSCertName:
		return "the certificate is for another name"
	case probe.ClassTLSCertExpired:
		return "the certificate is expired or not yet valid"
	case probe.ClassTLSCertUntrusted:
		return "the certificate is not from an authority that is trusted"
	case probe.ClassTLSCertInvalid:
		return "the certificate may not be used for this"
	case probe.ClassTLSProtocol:
		return "this host and the server have no way of TLS in common"
	case probe.ClassTLSOther:
		return "the TLS handshake failed"
	case probe.ClassHTTPTimeoutHeaders:
		return "the request was sent, but no answer came in time"
	case probe.ClassHTTPReset:
		return "the connection was reset before an answer came"
	case probe.ClassHTTPEOF:
		return "the connection was closed before an answer came"
	case probe.ClassHTTPMalformed:
		return "the answer is not HTTP"
	case probe.ClassHTTPBodyTimeout:
		return "the answer stopped in the middle of its body"
	case probe.ClassHTTPBodyTruncated:
		return "the body is shorter than the answer said it would be"
	case probe.ClassHTTPRedirectLoop:
		return "the redirects lead nowhere"
	}
	return strings.ReplaceAll(c.String(), "_", " ")
}
