package main

import (
	"path/filepath"
	"time"

	"github.com/rs/zerolog"

	"faultline/internal/record"
	"faultline/probe"
)

// recording writes every result that the engine is told of. It belongs to the judge's goroutine until it is ended.
type recording struct {
	dir    string
	writer *record.Writer
	sites  map[*probe.Site]*probe.Site // as they are recorded
	onset  func() time.Time            // of a drill; nil = time is recorded as it is
	shown  time.Time                   // what a drill's onset is recorded as
	speed  float64
}

func newRecording(dir string, log zerolog.Logger) (*recording, error) {
	w, err := record.NewWriter(dir, func(err error) { log.Error().Err(err).Msg("recording failed") })
	if err != nil {
		return nil, err
	}
	return &recording{dir: dir, writer: w, sites: map[*probe.Site]*probe.Site{}, speed: 1}, nil
}

// end ends the recording.
func (x *recording) end(log zerolog.Logger) {
	err := x.writer.Close()
	if err != nil {
		log.Error().Err(err).Msg("the recording did not end well")
	}
	if n := x.writer.Dropped(); n > 0 {
		log.Warn().Uint64("results", n).Msg("some results were not recorded: the disk was too slow or full")
	}
}

// directory is where x writes; "" = nothing is recorded.
func (x *recording) directory() string {
	if x == nil {
		return ""
	}
	dir, err := filepath.Abs(x.dir)
	if err != nil {
		return x.dir
	}
	return dir
}

// heard records a result that the engine was told of at now.
func (x *recording) heard(now time.Time, r *probe.Result, tasks *taskIndex) {
	site := tasks.sites[r.Site]
	if site != nil {
		site = x.site(site, tasks.labels)
	}
	if x.onset == nil {
		x.writer.Write(now, r, site)
		return
	}
	c := *r
	c.At = x.stretch(r.At)
	for _, d := range []*time.Duration{&c.Time.Lag, &c.Time.Resolve, &c.Time.Connect, &c.Time.TLS, &c.Time.TTFB, &c.Time.Total} {
		*d = time.Duration(float64(*d) * x.speed)
	}
	x.writer.Write(x.stretch(now), &c, site)
}

// stretch is a moment of a drill as it is recorded: a scenario's time goes at its own speed.
func (x *recording) stretch(t time.Time) time.Time {
	return x.shown.Add(time.Duration(float64(t.Sub(x.onset())) * x.speed))
}

// site is a site as it is recorded: of its labels, those that are failure domains.
func (x *recording) site(s *probe.Site, labels []string) *probe.Site {
	if c := x.sites[s]; c != nil {
		return c
	}
	c := *s
	c.Labels = map[string]string{}
	for _, l := range labels {
		if v := s.Labels[l]; v != "" {
			c.Labels[l] = v
		} else if l == "group" && s.Group != "" {
			c.Labels[l] = s.Group
		}
	}
	c.Interval = time.Duration(float64(s.Interval) * x.speed)
	c.Timeout = time.Duration(float64(s.Timeout) * x.speed)
	if len(x.sites) > mostRecorded { // the config was read anew many times
		clear(x.sites)
	}
	x.sites[s] = &c
	return &c
}

const mostRecorded = 200000
