package main

import (
	"strings"
	"testing"
	"time"
)

func TestClockwatch(t *testing.T) {
	noon := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for _, x := range []struct {
		name         string
		wall, steady time.Duration
		want         string
	}{
		{"a turn", time.Second, time.Second, ""},
		{"a busy machine", 9 * time.Second, 9 * time.Second, ""},
		{"NTP slews", time.Second + 300*time.Millisecond, time.Second, ""},
		{"set ahead", time.Hour, time.Second, "was set by 59m59s"},
		{"set back", -time.Hour, time.Second, "was set by -1h0m1s"},
		{"asleep", 8 * time.Hour, 2 * time.Second, "or the host slept"},
		{"stopped", time.Minute, time.Minute, "stood still for 1m0s"},
	} {
		var c clockwatch
		if got := c.jumped(noon, 5*time.Minute); got != "" {
			t.Errorf("%s: got %q of the first turn", x.name, got)
		}
		if got := c.jumped(noon.Add(x.wall), 5*time.Minute+x.steady); (got == "") != (x.want == "") || !strings.Contains(got, x.want) {
			t.Errorf("%s: got %q, want %q", x.name, got, x.want)
		}
		if got := c.jumped(noon.Add(x.wall+time.Second), 5*time.Minute+x.steady+time.Second); got != "" {
			t.Errorf("%s: got %q of the turn after it", x.name, got)
		}
	}
}
