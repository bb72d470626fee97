package main

import (
	"context"
	"encoding/json"
	"fmt"
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
	resolver, config string
	allow, families  []string
	timeout          time.Duration
	json             bool
}

func probeCommand() *cobra.Command {
	var f probeFlags
	cmd := &cobra.Command{
		Use:   "probe URL…",
		Short: "Make one probe now and explain it",
		Long: `Makes one probe of each URL now, as the daemon would, and explains it: its class, whose fault it is and why, who fronts the
site and by what evidence, and the time of each phase. Exit status 1 if one fails; a site that only blocks this prober is
no failure.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, urls []string) error {
			results, err := f.probeAll(cmd.Context(), urls)
			if err != nil {
				return err
			}
			bad := false
			for i := range results {
				r := &results[i]
				bad = bad || !r.OK() && r.Fault != probe.FaultBlocked
				if f.json {
					err = json.NewEncoder(cmd.OutOrStdout()).Encode(r)
				} else {
					explain(cmd.OutOrStdout(), r)
				}
				if err != nil {
					return err
				}
			}
			if bad {
				return errBad
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&f.resolver, "resolver", "", "ask this `resolver` in place of the system's")
	cmd.Flags().StringSliceVar(&f.allow, "allow-address", nil, "let the probe go to this `CIDR`, though it is not public")
	cmd.Flags().StringSliceVar(&f.families, "family", nil, "only this address family, `ip4 or ip6`; several are probed one after the other")
	cmd.Flags().DurationVar(&f.timeout, "timeout", 10*time.Second, "of one probe")
	cmd.Flags().StringVar(&f.config, "config", "", "take vantages, rules and expectations from this config `file`")
	cmd.Flags().BoolVar(&f.json, "json", false, "print one JSON document a line")
	return cmd
}

// probeAll probes every URL from every vantage in every family asked for.
func (f *probeFlags) probeAll(ctx context.Context, urls []string) ([]probe.Result, error) {
	cfg, err := f.world()
	if err != nil {
		return nil, err
	}
	prober, err := newProber(cfg, probe.NewMemory())
	if err != nil {
		return nil, err
	}
	families, err := f.wanted()
	if err != nil {
		return nil, err
	}
	var results []probe.Result
	for _, raw := range urls {
		site, err := f.site(cfg, raw)
		if err != nil {
			return nil, err
		}
		for _, v := range cfg.Vantages {
			for _, fam := range families {
				t := probe.Task{Site: site, Vantage: v, Family: fam, Due: time.Now(), Timeout: site.Timeout}
				results = append(results, prober.Probe(ctx, t, nil))
			}
		}
	}
	return results, nil
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

func (f *probeFlags) wanted() ([]probe.Family, error) {
	families := []probe.Family{probe.FamilyAny}
	for i, s := range f.families {
		fam, ok := map[string]probe.Family{"ip4": probe.FamilyIP4, "ip6": probe.FamilyIP6}[s]
		if !ok {
			return nil, fmt.Errorf("--family %q: ip4 or ip6", s)
		}
		families = append(families[:i], fam)
	}
	return families, nil
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
	for _, s := range all {
		if s.URL.String() == u.String() {
			return s, nil
		}
	}
	return &probe.Site{Name: u.Hostname(), URL: u, Method: "GET", Interval: f.timeout, Timeout: f.timeout}, nil
}
