package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"faultline/alert"
	"faultline/internal/config"
	"faultline/internal/simnet"
	"faultline/probe"
)

// Scenario times of a drill around the outage itself: a quiet start, in which every site is seen well, and how long
// after the last phase the all-clear may take at most.
const (
	drillWarmup  = 100 * time.Second
	drillHabit   = 15 // looks at every site, until the engine knows how fast it answers
	drillAfter   = 15 * time.Minute
	drillNoPage  = 2 * time.Minute
	drillLinger  = 30 * time.Second // after all is over
	drillVisible = 2 * time.Hour    // a longer outage is played as an excerpt
)

func drillCommand() *cobra.Command {
	var list, asJSON, verbose bool
	var record string
	var speed float64
	cmd := &cobra.Command{
		Use:   "drill [NAME or FILE.toml]",
		Short: "Play a whole outage on loopback, with the real daemon",
		Long: `Plays an outage on loopback, unprivileged: simulated DNS, CDN edges and origins on real sockets, the real daemon with
several vantages, and a real webhook receiver. Prints what happens, in scenario time, against what is expected; exit status 1
when that is missed. Times are seconds since the onset.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if list {
				return listScenarios(cmd.OutOrStdout())
			}
			if len(args) == 0 {
				return fmt.Errorf("which outage? `faultline drill cloudflare-2019-07-02`, or --list for the built-in ones")
			}
			if speed < 1 || speed > 100 {
				return fmt.Errorf("--speed %g: from 1, real time, to 100", speed)
			}
			sc, err := simnet.Open(args[0])
			if err != nil {
				return err
			}
			var screen io.Writer = cmd.OutOrStdout()
			if asJSON {
				screen = io.Discard
			}
			log := zerolog.Nop()
			if verbose {
				log = zerolog.New(zerolog.ConsoleWriter{Out: cmd.ErrOrStderr()}).With().Timestamp().Logger()
			}
			report, err := drill(cmd.Context(), sc, speed, record, screen, log)
			if err != nil {
				return err
			}
			if asJSON {
				if err := json.NewEncoder(cmd.OutOrStdout()).Encode(report); err != nil {
					return err
				}
			}
			if report.Verdict != "pass" {
				return errBad
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&list, "list", false, "list the built-in outages")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON document")
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "show the daemon's log on standard error")
	cmd.Flags().StringVar(&record, "record", "", "write every result to files in `DIR`, for replay, in the scenario's time")
	cmd.Flags().Float64Var(&speed, "speed", 30, "how many times as fast as life")
	return cmd
}

func listScenarios(w io.Writer) error {
	for _, name := range simnet.Names() {
		sc, err := simnet.Open(name)
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "%-28s %s\n", name, sc.Title)
	}
	return nil
}

// drill plays one outage and reports what came of it.
func drill(ctx context.Context, sc *simnet.Scenario, speed float64, record string, screen io.Writer, log zerolog.Logger) (*drillReport, error) {
	sc, excerpt := sc.Excerpt(drillVisible)
	world, err := simnet.Start(sc, simnet.Options{Seed: 1, Speed: speed})
	if err != nil {
		return nil, fmt.Errorf("building the internet on loopback: %w", err)
	}
	defer world.Close()
	receiver, err := simnet.NewReceiver()
	if err != nil {
		return nil, fmt.Errorf("starting the webhook receiver: %w", err)
	}
	defer receiver.Close()
	dir, err := os.MkdirTemp("", "faultline-drill-")
	if err != nil {
		return nil, fmt.Errorf("making a directory for the drill: %w", err)
	}
	defer os.RemoveAll(dir)
	path, err := world.WriteConfig(dir, simnet.ConfigOptions{WebhookURL: receiver.URL, StateDir: dir})
	if err != nil {
		return nil, fmt.Errorf("writing the drill's config: %w", err)
	}

	stage := newStage(sc, speed, screen)
	stage.report.Excerpt = excerpt
	stage.open(world)
	var recorded *recording
	if record != "" {
		if recorded, err = newRecording(record, log); err != nil {
			return nil, err
		}
		defer recorded.end(log)
		recorded.onset, recorded.shown, recorded.speed = stage.began, sc.Onset, speed
		if sc.Onset.IsZero() {
			recorded.shown = time.Now()
		}
	}
	ctx, end := context.WithCancel(ctx)
	defer end()
	var daemon sync.WaitGroup
	var daemonErr error
	onset := time.Now().Add(scaled(warmup(sc), speed))
	stage.begin(onset)
	daemon.Go(func() {
		defer end()
		daemonErr = runDaemon(ctx, options{
			load:   func() (*config.Config, error) { return loadScaled(path, speed) },
			log:    log,
			record: recorded,
			watch:  stage.saw,
			swept:  stage.swept,
			lost:   world.Lost,
			serve:  stage.serves,
		})
	})
	world.Begin(onset)
	stage.follow(ctx, receiver)
	end()
	daemon.Wait()
	if daemonErr != nil {
		return nil, daemonErr
	}
	return stage.judge(), nil
}

// warmup is the quiet start of a scenario.
func warmup(sc *simnet.Scenario) time.Duration {
	if slices.ContainsFunc(sc.Phases, func(p simnet.Phase) bool { return p.Class == simnet.ClassSlow }) {
		return max(drillWarmup, drillHabit*sc.World.Interval)
	}
	return drillWarmup
}

func scaled(d time.Duration, speed float64) time.Duration { return time.Duration(float64(d) / speed) }

// loadScaled reads a config and makes its time run faster.
func loadScaled(path string, speed float64) (*config.Config, error) {
	cfg, _, err := config.Load(path)
	if err != nil {
		return nil, err
	}
	if speed != 1 {
		cfg.Scale(speed)
	}
	return cfg, nil
}

// stage shows a drill while it is played, and keeps what was seen for the report.
type stage struct {
	sc     *simnet.Scenario
	speed  float64
	screen io.Writer

	mu     sync.Mutex // guards what follows: the daemon's goroutines report here
	onset  time.Time
	failed bool // the first failing probe was shown
	wanted int
	report drillReport
}

func newStage(sc *simnet.Scenario, speed float64, screen io.Writer) *stage {
	return &stage{sc: sc, speed: speed, screen: screen, report: newReport(sc)}
}

// at is a moment in scenario seconds since the onset.
func (s *stage) at(t time.Time) float64 {
	return math.Round(t.Sub(s.onset).Seconds()*s.speed*10) / 10
}

func (s *stage) open(world *simnet.Net) {
	fmt.Fprintf(s.screen, "%s: %s\n", s.sc.Name, s.sc.Title)
	fmt.Fprintf(s.screen, "on loopback: %s; %g times as fast as life\n", world.Summary(), s.speed)
	if s.report.Excerpt {
		fmt.Fprintf(s.screen, "an excerpt: the outage lasted for hours; its first and its last change are played\n")
	}
}

// serves is told where the daemon's status page is.
func (s *stage) serves(at net.Addr) {
	fmt.Fprintf(s.screen, "status page while it lasts: http://%s/\n", at)
}

func (s *stage) begin(onset time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onset = onset
	s.line(time.Now(), "watching; every site is looked at once before anything happens")
}

// began is when the outage begins.
func (s *stage) began() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.onset
}

// line shows one event. The caller holds mu.
func (s *stage) line(t time.Time, format string, args ...any) {
	sec := s.at(t)
	sign := " "
	if sec < 0 {
		sign, sec = "-", -sec
	}
	fmt.Fprintf(s.screen, "%s%02d:%04.1f  %s\n", sign, int(sec)/60, sec-float64(int(sec)/60*60), fmt.Sprintf(format, args...))
}

// saw is told of every result.
func (s *stage) saw(r *probe.Result) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed || r.Pending || r.OK() || s.onset.IsZero() || r.At.Before(s.onset) || r.Fault == probe.FaultBlocked && s.sc.World.Normal == "blocked" {
		return
	}
	s.failed = true
	s.report.FirstFailS = s.at(r.At)
	s.line(r.At, "first failing probe: %s from %s: %s, fault %s: %s", r.Site, r.Vantage, r.Class, r.Fault, r.Why)
}

// swept is told of every extra probe that suspicion asks for.
func (s *stage) swept(w alert.Want) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w.Why != alert.WhySweep || s.onset.IsZero() {
		return
	}
	if s.wanted == 0 {
		s.line(time.Now(), "suspicion: a sweep of the whole domain, and of others to compare")
	}
	s.wanted++
}

// follow shows the phases, and what the receiver gets, until the drill is over.
func (s *stage) follow(ctx context.Context, receiver *simnet.Receiver) {
	end := s.onset.Add(scaled(s.sc.Last()+drillAfter, s.speed))
	quietEnd := s.onset.Add(scaled(s.sc.Last()+drillNoPage, s.speed))
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	shown, phase := 0, 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := time.Now()
		for phase < len(s.sc.Phases) && !now.Before(s.onset.Add(scaled(s.sc.Phases[phase].At, s.speed))) {
			s.phase(&s.sc.Phases[phase])
			phase++
		}
		for _, d := range receiver.Deliveries()[shown:] {
			s.delivered(d)
			shown++
		}
		if now.After(end) {
			return
		}
		if now.After(quietEnd) && s.over() {
			quietEnd = end
			end = now.Add(min(scaled(drillLinger, s.speed), end.Sub(now))) // a recording shows by its last results what the end followed from
		}
	}
}

// phase shows that a phase of the outage begins.
func (s *stage) phase(p *simnet.Phase) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.onset.Add(scaled(p.At, s.speed))
	if p.Class == simnet.ClassOK || p.Share == 0 {
		s.line(at, "(the world: %s, in %s)", "well", strings.Join(p.Regions, ", "))
		return
	}
	s.line(at, "(the world: %.0f %% of the sites fail %.0f %% of their probes with %s, in %s)", p.Share*100, p.Fail*100, p.Class, strings.Join(p.Regions, ", "))
}
