package notify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"
)

func heartbeatConfig(log io.Writer) HeartbeatConfig {
	return HeartbeatConfig{Name: "outside", Every: time.Minute, Log: zerolog.New(log)}
}

// beating runs a Heartbeat in a bubble for a time and gives the seconds at which it tried to beat, and what it logged.
func beating(t *testing.T, d time.Duration, beat func(ctx context.Context, n int) error, alive func(since time.Duration) error) (at []int, log string) {
	t.Helper()
	var b bytes.Buffer
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		h := newHeartbeat(heartbeatConfig(&b), func(ctx context.Context, now time.Time) error {
			at = append(at, int(now.Sub(start).Seconds()))
			return beat(ctx, len(at)-1)
		})
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { h.Run(ctx, func() error { return alive(time.Since(start)) }) })
		time.Sleep(d)
		cancel()
		ended := time.Now()
		wg.Wait()
		if took := time.Since(ended); took > 0 {
			t.Errorf("Run ended %v after ctx", took)
		}
	})
	return at, b.String()
}

func well(time.Duration) error               { return nil }
func taken(context.Context, int) error       { return nil }
func waits(ctx context.Context, _ int) error { <-ctx.Done(); return ctx.Err() }

func TestHeartbeatRuns(t *testing.T) {
	f := func(beat func(context.Context, int) error, alive func(time.Duration) error, at []int, messages ...string) {
		t.Helper()
		got, log := beating(t, 5*time.Minute-time.Second, beat, alive)
		if d := cmp.Diff(got, at); d != "" {
			t.Errorf("beats: -got +want:\n%s", d)
		}
		if lines := strings.Count(log, "\n"); lines != len(messages) {
			t.Errorf("got %d lines, want %d:\n%s", lines, len(messages), log)
		}
		for _, m := range messages {
			if !strings.Contains(log, m) || !strings.Contains(log, `"heartbeat":"outside"`) {
				t.Errorf("got the log\n%s, want %q", log, m)
			}
		}
	}
	f(taken, well, []int{0, 60, 120, 180, 240})
	f(taken, func(since time.Duration) error {
		if since >= time.Minute && since < 3*time.Minute {
			return fmt.Errorf("the schedule stands still since %v", since)
		}
		return nil
	}, []int{0, 180, 240}, "the schedule stands still since 1m0s", "heartbeat goes on")
	f(taken, func(time.Duration) error { return errors.New("the store does not answer") }, nil, "the store does not answer")
	f(func(_ context.Context, n int) error {
		if n == 1 || n == 3 || n == 4 {
			return errors.New("a lost packet")
		}
		return nil
	}, well, []int{0, 60, 61, 120, 121, 122, 180, 240})
	f(func(_ context.Context, n int) error {
		if n >= 1 && n <= 6 {
			return errors.New("connection refused")
		}
		return nil
	}, well, []int{0, 60, 61, 62, 120, 121, 122, 180, 240}, "connection refused", "heartbeat is taken again")
	f(func(context.Context, int) error { return Permanent(errors.New("no such check")) }, well, []int{0, 60, 120, 180, 240}, "no such check")
	f(func(context.Context, int) error { return &RetryError{time.Second, errors.New("too many")} }, well, []int{0, 60, 120, 180, 240}, "too many")
	f(waits, well, []int{0, 6, 12, 60, 66, 72, 120, 126, 132, 180, 186, 192, 240, 246, 252}, "context deadline exceeded")
}

// Our own end, in the middle of a beat, is no failure to log.
func TestHeartbeatEnds(t *testing.T) {
	got, log := beating(t, 2*time.Second, waits, well)
	if len(got) != 1 || log != "" {
		t.Errorf("got beats at %v, log %s", got, log)
	}
}

func TestPing(t *testing.T) {
	f := func(status int, body, want string) {
		t.Helper()
		s, got := receiver(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodGet || r.URL.Path != "/5bf66975-d4c7" {
				t.Errorf("got %s %s", r.Method, r.URL)
			}
			w.WriteHeader(status)
			io.WriteString(w, body) //nolint:errcheck // the client's end of it is looked at
		})
		h, err := NewPing(heartbeatConfig(io.Discard), s.URL+"/5bf66975-d4c7")
		if err != nil {
			t.Fatal(err)
		}
		err = h.once(t.Context())
		if string(outcomeOf(err)) != want || len(*got) != 1 {
			t.Errorf("%d %q: got %v in %d requests, want %s", status, body, err, len(*got), want)
		}
		if err != nil && (strings.Contains(err.Error(), "5bf66975") || !strings.HasPrefix(err.Error(), "getting "+s.URL+": ")) {
			t.Errorf("got %v", err)
		}
	}
	f(200, "OK", "accepted")
	f(200, "OK (rate limited)", "accepted")
	f(201, "", "accepted")
	f(204, "", "accepted")
	f(200, "OK (not found)\n", "refused")
	f(302, "", "failed")
	f(404, "not found", "failed")
	f(409, "", "refused")
	f(500, "", "failed")
	if _, err := NewPing(heartbeatConfig(io.Discard), "hc-ping.com/5bf66975"); err == nil || strings.Contains(err.Error(), "5bf66975") {
		t.Errorf("got %v", err)
	}
}

func TestPingHides(t *testing.T) {
	h, err := NewPing(heartbeatConfig(io.Discard), "http://"+echo(t)+"/5bf66975-d4c7?rid=s3cret")
	if err != nil {
		t.Fatal(err)
	}
	err = h.once(t.Context())
	if err == nil || strings.Contains(err.Error(), "5bf66975") || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("got %v", err)
	}
}

func TestWatchdog(t *testing.T) {
	one, two := newFakeAlertmanager(t, nil), newFakeAlertmanager(t, nil)
	down := newFakeAlertmanager(t, status(503, ""))
	var log bytes.Buffer
	h, err := NewWatchdog(heartbeatConfig(&log), []string{one.url, two.url, down.url}, "", "main")
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := h.once(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	first, last := one.took[0][0], one.took[2][0]
	if d := cmp.Diff(first.Labels, map[string]string{"alertname": "FaultlineWatchdog", "fleet": "main", "name": "outside", "severity": "none"}); d != "" {
		t.Errorf("labels: -got +want:\n%s", d)
	}
	if ahead := time.Until(last.EndsAt); len(two.took) != 3 || !last.StartsAt.Equal(first.StartsAt) || ahead < 3*time.Minute || ahead > 4*time.Minute {
		t.Errorf("got %+v", last)
	}
	if got := log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, down.url) || !strings.Contains(got, `"heartbeat":"outside"`) {
		t.Errorf("got the log\n%s", got)
	}
	if _, err := NewWatchdog(heartbeatConfig(&log), nil, "", "main"); err == nil {
		t.Error("no Alertmanager at all was accepted")
	}
}
