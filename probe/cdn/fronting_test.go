package cdn

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"faultline/probe"
)

// answer is evidence of a whole response; addr may be "".
func answer(t testing.TB, head, body, addr string, cname ...string) *probe.Evidence {
	t.Helper()
	e := sample{head: head, body: body}.evidence(t)
	e.CNAME = cname
	if addr != "" {
		e.Addr = netip.AddrPortFrom(netip.MustParseAddr(addr), 443)
	}
	return e
}

func TestFronting(t *testing.T) {
	r := mustLoad(t)
	f := func(e *probe.Evidence, cdn string, by ...string) {
		t.Helper()
		v := r.Judge(e, probe.Fronting{})
		if v.CDN != cdn || !slices.Equal(v.CDNBy, by) {
			t.Errorf("got %q by %q, want %q by %q", v.CDN, v.CDNBy, cdn, by)
		}
	}
	const ok = "200 OK\n"
	f(answer(t, ok, "", ""), "")
	f(answer(t, ok+cf, "", "104.16.0.1"), "cloudflare", "address 104.16.0.0/13", "header server", "header cf-ray")
	f(answer(t, ok+cf, "", "2606:4700::1"), "cloudflare", "address 2606:4700::/32", "header server", "header cf-ray")
	f(answer(t, ok, "", "::ffff:104.16.0.1"), "cloudflare", "address 104.16.0.0/13")
	f(answer(t, ok, "", "", "x.example.com", "d111.CloudFront.net."), "cloudfront", "cname d111.cloudfront.net")
	f(answer(t, ok, "", "", "evilcloudfront.net"), "")
	f(answer(t, ok, "", "", "x.w.kunlunaq.com", "a.kunlunaq.com"), "alibaba", "cname a.kunlunaq.com")
	f(answer(t, ok, "", "", "x.vercel-dns-017.com"), "vercel", "cname x.vercel-dns-017.com")

	// One weak header is nothing, two are enough; the same one twice is one.
	f(answer(t, ok+"Via: 1.1 varnish\nVia: 1.1 varnish\n", "", ""), "")
	f(answer(t, ok+"Via: 1.1 varnish\n", "", ""), "")
	f(answer(t, ok+"Via: 1.1 varnish (Varnish/7.1)\nX-Cache: HIT\n", "", ""), "")
	f(answer(t, ok+"Via: 1.1 varnish\nX-Timer: S1.2,VS0,VE1\n", "", ""), "fastly", "header via", "header x-timer")
	f(answer(t, ok+"Server: cloudflare\n", "", ""), "")
	f(answer(t, ok+"Server: Tengine\n", "", ""), "")
	f(answer(t, "400 Bad Request\nServer: cloudflare\nCF-RAY: -\n", "", ""), "cloudflare", "header server", "header cf-ray")

	// Stacks: the address owns; a name before headers; a CDN before a platform; who rewrites Server before who does not.
	f(answer(t, ok+cf+aws, "", "13.32.0.1"), "cloudfront", "address 13.32.0.0/15", "header via", "header x-amz-cf-id", "behind it: cloudflare")
	f(answer(t, ok+cf+aws, "", "104.16.0.1"), "cloudflare", "address 104.16.0.0/13", "header server", "header cf-ray", "behind it: cloudfront")
	f(answer(t, ok+cf+aws, "", ""), "cloudflare", "header server", "header cf-ray", "behind it: cloudfront")
	f(answer(t, ok+cf+aws, "", "", "d1.cloudfront.net"), "cloudfront", "cname d1.cloudfront.net", "header via", "header x-amz-cf-id", "behind it: cloudflare")
	f(answer(t, ok+cf+aws, "", "192.0.2.1"), "cloudfront", "header via", "header x-amz-cf-id", "behind it: cloudflare")
	f(answer(t, ok+cf+"Via: 1.1 vegur\n", "", ""), "cloudflare", "header server", "header cf-ray", "behind it: heroku")
	f(answer(t, ok+fastly+"Server: GitHub.com\n", "", "185.199.108.153"), "fastly", "address 185.199.108.0/22", "header via", "header x-served-by", "header x-timer")
}

func TestFrontingOfSite(t *testing.T) {
	r := mustLoad(t)
	e := answer(t, "200 OK\n"+cf, "", "104.16.0.1")
	e.Site = &probe.Site{CDN: "fastly", URL: &url.URL{Scheme: "https", Host: "example.com"}}
	v := r.Judge(e, probe.Fronting{CDN: "akamai"})
	if v.CDN != "fastly" || !slices.Equal(v.CDNBy, []string{"config"}) {
		t.Errorf("got %q by %q, want what the config says", v.CDN, v.CDNBy)
	}
	e = answer(t, "502 Bad Gateway\n"+cf, "<center>cloudflare</center>", "")
	e.Site = &probe.Site{CDN: "fastly"}
	if v = r.Judge(e, probe.Fronting{}); v.Fault != probe.FaultOrigin {
		t.Errorf("got %v (%s), want the failure of what stands behind it", v.Fault, v.Why)
	}
	e = answer(t, "503 Service Unavailable\n", "", "")
	e.Site = &probe.Site{CDN: "our-own"}
	if v = r.Judge(e, probe.Fronting{}); v.CDN != "our-own" || v.Fault != probe.FaultAmbiguous {
		t.Errorf("got %v at %q, want an ambiguous failure at a CDN that no rule knows", v.Fault, v.CDN)
	}
}

func TestRemembered(t *testing.T) {
	r := mustLoad(t)
	at := time.Date(2019, 7, 2, 13, 40, 0, 0, time.UTC)
	was := probe.Fronting{CDN: "cloudflare", By: []string{"address 104.16.0.0/13"}, At: at}
	dead := func(addr string) *probe.Evidence {
		return &probe.Evidence{Class: probe.ClassConnectTimeout, Addr: netip.MustParseAddrPort(addr + ":443")}
	}
	f := func(e *probe.Evidence, was probe.Fronting, cdn, by string, first probe.Fault, learn bool) {
		t.Helper()
		v := r.Judge(e, was)
		if v.CDN != cdn || v.Learn != learn || len(v.CDNBy) > 0 != (by != "") || by != "" && v.CDNBy[0] != by {
			t.Errorf("got %q by %q, learn %v; want %q by %q, %v", v.CDN, v.CDNBy, v.Learn, cdn, by, learn)
		}
		if len(v.Candidates) > 0 && v.Candidates[0] != first {
			t.Errorf("got candidates %v, want %v first", v.Candidates, first)
		}
	}
	f(dead("104.16.0.1"), was, "cloudflare", "address 104.16.0.0/13", probe.FaultEdge, false)
	f(dead("192.0.2.1"), was, "", "", probe.FaultOrigin, false) // it has moved away
	was.By = []string{"header cf-ray"}                          // an address of the customer's own
	f(dead("192.0.2.1"), was, "cloudflare", "remembered from 2019-07-02T13:40:00Z", probe.FaultEdge, false)
	f(dead("151.101.1.1"), was, "fastly", "address 151.101.0.0/16", probe.FaultEdge, false)
	f(&probe.Evidence{Class: probe.ClassDNSServfail}, probe.Fronting{CDN: "akamai"}, "akamai", "remembered", 0, false)

	// Answers: a good one without a CDN is learned too, a failing one never.
	f(answer(t, "200 OK\n", "", ""), was, "", "", 0, true)
	f(answer(t, "404 Not Found\nServer: nginx\n", "", ""), was, "", "", 0, true)
	f(answer(t, "200 OK\n"+cf, "", ""), probe.Fronting{}, "cloudflare", "header server", 0, true)
	f(answer(t, "403 Forbidden\n"+cf+"cf-mitigated: challenge\n", "", ""), was, "cloudflare", "header server", 0, true)
	f(answer(t, "403 Forbidden\n", "", ""), was, "cloudflare", "remembered from 2019-07-02T13:40:00Z", 0, false)
	f(answer(t, "502 Bad Gateway\n"+cf, "<center>cloudflare</center>", ""), was, "cloudflare", "header server", 0, false)
	f(answer(t, "502 Bad Gateway\nServer: nginx\n", "", ""), was, "cloudflare", "remembered from 2019-07-02T13:40:00Z", 0, false)
	f(answer(t, "511 \n", "", ""), was, "cloudflare", "remembered from 2019-07-02T13:40:00Z", 0, false)
	f(answer(t, "200 OK\nServer: cloudflare\n", "", ""), was, "cloudflare", "header server", 0, true)

	foreign := answer(t, "200 OK\n", "", "")
	foreign.Foreign = true
	f(foreign, was, "cloudflare", "remembered from 2019-07-02T13:40:00Z", 0, false)
}

// Forged or relayed: the failure of a CDN behind is an origin's, and an address elsewhere contradicts a page.
func TestWhoseEdge(t *testing.T) {
	r := mustLoad(t)
	f := func(e *probe.Evidence, cdn string, class probe.Class, fault probe.Fault) {
		t.Helper()
		v := r.Judge(e, probe.Fronting{})
		if v.CDN != cdn || v.Class != class || v.Fault != fault {
			t.Errorf("got %q %v %v (%s), want %q %v %v", v.CDN, v.Class, v.Fault, v.Why, cdn, class, fault)
		}
	}
	const page = "<hr><center>cloudflare</center>"
	f(answer(t, "502 Bad Gateway\n"+cf, page, "104.16.0.1"), "cloudflare", probe.ClassHTTPEdgeError, probe.FaultEdge)
	f(answer(t, "502 Bad Gateway\n"+cf, page, "192.0.2.1"), "cloudflare", probe.ClassHTTPServerErrorUnattributed, probe.FaultAmbiguous)
	f(answer(t, "502 Bad Gateway\n"+cf+aws, page, "13.32.0.1"), "cloudfront", probe.ClassHTTPOriginError, probe.FaultOrigin)
	f(answer(t, "502 Bad Gateway\nServer: nginx\n", page, "192.0.2.1"), "", probe.ClassHTTPOriginError, probe.FaultOrigin)
	f(answer(t, "503 Service Unavailable\n"+cf+awsEdge, "Generated by cloudfront (CloudFront)", "104.16.0.1"), "cloudflare", probe.ClassHTTPOriginError, probe.FaultOrigin)
	f(answer(t, "403 Forbidden\n"+cf+awsEdge, "Request blocked.", "104.16.0.1"), "cloudflare", probe.ClassHTTPBlocked, probe.FaultBlocked)
	f(answer(t, "522 \nEO-LOG-UUID: 1\n"+cf, "", "", "x.eo.dnse1.com"), "tencent-edgeone", probe.ClassHTTPOriginError, probe.FaultOrigin)
}

func TestOperator(t *testing.T) {
	r := mustLoad(t)
	f := func(want string, ns ...string) {
		t.Helper()
		if got := r.Judge(&probe.Evidence{Class: probe.ClassDNSServfail, NS: ns}, probe.Fronting{}).Operator; got != want {
			t.Errorf("%q: got %q, want %q", ns, got, want)
		}
	}
	f("")
	f("akamai-edge-dns", "a1-64.akam.net", "a9-67.akam.net")
	f("cloudflare", "ada.ns.cloudflare.com", "BOB.ns.cloudflare.com.")
	f("route53", "ns-1.awsdns-00.com", "ns-1024.awsdns-00.org", "ns-1536.awsdns-00.co.uk", "ns-512.awsdns-00.net")
	f("example.co.uk", "ns1.dns.example.co.uk", "ns2.dns.example.co.uk")
	f("dnspod+route53", "ns-1.awsdns-00.com", "f1g1ns1.dnspod.net")
	f("awsdns-evil.info", "ns1.awsdns-evil.info")
	f("a.example+b.example+c.example", "ns.c.example", "ns.a.example", "ns.b.example", "ns.d.example")
}

func TestExpect(t *testing.T) {
	r := mustLoad(t)
	f := func(head, body string, x probe.Expect, method string, want probe.Class) {
		t.Helper()
		e := answer(t, head, body, "")
		e.Site = &probe.Site{Expect: x, Method: method}
		if v := r.Judge(e, probe.Fronting{}); v.Class != want || v.Fault != want.Fault() {
			t.Errorf("got %v %v (%s), want %v", v.Class, v.Fault, v.Why, want)
		}
	}
	only := func(status int) probe.Expect {
		return probe.Expect{Status: []probe.StatusRange{{From: status, To: status}}}
	}
	welcome := probe.Expect{Body: regexpFor("welcome"), NotBody: regexpFor("sold out")}
	f("200 OK\n", "", probe.Expect{}, "GET", probe.ClassOK)
	f("302 Found\nLocation: /x\n", "", probe.Expect{}, "GET", probe.ClassOK)
	f("302 Found\nLocation: /x\n", "", only(200), "GET", probe.ClassHTTPContentMismatch)
	f("401 Unauthorized\n", "", probe.Expect{}, "GET", probe.ClassHTTPClientError)
	f("401 Unauthorized\n", "", only(401), "GET", probe.ClassOK)
	f("403 Forbidden\n", "", only(403), "GET", probe.ClassOK)
	f("200 OK\n", "welcome", welcome, "GET", probe.ClassOK)
	f("200 OK\n", "hello", welcome, "GET", probe.ClassHTTPContentMismatch)
	f("200 OK\n", "welcome, sold out", welcome, "GET", probe.ClassHTTPContentMismatch)
	f("200 OK\n", "", welcome, "HEAD", probe.ClassOK)
	f("202 Accepted\nx-amzn-waf-action: challenge\n", "", probe.Expect{}, "GET", probe.ClassHTTPChallenged)
}

func TestJudgeIsPure(t *testing.T) {
	r := mustLoad(t)
	all := fixtures(t)
	var want []probe.Verdict
	for _, f := range all {
		want = append(want, r.Judge(readFixture(t, f.File), probe.Fronting{}))
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i, f := range all {
				if d := cmp.Diff(r.Judge(readFixture(t, f.File), probe.Fronting{}), want[i]); d != "" {
					t.Errorf("%s: got - want +\n%s", f.File, d)
				}
			}
		})
	}
	wg.Wait()
}

func TestManyHeaders(t *testing.T) {
	e := answer(t, "200 OK\n"+cf, "", "")
	for i := range 100_000 {
		e.Response.Headers = append(e.Response.Headers, probe.Header{Name: fmt.Sprint("X-", i), Value: "y"})
	}
	if v := mustLoad(t).Judge(e, probe.Fronting{}); v.CDN != "cloudflare" || v.Class != probe.ClassOK {
		t.Errorf("got %v at %q, want ok at cloudflare", v.Class, v.CDN)
	}
}
