package alert

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Weekly is a stretch of time that returns every week: on some days, from one time of day to another, which may lie on the
// next day. Days and times are those of a wall clock, so that one of 03:00 stays there when clocks change.
type Weekly struct {
	days     [7]bool // by time.Weekday
	from, to int     // minutes of the day; to <= from: on the next day
}

var dayNames = [...]string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

const minutesOfDay = 24 * 60

// ParseWeekly reads "sun 03:00-05:00", "mon-fri 22:00-06:00", "sat,sun" (the whole day) or "08:00-20:00" (every day).
func ParseWeekly(s string) (Weekly, error) {
	var w Weekly
	fields := strings.Fields(strings.ToLower(s))
	days, hours := "", ""
	for _, f := range fields {
		switch {
		case strings.Contains(f, ":") && hours == "":
			hours = f
		case days == "" && hours == "":
			days = f
		default:
			return Weekly{}, fmt.Errorf("%q is no weekly time; write days and hours, as in \"sun 03:00-05:00\"", s)
		}
	}
	if len(fields) == 0 {
		return Weekly{}, fmt.Errorf("it is empty; write days and hours, as in \"sun 03:00-05:00\"")
	}
	if err := w.readDays(days); err != nil {
		return Weekly{}, err
	}
	if err := w.readHours(hours); err != nil {
		return Weekly{}, err
	}
	return w, nil
}

func (w *Weekly) readDays(s string) error {
	if s == "" {
		s = "sun-sat"
	}
	for part := range strings.SplitSeq(s, ",") {
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			last = first
		}
		from, to := slices.Index(dayNames[:], first), slices.Index(dayNames[:], last)
		if from < 0 || to < 0 {
			return fmt.Errorf("%q is no day; write one of %s, as in \"mon-fri\" or \"sat,sun\"", part, strings.Join(dayNames[:], ", "))
		}
		for d := from; ; d = (d + 1) % 7 {
			w.days[d] = true
			if d == to {
				break
			}
		}
	}
	return nil
}

func (w *Weekly) readHours(s string) error {
	if s == "" {
		return nil // from 00:00 to 00:00 of the next day
	}
	first, last, ok := strings.Cut(s, "-")
	from, err1 := minuteOf(first)
	to, err2 := minuteOf(last)
	if !ok || err1 != nil || err2 != nil {
		return fmt.Errorf("%q is no time of day; write one as in \"03:00-05:00\"", s)
	}
	w.from, w.to = from, to%minutesOfDay
	return nil
}

// minuteOf reads "03:00"; "24:00" is the end of the day.
func minuteOf(s string) (int, error) {
	if s == "24:00" {
		return minutesOfDay, nil
	}
	t, err := time.Parse("15:04", s)
	return t.Hour()*60 + t.Minute(), err
}

// MarshalText writes w so that ParseWeekly reads it.
func (w Weekly) MarshalText() ([]byte, error) {
	var days []string
	for d, name := range dayNames {
		if w.days[d] {
			days = append(days, name)
		}
	}
	return fmt.Appendf(nil, "%s %02d:%02d-%02d:%02d", strings.Join(days, ","), w.from/60, w.from%60, w.to/60, w.to%60), nil
}

// UnmarshalText is ParseWeekly.
func (w *Weekly) UnmarshalText(b []byte) (err error) {
	*w, err = ParseWeekly(string(b))
	return err
}

// span is the stretch that begins on the day that is off days after that of t, in t's zone.
func (w *Weekly) span(t time.Time, off int) (from, to time.Time, ok bool) {
	y, m, d := t.Date()
	from = time.Date(y, m, d+off, 0, w.from, 0, 0, t.Location())
	day := time.Date(y, m, d+off, 12, 0, 0, 0, t.Location()).Weekday() // the day's name, whatever clocks do at night
	over := 0
	if w.to <= w.from {
		over = 1
	}
	return from, time.Date(y, m, d+off+over, 0, w.to, 0, 0, t.Location()), w.days[day]
}

// Covers tells whether t, in its zone, lies within w.
func (w *Weekly) Covers(t time.Time) bool {
	for off := -1; off <= 0; off++ {
		if from, to, ok := w.span(t, off); ok && !t.Before(from) && t.Before(to) {
			return true
		}
	}
	return false
}

// change is when w begins or ends next after t; zero = never.
func (w *Weekly) change(t time.Time) time.Time {
	var next time.Time
	for off := -1; off <= 7; off++ {
		from, to, ok := w.span(t, off)
		if !ok {
			continue
		}
		for _, at := range [...]time.Time{from, to} {
			if at.After(t) {
				next = earlier(next, at)
			}
		}
	}
	return next
}

// earlier is the first of two times of which one may be zero: none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
