package probe

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var (
	sameAddrs     = cmp.Comparer(func(a, b netip.Addr) bool { return a == b })
	sameAddrPorts = cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })
)

// full is a result with something in every field there is.
func full() Result {
	at := time.Date(2019, 7, 2, 13, 43, 2, 118000001, time.UTC)
	addr := netip.MustParseAddrPort("104.16.0.1:443")
	return Result{
		Site: "lihkg", URL: "https://lihkg.com/", Vantage: "hkg-1", Region: "ap-east", Family: FamilyIP4, At: at, Seq: 1 << 60, Pending: true, Attempt: 2, Sweep: 7,
		Verdict: Verdict{
			Class: ClassHTTPEdgeError, Fault: FaultAmbiguous, Candidates: []Fault{FaultEdge, FaultPath}, CDN: "cloudflare", CDNBy: []string{"header cf-ray", "cname"},
			Why: "502 with Cloudflare's own page", Learn: true, Operator: "cloudflare",
		},
		Status: 502, Final: "https://lihkg.com/x", Addr: addr, Network: "as13335", Proto: "HTTP/1.1",
		DNS: DNSInfo{
			Resolver: "udp://9.9.9.9:53", Rcode: "NOERROR", EDE: []uint16{22, 65535}, CNAME: []string{"a.example"}, Addrs: []netip.Addr{addr.Addr(), netip.MustParseAddr("2606:4700::1")},
			NS: []string{"ns1.example", "ns2.example"}, Operator: "cloudflare", Tried: []ResolverTry{{"udp://1.1.1.1:53", ClassDNSTimeout}}, Diagnosis: DiagnosisPath,
		},
		TLS:       TLSInfo{Version: "1.3", Issuer: "Let's Encrypt", NotAfter: at.Truncate(time.Second).AddDate(0, 3, 0), Names: 1<<64 - 1},
		Addresses: []AddressLook{{addr, ClassConnectTimeout, FaultPath, time.Second}},
		Time:      Timings{1, 2, 3, 4, 5, time.Minute}, RetryAfter: time.Hour,
	}
}

// Every field of a result has its place on the wire: one that is new fails here until it has.
func TestBatchHoldsEverything(t *testing.T) {
	want := full()
	var check func(path string, v reflect.Value)
	check = func(path string, v reflect.Value) {
		if v.IsZero() {
			t.Errorf("full() leaves %s empty", path)
		}
		if v.Kind() == reflect.Struct && v.Type().PkgPath() == reflect.TypeFor[Result]().PkgPath() {
			for i := range v.NumField() {
				check(path+"."+v.Type().Field(i).Name, v.Field(i))
			}
		}
	}
	check("Result", reflect.ValueOf(want))
	healthy := Result{Site: "forum", At: want.At.Add(-time.Hour), Verdict: Verdict{Class: ClassOK}}
	in := []Result{want, healthy, {}}
	got, err := ParseBatch(AppendBatch(nil, in))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(in, got, sameAddrs, sameAddrPorts); d != "" {
		t.Errorf("-sent +got:\n%s", d)
	}
}

// What version 1 wrote is read for ever.
func TestBatchGolden(t *testing.T) {
	const path = "testdata/batch-v1.hex"
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(path, []byte(hex.EncodeToString(AppendBatch(nil, []Result{full(), {Site: "forum"}}))+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseBatch(data)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]Result{full(), {Site: "forum"}}, got, sameAddrs, sameAddrPorts); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

// A newer agent has fields, classes and faults that this hub does not know; an older one lacks some.
func TestBatchOfAnotherVersion(t *testing.T) {
	f := func(change func(w *batchWriter, body []byte) []byte, want func(*Result)) {
		t.Helper()
		r := full()
		w := &batchWriter{number: map[string]uint64{}}
		body := change(w, w.result(nil, &r, 0))
		data := append([]byte{batchVersion, byte(w.count)}, w.strings...)
		data = append(data, 0, 1)
		data = append(data, byte(len(body)&0x7f|0x80), byte(len(body)>>7))
		got, err := ParseBatch(append(data, body...))
		if err != nil {
			t.Error(err)
			return
		}
		want(&r)
		if d := cmp.Diff(r, got[0], sameAddrs, sameAddrPorts); d != "" {
			t.Errorf("-want +got:\n%s", d)
		}
	}
	f(func(_ *batchWriter, b []byte) []byte { return append(b, 1, 2, 3, 4) }, func(*Result) {})
	f(func(_ *batchWriter, b []byte) []byte { return b[:len(b)-7] }, func(r *Result) { r.RetryAfter = 0 })
	f(func(w *batchWriter, b []byte) []byte {
		w.strings = []byte(strings.NewReplacer(ClassHTTPEdgeError.String(), "http_edge_errox", "ambiguous", "ambiguoux").Replace(string(w.strings)))
		return b
	}, func(r *Result) { r.Class, r.Fault = ClassUnknown, FaultNone })
}

func TestBatchIsBounded(t *testing.T) {
	good := AppendBatch(nil, []Result{full()})
	f := func(data []byte, words string) {
		t.Helper()
		if _, err := ParseBatch(data); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("got %v, want words of %q", err, words)
		}
	}
	f(nil, "empty")
	f([]byte{9, 0, 0, 0}, "same version")
	f(make([]byte, MaxBatchBytes+1), "larger than")
	f([]byte{1, 255, 255, 255, 255, 15}, "promises more")
	f(append(good[:len(good):len(good)], 0), "more behind")
	for n := 1; n < len(good); n++ {
		if _, err := ParseBatch(good[:n]); err == nil {
			t.Errorf("%d of %d bytes were taken", n, len(good))
		}
	}
	r := full()
	r.Why, r.DNS.CNAME, r.Site = strings.Repeat("x", 1<<20), make([]string, 5000), "a\xffb"
	got, err := ParseBatch(AppendBatch(nil, []Result{r}))
	if err != nil || len(got[0].Why) != maxBatchText || len(got[0].DNS.CNAME) != maxBatchList || got[0].Site != "a�b" {
		t.Errorf("got %d, %d, %q, error %v", len(got[0].Why), len(got[0].DNS.CNAME), got[0].Site, err)
	}
	for _, bad := range []Result{{Status: 70000}, {Attempt: 1 << 20}, {RetryAfter: 1 << 60}, {TLS: TLSInfo{NotAfter: time.Unix(1<<50, 0)}}} {
		f(AppendBatch(nil, []Result{bad}), "out of its range")
	}
}

func FuzzParseBatch(f *testing.F) {
	f.Add(AppendBatch(nil, []Result{full(), {}}))
	f.Add(AppendBatch(nil, healthyBatch(3)))
	f.Fuzz(func(t *testing.T, data []byte) {
		rs, err := ParseBatch(data)
		if err != nil {
			return
		}
		again, err := ParseBatch(AppendBatch(nil, rs))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(rs, again, sameAddrs, sameAddrPorts); d != "" {
			t.Errorf("-first +second:\n%s", d)
		}
	})
}

// healthyBatch are n looks that found nothing, at different sites behind a CDN.
func healthyBatch(n int) []Result {
	out := make([]Result, n)
	for i := range out {
		name := fmt.Sprintf("site-%d.example", i)
		addr := netip.AddrPortFrom(netip.AddrFrom4([4]byte{104, 16, byte(i >> 8), byte(i)}), 443)
		out[i] = Result{
			Site: name, URL: "https://" + name + "/", Vantage: "hkg-1", Region: "ap-east", Family: FamilyIP4, At: time.Unix(1700000000, int64(i)*1e6).UTC(), Seq: 1<<50 + uint64(i), Attempt: 1,
			Verdict: Verdict{Class: ClassOK, CDN: "cloudflare", CDNBy: []string{"header cf-ray"}, Learn: true, Why: "200"}, Status: 200, Addr: addr, Proto: "HTTP/1.1",
			DNS: DNSInfo{Resolver: "udp://9.9.9.9:53", Rcode: "NOERROR", Addrs: []netip.Addr{addr.Addr()}}, TLS: TLSInfo{Version: "1.3", Issuer: "Let's Encrypt", NotAfter: time.Unix(1710000000, 0).UTC()},
			Time: Timings{100e3, 3e6, 1e6, 9e6, 31e6, 45e6},
		}
	}
	return out
}

func BenchmarkAppendBatch(b *testing.B) {
	rs, buf := healthyBatch(MaxBatch), []byte(nil)
	b.ReportAllocs()
	for b.Loop() {
		buf = AppendBatch(buf[:0], rs)
	}
	b.ReportMetric(float64(len(buf))/MaxBatch, "B/result")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/MaxBatch, "ns/result")
}

func BenchmarkParseBatch(b *testing.B) {
	data := AppendBatch(nil, healthyBatch(MaxBatch))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseBatch(data); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/MaxBatch, "ns/result")
}
