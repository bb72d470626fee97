package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/net/publicsuffix"

	"faultline/alert"
	"faultline/internal/config"
	"faultline/internal/record"
	"faultline/probe"
)

func replayCommand() *cobra.Command {
	var path string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "replay FILE…",
		Short: "Give recorded results to the engine again",
		Long: `Reads results as ` + "`run --record`" + ` writes them (JSON lines, or CSV with the fields' names in its first line; plain, .zst or .gz),
and shows the incidents that the engine would have opened, and when. Results are taken in the order of recv, when the engine was
told, else of at. What a result says of its site counts (owner, labels, interval_s…); what it does not say is taken from
--config, else guessed. Without --config every label is a failure domain.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p := newReplay(alert.DefaultPolicy())
			if path != "" {
				cfg, _, err := config.Load(path)
				if err != nil {
					return err
				}
				p.configure(cfg)
			}
			in, err := record.Open(args...)
			if err != nil {
				return err
			}
			defer in.Close()
			if err := p.play(in); err != nil {
				return err
			}
			for _, w := range in.Warnings() {
				fmt.Fprintln(cmd.ErrOrStderr(), "warning:", w)
			}
			return p.print(cmd.OutOrStdout(), asJSON)
		},
	}
	cmd.Flags().StringVar(&path, "config", "", "config `file` for the sites and the policy")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON document for each incident")
	return cmd
}

// replay is recorded results on their way through an engine.
type replay struct {
	policy     alert.Policy
	world      alert.World
	fixed      bool // the config says which labels are failure domains
	sites      map[string]*probe.Site
	vantages   map[string]bool
	engine     *alert.Engine
	out        alert.Effects
	incidents  []alert.Incident // as they were told last, in the order of their opening
	incidentNo map[string]int
	notices    []alert.Notice
	results    int
	until      time.Time
}

func newReplay(p alert.Policy) *replay {
	return &replay{policy: p, sites: map[string]*probe.Site{}, vantages: map[string]bool{}, incidentNo: map[string]int{}}
}

func (p *replay) configure(c *config.Config) {
	p.policy, p.world, p.fixed = c.Policy, world(c), true
	for _, s := range slices.Concat(c.Sites, c.Anchors) {
		p.sites[s.Name] = s
	}
	for _, v := range c.Vantages {
		p.vantages[v.Name] = true
	}
}

// play gives everything to the engine.
func (p *replay) play(in *record.Reader) error {
	for {
		e, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if p.engine == nil || p.sites[e.Result.Site] == nil || !p.vantages[e.Result.Vantage] {
			p.meet(&e, in)
		}
		p.advance(e.Recv)
		p.engine.Observe(e.Recv, &e.Result)
		p.step(e.Recv)
		p.results++
		p.until = e.Recv
	}
	if p.results == 0 {
		return errors.New("there is no result in what is to be replayed")
	}
	return nil
}

// advance lets the engine decide whatever it wants to before a time.
func (p *replay) advance(until time.Time) {
	for {
		at := p.engine.Next()
		if at.IsZero() || !at.Before(until) {
			return
		}
		at = latest(at, p.until.Add(time.Millisecond)) // an engine that always wants to be called would stop the time
		if !at.Before(until) {
			return
		}
		p.step(at)
		p.until = at
	}
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func (p *replay) step(now time.Time) {
	p.out.Reset()
	p.engine.Advance(now, &p.out)
	for _, i := range p.out.Incidents {
		n, known := p.incidentNo[i.ID]
		if !known {
			n = len(p.incidents)
			p.incidentNo[i.ID] = n
			p.incidents = append(p.incidents, i)
		}
		p.incidents[n] = i
	}
	p.notices = append(p.notices, p.out.Notices...)
}

// meet takes in the sites and vantages of an entry, and of all that were read ahead, that are not known yet.
func (p *replay) meet(e *record.Entry, in *record.Reader) {
	gaps := map[[2]string][]time.Time{}
	seen := map[string]*record.Entry{}
	look := func(e *record.Entry) bool {
		r := &e.Result
		if !p.vantages[r.Vantage] {
			p.vantages[r.Vantage] = true
			p.world.Vantages = append(p.world.Vantages, &probe.Vantage{Name: r.Vantage, Region: r.Region})
		}
		if p.sites[r.Site] != nil {
			return true
		}
		if s := seen[r.Site]; s == nil || s.Site == nil && e.Site != nil {
			c := *e
			seen[r.Site] = &c
		}
		if !r.Pending && r.Sweep == 0 {
			key := [2]string{r.Site, r.Vantage}
			gaps[key] = append(gaps[key], r.At)
		}
		return true
	}
	look(e)
	for x := range in.Ahead {
		look(x)
	}
	for _, name := range sortedNames(seen) {
		e := seen[name]
		s := newSite(e, usualGap(gaps[[2]string{name, e.Result.Vantage}]))
		p.sites[name] = s
		if s.Anchor {
			p.world.Anchors = append(p.world.Anchors, s)
		} else {
			p.world.Sites = append(p.world.Sites, s)
		}
		p.labels(s)
	}
	slices.SortFunc(p.world.Vantages, func(a, b *probe.Vantage) int { return cmp.Compare(a.Name, b.Name) })
	if p.engine == nil {
		p.engine = alert.New(e.Recv, p.policy, p.world, alert.Saved{})
		p.until = e.Recv
		return
	}
	p.engine.SetWorld(e.Recv, p.world)
}

// labels makes failure domains of a site's labels, unless the config has said which are.
func (p *replay) labels(s *probe.Site) {
	if p.fixed {
		return
	}
	for _, l := range sortedNames(s.Labels) {
		if !slices.Contains(p.world.Labels, l) && !alert.IsKind(l) {
			p.world.Labels = append(p.world.Labels, l)
		}
	}
}

// What is taken of a site of which the recording says nothing.
const (
	guessInterval = 30 * time.Second
	guessTimeout  = 10 * time.Second
	leastGuess    = 5 * time.Second
	mostGuess     = time.Hour
)

// usualGap is the time between two looks, from when they ended: the median.
func usualGap(at []time.Time) time.Duration {
	if len(at) < 3 {
		return guessInterval
	}
	slices.SortFunc(at, time.Time.Compare)
	gaps := make([]time.Duration, 0, len(at))
	for i := range at[1:] {
		gaps = append(gaps, at[i+1].Sub(at[i]))
	}
	slices.Sort(gaps)
	return min(mostGuess, max(leastGuess, gaps[len(gaps)/2].Round(time.Second)))
}

// newSite is a site as the recording shows it.
func newSite(e *record.Entry, interval time.Duration) *probe.Site {
	s := &probe.Site{Name: e.Result.Site, Alert: probe.AlertNotice}
	if e.Site != nil {
		c := *e.Site
		s = &c
	}
	if s.Interval == 0 {
		s.Interval = interval
	}
	if s.Timeout == 0 {
		s.Timeout = min(guessTimeout, s.Interval)
	}
	if s.URL == nil {
		s.URL = &url.URL{Scheme: "https", Host: strings.ToLower(s.Name), Path: "/"}
		if u, err := url.Parse(e.Result.URL); err == nil && u.Host != "" {
			s.URL = u
		}
	}
	if s.Owner == "" {
		s.Owner = s.URL.Hostname()
		if d, err := publicsuffix.EffectiveTLDPlusOne(s.Owner); err == nil {
			s.Owner = d
		}
	}
	return s
}

// replayed is an incident as `replay --json` prints it.
type replayed struct {
	ID           string           `json:"id"`
	Domain       alert.Domain     `json:"domain"`
	Scope        alert.Scope      `json:"scope"`
	Assessment   alert.Assessment `json:"assessment"`
	Severity     alert.Severity   `json:"severity"`
	Onset        time.Time        `json:"onset"`
	PagedAt      time.Time        `json:"paged_at,omitzero"`
	RecoveringAt time.Time        `json:"recovering_at,omitzero"`
	ResolvedAt   time.Time        `json:"resolved_at,omitzero"`
	Sites        int              `json:"sites"`
	Owners       int              `json:"owners"`
	Vantages     int              `json:"vantages"`
	Why          []string         `json:"why"`
}

func (p *replay) print(w io.Writer, asJSON bool) error {
	if asJSON {
		enc := json.NewEncoder(w)
		for n := range p.incidents {
			i := &p.incidents[n]
			err := enc.Encode(replayed{
				i.ID, i.Domain, i.Scope, i.Assessment, i.Severity, i.Onset, i.PagedAt, i.RecoveringAt, i.ResolvedAt,
				i.Failing.Sites, i.Failing.Owners, i.Failing.Vantages, i.Why,
			})
			if err != nil {
				return err
			}
		}
		return nil
	}
	out := printer{w: w}
	out.printf("%d results of %d sites from %d vantages, until %s: %d incidents, %d notices\n", p.results, len(p.sites), len(p.vantages),
		p.until.UTC().Format(time.DateTime), len(p.incidents), len(p.notices))
	for n := range p.incidents {
		i := &p.incidents[n]
		how := "paged"
		if i.Severity != alert.SeverityPage {
			how = "told"
		}
		out.printf("\n%s %s after its onset, at %s UTC\n%s\n%s", how, i.OpenedAt.Sub(i.Onset).Round(100*time.Millisecond), i.OpenedAt.UTC().Format(time.DateTime), i.Title(), i.Text())
	}
	for i := range p.notices {
		if n := &p.notices[i]; !n.Over {
			out.printf("\nnotice %s at %s UTC: %s\n", n.Kind, n.At.UTC().Format(time.DateTime), n.Text)
		}
	}
	return out.err
}
