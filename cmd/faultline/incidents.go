package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"

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
	serverFlag(cmd, &server)
	cmd.Flags().BoolVar(&all, "all", false, "resolved ones too")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON document")
	return cmd
}

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
	if err := ask(ctx, server, http.MethodGet, path, nil, &brief); err != nil {
		return nil, err
	}
	list := make([]alert.Incident, len(brief.Items))
	for i, b := range brief.Items {
		if err := ask(ctx, server, http.MethodGet, "/api/v1/incidents/"+url.PathEscape(b.ID), nil, &list[i]); err != nil {
			return nil, err
		}
	}
	return list, nil
}
