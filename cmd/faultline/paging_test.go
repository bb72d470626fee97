package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"faultline/alert"
	"faultline/alert/notify"
	"faultline/internal/config"
)

// What the config says is what PagerDuty and Alertmanager get.
func TestPagingChannels(t *testing.T) {
	bodies := make(chan any, 2)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var b any
		if err := json.NewDecoder(r.Body).Decode(&b); err != nil {
			t.Error(err)
		}
		bodies <- b
		w.WriteHeader(http.StatusAccepted)
	}))
	defer s.Close()
	c := &config.Config{Policy: alert.Policy{Fleet: "east"}, Channels: []config.Channel{
		{Name: "pd", Kind: "pagerduty", PagerDuty: &config.PagerDuty{URL: s.URL, RoutingKey: "k3y"}},
		{Name: "am", Kind: "alertmanager", Notices: true, Alertmanager: &config.Alertmanager{URLs: []string{s.URL}, Resend: time.Minute}},
	}}
	channels, err := notifyChannels(c, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	i := alert.Incident{ID: "1", Key: "faultline/east/cdn/x", Domain: alert.Domain{Kind: "cdn", Name: "x"}, Severity: alert.SeverityPage, Onset: time.Now()}
	for _, ch := range channels {
		if err := ch.Channel.Deliver(t.Context(), notify.Message{Incident: &i, First: true}); err != nil {
			t.Fatal(err)
		}
	}
	event := (<-bodies).(map[string]any)
	if event["routing_key"] != "k3y" || event["dedup_key"] != i.Key || event["payload"].(map[string]any)["group"] != "east" {
		t.Errorf("PagerDuty got %v", event)
	}
	got := (<-bodies).([]any)[0].(map[string]any)["labels"]
	want := map[string]any{"alertname": "FaultlineIncident", "fleet": "east", "kind": "cdn", "name": "x", "severity": "page"}
	if d := cmp.Diff(got, any(want)); d != "" {
		t.Errorf("labels: -got +want:\n%s", d)
	}
	c.Channels = []config.Channel{{Name: "am", Kind: "alertmanager", Alertmanager: &config.Alertmanager{}}}
	if _, err := notifyChannels(c, zerolog.Nop()); err == nil {
		t.Error("an Alertmanager without a URL was taken")
	}
}
