package alert

import (
	"slices"
	"strings"
	"testing"
	"time"

	"faultline/probe"
)

// shares is what the sites of a test have in common: by the number of a site, its DNS operator, network, CA and hosting.
type shares struct{ dns, network, ca, hosting string }

// sharing gives 40 sites, 20 behind one CDN, whose every second, third… one has something in common.
func sharing(n int) shares {
	x := shares{dns: "", network: "", ca: "ca-other", hosting: "elsewhere"}
	if n%3 == 0 {
		x.dns = "dnsco"
	}
	if n%4 == 0 {
		x.network = "as64500"
	}
	if n%5 < 2 {
		x.ca = "caco"
	}
	if n%2 == 1 {
		x.hosting = "hostco"
	}
	return x
}

// kindWorld plays an outage of what picks chooses, that looks like v.
func kindWorld(t *testing.T, picks func(x shares) bool, v probe.Verdict) *story {
	w := world(20, 4)
	number := map[string]int{}
	for n, s := range w.Sites {
		number[s.Name] = n
		s.Labels = map[string]string{"hosting": sharing(n).hosting}
	}
	w.Labels = []string{"hosting"}
	st := tell(t, w, func(s *probe.Site, _ *probe.Vantage, since time.Duration) probe.Verdict {
		if n, ok := number[s.Name]; ok && since >= 0 && since < 20*time.Minute && picks(sharing(n)) {
			return v
		}
		return well
	})
	st.shape = func(r *probe.Result, _ time.Duration) {
		if n, ok := number[r.Site]; ok && r.OK() {
			x := sharing(n)
			r.DNS.Operator, r.Network, r.TLS.Issuer = x.dns, x.network, x.ca
		}
	}
	return st
}

// Each kind of domain is found when it fails, and named: the smallest that explains the failures, and what says most.
func TestEveryKindIsFound(t *testing.T) {
	dnsFails := probe.Verdict{Class: probe.ClassDNSServfail, Fault: probe.FaultDNS}
	expired := probe.Verdict{Class: probe.ClassTLSCertUntrusted, Fault: probe.FaultConfig}
	refused := probe.Verdict{Class: probe.ClassConnectTimeout, Fault: probe.FaultPath}
	for _, x := range []struct {
		domain string
		picks  func(x shares) bool
		v      probe.Verdict
		looks  string // what the page says
	}{
		{"dns:dnsco", func(x shares) bool { return x.dns == "dnsco" }, dnsFails, "the DNS of dnsco FAILING"},
		{"network:as64500", func(x shares) bool { return x.network == "as64500" }, refused, "network as64500 FAILING"},
		{"ca:caco", func(x shares) bool { return x.ca == "caco" }, expired, "trust in certificates of caco FAILING"},
		{"hosting:hostco", func(x shares) bool { return x.hosting == "hostco" }, origin5, "hosting hostco FAILING"},
	} {
		st := kindWorld(t, x.picks, x.v).until(10 * time.Minute)
		st.wantPages(1, x.domain)
		first := st.effects.Incidents[0]
		if took := first.PagedAt.Sub(st.onset); took > time.Minute || !strings.HasPrefix(first.Title(), x.looks) {
			t.Errorf("%s: paged after %v: %s", x.domain, took, first.Title())
		}
		if first.Assessment != ProviderOutage || len(first.Why) < 4 || !slices.ContainsFunc(first.Why, func(s string) bool { return strings.Contains(s, "chance alone") }) {
			t.Errorf("%s: got %s because %q", x.domain, first.Assessment, first.Why)
		}
		st.until(45 * time.Minute)
		st.wantPages(1, x.domain)
		if last := st.effects.Incidents[len(st.effects.Incidents)-1]; last.State != StateResolved {
			t.Errorf("%s: got %s at the end", x.domain, last.State)
		}
	}
}

// A CDN that says that it cannot reach its origins works itself.
func TestOriginsBehindACDN(t *testing.T) {
	st := tell(t, world(20, 4), outage(origin5, 0, 20*time.Minute)).until(5 * time.Minute)
	st.wantPages(1, "cdn-origin:nimbus")
	if i := st.effects.Incidents[0]; !strings.Contains(i.Text(), "its edges work") {
		t.Error(i.Text())
	}
}

// Two domains with the same members are both named.
func TestATieIsToldAsOne(t *testing.T) {
	w := world(20, 4)
	for _, s := range w.Sites {
		s.Labels = map[string]string{"hosting": "elsewhere", "country": "far"}
		if on("cirrus", s) {
			s.Labels = map[string]string{"hosting": "hostco", "country": "near"}
		}
	}
	w.Labels = []string{"hosting", "country"}
	st := tell(t, w, func(s *probe.Site, _ *probe.Vantage, since time.Duration) probe.Verdict {
		if on("cirrus", s) && since >= 0 {
			return origin5
		}
		return well
	}).until(5 * time.Minute)
	if ids := st.ids(SeverityPage); len(ids) != 1 {
		t.Fatalf("got pages %v", ids)
	}
	first := st.effects.Incidents[0]
	names := append([]Domain{first.Domain}, first.Or...)
	for _, want := range []Domain{{"hosting", "hostco"}, {"country", "near"}} {
		if !slices.Contains(names, want) {
			t.Errorf("got %v, want %v among them", names, want)
		}
	}
	if !strings.Contains(first.Title(), " or ") {
		t.Error(first.Title())
	}
}

// A site on two CDNs has half a weight in each.
func TestTwoCDNs(t *testing.T) {
	st := tell(t, world(20, 4), outage(well, 0, 0))
	st.shape = func(r *probe.Result, _ time.Duration) {
		if r.Site == "nimbus00" && r.Vantage == "v1" {
			r.CDN = "cirrus"
		}
	}
	st.until(0)
	for _, name := range []string{"nimbus", "cirrus"} {
		d := st.e.domainOf[Domain{KindCDN, name}]
		i := slices.IndexFunc(d.members, func(m membership) bool { return st.e.sites[m.site].Name == "nimbus00" })
		if i < 0 || d.members[i].weight != 0.5 {
			t.Errorf("%s: got the membership %d of %+v", name, i, d.members)
		}
	}
}

// What only some regions cannot reach is no outage of what is there: interference where it is one region, the path where it
// is several.
func TestRegionsThatCannotReachSites(t *testing.T) {
	for _, x := range []struct {
		vantages []string
		want     Assessment
	}{
		{[]string{"v1", "v5"}, Interference},
		{[]string{"v1", "v2"}, PathTrouble},
	} {
		w := world(20, 5)
		w.Vantages[4].Region = w.Vantages[0].Region
		st := tell(t, w, func(s *probe.Site, v *probe.Vantage, since time.Duration) probe.Verdict {
			if since >= 0 && !s.Anchor && slices.Contains(x.vantages, v.Name) && s.Name[len(s.Name)-1]%2 == 0 {
				return probe.Verdict{Class: probe.ClassTLSReset, Fault: probe.FaultPath}
			}
			return well
		}).until(5 * time.Minute)
		if ids := st.ids(SeverityPage); len(ids) != 1 {
			t.Fatalf("%v: got pages %v", x.vantages, ids)
		}
		if i := st.effects.Incidents[len(st.effects.Incidents)-1]; i.Domain.Kind != KindPath || i.Assessment != x.want || i.Scope == ScopeGlobal {
			t.Errorf("%v: got %v, %s, %s: %q", x.vantages, i.Domain, i.Assessment, i.Scope, i.Why)
		}
	}
}

// What an answer is worth as evidence: never more than it says.
func TestWeigh(t *testing.T) {
	const site = partSite | partShared
	for _, x := range []struct {
		name    string
		r       probe.Result
		accused parts
		well    parts // at least
	}{
		{"a good answer", probe.Result{Verdict: well}, 0, allParts},
		{"an unknown class", probe.Result{Verdict: probe.Verdict{Class: probe.ClassUnknown, Fault: probe.FaultEdge}}, 0, 0},
		{"the prober's own", probe.Result{Verdict: noNet}, 0, 0},
		{"the edge's own page", probe.Result{Verdict: edge502}, site | partEdge, partDNS | partPath | partNetwork | partCA},
		{"a challenge", probe.Result{Verdict: blocked}, 0, partEdge | partDNS | partPath},
		{"a block page on the way", probe.Result{Verdict: probe.Verdict{Class: probe.ClassHTTPInterference, Fault: probe.FaultBlocked}}, 0, 0},
		{"an origin behind a CDN", probe.Result{Verdict: probe.Verdict{Class: probe.ClassHTTPOriginError, Fault: probe.FaultOrigin, CDN: "nimbus"}}, site | partBehind, partEdge},
		{"an origin that answers by itself", probe.Result{Verdict: origin5}, site | partNetwork, partDNS | partPath},
		{"a lookup that fails", probe.Result{Verdict: probe.Verdict{Class: probe.ClassDNSServfail, Fault: probe.FaultDNS}}, site | partDNS, 0},
		{"silence", probe.Result{Verdict: silence}, site | partEdge | partPath | partNetwork, partDNS},
		{"a bad certificate", probe.Result{Verdict: probe.Verdict{Class: probe.ClassTLSCertExpired, Fault: probe.FaultConfig}}, site | partCA, partDNS | partPath | partNetwork},
		{"a page that is gone", probe.Result{Verdict: probe.Verdict{Class: probe.ClassHTTPClientError}}, partSite, partShared | partEdge | partPath},
	} {
		accused, fine := weigh(&x.r)
		if accused != x.accused || fine&x.well != x.well || accused&fine != 0 {
			t.Errorf("%s: got accused %08b, well %08b, want %08b, at least %08b", x.name, accused, fine, x.accused, x.well)
		}
	}
}

// Whatever a class and a fault are, no answer accuses and clears the same part, and no block or local failure accuses anything.
func TestWeighAnything(t *testing.T) {
	for c := range probe.Class(80) {
		for f := range probe.Fault(12) {
			for _, cdn := range []string{"", "nimbus"} {
				r := probe.Result{Verdict: probe.Verdict{Class: c, Fault: f, CDN: cdn, Candidates: []probe.Fault{probe.FaultEdge}}}
				accused, fine := weigh(&r)
				if accused&fine != 0 || (f == probe.FaultBlocked || f == probe.FaultLocal) && c != probe.ClassOK && accused != 0 {
					t.Errorf("%v, %v: accused %08b, well %08b", c, f, accused, fine)
				}
			}
		}
	}
}

// The threshold follows the one number that people give: a tenth of the false pages costs 2.3 nats.
func TestThreshold(t *testing.T) {
	one, tenth := threshold(2.7, 10, 1), threshold(2.7, 10, 0.1)
	if one < 20 || one > 21 || tenth-one < 2.2 || tenth-one > 2.4 || threshold(1e6, 1000, 0.001) != 24 || threshold(0, 0, 1000) != 0 {
		t.Errorf("got %g and %g", one, tenth)
	}
}

// Fisher's exact test, against values that were worked out by hand.
func TestEnriched(t *testing.T) {
	for _, x := range []struct {
		k, n, c, m int
		want       float64
	}{
		{5, 20, 0, 30, 15504.0 / 2118760}, // C(20,5)/C(50,5)
		{1, 1, 0, 1, 0.5},
		{0, 20, 5, 30, 1},
		{3, 3, 0, 0, 1},
	} {
		if got := enriched(x.k, x.n, x.c, x.m); got < x.want*0.999 || got > x.want*1.001 {
			t.Errorf("%+v: got %g", x, got)
		}
	}
}
