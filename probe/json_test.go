package probe

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func sampleResult() Result {
	return Result{
		Site: "lihkg", URL: "https://lihkg.com/", Vantage: "hkg-1", Family: FamilyIP4, Seq: 41, Attempt: 1,
		At: time.Date(2019, 7, 2, 13, 43, 2, 118e6, time.UTC), Status: 502, Proto: "HTTP/1.1",
		Verdict: Verdict{
			Class: ClassHTTPEdgeError, Fault: FaultEdge, CDN: "cloudflare", CDNBy: []string{"header cf-ray"},
			Why: "502 with Cloudflare's own unbranded page: no origin is named", Operator: "cloudflare",
		},
		Addr: netip.MustParseAddrPort("104.16.0.1:443"),
		DNS: DNSInfo{
			Resolver: "udp://9.9.9.9:53", Rcode: "NOERROR", Addrs: []netip.Addr{netip.MustParseAddr("104.16.0.1")},
			NS: []string{"a.ns.cloudflare.com"}, Operator: "cloudflare",
		},
		TLS:  TLSInfo{Version: "1.3", Issuer: "SSL.com", NotAfter: time.Date(2019, 10, 9, 12, 0, 0, 0, time.UTC)},
		Time: Timings{Lag: 400 * time.Microsecond, Resolve: 3100 * time.Microsecond, Total: 44900 * time.Microsecond},
	}
}

func TestResultJSONRoundTrip(t *testing.T) {
	f := func(want Result) {
		t.Helper()
		b, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		var got Result
		if err := json.Unmarshal(b, &got); err != nil {
			t.Fatalf("%v\n%s", err, b)
		}
		if d := cmp.Diff(got, want, cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{})); d != "" {
			t.Errorf("got - want +\n%s\n%s", d, b)
		}
	}
	f(sampleResult())
	pending := sampleResult()
	pending.Pending, pending.Verdict, pending.Status, pending.Proto = true, Verdict{}, 0, ""
	pending.Addr, pending.DNS, pending.TLS = netip.AddrPort{}, DNSInfo{}, TLSInfo{}
	f(pending)
	amb := sampleResult()
	amb.Class, amb.Fault, amb.Candidates, amb.Sweep = ClassConnectTimeout, FaultAmbiguous, []Fault{FaultEdge, FaultPath}, 1
	f(amb)
}

func TestResultJSONOfPendingHasNoVerdict(t *testing.T) {
	b, err := json.Marshal(Result{Site: "a", Vantage: "v", Pending: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"ok", "class", "fault", "cdn"} {
		if strings.Contains(string(b), `"`+key+`":`) {
			t.Errorf("a pending result shows %q: %s", key, b)
		}
	}
}

func TestResultJSONFromOutside(t *testing.T) {
	f := func(in string, want Class, wantErr string) {
		t.Helper()
		var r Result
		err := json.Unmarshal([]byte(in), &r)
		if wantErr != "" {
			if err == nil || !strings.Contains(err.Error(), wantErr) {
				t.Errorf("got error %v, want one with %q", err, wantErr)
			}
			return
		}
		if err != nil || r.Class != want {
			t.Errorf("got class %v, error %v; want %v", r.Class, err, want)
		}
	}
	f(`{"site":"a","class":"ok","fault":"none","ok":true}`, ClassOK, "")
	f(`{"site":"a","class":"from_the_future","fault":"none"}`, ClassUnknown, "")
	f(`{"site":"a","class":"ok","fault":"mine"}`, 0, "unknown fault")
	f(`{"site":"a","class":"ok","fault":"none","addr":"x"}`, 0, "addr")
	f(`{"site":"a","class":"ok","fault":"none","family":"ip5"}`, 0, "family")
	f(`{"site":"a","class":"ok","fault":"none","ms":{"total":1e300}}`, 0, "not possible")
}

func TestEveryClassHasItsRow(t *testing.T) {
	seen := map[string]bool{}
	for c := range Classes {
		if c.String() == "" || c.String() == "unknown" || seen[c.String()] {
			t.Errorf("class %d has the name %q", c, c)
		}
		seen[c.String()] = true
		if got := ParseClass(c.String()); got != c {
			t.Errorf("got %v back, want %v", got, c)
		}
		prefix, _, _ := strings.Cut(c.String(), "_")
		if want := map[string]Phase{
			"local": PhaseLocal, "dns": PhaseResolve, "connect": PhaseConnect, "tls": PhaseTLS, "http": PhaseHTTP, "ok": PhaseOK,
		}[prefix]; c.Phase() != want {
			t.Errorf("%v: got phase %v, want %v", c, c.Phase(), want)
		}
	}
	if got := Class(255); got.String() != "unknown" || got.Fault() != FaultNone {
		t.Errorf("a class of the future is %v with fault %v, want unknown and none", got, got.Fault())
	}
}
