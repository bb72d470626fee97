package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/netip"

	"github.com/spf13/cobra"

	"faultline/internal/config"
	"faultline/probe"
	"faultline/probe/cdn"
)

// classifyFlags are what `classify` is told besides the responses.
type classifyFlags struct {
	cnames            []string
	addr, was, config string
	json              bool
}

func classifyCommand() *cobra.Command {
	var f classifyFlags
	cmd := &cobra.Command{
		Use:   "classify FILE…",
		Short: "Say of saved responses whose failure they are",
		Long: `Reads saved HTTP responses ("-" = standard input): a status line, headers, a blank line and the body, as curl -i writes
them. Each is explained as a probe explains what it gets: class, fault and why, and who fronts the site by what evidence. Exit
status 0 whenever every file could be read.`,
		Example: `  curl -si https://forum.example/ | faultline classify --addr 104.16.0.1 -`,
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, files []string) error {
			return f.run(files, cmd.InOrStdin(), cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringArrayVar(&f.cnames, "cname", nil, "a `name` of the site's CNAME chain, in its order; can be repeated")
	cmd.Flags().StringVar(&f.addr, "addr", "", "the `IP` address that answered")
	cmd.Flags().StringVar(&f.was, "was", "", "the `CDN` that is remembered for the site")
	cmd.Flags().StringVar(&f.config, "config", "", "take the CDN rules of this config `file` too")
	cmd.Flags().BoolVar(&f.json, "json", false, "print one JSON document a line")
	return cmd
}

// classified is a result with the fields that one response can give.
type classified struct {
	File       string   `json:"file"`
	OK         bool     `json:"ok"`
	Phase      string   `json:"phase"`
	Class      string   `json:"class"`
	Fault      string   `json:"fault"`
	Candidates []string `json:"candidates,omitempty"`
	Status     int      `json:"status,omitempty"`
	CDN        string   `json:"cdn"`
	CDNBy      []string `json:"cdn_by,omitempty"`
	Why        string   `json:"why"`
	Addr       string   `json:"addr,omitempty"`
	Proto      string   `json:"proto,omitempty"`
	OONI       string   `json:"ooni"`
}

func (f *classifyFlags) run(files []string, stdin io.Reader, out io.Writer) error {
	var cfg config.Config
	if f.config != "" {
		c, _, err := config.Load(f.config)
		if err != nil {
			return err
		}
		cfg = *c
	}
	rules, err := cdn.Load(cfg.CDNRules...)
	if err != nil {
		return err
	}
	var addr netip.Addr
	if f.addr != "" {
		if addr, err = netip.ParseAddr(f.addr); err != nil {
			return fmt.Errorf("--addr %q is no address; write it as in 192.0.2.1", f.addr)
		}
	}
	p := printer{w: out, colour: onTerminal(out)}
	for i, file := range files {
		raw, err := readInput(file, stdin)
		if err != nil {
			return err
		}
		e := cdn.Saved(raw)
		e.CNAME = f.cnames
		if addr.IsValid() {
			e.Addr = netip.AddrPortFrom(addr, 443)
		}
		r := probe.Result{Verdict: rules.Judge(e, probe.Fronting{CDN: f.was})}
		if e.Response != nil {
			r.Status, r.Proto = e.Response.Status, e.Response.Proto
		}
		if f.json {
			err = json.NewEncoder(out).Encode(f.classified(file, &r))
		} else {
			if i > 0 {
				p.printf("\n")
			}
			p.printf("%s  %s\n", p.verdict(&r, 0), clean(file))
			p.why(&r)
			err = p.err
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (f *classifyFlags) classified(file string, r *probe.Result) classified {
	c := classified{
		File: file, OK: r.OK(), Phase: r.Class.Phase().String(), Class: r.Class.String(), Fault: r.Fault.String(), Status: r.Status,
		CDN: r.CDN, CDNBy: r.CDNBy, Why: r.Why, Addr: f.addr, Proto: r.Proto, OONI: r.Class.OONI(),
	}
	for _, x := range r.Candidates {
		c.Candidates = append(c.Candidates, x.String())
	}
	return c
}
