package main

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"faultline/alert"
)

// Planned work keeps quiet and hides nothing; what still fails when it ends is told, and taken on by someone.
func TestSilenceAndAck(t *testing.T) {
	p := newPlay(t, strings.Replace(outage, "at_s = 300", "at_s = 150", 1), 6, "[alert]", "[alert]\nresolve_after = \"1m\"")
	startInstalled(t, nil, nil, "run", "--config", p.config, "--speed", "6")
	eventually(t, 10*time.Second, "the daemon to answer", func() bool {
		status, _ := control(t, p.socket(), http.MethodGet, "/-/ready")
		return status == http.StatusOK
	})
	add := `{"match": {"domain": ["cdn:cloudflare"]}, "for": "1h", "comment": "new edge", "by": "anna"}`
	status, text := controlBody(t, p.socket(), http.MethodPost, "/api/v1/silences", add)
	var silence listedSilence
	if err := json.Unmarshal([]byte(text), &silence); status != http.StatusOK || err != nil || silence.State != "active" {
		t.Fatalf("got %d: %s", status, text)
	}
	p.begin()
	var open alert.Incident
	eventually(t, 60*time.Second, "the incident", func() bool {
		_, text := control(t, p.socket(), http.MethodGet, "/api/v1/incidents?state=open")
		var page struct {
			Items []struct {
				alert.Incident
				SilencedBy []string `json:"silenced_by"`
			} `json:"items"`
		}
		if err := json.Unmarshal([]byte(text), &page); err != nil || len(page.Items) == 0 {
			return false
		}
		open = page.Items[0].Incident
		return len(page.Items[0].SilencedBy) == 1 && page.Items[0].SilencedBy[0] == silence.ID
	})
	if got := p.hooks(t, "page"); len(got) != 0 {
		t.Errorf("a silence lets a page through: %+v", got)
	}
	if status, text := controlBody(t, p.socket(), http.MethodDelete, "/api/v1/silences/"+silence.ID, ""); status != http.StatusOK {
		t.Fatalf("got %d: %s", status, text)
	}
	eventually(t, 10*time.Second, "the page", func() bool { return len(p.hooks(t, "page")) == 1 })
	if got := p.hooks(t, "page")[0].Text; !strings.Contains(got, "until now it was silenced: new edge") {
		t.Errorf("the page does not say that it was silenced:\n%s", got)
	}
	if status, text := controlBody(t, p.socket(), http.MethodPost, "/api/v1/incidents/"+open.ID+"/ack", `{"by": "ben", "comment": "on it"}`); status != http.StatusOK {
		t.Fatalf("got %d: %s", status, text)
	}
	eventually(t, 10*time.Second, "the acknowledgement", func() bool { return len(p.hooks(t, "acknowledged")) == 1 })
	if got := p.hooks(t, "acknowledged")[0].Incident.Ack; got == nil || !strings.HasPrefix(got.By, "ben") || got.Comment != "on it" {
		t.Errorf("got %+v", got)
	}
	eventually(t, 120*time.Second, "the end", func() bool { return len(p.hooks(t, "resolved")) == 1 })
	for _, want := range []string{`"deliveries":[{`, `"event":"page","outcome":"accepted"`, `"event":"acknowledged"`, `"event":"resolved"`, `"course":[{`} {
		eventually(t, 10*time.Second, "the incident to say "+want, func() bool {
			_, text := control(t, p.socket(), http.MethodGet, "/api/v1/incidents/"+open.ID)
			return strings.Contains(text, want)
		})
	}
}
