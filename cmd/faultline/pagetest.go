package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"faultline/alert"
	"faultline/alert/notify"
	"faultline/internal/config"
)

func pageTestCommand() *cobra.Command {
	var path string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "page-test [CHANNEL] --config FILE",
		Short: "Send a test page through the channels of a config",
		Long: `Sends a page that says that it is a test through every channel of the config, or the one that is named, and then, where
the receiver keeps incidents, its resolution. The daemon need not run. Exit status 1 if a channel did not take it.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, _, err := config.Load(path)
			if err != nil {
				return err
			}
			channels, err := testedChannels(cmd, cfg, args)
			if err != nil {
				return err
			}
			bad := false
			for _, c := range channels {
				o := pageTest(cmd.Context(), c, cfg.Policy.Fleet, cfg.Delivery.Timeout)
				bad = bad || o.Outcome != notify.OutcomeAccepted
				if err := o.print(cmd, asJSON); err != nil {
					return err
				}
			}
			if bad {
				return errBad
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&path, "config", "", "the config `file`")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON document a line")
	_ = cmd.MarkFlagRequired("config")
	return cmd
}

// testedChannels are all of a config, or the one that is named.
func testedChannels(cmd *cobra.Command, cfg *config.Config, args []string) ([]notify.NamedChannel, error) {
	if len(args) == 1 {
		var names []string
		for _, c := range cfg.Channels {
			names = append(names, c.Name)
		}
		n := slices.Index(names, args[0])
		if n < 0 {
			return nil, fmt.Errorf("there is no channel %q; there are %s", args[0], strings.Join(names, ", "))
		}
		cfg.Channels = cfg.Channels[n : n+1]
	}
	return notifyChannels(cfg, newLogger(cfg, cmd.ErrOrStderr()))
}

// pageOutcome is what became of a test page.
type pageOutcome struct {
	Channel string         `json:"channel"`
	Outcome notify.Outcome `json:"outcome"` // accepted, failed or refused
	Sent    []string       `json:"sent"`    // what the channel has taken: page, resolution
	Error   string         `json:"error,omitempty"`
	MS      int64          `json:"ms"`
}

// pageTest pages, and resolves the page where it would stay open.
func pageTest(ctx context.Context, c notify.NamedChannel, fleet string, timeout time.Duration) pageOutcome {
	began := time.Now()
	o := pageOutcome{Channel: c.Name, Outcome: notify.OutcomeAccepted, Sent: []string{}}
	steps := []string{"page", "resolution"}
	if !notify.Folds(c.Channel) {
		steps = steps[:1]
	}
	i := testIncident(fleet, began)
	for _, step := range steps {
		if step == "resolution" {
			i.Rev++
			i.State, i.RecoveringAt, i.ResolvedAt = alert.StateResolved, time.Now(), time.Now()
		}
		err := deliverTest(ctx, c.Channel, i, step == "page", timeout)
		if err != nil {
			o.Outcome, o.Error = notify.OutcomeFailed, err.Error()
			if notify.IsPermanent(err) {
				o.Outcome = notify.OutcomeRefused
			}
			break
		}
		o.Sent = append(o.Sent, step)
	}
	o.MS = time.Since(began).Milliseconds()
	return o
}

func deliverTest(ctx context.Context, c notify.Channel, i alert.Incident, first bool, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return c.Deliver(ctx, notify.Message{Incident: &i, First: first, Test: true})
}

// testIncident is one that says that it is none.
func testIncident(fleet string, now time.Time) alert.Incident {
	d := alert.Domain{Kind: alert.KindSelf, Name: "page-test"}
	return alert.Incident{
		ID: now.UTC().Format("20060102T150405Z") + "-self-page-test", Key: "faultline/" + fleet + "/self/page-test", Rev: 1, Domain: d,
		State: alert.StateOpen, Severity: alert.SeverityPage, Scope: alert.ScopeNone, Assessment: alert.Unclear,
		Why:   []string{"nothing has failed: `faultline page-test` was run to see this channel work"},
		Onset: now, OpenedAt: now, PagedAt: now, Waves: 1,
	}
}

func (o *pageOutcome) print(cmd *cobra.Command, asJSON bool) error {
	out := cmd.OutOrStdout()
	if asJSON {
		return json.NewEncoder(out).Encode(o)
	}
	s := fmt.Sprintf("%s: %s in %d ms", o.Channel, o.Outcome, o.MS)
	if len(o.Sent) > 0 {
		s += ", took " + strings.Join(o.Sent, " and ")
	}
	if o.Error != "" {
		s += "; " + o.Error
	}
	_, err := fmt.Fprintln(out, s)
	return err
}
