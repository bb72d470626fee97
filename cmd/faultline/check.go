package main

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"faultline/internal/asn"
	"faultline/internal/config"
	"faultline/internal/web"
	"faultline/probe/cdn"
)

func checkCommand() *cobra.Command {
	var path string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "check --config FILE",
		Short: "Read a config and name every mistake in it",
		Long: `Reads a config, and the lists and rules it names, and prints every mistake as FILE:LINE: KEY: what is wrong; what would
be right. It also warns of what is legal but unwise. Exit status 1 if there is a mistake.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			errs, warnings, sites, err := check(path)
			if err != nil {
				return err
			}
			if asJSON {
				if err := printCheck(cmd, errs, warnings); err != nil {
					return err
				}
			} else {
				for _, p := range errs {
					fmt.Fprintln(cmd.OutOrStdout(), p)
				}
				for _, p := range warnings {
					fmt.Fprintln(cmd.OutOrStdout(), "warning:", p)
				}
				if len(errs) == 0 {
					fmt.Fprintf(cmd.OutOrStdout(), "%s is good: %s\n", path, sites)
				}
			}
			if len(errs) > 0 {
				return errBad
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&path, "config", "", "the config `file`")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON document")
	_ = cmd.MarkFlagRequired("config")
	return cmd
}

// check gives every mistake and every warning of a config, or an error when it cannot be read at all.
func check(path string) (errs, warnings []config.Problem, sites string, err error) {
	cfg, warnings, err := config.Load(path)
	var mistakes config.Errors
	if errors.As(err, &mistakes) {
		return mistakes, warnings, "", nil
	}
	if err != nil {
		return nil, nil, "", err
	}
	if _, err := cdn.Load(cfg.CDNRules...); err != nil {
		return ruleProblems(path, err), warnings, "", nil
	}
	if cfg.Network.ASNFile != "" {
		if _, err := asn.Load(cfg.Network.ASNFile); err != nil {
			return []config.Problem{{File: path, Key: "network.asn_file", Message: err.Error()}}, warnings, "", nil
		}
	}
	if f := cfg.Daemon.WebConfigFile; f != "" {
		if err := web.CheckGuard(f); err != nil {
			return []config.Problem{{File: path, Key: "daemon.web_config_file", Message: err.Error()}}, warnings, "", nil
		}
	}
	sites = fmt.Sprintf("%d sites from %d vantages, %d anchors, %d channels", len(cfg.Sites), len(cfg.Vantages), len(cfg.Anchors), len(cfg.Channels))
	return nil, warnings, sites, nil
}

// ruleProblems are the mistakes in the config's rule files.
func ruleProblems(path string, err error) []config.Problem {
	all := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok { //nolint:errorlint // cdn.Load joins them at the top
		all = joined.Unwrap()
	}
	var out []config.Problem
	for _, err := range all {
		var m *cdn.Mistake
		if errors.As(err, &m) {
			out = append(out, config.Problem{File: m.File, Line: m.Line, Key: m.Key, Message: m.Message})
		} else {
			out = append(out, config.Problem{File: path, Key: "cdn.rules", Message: err.Error()})
		}
	}
	return out
}

func printCheck(cmd *cobra.Command, errs, warnings []config.Problem) error {
	list := func(p []config.Problem) []config.Problem {
		if p == nil {
			return []config.Problem{}
		}
		return p
	}
	enc := json.NewEncoder(cmd.OutOrStdout())
	return enc.Encode(struct {
		Errors   []config.Problem `json:"errors"`
		Warnings []config.Problem `json:"warnings"`
	}{list(errs), list(warnings)})
}
