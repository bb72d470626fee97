package notify

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/rs/zerolog"
)

// Heartbeat tells someone outside, again and again, that this program does its work, so that its silence tells that it
// does not: a dead man's switch.
type Heartbeat struct {
	every time.Duration
	log   zerolog.Logger
	beat  func(ctx context.Context, now time.Time) error
}

// HeartbeatConfig is what every kind of Heartbeat works with.
type HeartbeatConfig struct {
	Name  string
	Every time.Duration
	Log   zerolog.Logger // of its stops, and of what is refused, when that changes
}

// The limits of one beat.
const (
	beatTimeout = 5 * time.Second // of one attempt
	beatTries   = 3
	beatPause   = time.Second // between two of them
)

// NewPing makes a Heartbeat that gets a URL, which counts as a secret, as healthchecks.io and its like want it. Any
// status 2xx is fine; but healthchecks.io says "OK (not found)" of a URL that belongs to no check of anyone's, and so
// does a Heartbeat that nobody would miss.
func NewPing(c HeartbeatConfig, rawURL string) (*Heartbeat, error) {
	p, err := newPlace("the heartbeat's", rawURL)
	if err != nil {
		return nil, err
	}
	p.method = http.MethodGet
	return newHeartbeat(c, func(ctx context.Context, _ time.Time) error {
		r, err := p.send(ctx, nil, nil)
		switch {
		case err != nil:
			return err
		case r.ok() && strings.TrimSpace(r.body) == "OK (not found)":
			return Permanent(fmt.Errorf("%s: it knows no check with this URL; look whether it is still there", p.doing()))
		}
		return p.judge(r, "")
	}), nil
}

// NewWatchdog makes a Heartbeat of an alert, alertname="FaultlineWatchdog", that fires at all Alertmanagers as long as all
// is well. Its end is four beats ahead, so it is over when four of them are missed. Whoever receives it is to tell when
// it stops, and to be somewhere else.
func NewWatchdog(c HeartbeatConfig, urls []string, token, fleet string) (*Heartbeat, error) {
	all, err := newAlertmanagers(urls, token, c.Log.With().Str("heartbeat", c.Name).Logger())
	if err != nil {
		return nil, err
	}
	labels := map[string]string{"alertname": "FaultlineWatchdog", "fleet": fleet, "name": c.Name, "severity": "none"}
	annotations := map[string]string{
		"summary":     "Faultline watches, decides and delivers.",
		"description": "This alert fires as long as all is well with Faultline. When it is over, nobody watches.",
	}
	var since time.Time
	return newHeartbeat(c, func(ctx context.Context, now time.Time) error {
		if since.IsZero() {
			since = now
		}
		return all.post(ctx, newAMAlert(labels, annotations, since, now.Add(lives*c.Every), ""))
	}), nil
}

func newHeartbeat(c HeartbeatConfig, beat func(context.Context, time.Time) error) *Heartbeat {
	return &Heartbeat{c.Every, c.Log.With().Str("heartbeat", c.Name).Logger(), beat}
}

// Run beats at once and then at every interval, as long as alive, which must not wait for anything, gives nil. It returns
// when ctx is done, and nothing that it has started is left then.
func (h *Heartbeat) Run(ctx context.Context, alive func() error) {
	t := time.NewTicker(h.every)
	defer t.Stop()
	var stopped, refused error
	for ctx.Err() == nil {
		ill := alive()
		h.noteStop(stopped, ill)
		stopped = ill
		if ill == nil {
			err := h.tryBeat(ctx)
			if ctx.Err() != nil {
				return
			}
			h.noteRefusal(refused, err)
			refused = err
		}
		select {
		case <-ctx.Done():
		case <-t.C:
		}
	}
}

// tryBeat tries again soon what may be a lost packet, but not into the time of the next beat.
func (h *Heartbeat) tryBeat(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, h.every)
	defer cancel()
	for try := 1; ; try++ {
		err := h.once(ctx)
		if err == nil || try == beatTries || outcomeOf(err) == OutcomeRefused || errors.As(err, new(*RetryError)) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(beatPause):
		}
	}
}

func (h *Heartbeat) once(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, beatTimeout)
	defer cancel()
	return h.beat(ctx, time.Now())
}

func (h *Heartbeat) noteStop(before, now error) {
	switch {
	case before == nil && now != nil:
		h.log.Error().Err(now).Msg("heartbeat stopped")
	case before != nil && now == nil:
		h.log.Info().Msg("heartbeat goes on")
	}
}

func (h *Heartbeat) noteRefusal(before, now error) {
	switch {
	case before == nil && now != nil:
		h.log.Warn().Err(now).Msg("heartbeat is not taken")
	case before != nil && now == nil:
		h.log.Info().Msg("heartbeat is taken again")
	}
}
