package history

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestUptime(t *testing.T) {
	f := func(c Counts, want string) {
		t.Helper()
		got := "absent"
		if u := c.uptime(); u != nil {
			got = time.Duration(*u * float64(time.Second)).String()
		}
		if got != want {
			t.Errorf("%+v: got %s, want %s", c, got, want)
		}
	}
	f(Counts{}, "absent")
	f(Counts{Blocked: 5, None: 3}, "absent")
	f(Counts{OK: 3, Failed: 1, Blocked: 5, None: 3}, "750ms")
	f(Counts{Failed: 1}, "0s")
	f(Counts{OK: 1 << 31, Failed: 1 << 31}, "500ms")
}

func TestStep(t *testing.T) {
	f := func(s Step, at, want string) {
		t.Helper()
		x, err := time.Parse(time.RFC3339, at)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Start(s.Of(x)).Format(time.RFC3339); got != want {
			t.Errorf("%s: got %s, want %s", at, got, want)
		}
	}
	f(Slot, "2026-07-02T13:04:59Z", "2026-07-02T13:00:00Z")
	f(Slot, "2026-07-02T13:05:00Z", "2026-07-02T13:05:00Z")
	f(Day, "2026-03-29T23:59:59Z", "2026-03-29T00:00:00Z")
	f(Day, "2026-03-30T00:30:00+02:00", "2026-03-29T00:00:00Z") // the day on which Europe's clocks are put forward
	f(Day, "2026-10-25T23:30:00+01:00", "2026-10-25T00:00:00Z") // and back
}

func TestClip(t *testing.T) {
	now := t0.Add(2 * time.Minute)
	at := func(d time.Duration) time.Time { return t0.Add(d) }
	f := func(since, until time.Time, from, to time.Duration) {
		t.Helper()
		a, b := Slot.Clip(now, since, until)
		got := [2]time.Duration{Slot.Start(a).Sub(t0), Slot.Start(b).Sub(t0)}
		if want := [2]time.Duration{from, to}; a != b && got != want || a == b && from != to {
			t.Errorf("%v to %v: got %v, want %v", since, until, got, want)
		}
	}
	never := time.Time{}
	f(never, never, -48*time.Hour, 5*time.Minute)
	f(at(-time.Hour), never, -time.Hour, 5*time.Minute)
	f(at(-58*time.Minute), at(-30*time.Minute), -time.Hour, -30*time.Minute)
	f(at(-58*time.Minute), at(-29*time.Minute), -time.Hour, -25*time.Minute)
	f(time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC), -48*time.Hour, 5*time.Minute)
	f(time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC), never, 0, 0)
	f(never, time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC), 0, 0)
	f(at(-30*time.Minute), at(-58*time.Minute), 0, 0)
	if a, b := Day.Clip(now, never, never); b-a != 401 || Day.Start(b-1) != t0.Truncate(24*time.Hour) {
		t.Errorf("got days from %v to %v", Day.Start(a), Day.Start(b))
	}
}

func TestFill(t *testing.T) {
	one := Counts{OK: 1}
	got := Fill(10, 14, []Item{{N: 9, Counts: one}, {N: 11, Counts: one}, {N: 14, Counts: one}})
	if d := cmp.Diff(got, []Item{{N: 10}, {N: 11, Counts: one}, {N: 12}, {N: 13}}); d != "" {
		t.Errorf("-got +want:\n%s", d)
	}
	if got := Fill(10, 10, nil); got == nil || len(got) != 0 {
		t.Errorf("got %v, want none", got)
	}
}

func TestFigures(t *testing.T) {
	now := t0.Add(4 * time.Minute)
	slot, day := Slot.Of(now), Day.Of(now)
	slots := []Item{
		{N: slot - 288, Seen: 1, Counts: Counts{Failed: 9}}, // too old
		{N: slot - 287, Seen: 1, Counts: Counts{OK: 3, Failed: 1}},
		{N: slot, Counts: Counts{Blocked: 2, None: 4}},
		{N: slot + 1, Seen: 1, Counts: Counts{Failed: 9}}, // the clock was ahead
	}
	days := []Item{
		{N: day - 365, Seen: 288, Counts: Counts{Failed: 9}},
		{N: day - 364, Seen: 288, Counts: Counts{OK: 100, Failed: 100}},
		{N: day - 29, Seen: 144, Counts: Counts{OK: 100}},
		{N: day, Counts: Counts{Blocked: 1}},
	}
	got := Figures(now, slots, days)
	whole, half, most := 1.0, 0.75, 200.0/300
	ago := func(d int) time.Time { return t0.Truncate(24*time.Hour).AddDate(0, 0, -d) }
	share := func(seen float64, d int) float64 { return seen / (float64(d)*288 + 13*12 + 1) }
	want := []Figure{
		{Over: "24h", Since: t0.Add(-24*time.Hour + 5*time.Minute), Uptime: &half, Seen: 1.0 / 288, Counts: Counts{OK: 3, Failed: 1, Blocked: 2, None: 4}},
		{Over: "7d", Since: ago(6), Counts: Counts{Blocked: 1}},
		{Over: "30d", Since: ago(29), Uptime: &whole, Seen: share(144, 29), Counts: Counts{OK: 100, Blocked: 1}},
		{Over: "365d", Since: ago(364), Uptime: &most, Seen: share(432, 364), Counts: Counts{OK: 200, Failed: 100, Blocked: 1}},
	}
	if d := cmp.Diff(got, want); d != "" {
		t.Errorf("-got +want:\n%s", d)
	}
	for _, f := range Figures(now, nil, nil) {
		if f.Uptime != nil || f.Seen != 0 {
			t.Errorf("got %+v of a site that was never seen", f)
		}
	}
	// The slot that has just begun cannot have been counted yet.
	if got := SeenShare(288, t0.Add(-24*time.Hour), t0.Add(time.Minute)); got != 1 {
		t.Errorf("got %v seen, want all", got)
	}
}
