package main

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// lookedAt is how often a site was seen as well, and by how large a part, as the API tells it.
func lookedAt(t *testing.T, socket, site string) (ok int, uptime float64) {
	t.Helper()
	status, text := control(t, socket, http.MethodGet, "/api/v1/sites/"+url.PathEscape(site)+"/uptime")
	var list struct {
		Items []struct {
			OK     int
			Uptime float64
		}
	}
	if err := json.Unmarshal([]byte(text), &list); status != http.StatusOK || err != nil || len(list.Items) != 4 {
		t.Fatalf("got status %d, %v: %s", status, err, text)
	}
	return list.Items[0].OK, list.Items[0].Uptime
}

// What was counted before a restart is there after it, and what comes then is added to it. A reload loses nothing.
func TestHistoryOverARestart(t *testing.T) {
	p := newPlay(t, strings.Replace(outage, "at_s = 0", "at_s = 9000", 1), 10)
	site := p.net.World.Sites[0].Name
	before := 0
	for range 2 {
		c := startChild(t, nil, "run", "--config", p.config, "--speed", "10")
		eventually(t, 20*time.Second, "the daemon to be ready", func() bool {
			status, _ := control(t, p.socket(), http.MethodGet, "/-/ready")
			return status == http.StatusOK
		})
		if ok, _ := lookedAt(t, p.socket(), site); ok != before {
			t.Errorf("got %d looks after the start, want the %d of before", ok, before)
		}
		probes := func() float64 { return metric(t, p.socket(), "faultline_probe_results_total") }
		eventually(t, 30*time.Second, "some looks at each site", func() bool { return probes() > 5*50*3 })
		if status, text := control(t, p.socket(), http.MethodPost, "/-/reload"); status != http.StatusOK {
			t.Errorf("the reload: got %d, %s", status, text)
		}
		c.stop()

		c = startChild(t, nil, "run", "--config", p.config, "--speed", "10")
		eventually(t, 20*time.Second, "the daemon to be ready", func() bool {
			status, _ := control(t, p.socket(), http.MethodGet, "/-/ready")
			return status == http.StatusOK
		})
		ok, uptime := lookedAt(t, p.socket(), site)
		if ok < before+5 || uptime != 1 {
			t.Errorf("got %d looks and an uptime of %v, want more than the %d of before, and 1", ok, uptime, before)
		}
		before = ok
		c.kill() // at once: what it has counted so far may be lost
	}
}
