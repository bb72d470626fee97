package probe

import "fmt"

// Phase is a step of a probe, in the order of time.
type Phase uint8

// The phases. New ones are appended, never inserted: the numbers go over the wire.
const (
	PhaseLocal Phase = iota // the prober itself
	PhaseResolve
	PhaseConnect
	PhaseTLS
	PhaseHTTP // request written
	PhaseOK   // nothing failed
)

var phaseNames = [...]string{"local", "resolve", "connect", "tls", "http", "ok"}

func (p Phase) String() string { return nameOf(phaseNames[:], uint8(p)) }

// Fault says whose failure a result is. It is a function of the class and of evidence in the same result.
type Fault uint8

// The closed list of faults. New ones are appended, never inserted: the numbers go over the wire.
const (
	FaultNone      Fault = iota // nothing failed, or the site answers with an ordinary 4xx
	FaultEdge                   // the CDN's own failure
	FaultOrigin                 // the site's own servers
	FaultBlocked                // the prober was challenged, denied, limited or intercepted: no outage
	FaultConfig                 // the site is set up wrongly
	FaultDNS                    // the resolver or the name servers
	FaultPath                   // the network between
	FaultLocal                  // the prober itself
	FaultAmbiguous              // one result cannot tell: see Verdict.Candidates
)

var faultNames = [...]string{"none", "edge", "origin", "blocked", "config", "dns", "path", "local", "ambiguous"}

func (f Fault) String() string { return nameOf(faultNames[:], uint8(f)) }

// ParseFault is the inverse of Fault.String.
func ParseFault(s string) (Fault, error) {
	for i, n := range faultNames {
		if n == s {
			return Fault(i), nil
		}
	}
	return FaultNone, fmt.Errorf("unknown fault %q", s)
}

// Class says what happened: the first phase that did not complete, and how.
type Class uint8

// The closed list of classes. New ones are appended, never inserted: the numbers go over the wire.
const (
	ClassUnknown Class = iota // a class of a newer peer, or no class yet; never evidence
	ClassOK

	ClassLocalCancelled
	ClassLocalResource
	ClassLocalNoNetwork
	ClassLocalPath

	ClassDNSNXDomain
	ClassDNSNoData
	ClassDNSServfail
	ClassDNSRefused
	ClassDNSOtherRcode
	ClassDNSTimeout
	ClassDNSUnreachable
	ClassDNSMalformed
	ClassDNSBogusAnswer

	ClassConnectRefused
	ClassConnectTimeout
	ClassConnectReset
	ClassConnectUnreachable
	ClassConnectDenied
	ClassConnectOther

	ClassTLSTimeout
	ClassTLSReset
	ClassTLSEOF
	ClassTLSAlert
	ClassTLSNotTLS
	ClassTLSCertName
	ClassTLSCertExpired
	ClassTLSCertUntrusted
	ClassTLSCertInvalid
	ClassTLSProtocol
	ClassTLSOther

	ClassHTTPTimeoutHeaders
	ClassHTTPReset
	ClassHTTPEOF
	ClassHTTPMalformed
	ClassHTTPBodyTimeout
	ClassHTTPBodyTruncated
	ClassHTTPRedirectLoop
	ClassHTTPInterference
	ClassHTTPChallenged
	ClassHTTPRateLimited
	ClassHTTPBlocked
	ClassHTTPConfigError
	ClassHTTPEdgeError
	ClassHTTPOriginError
	ClassHTTPServerErrorUnattributed
	ClassHTTPClientError
	ClassHTTPContentMismatch

	numClasses
)

// classes holds what is fixed about each class: its name, the phase it belongs to, its default fault, and the
// failure string under which OONI (ooni/probe-cli, netxlite/errno.go) knows the same event, "" where it has none.
var classes = [numClasses]struct {
	name  string
	phase Phase
	fault Fault
	ooni  string
}{
	ClassUnknown: {"unknown", PhaseLocal, FaultNone, ""},
	ClassOK:      {"ok", PhaseOK, FaultNone, ""},

	ClassLocalCancelled: {"local_cancelled", PhaseLocal, FaultLocal, "interrupted"},
	ClassLocalResource:  {"local_resource", PhaseLocal, FaultLocal, "unknown_failure"},
	ClassLocalNoNetwork: {"local_no_network", PhaseLocal, FaultLocal, "network_unreachable"},
	ClassLocalPath:      {"local_path", PhaseLocal, FaultLocal, ""},

	ClassDNSNXDomain:    {"dns_nxdomain", PhaseResolve, FaultConfig, "dns_nxdomain_error"},
	ClassDNSNoData:      {"dns_nodata", PhaseResolve, FaultConfig, "dns_no_answer"},
	ClassDNSServfail:    {"dns_servfail", PhaseResolve, FaultDNS, "dns_servfail_error"},
	ClassDNSRefused:     {"dns_refused", PhaseResolve, FaultDNS, "dns_refused_error"},
	ClassDNSOtherRcode:  {"dns_other_rcode", PhaseResolve, FaultDNS, "dns_server_misbehaving"},
	ClassDNSTimeout:     {"dns_timeout", PhaseResolve, FaultDNS, "generic_timeout_error"},
	ClassDNSUnreachable: {"dns_unreachable", PhaseResolve, FaultLocal, "connection_refused"},
	ClassDNSMalformed:   {"dns_malformed", PhaseResolve, FaultDNS, "dns_reply_with_wrong_query_id"},
	ClassDNSBogusAnswer: {"dns_bogus_answer", PhaseResolve, FaultBlocked, "dns_bogon_error"},

	ClassConnectRefused:     {"connect_refused", PhaseConnect, FaultOrigin, "connection_refused"},
	ClassConnectTimeout:     {"connect_timeout", PhaseConnect, FaultAmbiguous, "generic_timeout_error"},
	ClassConnectReset:       {"connect_reset", PhaseConnect, FaultPath, "connection_reset"},
	ClassConnectUnreachable: {"connect_unreachable", PhaseConnect, FaultPath, "host_unreachable"},
	ClassConnectDenied:      {"connect_denied", PhaseConnect, FaultLocal, "permission_denied"},
	ClassConnectOther:       {"connect_other", PhaseConnect, FaultAmbiguous, "unknown_failure"},

	ClassTLSTimeout:       {"tls_timeout", PhaseTLS, FaultAmbiguous, "generic_timeout_error"},
	ClassTLSReset:         {"tls_reset", PhaseTLS, FaultOrigin, "connection_reset"},
	ClassTLSEOF:           {"tls_eof", PhaseTLS, FaultOrigin, "eof_error"},
	ClassTLSAlert:         {"tls_alert", PhaseTLS, FaultConfig, "ssl_failed_handshake"},
	ClassTLSNotTLS:        {"tls_not_tls", PhaseTLS, FaultConfig, "ssl_failed_handshake"},
	ClassTLSCertName:      {"tls_cert_name", PhaseTLS, FaultConfig, "ssl_invalid_hostname"},
	ClassTLSCertExpired:   {"tls_cert_expired", PhaseTLS, FaultConfig, "ssl_invalid_certificate"},
	ClassTLSCertUntrusted: {"tls_cert_untrusted", PhaseTLS, FaultConfig, "ssl_unknown_authority"},
	ClassTLSCertInvalid:   {"tls_cert_invalid", PhaseTLS, FaultConfig, "ssl_invalid_certificate"},
	ClassTLSProtocol:      {"tls_protocol", PhaseTLS, FaultConfig, "ssl_failed_handshake"},
	ClassTLSOther:         {"tls_other", PhaseTLS, FaultAmbiguous, "unknown_failure"},

	ClassHTTPTimeoutHeaders:          {"http_timeout_headers", PhaseHTTP, FaultAmbiguous, "generic_timeout_error"},
	ClassHTTPReset:                   {"http_reset", PhaseHTTP, FaultOrigin, "connection_reset"},
	ClassHTTPEOF:                     {"http_eof", PhaseHTTP, FaultOrigin, "eof_error"},
	ClassHTTPMalformed:               {"http_malformed", PhaseHTTP, FaultOrigin, "unknown_failure"},
	ClassHTTPBodyTimeout:             {"http_body_timeout", PhaseHTTP, FaultAmbiguous, "generic_timeout_error"},
	ClassHTTPBodyTruncated:           {"http_body_truncated", PhaseHTTP, FaultOrigin, "eof_error"},
	ClassHTTPRedirectLoop:            {"http_redirect_loop", PhaseHTTP, FaultConfig, ""},
	ClassHTTPInterference:            {"http_interference", PhaseHTTP, FaultBlocked, ""},
	ClassHTTPChallenged:              {"http_challenged", PhaseHTTP, FaultBlocked, ""},
	ClassHTTPRateLimited:             {"http_rate_limited", PhaseHTTP, FaultBlocked, ""},
	ClassHTTPBlocked:                 {"http_blocked", PhaseHTTP, FaultBlocked, ""},
	ClassHTTPConfigError:             {"http_config_error", PhaseHTTP, FaultConfig, ""},
	ClassHTTPEdgeError:               {"http_edge_error", PhaseHTTP, FaultEdge, ""},
	ClassHTTPOriginError:             {"http_origin_error", PhaseHTTP, FaultOrigin, ""},
	ClassHTTPServerErrorUnattributed: {"http_server_error_unattributed", PhaseHTTP, FaultAmbiguous, ""},
	ClassHTTPClientError:             {"http_client_error", PhaseHTTP, FaultNone, ""},
	ClassHTTPContentMismatch:         {"http_content_mismatch", PhaseHTTP, FaultAmbiguous, ""},
}

func (c Class) String() string { return classes[c.known()].name }

// Phase is the phase that a result of this class did not complete.
func (c Class) Phase() Phase { return classes[c.known()].phase }

// Fault is the class's default fault, which evidence in the same result may override once (a Judge does).
func (c Class) Fault() Fault { return classes[c.known()].fault }

// OONI is OONI's name for the same event, "" where it has none.
func (c Class) OONI() string { return classes[c.known()].ooni }

func (c Class) known() Class {
	if c < numClasses {
		return c
	}
	return ClassUnknown
}

var classByName = func() map[string]Class {
	m := make(map[string]Class, numClasses)
	for c := range classes {
		m[classes[c].name] = Class(c)
	}
	return m
}()

// ParseClass is the inverse of Class.String. A name that this version does not know is ClassUnknown.
func ParseClass(s string) Class { return classByName[s] }

// Classes yields every class there is, for tables and metrics.
func Classes(yield func(Class) bool) {
	for c := ClassOK; c < numClasses; c++ {
		if !yield(c) {
			return
		}
	}
}

func nameOf(names []string, i uint8) string {
	if int(i) < len(names) {
		return names[i]
	}
	return "unknown"
}
