package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os/user"
	"time"

	"github.com/spf13/cobra"

	"faultline/alert"
	"faultline/internal/web"
)

func ackCommand() *cobra.Command {
	var server, comment string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "ack ID",
		Short: "Take an incident on: reminders and escalation stop, what becomes of it is still told",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var i alert.Incident
			body := map[string]string{"by": whoAmI(), "comment": comment}
			if err := ask(cmd.Context(), server, http.MethodPost, "/api/v1/incidents/"+url.PathEscape(args[0])+"/ack", body, &i); err != nil {
				return err
			}
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(i)
			}
			if i.Ack == nil {
				fmt.Fprintf(cmd.OutOrStdout(), "%s has ended meanwhile\n", args[0])
				return nil
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s is taken on by %s since %s UTC\n", i.ID, i.Ack.By, i.Ack.At.UTC().Format("15:04:05"))
			return nil
		},
	}
	serverFlag(cmd, &server)
	cmd.Flags().StringVar(&comment, "comment", "", "what others should know: shown with the incident, and told")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the incident as JSON")
	return cmd
}

// whoAmI is the name that this user's changes go by; the daemon says beside it where they came from.
func whoAmI() string {
	u, err := user.Current()
	if err != nil {
		return ""
	}
	return u.Username
}

// acknowledge notes that someone has taken an incident on.
func (d *daemon) acknowledge(ctx context.Context, id, by, comment string) error {
	ack := alert.Ack{At: time.Now().UTC().Truncate(time.Millisecond), By: by, Comment: comment}
	found := false
	err := d.judge.do(ctx, func(e *alert.Engine) {
		var out alert.Effects
		if found = e.Acknowledge(id, ack, &out); len(out.Incidents) > 0 {
			d.decided(&out)
		}
	})
	if err != nil {
		return fmt.Errorf("acknowledging %s: %w", id, err)
	}
	if !found && !d.troubles.acknowledge(id, ack, d.pager.tell) {
		return web.NotFound(fmt.Errorf("no incident %q is open; `faultline incidents` shows those that are", id))
	}
	return nil
}

// silenced names what keeps an incident quiet now.
func (d *daemon) silenced(i *alert.Incident) []string {
	var ids []string
	for _, s := range d.silences.set().Of(time.Now(), i) {
		ids = append(ids, s.ID)
	}
	return ids
}
