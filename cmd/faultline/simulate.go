package main

import (
	"encoding/json"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"faultline/alert"
	"faultline/internal/simnet"
	"faultline/probe"
	"faultline/probe/cdn"
)

// simulateFlags are what `simulate` is asked.
type simulateFlags struct {
	scenario string
	runs     int
	seed     uint64
	json     bool

	config   string
	sites    int
	controls int
	vantages int
	interval time.Duration
	days     int
	noise    string
}

func simulateCommand() *cobra.Command {
	var f simulateFlags
	cmd := &cobra.Command{
		Use:   "simulate --scenario FILE | --config FILE | --sites N",
		Short: "Play an outage, or days of noise, in virtual time",
		Long: `With --scenario: plays an outage in virtual time with the daemon's own engine and schedule, each run with other sites
affected and other noise, and holds what comes of it against what the scenario expects. A run in which chance left fewer
than three affected owners with a failing probe before the deadline is not judged, and is counted. Exit status 1 if a
judged run fails.

With --config, or --sites: plays days in which sites fail only by themselves, and outages of each failure domain, and says
how many pages would be false, how soon the right ones come, how many do not, and what would help. The noise is "measured"
(as a year of 960 real sites), "median", "harsh", "none", or a TOML file with look_failure, onsets_per_year, outage_s and
together; the middle two take a number or a table of quantiles, as in { p50 = 8.1, p90 = 88 }.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.check(); err != nil {
				return err
			}
			if f.scenario != "" {
				return f.run(cmd.OutOrStdout())
			}
			return f.runDays(cmd.Context(), cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringVar(&f.scenario, "scenario", "", "`FILE` or name of an outage")
	cmd.Flags().StringVar(&f.config, "config", "", "config `file` whose sites are simulated")
	cmd.Flags().IntVar(&f.sites, "sites", 0, "how many sites on one CDN are simulated")
	cmd.Flags().IntVar(&f.controls, "controls", 30, "with --sites: how many others")
	cmd.Flags().IntVar(&f.vantages, "vantages", 4, "with --sites: from how many vantages")
	cmd.Flags().DurationVar(&f.interval, "interval", 30*time.Second, "with --sites: how often each is looked at")
	cmd.Flags().IntVar(&f.days, "days", 30, "how many days of noise")
	cmd.Flags().StringVar(&f.noise, "noise", "measured", "name or `FILE` of the noise")
	cmd.Flags().IntVar(&f.runs, "runs", 20, "how many times each outage is played")
	cmd.Flags().Uint64Var(&f.seed, "seed", 1, "of the first run; each further one has the next")
	cmd.Flags().BoolVar(&f.json, "json", false, "print one JSON document")
	return cmd
}

// simReport is what came of many runs of one scenario.
type simReport struct {
	Scenario string         `json:"scenario"`
	Runs     int            `json:"runs"`
	Passed   int            `json:"passed"`
	Excluded int            `json:"excluded"`
	DetectS  *simTimes      `json:"detect_s,omitempty"` // of the first page, after the outage can be seen
	Pages    simRange       `json:"pages"`
	Notices  map[string]int `json:"notices"` // in how many runs each kind was
	Failures []simFailure   `json:"failures"`
}

type simTimes struct {
	P50 float64 `json:"p50"`
	P95 float64 `json:"p95"`
	Max float64 `json:"max"`
}

type simRange struct {
	Min int `json:"min"`
	Max int `json:"max"`
}

type simFailure struct {
	Seed uint64 `json:"seed"`
	Why  string `json:"why"`
}

// maxRuns bounds --runs.
const maxRuns = 100000

func (f *simulateFlags) run(out io.Writer) error {
	sc, err := simnet.Open(f.scenario)
	if err != nil {
		return err
	}
	rules, err := cdn.Load()
	if err != nil {
		return err
	}
	runs := make([]simRun, f.runs)
	sideBySide(len(runs), func(i int) { runs[i] = simulate(sc, rules, f.seed+uint64(i), nil) })
	r := sumUp(sc, runs)
	if f.json {
		err = json.NewEncoder(out).Encode(r)
	} else {
		err = r.print(out, sc)
	}
	if err == nil && len(r.Failures) > 0 {
		return errBad
	}
	return err
}

// simRun is what came of one run.
type simRun struct {
	seed     uint64
	report   drillReport
	missed   []string
	excluded bool
}

// simulate plays a scenario once. heard, unless it is nil, is told of every result.
func simulate(sc *simnet.Scenario, rules *cdn.Rules, seed uint64, heard func(now time.Time, r *probe.Result, s *probe.Site)) simRun {
	onset := sc.Onset
	if onset.IsZero() {
		onset = time.Date(2019, 7, 2, 13, 42, 0, 0, time.UTC)
	}
	rng := rand.New(rand.NewPCG(seed, 0))
	onset = onset.Add(time.Duration(rng.Float64() * float64(sc.World.Interval))) // anywhere in the schedule's round
	w := newSimWorld(simnet.NewWorld(sc, seed, simnet.Independent), rules, scenarioNoise(sc.World.Noise), onset, seed)
	run := simRun{seed: seed, report: newReport(sc)}
	p := w.play(alert.DefaultPolicy())
	own := map[string]bool{} // incidents that a site's own outage began, which the scenario does not know, while it is nothing else
	p.Decided = func(now time.Time, out *alert.Effects) {
		at := now.Sub(onset).Seconds()
		for i := range out.Incidents {
			x := &out.Incidents[i]
			if x.Rev == 1 {
				own[x.ID] = w.isOwn(x)
			} else if x.State == alert.StateOpen && w.isHit(x, now) {
				own[x.ID] = false
			}
			if !own[x.ID] {
				run.report.incident(x, at)
			}
		}
		for _, n := range out.Notices {
			if !n.Over {
				run.report.Notices = append(run.report.Notices, drillNotice{at, n.Kind, n.Domain, n.Vantage, n.Text})
			}
		}
	}
	if heard != nil {
		sites := map[string]*probe.Site{}
		for _, s := range slices.Concat(p.Sites, p.Anchors) {
			sites[s.Name] = s
		}
		p.Heard = func(now time.Time, r *probe.Result) { heard(now, r, sites[r.Site]) }
	}
	p.Run(onset.Add(-sc.World.Warmup), onset.Add(sc.Last()+sc.World.Tail))
	run.missed = run.report.missed(&sc.Expect)
	run.excluded = run.takesSeveral(&sc.Expect) && w.failedBy(sc) < min(leastFailing, sc.World.Owners)
	return run
}

// takesSeveral tells whether what is expected is said of several owners only. A page that should not have come is held against
// every run.
func (r *simRun) takesSeveral(e *simnet.Expect) bool {
	return e.Page && !e.PageOptional || len(r.report.Pages) == 0 && slices.Contains(e.Notices, alert.NoticeUnreachableFrom)
}

// leastFailing is how many owners must fail before the deadline for a run to be judged, if there are so many.
const leastFailing = 3

// failedBy is how many owners had a failing probe before the deadline.
func (w *simWorld) failedBy(sc *simnet.Scenario) int {
	deadline := w.onset.Add(sc.Last())
	if e := &sc.Expect; e.MaxDetect > 0 {
		deadline = w.onset.Add(e.Visible + e.MaxDetect)
	}
	n := 0
	for _, at := range w.failed {
		if at.Before(deadline) {
			n++
		}
	}
	return n
}

// incident enters what was decided about an incident.
func (r *drillReport) incident(i *alert.Incident, at float64) {
	if i.Severity != alert.SeverityPage {
		if i.State == alert.StateOpen && i.Rev == 1 {
			kind := alert.NoticeSite
			if i.Of.Sites > 1 {
				kind = alert.NoticeOwner
			}
			r.Notices = append(r.Notices, drillNotice{AtS: at, Kind: kind, Domain: i.Domain, Text: i.Title()})
		}
		return
	}
	if !slices.ContainsFunc(r.Pages, func(p drillPage) bool { return p.Incident == i.ID }) {
		r.Pages = append(r.Pages, drillPage{at, i.ID, i.Domain, string(i.Scope), string(i.Assessment), i.Title()})
	}
	r.life(i, at)
}

func sumUp(sc *simnet.Scenario, runs []simRun) *simReport {
	r := &simReport{Scenario: sc.Name, Runs: len(runs), Notices: map[string]int{}, Failures: []simFailure{}}
	var detect []float64
	first := true
	for i := range runs {
		run := &runs[i]
		if n := len(run.report.Pages); first {
			r.Pages, first = simRange{n, n}, false
		} else {
			r.Pages = simRange{min(r.Pages.Min, n), max(r.Pages.Max, n)}
		}
		kinds := map[string]bool{}
		for _, n := range run.report.Notices {
			kinds[n.Kind] = true
		}
		for k := range kinds {
			r.Notices[k]++
		}
		switch {
		case run.excluded:
			r.Excluded++
			continue
		case len(run.missed) > 0:
			r.Failures = append(r.Failures, simFailure{run.seed, strings.Join(run.missed, "; ")})
		default:
			r.Passed++
		}
		if len(run.report.Pages) > 0 {
			detect = append(detect, run.report.Pages[0].AtS-sc.Expect.Visible.Seconds())
		}
	}
	if len(detect) > 0 {
		slices.Sort(detect)
		at := func(q float64) float64 { return detect[min(len(detect)-1, int(q*float64(len(detect))))] }
		r.DetectS = &simTimes{at(0.5), at(0.95), detect[len(detect)-1]}
	}
	return r
}

// print shows a report to a person.
func (r *simReport) print(out io.Writer, sc *simnet.Scenario) error {
	p := printer{w: out}
	expected := newReport(sc).Expected
	p.printf("%s: %s\n", sc.Name, sc.Title)
	p.printf("  expected   %s\n", expected)
	p.printf("  passed     %d of %d judged runs", r.Passed, r.Runs-r.Excluded)
	if r.Excluded > 0 {
		p.printf("; %d more were not judged: chance left too few failing owners", r.Excluded)
	}
	p.printf("\n")
	if d := r.DetectS; d != nil {
		p.printf("  page       after %.1f s in half of the runs, %.1f s in 95 %%, %.1f s at worst\n", d.P50, d.P95, d.Max)
	}
	p.printf("  pages      %d to %d a run\n", r.Pages.Min, r.Pages.Max)
	for _, k := range sortedNames(r.Notices) {
		p.printf("  notice     %s in %d runs\n", k, r.Notices[k])
	}
	const shown = 10
	for i, f := range r.Failures {
		if i == shown {
			p.printf("  … and %d more\n", len(r.Failures)-shown)
			break
		}
		p.printf("  failed     seed %d: %s\n", f.Seed, f.Why)
	}
	return p.err
}

func sortedNames[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for k := range m {
		names = append(names, k)
	}
	slices.Sort(names)
	return names
}
