package cdn

import (
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"

	"faultline/probe"
)

func regexpFor(s string) *regexp.Regexp { return regexp.MustCompile(s) }

// faultOf is the taxonomy's function for transport failures: without a CDN, and on a CDN's address.
var faultOf = map[probe.Class][2][]probe.Fault{
	probe.ClassLocalCancelled: same(probe.FaultLocal), probe.ClassLocalResource: same(probe.FaultLocal),
	probe.ClassLocalNoNetwork: same(probe.FaultLocal), probe.ClassLocalPath: same(probe.FaultLocal),

	probe.ClassDNSNXDomain: same(config), probe.ClassDNSNoData: same(config),
	probe.ClassDNSServfail: same(probe.FaultDNS), probe.ClassDNSRefused: same(probe.FaultDNS), probe.ClassDNSOtherRcode: same(probe.FaultDNS),
	probe.ClassDNSTimeout: same(probe.FaultDNS), probe.ClassDNSMalformed: same(probe.FaultDNS),
	probe.ClassDNSUnreachable: same(probe.FaultLocal), probe.ClassDNSBogusAnswer: same(blocked),

	probe.ClassConnectRefused: {{origin}, {edge, probe.FaultPath}},
	probe.ClassConnectTimeout: {{origin, probe.FaultPath}, {edge, probe.FaultPath}},
	probe.ClassConnectReset:   same(probe.FaultPath), probe.ClassConnectUnreachable: same(probe.FaultPath),
	probe.ClassConnectDenied: same(probe.FaultLocal),
	probe.ClassConnectOther:  {{origin, probe.FaultPath}, {edge, probe.FaultPath}},

	probe.ClassTLSTimeout: {{origin, probe.FaultPath}, {edge, probe.FaultPath}},
	probe.ClassTLSReset:   {{origin}, {edge, probe.FaultPath}},
	probe.ClassTLSEOF:     {{origin}, {edge, probe.FaultPath}},
	probe.ClassTLSAlert:   same(config), probe.ClassTLSNotTLS: same(config), probe.ClassTLSCertName: same(config),
	probe.ClassTLSCertExpired: same(config), probe.ClassTLSCertUntrusted: same(config), probe.ClassTLSCertInvalid: same(config),
	probe.ClassTLSProtocol: same(config),
	probe.ClassTLSOther:    {{origin, probe.FaultPath}, {edge, probe.FaultPath}},

	probe.ClassHTTPTimeoutHeaders: {{origin, probe.FaultPath}, {edge, probe.FaultPath}},
	probe.ClassHTTPReset:          {{origin}, {edge, probe.FaultPath}},
	probe.ClassHTTPEOF:            {{origin}, {edge, probe.FaultPath}},
	probe.ClassHTTPMalformed:      {{origin}, {edge, origin}},
	probe.ClassHTTPBodyTimeout:    {{origin, probe.FaultPath}, {edge, probe.FaultPath}},
	probe.ClassHTTPBodyTruncated:  {{origin}, {edge, origin}},
	probe.ClassHTTPRedirectLoop:   same(config),

	// These are told from responses; one that comes told already keeps its fault.
	probe.ClassHTTPInterference: same(blocked), probe.ClassHTTPChallenged: same(blocked), probe.ClassHTTPRateLimited: same(blocked),
	probe.ClassHTTPBlocked: same(blocked), probe.ClassHTTPConfigError: same(config), probe.ClassHTTPEdgeError: same(edge),
	probe.ClassHTTPOriginError: same(origin), probe.ClassHTTPServerErrorUnattributed: same(edge, origin),
	probe.ClassHTTPClientError: same(none), probe.ClassHTTPContentMismatch: same(origin, blocked),
}

func same(f ...probe.Fault) [2][]probe.Fault { return [2][]probe.Fault{f, f} }

func TestTransport(t *testing.T) {
	r := mustLoad(t)
	fronts := []struct {
		onCDN int
		e     probe.Evidence
		was   probe.Fronting
	}{
		{onCDN: 0},
		{onCDN: 0, e: probe.Evidence{Addr: netip.MustParseAddrPort("192.0.2.1:443")}},
		{onCDN: 1, e: probe.Evidence{Addr: netip.MustParseAddrPort("104.16.0.1:443")}},
		{onCDN: 1, e: probe.Evidence{CNAME: []string{"x.edgekey.net"}}},
		{onCDN: 1, was: probe.Fronting{CDN: "akamai"}},
		{onCDN: 1, e: probe.Evidence{Site: &probe.Site{CDN: "our-own"}}},
	}
	for c := range probe.Classes {
		if c == probe.ClassOK {
			continue
		}
		want, ok := faultOf[c]
		if !ok {
			t.Errorf("%v is not in the table", c)
		}
		for _, f := range fronts {
			f.e.Class = c
			v := r.Judge(&f.e, f.was)
			who := []probe.Fault{v.Fault}
			if v.Fault == probe.FaultAmbiguous {
				who = v.Candidates
			} else if len(v.Candidates) > 0 {
				t.Errorf("%v: candidates %v beside fault %v", c, v.Candidates, v.Fault)
			}
			if v.Class != c || !slices.Equal(who, want[f.onCDN]) || v.Learn || v.Why == "" {
				t.Errorf("%v with %+v: got %v %v learn %v %q, want %v", c, f.was, v.Class, who, v.Learn, v.Why, want[f.onCDN])
			}
		}
	}
}

func TestTransportDetail(t *testing.T) {
	r := mustLoad(t)
	f := func(c probe.Class, detail, cdn string, want probe.Fault) {
		t.Helper()
		v := r.Judge(&probe.Evidence{Class: c, Detail: detail}, probe.Fronting{CDN: cdn})
		if v.Fault != want {
			t.Errorf("%v %q: got %v, want %v", c, detail, v.Fault, want)
		}
	}
	f(probe.ClassTLSAlert, "remote error: tls: internal error", "cloudflare", unclear)
	f(probe.ClassTLSAlert, "remote error: tls: internal error", "", config)
	f(probe.ClassTLSAlert, "remote error: tls: handshake failure", "cloudflare", config)
	f(probe.ClassTLSAlert, "remote error: tls: unrecognized name", "cloudflare", config)
	f(probe.ClassTLSAlert, "remote error: tls: protocol version not supported", "cloudflare", config)
	f(probe.ClassTLSCertUntrusted, "issuer FortiGate CA", "cloudflare", blocked)
	f(probe.ClassTLSCertName, "certificate is valid for captive portal, not example.com", "", blocked)
	f(probe.ClassTLSCertName, "certificate is valid for example.org, not example.com", "", config)
	f(probe.ClassTLSCertExpired, "issuer FortiGate CA", "", config)

	long := r.Judge(&probe.Evidence{Class: probe.ClassHTTPMalformed, Detail: strings.Repeat("é", 5000)}, probe.Fronting{})
	if len(long.Why) > 300 || !strings.Contains(long.Why, "é)") {
		t.Errorf("got a sentence of %d bytes that ends in %q", len(long.Why), long.Why[len(long.Why)-10:])
	}
}

// What a diagnosis and the state of our own clock change: at most one override of a class's fault.
func TestTransportOverrides(t *testing.T) {
	r := mustLoad(t)
	f := func(c probe.Class, d probe.Diagnosis, want probe.Fault) {
		t.Helper()
		if v := r.Judge(&probe.Evidence{Class: c, Diagnosis: d}, probe.Fronting{}); v.Fault != want {
			t.Errorf("%v, diagnosis %q: got %v, want %v", c, d, v.Fault, want)
		}
	}
	f(probe.ClassDNSTimeout, probe.DiagnosisNone, probe.FaultDNS)
	f(probe.ClassDNSTimeout, probe.DiagnosisOperator, probe.FaultDNS)
	f(probe.ClassDNSTimeout, probe.DiagnosisResolver, probe.FaultDNS)
	f(probe.ClassDNSTimeout, probe.DiagnosisPath, probe.FaultPath)
	f(probe.ClassDNSTimeout, probe.DiagnosisLocal, probe.FaultLocal)
	f(probe.ClassDNSUnreachable, probe.DiagnosisResolver, probe.FaultDNS)
	f(probe.ClassDNSUnreachable, probe.DiagnosisOperator, probe.FaultDNS)
	f(probe.ClassDNSUnreachable, probe.DiagnosisLocal, probe.FaultLocal)
	f(probe.ClassDNSNXDomain, probe.DiagnosisZone, config)
	f(probe.ClassDNSNXDomain, probe.DiagnosisLying, probe.FaultDNS)
	f(probe.ClassDNSNoData, probe.DiagnosisLying, probe.FaultDNS)
	f(probe.ClassDNSServfail, probe.DiagnosisZone, probe.FaultDNS)
	f(probe.ClassDNSBogusAnswer, probe.DiagnosisLying, blocked)
	f(probe.ClassConnectTimeout, probe.DiagnosisLocal, unclear) // left over from the resolve phase
	if v := r.Judge(&probe.Evidence{Class: probe.ClassTLSCertExpired, ClockOff: 1}, probe.Fronting{}); v.Fault != probe.FaultLocal {
		t.Errorf("our clock is off: got %v, want local", v.Fault)
	}
}

func TestNothingToJudge(t *testing.T) {
	v := mustLoad(t).Judge(&probe.Evidence{Class: probe.ClassOK}, probe.Fronting{})
	if v.Class != probe.ClassUnknown || v.Fault != probe.FaultNone || v.Learn {
		t.Errorf("got %+v, want an unknown class that is no evidence", v)
	}
}
