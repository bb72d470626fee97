package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"syscall"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"faultline/alert"
	"faultline/internal/config"
	"faultline/probe"
)

// options are what a daemon is started with beside its config.
type options struct {
	load   func() (*config.Config, error) // reads the config, anew at every reload
	log    zerolog.Logger
	hup    <-chan os.Signal    // asks for a reload; nil = never
	watch  func(*probe.Result) // told of every result, in the judge's turn; nil = nobody
	swept  func(alert.Want)    // told of every extra probe that is wanted, likewise
	serve  func(net.Addr)      // told where the status page is; nil = nobody
	record *recording          // of every result; nil = none

	webConfig string            // web config file, in place of the config's; "" = that
	lost      func(string) bool // tells whether a vantage reports nothing at present; nil = all report
}

func runCommand() *cobra.Command {
	var path, record, webConfig string
	var speed float64
	cmd := &cobra.Command{
		Use:   "run --config FILE",
		Short: "Watch the sites of a config until told to stop",
		Long: `Watches the sites of a config, from its vantages, and sends its pages. SIGHUP reads the config anew: a good one is
swapped in without losing phases or incidents, a bad one changes nothing. SIGTERM ends it within ten seconds.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			hup := make(chan os.Signal, 1)
			signal.Notify(hup, syscall.SIGHUP)
			defer signal.Stop(hup)
			return runFile(ctx, path, record, webConfig, speed, cmd.ErrOrStderr(), hup)
		},
	}
	cmd.Flags().StringVar(&path, "config", "", "the config `file`")
	cmd.Flags().StringVar(&record, "record", "", "write every result to files in `DIR`, for replay; the newest 4 GiB are kept")
	cmd.Flags().StringVar(&webConfig, "web.config.file", "", "`FILE` with TLS and users for the status page, as Prometheus' own programs take it")
	cmd.Flags().Float64Var(&speed, "speed", 1, "divide every duration of the config, for drills")
	_ = cmd.Flags().MarkHidden("speed")
	_ = cmd.MarkFlagRequired("config")
	return cmd
}

// runFile runs the daemon by a config file. Every mistake of the file is told.
func runFile(ctx context.Context, path, record, webConfig string, speed float64, stderr io.Writer, hup <-chan os.Signal) error {
	cfg, err := loadScaled(path, speed)
	var mistakes config.Errors
	if errors.As(err, &mistakes) {
		for _, m := range mistakes {
			fmt.Fprintln(stderr, m)
		}
		return fmt.Errorf("%s has %d mistakes; nothing was started", path, len(mistakes))
	}
	if err != nil {
		return err
	}
	o := options{load: func() (*config.Config, error) { return loadScaled(path, speed) }, log: newLogger(cfg, stderr), hup: hup, webConfig: webConfig}
	if record != "" {
		if o.record, err = newRecording(record, o.log); err != nil {
			return err
		}
		defer o.record.end(o.log)
	}
	return runDaemon(ctx, o)
}
