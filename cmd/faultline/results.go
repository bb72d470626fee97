package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"

	"faultline/internal/record"
	"faultline/probe"
)

func resultsCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "results", Short: "Work with recorded results"}
	var since, until, dir, output string
	export := &cobra.Command{
		Use:   "export --since T --until T",
		Short: "Write recorded results as one replay file",
		Long: `Writes the results that the daemon was told of between two times, as JSON lines that ` + "`faultline replay`" + ` reads. They come from
the recording of the running daemon (` + "`run --record DIR`" + `), or from the one in --dir. A time is 2026-03-01T03:00:00Z,
"2026-03-01 03:00" in UTC, or how long ago, as 90m.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			now := time.Now()
			from, err := momentOf(since, now)
			if err != nil {
				return fmt.Errorf("--since: %w", err)
			}
			to, err := momentOf(until, now)
			if err != nil {
				return fmt.Errorf("--until: %w", err)
			}
			if !from.Before(to) {
				return fmt.Errorf("--since %s is not before --until %s", since, until)
			}
			if dir == "" {
				if dir, err = recordingDir(cmd.Context()); err != nil {
					return err
				}
			}
			return exportTo(output, cmd.OutOrStdout(), cmd.ErrOrStderr(), dir, from, to)
		},
	}
	export.Flags().StringVar(&since, "since", "", "the first `time`")
	export.Flags().StringVar(&until, "until", "0s", "the `time` after the last, by default now")
	export.Flags().StringVar(&dir, "dir", "", "the `directory` of the recording, by default the running daemon's")
	export.Flags().StringVarP(&output, "output", "o", "", "write to `FILE`, by default to standard output")
	_ = export.MarkFlagRequired("since") // it is there
	cmd.AddCommand(export)
	return cmd
}

// momentOf reads a point in time, or how long it is ago.
func momentOf(s string, now time.Time) (time.Time, error) {
	if ago, err := time.ParseDuration(s); err == nil {
		return now.Add(-ago), nil
	}
	for _, form := range []string{time.RFC3339, "2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02"} {
		if at, err := time.Parse(form, s); err == nil {
			return at, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no time; write 2026-03-01T03:00:00Z, \"2026-03-01 03:00\" in UTC, or how long ago, as 90m", s)
}

// recordingDir asks the daemon on this host where it records.
func recordingDir(ctx context.Context) (string, error) {
	var answer struct {
		Dir string `json:"dir"`
	}
	if err := ask(ctx, "", http.MethodGet, "/api/v1/recording", nil, &answer); err != nil {
		return "", err
	}
	if answer.Dir == "" {
		return "", errors.New("the daemon records nothing: start it with --record DIR, or name an older recording with --dir")
	}
	return answer.Dir, nil
}

func exportTo(output string, stdout, stderr io.Writer, dir string, since, until time.Time) error {
	w := stdout
	var f *os.File
	if output != "" {
		var err error
		if f, err = os.OpenFile(output, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600); err != nil {
			return fmt.Errorf("writing the results: %w", err)
		}
		w = f
	}
	n, err := export(w, stderr, dir, since, until)
	if f != nil {
		err = errors.Join(err, f.Close())
	}
	if err == nil && n == 0 {
		return fmt.Errorf("%s holds no results from %s to %s", dir, since.UTC().Format(time.RFC3339), until.UTC().Format(time.RFC3339))
	}
	return err
}

// export writes the results of a recording between two times, each site's facts with the first of its results.
func export(w, stderr io.Writer, dir string, since, until time.Time) (n int, err error) {
	names, err := record.Files(dir, since, until)
	if err != nil || len(names) == 0 {
		return 0, err
	}
	in, err := record.Open(names...)
	if err != nil {
		return 0, err
	}
	defer in.Close()
	out := bufio.NewWriter(w)
	sites := map[string]*probe.Site{}
	var line []byte
	for {
		e, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return n, err
		}
		if e.Site != nil {
			sites[e.Result.Site] = e.Site
		}
		if e.Recv.Before(since) || !e.Recv.Before(until) {
			continue
		}
		if line, err = record.AppendLine(line[:0], e.Recv, &e.Result, sites[e.Result.Site]); err != nil {
			return n, err
		}
		delete(sites, e.Result.Site)
		n++
		if _, err := out.Write(append(line, '\n')); err != nil {
			return n, fmt.Errorf("writing the results: %w", err)
		}
	}
	for _, warning := range in.Warnings() {
		fmt.Fprintln(stderr, "warning:", warning)
	}
	return n, out.Flush()
}
