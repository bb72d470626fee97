package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"faultline/alert"
)

func incidentsCommand() *cobra.Command {
	var server string
	var all, asJSON bool
	cmd := &cobra.Command{
		Use:   "incidents",
		Short: "Show the running daemon's incidents",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := fetchIncidents(cmd.Context(), server, all)
			if err != nil {
				return err
			}
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(list)
			}
			if len(list) == 0 {
				fmt.Fprintln(cmd.OutOrStdout(), "no incidents: nothing shared is failing")
			}
			for i := range list {
				fmt.Fprintf(cmd.OutOrStdout(), "%s\n%s\n", list[i].Title(), list[i].Text())
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&server, "server", "", "the daemon's `URL`, in place of its control socket on this host")
	cmd.Flags().BoolVar(&all, "all", false, "resolved ones too")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON document")
	return cmd
}

// maxAnswer bounds what is read from a daemon.
const maxAnswer = 64 << 20

// fetchIncidents gives the daemon's incidents in full, the newest first.
func fetchIncidents(ctx context.Context, server string, all bool) ([]alert.Incident, error) {
	path := "/api/v1/incidents?state=open"
	if all {
		path = "/api/v1/incidents?state=all"
	}
	var brief struct {
		Items []struct {
			ID string `json:"id"`
		} `json:"items"`
	}
	if err := ask(ctx, server, path, &brief); err != nil {
		return nil, err
	}
	list := make([]alert.Incident, len(brief.Items))
	for i, b := range brief.Items {
		if err := ask(ctx, server, "/api/v1/incidents/"+url.PathEscape(b.ID), &list[i]); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// ask gets a JSON document from the running daemon.
func ask(ctx context.Context, server, path string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	client := http.DefaultClient
	if server == "" {
		server = "http://faultline"
		client = &http.Client{Transport: &http.Transport{DialContext: dialControl}}
	}
	return askWith(ctx, client, strings.TrimSuffix(server, "/")+path, into)
}

func askWith(ctx context.Context, client *http.Client, url string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("asking the daemon: %w", err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("asking the daemon: %w; is it running, and may this user use its control socket (group faultline)?", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("asking the daemon: it answered %s", resp.Status)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(into); err != nil {
		return fmt.Errorf("reading the daemon's answer: %w", err)
	}
	return nil
}

// dialControl connects to the control socket of the daemon on this host: the service's, else this user's own.
func dialControl(ctx context.Context, _, _ string) (net.Conn, error) {
	var d net.Dialer
	var first error
	for _, path := range controlSockets() {
		conn, err := d.DialContext(ctx, "unix", path)
		if err == nil {
			return conn, nil
		}
		if first == nil {
			first = err
		}
	}
	return nil, first
}

func controlSockets() []string {
	paths := []string{"/run/faultline/control.sock"}
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		paths = append(paths, filepath.Join(dir, "faultline", "control.sock"))
	}
	if dir := os.Getenv("XDG_STATE_HOME"); dir != "" {
		paths = append(paths, filepath.Join(dir, "faultline", "control.sock"))
	} else if home, err := os.UserHomeDir(); err == nil {
		paths = append(paths, filepath.Join(home, ".local", "state", "faultline", "control.sock"))
	}
	return paths
}
