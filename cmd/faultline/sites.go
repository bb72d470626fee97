package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"faultline/internal/config"
)

func sitesCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "sites", Short: "Take over lists of sites from other programs", Args: cobra.NoArgs}
	cmd.AddCommand(sitesImportCommand())
	return cmd
}

func sitesImportCommand() *cobra.Command {
	var format string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "import FILE…",
		Short: "Write the sites that other programs' lists name as [[site]] tables for a config",
		Long: `Reads lists of sites ("-" = standard input) and writes them to standard output as [[site]] tables, each site once:

  citizenlab  a test list of the Citizen Lab (url,category_code,…); the category becomes the group
  file_sd     targets for blackbox_exporter from Prometheus' file-based service discovery, YAML or JSON
  gatus       a config of Gatus: endpoints with their conditions on [STATUS] and [BODY]
  kuma        a backup of Uptime Kuma (JSON): monitors of the types http, keyword and json-query
  list        one URL or host name a line, # begins a comment

What a list does not say is left to the config's [defaults]. What has no counterpart is left out and told on standard
error as FILE:LINE. Headers may hold secrets, and are written as they are. Exit status 1 if a list gives no site.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, files []string) error {
			return importSites(files, format, asJSON, cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.Flags().StringVar(&format, "format", "", "`format` of all the files: "+strings.Join(config.ImportFormats, ", ")+"; guessed for each when not given")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON document")
	return cmd
}

// maxInput bounds what is read of a file, as config bounds those that a config names.
const maxInput = 64 << 20

func importSites(files []string, format string, asJSON bool, stdin io.Reader, stdout, stderr io.Writer) error {
	im := config.NewImporter()
	bad := false
	for _, file := range files {
		text, err := readInput(file, stdin)
		if err != nil {
			return err
		}
		as, how := format, ""
		if as == "" {
			as, how = config.GuessFormat(file, text), "which is guessed; --format says another"
		}
		before := len(im.Sites())
		if err := im.Add(file, as, text); err != nil {
			fmt.Fprintln(stderr, err)
			bad = true
		}
		fmt.Fprintln(stderr, strings.TrimSuffix(fmt.Sprintf("%s: %d sites, read as %s, %s", file, len(im.Sites())-before, as, how), ", "))
	}
	for _, w := range im.Warnings {
		fmt.Fprintln(stderr, "warning:", w)
	}
	var err error
	if asJSON {
		err = writeSitesJSON(stdout, im)
	} else {
		err = config.WriteSites(stdout, im.Sites())
	}
	if err == nil && bad {
		err = errBad
	}
	return err
}

// readInput reads a file that a command is given; "-" = standard input. More than the bound is refused by who parses it.
func readInput(file string, stdin io.Reader) ([]byte, error) {
	from := stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		from = f
	}
	text, err := io.ReadAll(io.LimitReader(from, maxInput+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", file, err)
	}
	return text, nil
}

func writeSitesJSON(w io.Writer, im *config.Importer) error {
	out := struct {
		Sites    []map[string]any `json:"sites"`
		Warnings []config.Problem `json:"warnings"`
	}{[]map[string]any{}, append([]config.Problem{}, im.Warnings...)}
	for _, s := range im.Sites() {
		m := map[string]any{}
		for _, set := range config.SiteSettings(s) {
			m[set.Key] = set.Value
		}
		out.Sites = append(out.Sites, m)
	}
	return json.NewEncoder(w).Encode(out)
}
