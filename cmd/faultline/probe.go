package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"faultline/internal/config"
	"faultline/probe"
)

// probeFlags are what `probe` is asked.
type probeFlags struct {
	resolver, config       string
	allow, families, https []string
	timeout                time.Duration
	json                   bool
}

// look is one probe that was made, and what it saw.
type look struct {
	http    probe.HTTPVersion // asked for
	result  probe.Result
	capture *probe.Capture // of a failing one
}

func probeCommand() *cobra.Command {
	var f probeFlags
	cmd := &cobra.Command{
		Use:   "probe URL…",
		Short: "Make one probe now and explain it",
		Long: `Makes one probe of each URL now, as the daemon would, and explains it: its class, whose fault it is and why, who fronts the
site and by what evidence, and the time of each phase; of a failing one also what was seen. With several --http or --family,
or a config with several vantages, the looks are shown side by side. Exit status 1 if one fails; a site that only blocks this
prober is no failure.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, urls []string) error {
			bad, err := f.run(cmd.Context(), urls, cmd.OutOrStdout())
			if err == nil && bad {
				return errBad
			}
			return err
		},
	}
	cmd.Flags().StringVar(&f.resolver, "resolver", "", "ask this `resolver` in place of the system's: 9.9.9.9, tcp://…, tls://9.9.9.9#dns.quad9.net, https://…")
	cmd.Flags().StringSliceVar(&f.allow, "allow-address", nil, "let the probe go to this `CIDR`, though it is not public")
	cmd.Flags().StringSliceVar(&f.families, "family", nil, "only this address family, `ip4 or ip6`; several are looked at one after the other")
	cmd.Flags().StringSliceVar(&f.https, "http", nil, "over this `version` of HTTP: 1.1, 2 or 3; likewise")
	cmd.Flags().DurationVar(&f.timeout, "timeout", 10*time.Second, "of one probe")
	cmd.Flags().StringVar(&f.config, "config", "", "take vantages, rules and expectations from this config `file`")
	cmd.Flags().BoolVar(&f.json, "json", false, "print one JSON document a line")
	return cmd
}

// run makes every probe that is asked for and prints it. bad = one fails.
func (f *probeFlags) run(ctx context.Context, urls []string, out io.Writer) (bad bool, err error) {
	cfg, err := f.world()
	if err != nil {
		return false, err
	}
	var sites []*probe.Site
	for _, raw := range urls {
		site, err := f.site(cfg, raw)
		if err != nil {
			return false, err
		}
		sites = append(sites, site)
	}
	captures := probe.NewCaptures()
	prober, err := newProber(cfg, probe.NewMemory(), captures)
	if err != nil {
		return false, err
	}
	for _, site := range sites {
		tasks, err := f.tasks(cfg, site)
		if err != nil {
			return false, err
		}
		var looks []look
		for _, t := range tasks {
			r := prober.Probe(ctx, t, nil)
			looks = append(looks, look{t.Site.HTTP, r, captures.Find(&r)})
			bad = bad || !r.OK() && r.Fault != probe.FaultBlocked
		}
		if err := f.print(out, looks); err != nil {
			return false, err
		}
	}
	return bad, nil
}

// tasks are the looks at a site: from every vantage, in every family and version of HTTP that is asked for.
func (f *probeFlags) tasks(cfg *config.Config, site *probe.Site) ([]probe.Task, error) {
	families, err := f.wantedFamilies(site)
	if err != nil {
		return nil, err
	}
	versions, err := f.wantedVersions(site)
	if err != nil {
		return nil, err
	}
	var tasks []probe.Task
	for _, v := range cfg.Vantages {
		for _, version := range versions {
			s := *site
			s.HTTP = version
			for _, fam := range families {
				tasks = append(tasks, probe.Task{Site: &s, Vantage: v, Family: fam, Due: time.Now(), Timeout: site.Timeout})
			}
		}
	}
	return tasks, nil
}

func (f *probeFlags) print(out io.Writer, looks []look) error {
	if f.json {
		return printJSON(out, looks)
	}
	p := printer{w: out, colour: onTerminal(out)}
	if len(looks) == 1 {
		p.explain(&looks[0])
		return p.err
	}
	p.compare(looks)
	told := map[probe.Class]bool{}
	for i := range looks {
		if class := looks[i].result.Class; !told[class] { // one look of each kind is explained
			told[class] = true
			p.printf("\n")
			p.explain(&looks[i])
		}
	}
	return p.err
}

// printJSON prints a result a line, each with its capture where it has one.
func printJSON(out io.Writer, looks []look) error {
	for i := range looks {
		b, err := json.Marshal(looks[i].result)
		if err != nil {
			return err
		}
		if c := looks[i].capture; c != nil {
			saw, err := json.Marshal(c)
			if err != nil {
				return err
			}
			b = append(append(append(b[:len(b)-1], `,"capture":`...), saw...), '}')
		}
		if _, err := out.Write(append(b, '\n')); err != nil {
			return err
		}
	}
	return nil
}

// world is the config that is given, or one vantage on this host.
func (f *probeFlags) world() (*config.Config, error) {
	cfg := &config.Config{}
	if f.config != "" {
		var err error
		if cfg, _, err = config.Load(f.config); err != nil {
			return nil, err
		}
	} else {
		cfg.Vantages = []*probe.Vantage{{Name: "here"}}
	}
	if err := f.resolvers(cfg); err != nil {
		return nil, err
	}
	for _, s := range f.allow {
		p, err := netip.ParsePrefix(s)
		if a, aerr := netip.ParseAddr(s); aerr == nil {
			p, err = netip.PrefixFrom(a, a.BitLen()), nil
		}
		if err != nil {
			return nil, fmt.Errorf("--allow-address %q is no network; write it as in 192.0.2.0/24", s)
		}
		cfg.Daemon.AllowAddresses = append(cfg.Daemon.AllowAddresses, p)
	}
	return cfg, nil
}

func (f *probeFlags) resolvers(cfg *config.Config) error {
	if f.resolver == "" && f.config != "" {
		return nil
	}
	var list []probe.Resolver
	if f.resolver != "" && f.resolver != "system" {
		r, err := config.ParseResolver(f.resolver)
		if err != nil {
			return fmt.Errorf("--resolver: %w", err)
		}
		list = []probe.Resolver{r}
	} else {
		var err error
		if list, err = config.SystemResolvers(); err != nil {
			return fmt.Errorf("finding this host's resolvers: %w; name one with --resolver 9.9.9.9", err)
		}
	}
	for _, v := range cfg.Vantages {
		v.Resolvers = list
	}
	return nil
}

func (f *probeFlags) wantedFamilies(site *probe.Site) ([]probe.Family, error) {
	families := site.Families
	if len(f.families) > 0 {
		families = nil
	}
	for _, s := range f.families {
		fam, ok := map[string]probe.Family{"ip4": probe.FamilyIP4, "ip6": probe.FamilyIP6}[s]
		if !ok {
			return nil, fmt.Errorf("--family %q: ip4 or ip6", s)
		}
		families = append(families, fam)
	}
	if len(families) == 0 {
		families = []probe.Family{probe.FamilyAny}
	}
	return families, nil
}

func (f *probeFlags) wantedVersions(site *probe.Site) ([]probe.HTTPVersion, error) {
	if len(f.https) == 0 {
		return []probe.HTTPVersion{site.HTTP}, nil
	}
	var versions []probe.HTTPVersion
	for _, s := range f.https {
		v, err := probe.ParseHTTPVersion(s)
		if err != nil {
			return nil, fmt.Errorf("--http %q: 1.1, 2 or 3", s)
		}
		versions = append(versions, v)
	}
	return versions, nil
}

// site is the config's site of that URL or name, or one made for the occasion.
func (f *probeFlags) site(cfg *config.Config, raw string) (*probe.Site, error) {
	all := slices.Concat(cfg.Sites, cfg.Anchors)
	if !strings.Contains(raw, "://") {
		for _, s := range all {
			if s.Name == raw {
				return s, nil
			}
		}
		raw = "https://" + raw
	}
	u, err := url.Parse(raw)
	if err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("%q is no URL; write it as in https://forum.example/", raw)
	}
	if u.Path == "" {
		u.Path = "/"
	}
	u.Fragment, u.User = "", nil
	if err := probe.ASCIIHost(u); err != nil {
		return nil, err
	}
	for _, s := range all {
		if s.URL.String() == u.String() {
			return s, nil
		}
	}
	return &probe.Site{Name: u.Hostname(), URL: u, Method: "GET", Interval: f.timeout, Timeout: f.timeout}, nil
}
