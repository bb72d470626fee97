package main

import (
	"cmp"
	"fmt"
	"io"
	"os"

	"github.com/rs/zerolog"

	"faultline/alert/notify"
	"faultline/alert/notify/chat"
	"faultline/internal/config"
)

// notifyChannels makes the channels of a config.
func notifyChannels(c *config.Config, log zerolog.Logger) ([]notify.NamedChannel, error) {
	var out []notify.NamedChannel
	for i := range c.Channels {
		ch := &c.Channels[i]
		made, err := notifyChannel(ch, c.Policy.Fleet, log)
		if err != nil {
			return nil, fmt.Errorf("channel %s: %w", ch.Name, err)
		}
		named := notify.NamedChannel{
			Name: ch.Name, Channel: made, Notices: ch.Notices, Fallback: ch.Fallback, FallbackAfter: ch.FallbackAfter,
			Remind: ch.Remind, PerMinute: ch.PerMinute, Gather: ch.Gather,
		}
		if ch.Alertmanager != nil {
			named.Resend = ch.Alertmanager.Resend
		}
		if ch.Email != nil {
			named.Timeout = max(notify.EmailTimeout, c.Delivery.Timeout)
		}
		out = append(out, named)
	}
	return out, nil
}

// heartbeats makes the heartbeats of a config. This switch is every kind there is.
func heartbeats(c *config.Config, log zerolog.Logger) ([]*notify.Heartbeat, error) {
	var out []*notify.Heartbeat
	for _, b := range c.Heartbeats {
		base := notify.HeartbeatConfig{Name: b.Name, Every: b.Every, Log: log}
		var h *notify.Heartbeat
		var err error
		switch b.Kind {
		case "ping":
			h, err = notify.NewPing(base, b.URL)
		case "alertmanager":
			h, err = notify.NewWatchdog(base, b.URLs, b.Token, c.Policy.Fleet)
		default:
			err = fmt.Errorf("kind %q is not known", b.Kind)
		}
		if err != nil {
			return nil, fmt.Errorf("heartbeat %s: %w", b.Name, err)
		}
		out = append(out, h)
	}
	return out, nil
}

// notifyChannel makes one channel. This switch is every kind there is.
func notifyChannel(ch *config.Channel, fleet string, log zerolog.Logger) (notify.Channel, error) {
	own := log.With().Str("channel", ch.Name).Logger()
	switch ch.Kind {
	case "webhook":
		w, err := notify.NewWebhook(ch.Webhook.URL, ch.Webhook.Secret)
		if err != nil {
			return nil, err
		}
		return w.Shaped(ch.Webhook.Form, ch.Webhook.Headers, own), nil
	case "pagerduty":
		return notify.NewPagerDuty(ch.PagerDuty.URL, ch.PagerDuty.RoutingKey, fleet)
	case "alertmanager":
		a := ch.Alertmanager
		return notify.NewAlertmanager(notify.AlertmanagerConfig{URLs: a.URLs, Token: a.Token, Fleet: fleet, Resend: a.Resend}, own)
	case "email":
		return notify.NewEmail(notify.EmailConfig(*ch.Email), own)
	case "exec":
		return notify.NewExec(ch.Exec.Command)
	case "shoutrrr":
		return chat.New(ch.Shoutrrr.URL, own)
	case "log":
		return notify.Log{Logger: log}, nil
	default:
		return nil, fmt.Errorf("kind %q is not known", ch.Kind)
	}
}

// newLogger writes to stderr, for a person at a terminal or for programs, as the config says.
func newLogger(c *config.Config, stderr io.Writer) zerolog.Logger {
	level, err := zerolog.ParseLevel(c.Daemon.LogLevel)
	if err != nil {
		level = zerolog.InfoLevel
	}
	format := c.Daemon.LogFormat
	if format == "auto" {
		format = "json"
		if f, ok := stderr.(*os.File); ok && isTerminal(f) {
			format = "console"
		}
	}
	w := stderr
	if format == "console" {
		w = zerolog.ConsoleWriter{Out: stderr, NoColor: os.Getenv("NO_COLOR") != "", TimeFormat: "15:04:05"}
	}
	return zerolog.New(w).Level(cmp.Or(level, zerolog.DebugLevel)).With().Timestamp().Logger()
}

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
