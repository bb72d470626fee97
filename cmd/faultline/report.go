package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/spf13/cobra"

	"faultline/alert"
	"faultline/alert/notify"
	"faultline/internal/report"
	"faultline/probe"
)

func reportCommand() *cobra.Command {
	var server, format, output string
	cmd := &cobra.Command{
		Use:   "report ID",
		Short: "Tell one incident from its onset to its end",
		Long: `Asks the running daemon for an incident, and writes a report of it: what failed, since when, how much of what from where, what
it probably was and why, what was not failing, how people were told, and what the failing answers looked like. ID is as
` + "`faultline incidents --all`" + ` shows it, or "last" for the newest one.`,
		Example: `  faultline report last
  faultline report 20190702T134202Z-cdn-cloudflare --format html --output outage.html`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			write := reportForms[format]
			if write == nil {
				return fmt.Errorf("--format %q: md, html or json", format)
			}
			r, err := fetchReport(cmd.Context(), server, args[0], cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			var b bytes.Buffer
			if err := write(r, &b); err != nil {
				return err
			}
			return put(output, b.Bytes(), cmd.OutOrStdout())
		},
	}
	serverFlag(cmd, &server)
	cmd.Flags().StringVar(&format, "format", "md", "md, html (one file that needs nothing else) or json")
	cmd.Flags().StringVarP(&output, "output", "o", "", "write to `FILE`, in place of standard output")
	return cmd
}

var reportForms = map[string]func(*report.Report, io.Writer) error{
	"md": (*report.Report).Markdown, "html": (*report.Report).HTML, "json": (*report.Report).JSON,
}

// put writes b to a file; "" = standard output.
func put(file string, b []byte, stdout io.Writer) error {
	if file == "" {
		_, err := stdout.Write(b)
		return err
	}
	if err := os.WriteFile(file, b, 0o644); err != nil { //nolint:gosec // a report is for others to read
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}

// fetchReport asks the daemon for all that it knows of an incident. Without captures a report is worth having.
func fetchReport(ctx context.Context, server, id string, warnings io.Writer) (*report.Report, error) {
	if id == "last" {
		var err error
		if id, err = newestIncident(ctx, server); err != nil {
			return nil, err
		}
	}
	path := "/api/v1/incidents/" + url.PathEscape(id)
	var told struct {
		alert.Incident
		Deliveries []notify.Told `json:"deliveries"`
	}
	err := ask(ctx, server, http.MethodGet, path, nil, &told)
	if status := (*statusError)(nil); errors.As(err, &status) && status.code == http.StatusNotFound {
		return nil, fmt.Errorf("the daemon knows no incident %q; `faultline incidents --all` shows those it knows", id)
	}
	if err != nil {
		return nil, err
	}
	var seen struct {
		Items []*probe.Capture `json:"items"`
	}
	if err := ask(ctx, server, http.MethodGet, path+"/captures", nil, &seen); err != nil {
		fmt.Fprintf(warnings, "faultline: the report lacks what the failing looks saw: %v\n", err)
	}
	return &report.Report{
		Incident: told.Incident, Captures: seen.Items, Deliveries: told.Deliveries, Made: time.Now().UTC().Round(time.Second), Version: version(),
	}, nil
}

// newestIncident is the ID of the incident that was opened last.
func newestIncident(ctx context.Context, server string) (string, error) {
	var list struct {
		Items []struct {
			ID string `json:"id"`
		} `json:"items"`
	}
	if err := ask(ctx, server, http.MethodGet, "/api/v1/incidents?state=all&limit=1", nil, &list); err != nil {
		return "", err
	}
	if len(list.Items) == 0 {
		return "", errors.New("the daemon knows no incident: nothing shared has failed since it began to watch")
	}
	return list.Items[0].ID, nil
}
