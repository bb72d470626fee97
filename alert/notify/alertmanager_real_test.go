//go:build linux

package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"faultline/alert"
	"faultline/internal/farm"
)

// told is what Debian's Alertmanager tells a receiver: "firing: page cloudflare firing, page fastly resolved".
type told struct {
	what string
	at   time.Time
}

// realAlertmanager runs Debian's, which groups by fleet and tells the receiver of a group every 3 s.
func realAlertmanager(t *testing.T) (url string, hook <-chan told) {
	t.Helper()
	f := farm.New(t)
	program := f.Program("prometheus-alertmanager")
	messages := make(chan told, 100)
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var m struct {
			Status string
			Alerts []struct {
				Status string
				Labels map[string]string
			}
		}
		if err := json.NewDecoder(r.Body).Decode(&m); err != nil {
			t.Error(err)
		}
		var alerts []string
		for _, a := range m.Alerts {
			alerts = append(alerts, a.Labels["severity"]+" "+a.Labels["name"]+" "+a.Status)
		}
		slices.Sort(alerts)
		messages <- told{m.Status + ": " + strings.Join(alerts, ", "), time.Now()}
	}))
	t.Cleanup(receiver.Close)
	config := f.File("alertmanager.yml", fmt.Sprintf(`
route: {receiver: hook, group_by: [alertname, fleet], group_wait: 3s, group_interval: 3s, repeat_interval: 1h}
receivers: [{name: hook, webhook_configs: [{url: %q, send_resolved: true}]}]
`, receiver.URL))
	port := f.Port()
	f.Start(port, program, "--config.file="+config, "--storage.path="+f.Dir, "--cluster.listen-address=", fmt.Sprintf("--web.listen-address=127.0.0.1:%d", port))
	return fmt.Sprintf("http://127.0.0.1:%d", port), messages
}

func awaitTold(t *testing.T, hook <-chan told, want string) time.Time {
	t.Helper()
	select {
	case got := <-hook:
		if got.what != want {
			t.Errorf("the receiver got %q, want %q", got.what, want)
		}
		return got.at
	case <-time.After(30 * time.Second):
		t.Fatalf("the receiver has not got %q", want)
		return time.Time{}
	}
}

// active are the alerts that fire, "page cloudflare LINK".
func active(t *testing.T, url string) (alerts []string) {
	t.Helper()
	resp, err := http.Get(url + "/api/v2/alerts")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var got []struct {
		Labels       map[string]string
		GeneratorURL string
		StartsAt     time.Time
		Status       struct{ State string }
	}
	if err := json.NewDecoder(resp.Body).Decode(&got); err != nil {
		t.Fatal(err)
	}
	for _, a := range got {
		if a.Status.State != "suppressed" {
			alerts = append(alerts, a.Labels["severity"]+" "+a.Labels["name"]+" "+a.GeneratorURL)
		}
	}
	slices.Sort(alerts)
	return alerts
}

func TestRealAlertmanager(t *testing.T) {
	t.Parallel()
	url, hook := realAlertmanager(t)
	a := alertmanager(t, io.Discard, url)
	incident := func(name string) alert.Incident {
		i := founding()
		i.Domain.Name = name
		i.Onset = time.Now() // Alertmanager waits for no group when an alert has begun before its group_wait
		i.OpenedAt, i.PagedAt = i.Onset, i.Onset
		return i
	}
	one, two := incident("cloudflare"), incident("fastly")
	two.Severity, two.PagedAt = alert.SeverityNotice, time.Time{}
	const link = "https://watch.example/incidents/1"
	send := func(i alert.Incident) {
		t.Helper()
		deliver(t, a, Message{Incident: &i, Link: link})
	}
	send(one)
	send(two)
	if d := cmp.Diff(active(t, url), []string{"notice fastly " + link, "page cloudflare " + link}); d != "" {
		t.Errorf("-got +want:\n%s", d)
	}
	awaitTold(t, hook, "firing: notice fastly firing, page cloudflare firing")

	two.Severity, two.PagedAt = alert.SeverityPage, time.Now() // the notice becomes a page, and nothing of it stays behind
	send(one)
	send(two)
	awaitTold(t, hook, "firing: notice fastly resolved, page cloudflare firing, page fastly firing")
	if d := cmp.Diff(active(t, url), []string{"page cloudflare " + link, "page fastly " + link}); d != "" {
		t.Errorf("-got +want:\n%s", d)
	}

	one.State, two.State = alert.StateResolved, alert.StateResolved
	send(one)
	send(two)
	start := time.Now()
	took := awaitTold(t, hook, "resolved: notice fastly resolved, page cloudflare resolved, page fastly resolved").Sub(start)
	t.Logf("told as resolved %v after it was delivered as that", took.Round(time.Millisecond))
	if took > 10*time.Second {
		t.Errorf("it took %v with a group_interval of 3 s", took)
	}
	if left := active(t, url); len(left) > 0 {
		t.Errorf("still firing: %q", left)
	}
}

func TestRealAlertmanagerRefuses(t *testing.T) {
	t.Parallel()
	url, _ := realAlertmanager(t)
	var log bytes.Buffer
	all, err := newAlertmanagers([]string{url}, "", zerolog.New(&log))
	if err != nil {
		t.Fatal(err)
	}
	err = all.post(t.Context(), amAlert{Labels: map[string]string{}, EndsAt: time.Now()})
	if outcomeOf(err) != OutcomeRefused || !strings.Contains(err.Error(), "at least one label pair required") {
		t.Errorf("got %v", err)
	}
	err = all.post(t.Context(), newAMAlert(map[string]string{"alertname": "x", "name": "界\xff\n"}, map[string]string{"link": "no"}, time.Now().Add(time.Hour), time.Now(), "no link"))
	if err != nil {
		t.Errorf("got %v", err)
	}
}

// When a Heartbeat stops, the real one tells so by itself.
func TestRealAlertmanagerMissesTheWatchdog(t *testing.T) {
	t.Parallel()
	url, hook := realAlertmanager(t)
	c := heartbeatConfig(io.Discard)
	c.Every = time.Second
	h, err := NewWatchdog(c, []string{url}, "", "main")
	if err != nil {
		t.Fatal(err)
	}
	var stalled atomic.Bool
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		h.Run(ctx, func() error {
			if stalled.Load() {
				return errors.New("the schedule stands still")
			}
			return nil
		})
	})
	defer wg.Wait()
	defer cancel()
	awaitTold(t, hook, "firing: none outside firing")
	stalled.Store(true)
	start := time.Now()
	took := awaitTold(t, hook, "resolved: none outside resolved").Sub(start)
	t.Logf("told %v after the heartbeat, one a second, stopped", took.Round(time.Millisecond))
}
