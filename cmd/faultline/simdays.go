package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"faultline/alert"
	"faultline/internal/config"
	"faultline/internal/simnet"
	"faultline/internal/virtual"
	"faultline/probe"
	"faultline/probe/cdn"
)

// daysReport is what came of days of noise alone, and of outages of each failure domain.
type daysReport struct {
	Days    int          `json:"days"`
	Domains []daysDomain `json:"domains"`
	Left    int          `json:"domains_left_out,omitempty"`

	budget float64
	notes  []string
}

type daysDomain struct {
	alert.Domain
	Sites      int        `json:"sites"`
	Owners     int        `json:"owners"`
	FalsePages int        `json:"false_pages"`
	PerYear    float64    `json:"false_pages_per_year"`
	CI95       [2]float64 `json:"ci95"` // of that
	TimeToPage *daysTimes `json:"time_to_page_s,omitempty"`
	Missed     float64    `json:"missed_ratio"`
	Advice     string     `json:"advice"`
}

type daysTimes struct {
	P50 float64 `json:"p50"`
	P95 float64 `json:"p95"`
}

// Bounds and shape of what is simulated.
const (
	maxDays     = 36600
	maxListed   = 60                  // failure domains, the largest first
	daysAtOnce  = 10                  // one run of noise; several go side by side
	settleFor   = 10 * time.Minute    // before an outage, and before pages count
	outageShare = 0.8                 // of a domain's sites that an outage hits
	outageWait  = 15 * time.Minute    // for its page
	quietOnset  = "2026-01-05T00:00Z" // any Monday
)

// setup is what days are simulated with.
type setup struct {
	policy   alert.Policy
	sites    []simnet.Site
	as       []*probe.Site // what they are watched as; nil = as a scenario's
	vantages []simnet.VantageSpec
	interval time.Duration
	labels   []string
	rules    *cdn.Rules
	noise    noiseModel
	seed     uint64
	notes    []string // for the person who reads the report
}

// runDays simulates days of noise, and outages.
func (f *simulateFlags) runDays(ctx context.Context, out io.Writer) error {
	if f.days < 1 || f.days > maxDays {
		return fmt.Errorf("--days %d: from 1 to %d", f.days, maxDays)
	}
	u, err := f.setup(ctx)
	if err != nil {
		return err
	}
	if u.noise, err = openNoise(f.noise); err != nil {
		return err
	}
	domains, left := u.domains()
	r := &daysReport{Days: f.days, Left: left, budget: u.policy.FalsePages, notes: u.notes}
	pages := u.falsePages(f.days)
	for _, d := range domains {
		row := daysDomain{Domain: d.Domain, Sites: d.Sites, Owners: d.Owners, FalsePages: pages[pageOf(d.Domain)]}
		years := float64(f.days) / 365.25
		row.PerYear = float64(row.FalsePages) / years
		lo, hi := poisson95(row.FalsePages)
		row.CI95 = [2]float64{lo / years, hi / years}
		r.Domains = append(r.Domains, row)
	}
	u.outages(domains, f.runs, r.Domains)
	for i := range r.Domains {
		r.Domains[i].Advice = u.advice(&r.Domains[i])
	}
	if f.json {
		return json.NewEncoder(out).Encode(r)
	}
	return r.print(out)
}

// setup reads what is to be simulated: a config's sites, or made-up ones.
func (f *simulateFlags) setup(ctx context.Context) (*setup, error) {
	if f.config == "" {
		return f.madeUp()
	}
	cfg, _, err := config.Load(f.config)
	if err != nil {
		return nil, err
	}
	rules, err := cdn.Load(cfg.CDNRules...)
	if err != nil {
		return nil, err
	}
	u := &setup{policy: cfg.Policy, rules: rules, labels: cfg.Labels, seed: f.seed, interval: time.Minute}
	fronts := learnedCDNs(ctx, cfg.Daemon.ControlSocket)
	none := 0
	for _, s := range slices.Concat(cfg.Sites, cfg.Anchors) {
		site := simnet.Site{
			Name: s.Name, Kind: simnet.KindControl, Owner: s.Owner, Host: s.URL.Hostname(), Zone: s.URL.Hostname(),
			CDN: cmp.Or(s.CDN, fronts[s.Name]), Group: s.Group, Labels: s.Labels,
		}
		if s.Anchor {
			site.Kind = simnet.KindAnchor
		} else if site.CDN == "" {
			none++
		}
		u.sites = append(u.sites, site)
		u.as = append(u.as, s)
	}
	for _, v := range cfg.Vantages {
		u.vantages = append(u.vantages, simnet.VantageSpec{Name: v.Name, Region: v.Region})
	}
	if none > 0 && fronts == nil {
		u.notes = append(u.notes, fmt.Sprintf("%d of %d sites have no cdn in the config, and no daemon runs here that has found out theirs: they count as behind none", none, len(cfg.Sites)))
	}
	return u, nil
}

// madeUp are sites on one CDN, and others, as in the scenarios.
func (f *simulateFlags) madeUp() (*setup, error) {
	text := fmt.Sprintf(`name = "noise"
title = "nothing but noise"
[domain]
kind = "cdn"
name = "cloudflare"
[world]
sites = %d
controls = %d
vantages = %d
interval_s = %g
[[phase]]
at_s = 0
class = "ok"
share_of_sites_failing = 0.0
request_fail = 1.0
regions = ["*"]
`, f.sites, f.controls, f.vantages, f.interval.Seconds())
	sc, err := simnet.Parse("--sites, --controls, --vantages, --interval", []byte(text))
	if err != nil {
		return nil, fmt.Errorf("what is to be simulated cannot be: %w", err)
	}
	rules, err := cdn.Load()
	if err != nil {
		return nil, err
	}
	return &setup{
		policy: alert.DefaultPolicy(), rules: rules, seed: f.seed, interval: f.interval,
		sites: simnet.NewWorld(sc, f.seed, simnet.Independent).Sites, vantages: sc.World.Vantages,
	}, nil
}

// learnedCDNs asks the daemon that runs on this host by the config what it has found out about its sites; nil = none runs.
func learnedCDNs(ctx context.Context, socket string) map[string]string {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	client := overSocket(socket)
	var fronts map[string]string
	for offset, total := 0, 1; offset < total; {
		var page struct {
			Total int
			Items []struct{ Site, CDN string }
		}
		if err := askWith(ctx, client, http.MethodGet, fmt.Sprintf("http://faultline/api/v1/sites?limit=1000&offset=%d", offset), nil, &page); err != nil || len(page.Items) == 0 {
			return fronts
		}
		if fronts == nil {
			fronts = map[string]string{}
		}
		for _, s := range page.Items {
			fronts[s.Site] = s.CDN
		}
		offset, total = offset+len(page.Items), page.Total
	}
	return fronts
}

// at is when every run's onset is.
func (u *setup) at() time.Time {
	t, err := time.Parse("2006-01-02T15:04Z07:00", quietOnset)
	if err != nil {
		panic(err)
	}
	return t
}

// world is one in which the members of a domain fail by a class, or nothing does (simnet.ClassOK), for so long.
func (u *setup) world(members map[string]bool, class simnet.Class, last time.Duration, noise noiseModel, seed uint64) *simWorld {
	sc := &simnet.Scenario{
		World:  simnet.WorldSpec{Interval: u.interval, Vantages: u.vantages, Warmup: settleFor, Tail: last},
		Phases: []simnet.Phase{{Class: class, Share: outageShare, Fail: 1, Regions: []string{"*"}}},
	}
	sites := slices.Clone(u.sites)
	for i := range sites {
		if s := &sites[i]; members[s.Name] {
			s.Kind = simnet.KindDomain
		} else if s.Kind != simnet.KindAnchor {
			s.Kind = simnet.KindControl
		}
	}
	w := newSimWorld(simnet.WorldOf(sc, seed, sites), u.rules, noise, u.at(), seed)
	w.as = u.as
	return w
}

func (u *setup) play(w *simWorld) *virtual.Play {
	p := w.play(u.policy)
	if u.as != nil {
		p.Labels = u.labels
	}
	return p
}

// domains are the failure domains that owners share, as the engine finds them, the largest first, and how many more there are.
func (u *setup) domains() (out []alert.DomainView, left int) {
	w := u.world(nil, simnet.ClassOK, 0, noises["none"], u.seed)
	at := u.at()
	e := u.play(w).Run(at.Add(-settleFor), at)
	var v alert.View
	e.View(at, &v)
	path := alert.DomainView{Domain: alert.Domain{Kind: alert.KindPath}}
	owners := map[string]bool{}
	for i := range u.sites {
		if s := &u.sites[i]; s.Kind != simnet.KindAnchor {
			path.Sites++
			owners[s.Owner] = true
		}
	}
	path.Owners = len(owners)
	out = append(out, path)
	for _, d := range v.Domains {
		if d.Kind != alert.KindOrigin && d.Kind != alert.KindPath && d.Owners >= 2 {
			out = append(out, d)
		}
	}
	slices.SortStableFunc(out, func(a, b alert.DomainView) int { return b.Owners - a.Owners })
	left = max(0, len(out)-maxListed)
	return out[:len(out)-left], left
}

// pageOf is the domain by which pages about d are counted: a path gets its name when it fails.
func pageOf(d alert.Domain) alert.Domain {
	if d.Kind == alert.KindPath {
		d.Name = ""
	}
	return d
}

// falsePages counts the pages of noise alone, by domain.
func (u *setup) falsePages(days int) map[alert.Domain]int {
	runs := make([]map[alert.Domain]int, (days+daysAtOnce-1)/daysAtOnce)
	sideBySide(len(runs), func(n int) {
		length := time.Duration(min(daysAtOnce, days-n*daysAtOnce)) * 24 * time.Hour
		runs[n] = map[alert.Domain]int{}
		w := u.world(nil, simnet.ClassOK, length, u.noise, u.seed+uint64(n))
		p := u.play(w)
		p.Decided = func(_ time.Time, out *alert.Effects) {
			for i := range out.Incidents {
				if x := &out.Incidents[i]; x.Rev == 1 && isShared(x) {
					runs[n][pageOf(x.Domain)]++
				}
			}
		}
		p.Run(u.at().Add(-settleFor), u.at().Add(length))
	})
	sum := map[alert.Domain]int{}
	for _, r := range runs {
		for d, n := range r {
			sum[d] += n
		}
	}
	return sum
}

// isShared tells whether an incident pages for more than one owner.
func isShared(i *alert.Incident) bool {
	return i.Severity == alert.SeverityPage && i.Domain.Kind != alert.KindOrigin
}

// outageClass is how an outage of a kind of domain looks.
func outageClass(kind string) simnet.Class {
	switch kind {
	case alert.KindCDN:
		return simnet.ClassEdge5xx
	case alert.KindDNS:
		return simnet.ClassDNSServfail
	case alert.KindCA:
		return simnet.ClassTLSCert
	case alert.KindNetwork, alert.KindPath:
		return simnet.ClassConnectTimeout
	default:
		return simnet.ClassOrigin5xx
	}
}

// outages plays so many of each domain, and enters how long pages took and how many did not come.
func (u *setup) outages(domains []alert.DomainView, runs int, rows []daysDomain) {
	took := make([]float64, len(domains)*runs) // seconds; negative = no page
	sideBySide(len(took), func(n int) {
		d := domains[n/runs]
		took[n] = -1
		if d.Owners >= u.policy.MinOwners {
			took[n] = u.outage(d, u.seed+uint64(n%runs))
		}
	})
	for i := range domains {
		of := took[i*runs : (i+1)*runs]
		slices.Sort(of)
		missed, _ := slices.BinarySearch(of, 0)
		rows[i].Missed = float64(missed) / float64(runs)
		if paged := of[missed:]; len(paged) > 0 {
			at := func(q float64) float64 { return paged[min(len(paged)-1, int(q*float64(len(paged))))] }
			rows[i].TimeToPage = &daysTimes{at(0.5), at(0.95)}
		}
	}
}

// outage plays one of a domain, and says after how many seconds a page named it; negative = none did.
func (u *setup) outage(d alert.DomainView, seed uint64) float64 {
	w := u.world(u.members(d.Domain), outageClass(d.Kind), outageWait, u.noise, seed)
	first := -1.0
	p := u.play(w)
	p.Decided = func(now time.Time, out *alert.Effects) {
		for i := range out.Incidents {
			x := &out.Incidents[i]
			if first < 0 && isShared(x) && x.Rev == 1 && (pageOf(x.Domain) == pageOf(d.Domain) || slices.Contains(x.Or, d.Domain)) {
				first = max(0, now.Sub(u.at()).Seconds())
			}
		}
	}
	p.Run(u.at().Add(-settleFor), u.at().Add(outageWait))
	return first
}

// members are the sites of a domain.
func (u *setup) members(d alert.Domain) map[string]bool {
	out := map[string]bool{}
	for i := range u.sites {
		s := &u.sites[i]
		if s.Kind == simnet.KindAnchor {
			continue
		}
		switch d.Kind {
		case alert.KindCDN, alert.KindCDNOrigin:
			out[s.Name] = s.CDN == d.Name
		case alert.KindDNS:
			out[s.Name] = s.Operator == d.Name
		case alert.KindCA:
			out[s.Name] = alert.Authority(s.CA) == d.Name
		case alert.KindNetwork:
			out[s.Name] = s.Network == d.Name
		case alert.KindPath:
			out[s.Name] = true
		default:
			out[s.Name] = s.Labels[d.Kind] == d.Name || d.Kind == "group" && s.Group == d.Name
		}
	}
	return out
}

// ownerSays is how much one failing owner adds to a score, in nats: the rate at which sites begin to fail by themselves, over
// the time in which one look from anywhere would show it.
func (u *setup) ownerSays() float64 {
	const rate = 1e-6 // a second: what the engine assumes of a site it does not know
	gap := max(1, u.interval.Seconds()/float64(max(1, len(u.vantages))))
	return -math.Log(rate * gap)
}

// advice says in plain words what to do about a domain.
func (u *setup) advice(d *daysDomain) string {
	threshold := 22.0 // nats, at one false page a year
	need := max(u.policy.MinOwners, int(math.Ceil((threshold-math.Log(u.policy.FalsePages))/u.ownerSays())))
	need = int(math.Ceil(float64(need) / outageShare))
	budget := fmt.Sprintf("%g false pages a year", u.policy.FalsePages)
	if u.policy.FalsePages == 1 {
		budget = "one false page a year"
	}
	switch {
	case d.Owners < u.policy.MinOwners, d.Missed > 0.05 && d.Owners < need:
		who := fmt.Sprintf("%d %s sites", d.Sites, d.Name)
		if d.Owners != d.Sites {
			who = fmt.Sprintf("%d owners of %s", d.Owners, who)
		}
		return fmt.Sprintf("%s: too few to page within %s; add %d", who, budget, max(1, need-d.Owners))
	case d.PerYear > u.policy.FalsePages && d.CI95[0] > u.policy.FalsePages:
		return "pages by chance more often than asked for: look at which sites fail together, and give those of one owner the same owner"
	case d.Missed > 0.05:
		return fmt.Sprintf("%.0f %% of its outages are paged under no name or another, or not at all: more of its owners, or more sites outside it to compare with, would help", 100*d.Missed)
	case d.TimeToPage != nil && d.TimeToPage.P50 > 10:
		return "found late: a shorter interval, or more vantages, would help"
	default:
		return "fine"
	}
}

func (r *daysReport) print(out io.Writer) error {
	p := printer{w: out}
	p.printf("%d days of noise alone, and outages that hit %.0f %% of a domain's sites\n\n", r.Days, 100*outageShare)
	p.printf("%-34s %6s %7s %12s %18s %10s %8s  %s\n", "failure domain", "sites", "owners", "false pages", "a year (95 %)", "page p50", "missed", "advice")
	for _, d := range r.Domains {
		page := "-"
		if d.TimeToPage != nil {
			page = fmt.Sprintf("%.1f s", d.TimeToPage.P50)
		}
		p.printf("%-34s %6d %7d %12d %18s %10s %7.0f%%  %s\n", d.Domain, d.Sites, d.Owners, d.FalsePages,
			fmt.Sprintf("%.2g (%.2g to %.2g)", d.PerYear, d.CI95[0], d.CI95[1]), page, 100*d.Missed, d.Advice)
	}
	if r.Left > 0 {
		p.printf("\n%d smaller domains are left out\n", r.Left)
	}
	for _, n := range r.notes {
		p.printf("\n%s\n", n)
	}
	return p.err
}

// poisson95 is the exact 95 % interval of the mean of which n were counted (Garwood).
func poisson95(n int) (lo, hi float64) {
	solve := func(n int, tail float64) float64 { // the mean at which at most n are counted with that chance
		least, most := 0.0, float64(n)+10*math.Sqrt(float64(n)+1)+10
		for range 100 {
			mid := (least + most) / 2
			if poissonAtMost(n, mid) > tail {
				least = mid
			} else {
				most = mid
			}
		}
		return least
	}
	if n > 0 {
		lo = solve(n-1, 0.975)
	}
	return lo, solve(n, 0.025)
}

// poissonAtMost is the chance of at most n at a mean.
func poissonAtMost(n int, mean float64) float64 {
	if mean == 0 {
		return 1
	}
	sum := 0.0
	for k := range n + 1 {
		logFactorial, _ := math.Lgamma(float64(k + 1))
		sum += math.Exp(float64(k)*math.Log(mean) - mean - logFactorial)
	}
	return sum
}

// sideBySide calls f with 0 to n-1, on all cores.
func sideBySide(n int, f func(int)) {
	var all sync.WaitGroup
	slots := make(chan struct{}, runtime.GOMAXPROCS(0))
	for i := range n {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			f(i)
		})
	}
	all.Wait()
}

// check tells what of the flags does not go together.
func (f *simulateFlags) check() error {
	var given []string
	for name, is := range map[string]bool{"--scenario": f.scenario != "", "--config": f.config != "", "--sites": f.sites > 0} {
		if is {
			given = append(given, name)
		}
	}
	slices.Sort(given)
	switch {
	case len(given) == 0:
		return fmt.Errorf("nothing to simulate: give --scenario FILE, --config FILE or --sites N")
	case len(given) > 1:
		return fmt.Errorf("%s do not go together: give one of them", strings.Join(given, " and "))
	case f.runs < 1 || f.runs > maxRuns:
		return fmt.Errorf("--runs %d: from 1 to %d", f.runs, maxRuns)
	}
	return nil
}
