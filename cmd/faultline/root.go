package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
)

// Exit statuses, the same for every command.
const (
	exitOK    = 0
	exitBad   = 1 // the thing asked about is bad
	exitUsage = 2 // wrong usage, or it could not run
)

// errBad ends a command whose output has said already what is bad.
var errBad = errors.New("bad")

// run is the whole program but for the process around it. It gives the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := &cobra.Command{
		Use:   "faultline",
		Short: "Watch web sites from several places, and send one page when what they share fails",
		Long: `Faultline watches whether web sites can be reached over DNS and HTTP(S), says for every failure what it is and whose
(the CDN's edge, the origin, DNS, the path, the prober itself), and sends one page when many sites that share a CDN fail
together.

Exit status: 0 = fine; 1 = the thing asked about is bad; 2 = wrong usage, or it could not run.`,
		SilenceUsage: true, SilenceErrors: true,
		Version: version(),
	}
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(runCommand(), checkCommand(), probeCommand(), classifyCommand(), drillCommand(), simulateCommand(), replayCommand(), incidentsCommand(), reportCommand(), ackCommand(), silenceCommand(), resultsCommand(), pageTestCommand(), sitesCommand(), versionCommand())
	switch err := root.ExecuteContext(ctx); {
	case err == nil:
		return exitOK
	case errors.Is(err, errBad):
		return exitBad
	default:
		fmt.Fprintf(stderr, "faultline: %v\n", err)
		return exitUsage
	}
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "faultline %s\n", version())
			return err
		},
	}
}

// version is what the build says of itself: a tag, or the commit it was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	v, rev, dirty := info.Main.Version, "", ""
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			rev = s.Value[:min(12, len(s.Value))]
		case "vcs.modified":
			if s.Value == "true" {
				dirty = "-dirty"
			}
		}
	}
	if (v == "" || v == "(devel)") && rev != "" {
		v = "devel-" + rev + dirty
	}
	return strings.Trim(v+" "+info.GoVersion, " ")
}
