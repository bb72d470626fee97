package main

import (
	"os/exec"
	"strings"
	"testing"
)

// TestArrows holds the way of the data: cmd -> internal/* -> alert -> probe <- probe/cdn, and nothing back.
func TestArrows(t *testing.T) {
	deps := func(pkg string) []string {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "faultline/"+pkg).Output()
		if err != nil {
			t.Fatalf("listing what %s imports: %v", pkg, err)
		}
		return strings.Fields(string(out))
	}
	never := func(pkg, why string, forbidden ...string) {
		t.Helper()
		for _, dep := range deps(pkg) {
			for _, f := range forbidden {
				if dep != "faultline/"+pkg && (dep == f || strings.HasPrefix(dep, f+"/")) {
					t.Errorf("%s imports %s: %s", pkg, dep, why)
				}
			}
		}
	}
	const metrics, nats = "github.com/prometheus", "github.com/nats-io"
	never("probe", "a result is data, and knows neither who judges it nor who hears of it", "faultline/alert", "faultline/probe/cdn", "faultline/internal", metrics, nats)
	never("probe/cdn", "whose failure an answer is depends on the answer alone", "faultline/alert", "faultline/internal", metrics, nats)
	never("alert", "deciding is pure: no server, no socket, no registry, no CDN's name", "faultline/probe/cdn", "faultline/internal", "faultline/alert/notify", metrics, nats)
	never("alert/notify", "channels stand alone, so that one can be read and added by itself", "faultline/probe/cdn", "faultline/internal", metrics, nats)
	never("alert/history", "counting is pure: what it is told, and when, is all it knows", "faultline/alert", "faultline/probe/cdn", "faultline/internal", metrics, nats)

	never("internal/report", "a report tells what it is given, and asks nobody", "faultline/probe/cdn", metrics, nats)

	rooms := []string{"asn", "config", "record", "report", "store", "web", "simnet", "virtual"}
	for _, room := range rooms {
		for _, dep := range deps("internal/" + room) {
			if rest, ok := strings.CutPrefix(dep, "faultline/internal/"); ok && rest != room {
				t.Errorf("internal/%s imports %s: rooms meet in cmd alone", room, dep)
			}
			if dep == "faultline/cmd/faultline" {
				t.Errorf("internal/%s imports a command", room)
			}
		}
	}
}
