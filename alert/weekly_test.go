package alert

import (
	"strings"
	"testing"
	"time"
)

func weekly(t *testing.T, s string) Weekly {
	t.Helper()
	w, err := ParseWeekly(s)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestWeeklyCovers(t *testing.T) {
	f := func(w, at string, want bool) {
		t.Helper()
		tm, err := time.Parse("2006-01-02 15:04:05", at)
		if err != nil {
			t.Fatal(err)
		}
		x := weekly(t, w)
		if got := x.Covers(tm); got != want {
			t.Errorf("%q at %s (%s): got %v, want %v", w, at, tm.Weekday(), got, want)
		}
	}
	f("sun 03:00-05:00", "2026-03-01 02:59:59", false) // a Sunday
	f("sun 03:00-05:00", "2026-03-01 03:00:00", true)
	f("sun 03:00-05:00", "2026-03-01 04:59:59", true)
	f("sun 03:00-05:00", "2026-03-01 05:00:00", false)
	f("sun 03:00-05:00", "2026-03-02 03:00:00", false)
	f("sat 23:00-03:00", "2026-03-01 02:59:59", true) // into Sunday
	f("sat 23:00-03:00", "2026-03-01 23:00:00", false)
	f("mon-fri 08:00-20:00", "2026-03-06 12:00:00", true)
	f("mon-fri 08:00-20:00", "2026-03-07 12:00:00", false)
	f("fri-mon", "2026-03-07 12:00:00", true)
	f("fri-mon", "2026-03-09 23:59:59", true)
	f("fri-mon", "2026-03-10 00:00:00", false)
	f("sat,sun", "2026-03-08 00:00:00", true)
	f("08:00-20:00", "2026-03-08 08:00:00", true)
	f("20:00-24:00", "2026-03-08 23:59:59", true)
	f("20:00-24:00", "2026-03-08 00:00:00", false)
	f("00:00-00:00", "2026-03-08 11:00:00", true)
}

// Where clocks are changed, a window stays at its time of day, and the hour that does not exist ends nothing for good.
func TestWeeklyWhereClocksChange(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	f := func(w string, day int, month time.Month, wantFrom, wantTo string) {
		t.Helper()
		x, noon := weekly(t, w), time.Date(2026, month, day-1, 12, 0, 0, 0, berlin)
		from := x.change(noon)
		to := x.change(from)
		if got := from.UTC().Format("15:04"); got != wantFrom {
			t.Errorf("%q begins at %s UTC, want %s", w, got, wantFrom)
		}
		if got := to.UTC().Format("15:04"); got != wantTo {
			t.Errorf("%q ends at %s UTC, want %s", w, got, wantTo)
		}
		if !x.Covers(from) || x.Covers(from.Add(-time.Second)) || !x.Covers(to.Add(-time.Second)) || x.Covers(to) {
			t.Errorf("%q: what it covers is not from %v to %v", w, from, to)
		}
	}
	f("sun 04:00-05:00", 29, time.March, "02:00", "03:00") // summer time since 01:00 UTC
	f("sun 01:00-05:00", 29, time.March, "00:00", "03:00")
	f("sun 02:30-05:00", 29, time.March, "01:30", "03:00") // there is no 02:30
	f("sun 01:00-05:00", 25, time.October, "23:00", "04:00")
	f("sat 22:00-04:00", 28, time.March, "21:00", "02:00")
}

func TestWeeklyChange(t *testing.T) {
	x, at := weekly(t, "mon 00:00-24:00"), time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC) // the Monday
	if got := x.change(at.Add(-7 * 24 * time.Hour)); !got.Equal(at.Add(-6 * 24 * time.Hour)) {
		t.Errorf("got %v, want the Tuesday", got)
	}
	if got := x.change(at.Add(24 * time.Hour)); !got.Equal(at.Add(7 * 24 * time.Hour)) {
		t.Errorf("got %v, want the next Monday", got)
	}
}

func TestParseWeekly(t *testing.T) {
	f := func(in, want string) {
		t.Helper()
		b, err := weekly(t, in).MarshalText()
		if err != nil || string(b) != want {
			t.Errorf("%q: got %q, %v, want %q", in, b, err, want)
		}
		var again Weekly
		if err := again.UnmarshalText(b); err != nil || again != weekly(t, in) {
			t.Errorf("%q cannot be read again: %v", b, err)
		}
	}
	f("sun 03:00-05:00", "sun 03:00-05:00")
	f(" SAT-Mon  22:30-24:00 ", "sun,mon,sat 22:30-00:00")
	f("wed", "wed 00:00-00:00")

	bad := func(in, want string) {
		t.Helper()
		if _, err := ParseWeekly(in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want an error with %q", in, err, want)
		}
	}
	bad("", "it is empty")
	bad("sonntag 03:00-05:00", "is no day")
	bad("sun 3-5", "is no weekly time")
	bad("sun 03:00", "is no time of day")
	bad("sun 03:00-25:00", "is no time of day")
	bad("03:00-05:00 sun", "is no weekly time")
}
