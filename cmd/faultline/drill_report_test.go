package main

import (
	"strings"
	"testing"
	"time"

	"faultline/alert"
	"faultline/internal/simnet"
)

func TestDrillIsHeldAgainstItsExpectation(t *testing.T) {
	cloudflare, fastly := alert.Domain{Kind: "cdn", Name: "cloudflare"}, alert.Domain{Kind: "cdn", Name: "fastly"}
	pages := func(at float64, domains ...alert.Domain) *drillReport {
		r := &drillReport{endsWell: true, scope: alert.ScopeGlobal, resolutions: len(domains)}
		for _, d := range domains {
			r.Pages = append(r.Pages, drillPage{AtS: at, Domain: d})
		}
		return r
	}
	one := simnet.Expect{
		Page: true, Pages: 1, MaxPages: 1, Domain: simnet.Ref{Kind: "cdn", Name: "cloudflare"}, Scope: "global",
		Visible: 30 * time.Second, MaxDetect: 60 * time.Second,
	}
	f := func(r *drillReport, e simnet.Expect, want string) {
		t.Helper()
		got := strings.Join(r.missed(&e), "; ")
		if want == "" && got != "" || want != "" && !strings.Contains(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	f(pages(40, cloudflare), one, "")
	f(pages(91, cloudflare), one, "91.0 s, expected by 90 s")
	f(pages(40, fastly), one, "names cdn:fastly")
	f(pages(40, cloudflare, cloudflare), one, "2 pages, expected 1")
	f(pages(0), one, "0 pages, expected 1")

	late := one
	late.MustBeat = 35 * time.Second
	f(pages(40, cloudflare), late, "must beat")
	regional := one
	regional.Scope = "regional"
	f(pages(40, cloudflare), regional, "scope global")
	open := pages(40, cloudflare)
	open.resolutions = 0
	f(open, one, "0 resolutions of 1 pages")

	none := simnet.Expect{Notices: []string{"vantage_unhealthy"}}
	f(pages(0), none, "no notice vantage_unhealthy")
	quiet := pages(0)
	quiet.Notices = []drillNotice{{Kind: "vantage_unhealthy"}}
	f(quiet, none, "")
	f(pages(40, cloudflare), simnet.Expect{}, "1 pages, expected 0")

	optional := simnet.Expect{PageOptional: true, Domain: simnet.Ref{Kind: "path", Name: "*"}, Forbid: []simnet.Ref{{Kind: "cdn", Name: "*"}}}
	f(pages(0), optional, "")
	f(pages(40, alert.Domain{Kind: "path", Name: "x"}), optional, "")
	f(pages(40, cloudflare), optional, "which none may")
}
