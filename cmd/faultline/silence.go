package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"faultline/alert"
)

func silenceCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "silence",
		Short: "Keep quiet about planned work; what still fails when a silence ends is told then",
	}
	cmd.AddCommand(silenceAddCommand(), silenceListCommand(), silenceExpireCommand())
	return cmd
}

// listedSilence is a silence as the daemon lists it.
type listedSilence struct {
	alert.Silence
	State string `json:"state"`
}

func silenceAddCommand() *cobra.Command {
	var server, match, zone, comment string
	var from string
	var weekly []string
	var length time.Duration
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "add --match site=…,group=…,domain=cdn:x,vantage=…,label.NAME=… --for 2h",
		Short: "Make a silence",
		Example: `  faultline silence add --match site=forum --for 2h --comment "new database"
  faultline silence add --match group=boards --weekly "sun 03:00-05:00" --zone Asia/Hong_Kong --for 2160h`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			m, err := alert.ParseMatch(match)
			if err != nil {
				return fmt.Errorf("--match: %w", err)
			}
			body := map[string]any{"match": m, "for": length.String(), "zone": zone, "comment": comment, "by": whoAmI(), "weekly": weekly}
			if from != "" {
				body["from"] = from
			}
			var s listedSilence
			if err := ask(cmd.Context(), server, http.MethodPost, "/api/v1/silences", body, &s); err != nil {
				return err
			}
			return showSilence(cmd.OutOrStdout(), &s, asJSON)
		},
	}
	serverFlag(cmd, &server)
	cmd.Flags().StringVar(&match, "match", "", "what is to be silent: all the keys must fit, and of one key any of its values; * stands for anything")
	cmd.Flags().DurationVar(&length, "for", 2*time.Hour, "how long")
	cmd.Flags().StringVar(&from, "from", "", "when it begins, as 2026-03-01T03:00:00+08:00 (default now)")
	cmd.Flags().StringArrayVar(&weekly, "weekly", nil, "only then, every week, as \"sun 03:00-05:00\"; can be given several times")
	cmd.Flags().StringVar(&zone, "zone", "", "time zone of --weekly, as Asia/Hong_Kong (default UTC)")
	cmd.Flags().StringVar(&comment, "comment", "", "why: shown with it, and with what was silent")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the silence as JSON")
	_ = cmd.MarkFlagRequired("match") // it is there
	return cmd
}

func silenceListCommand() *cobra.Command {
	var server string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "Show the silences, those of the config too",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var page struct {
				Items []listedSilence `json:"items"`
			}
			if err := ask(cmd.Context(), server, http.MethodGet, "/api/v1/silences?limit=1000", nil, &page); err != nil {
				return err
			}
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(page.Items)
			}
			return tabulate(cmd.OutOrStdout(), page.Items)
		},
	}
	serverFlag(cmd, &server)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON document")
	return cmd
}

func silenceExpireCommand() *cobra.Command {
	var server string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "expire ID",
		Short: "End a silence now; what still fails is told",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var s listedSilence
			if err := ask(cmd.Context(), server, http.MethodDelete, "/api/v1/silences/"+url.PathEscape(args[0]), nil, &s); err != nil {
				return err
			}
			return showSilence(cmd.OutOrStdout(), &s, asJSON)
		},
	}
	serverFlag(cmd, &server)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the silence as JSON")
	return cmd
}

func showSilence(w io.Writer, s *listedSilence, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(s)
	}
	return tabulate(w, []listedSilence{*s})
}

func tabulate(w io.Writer, list []listedSilence) error {
	if len(list) == 0 {
		_, err := fmt.Fprintln(w, "no silences")
		return err
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ID\tSTATE\tTILL\tMATCH\tWEEKLY\tBY\tCOMMENT")
	for n := range list {
		s := &list[n]
		till := "-"
		if !s.Till.IsZero() {
			till = s.Till.UTC().Format("2006-01-02 15:04 UTC")
		}
		var weekly []string
		for _, x := range s.Weekly {
			b, _ := x.MarshalText() // never fails
			weekly = append(weekly, string(b))
		}
		when := "-"
		if len(weekly) > 0 {
			when = strings.TrimSpace(strings.Join(weekly, "; ") + " " + s.Zone)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", s.ID, s.State, till, s.Match, when, clean(s.By), clean(s.Comment))
	}
	return table.Flush()
}
