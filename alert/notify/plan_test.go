package notify

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"faultline/alert"
)

var t0 = time.Date(2019, 7, 2, 13, 43, 0, 0, time.UTC)

func page(id string, rev uint64) alert.Incident {
	return alert.Incident{
		ID: id, Key: "faultline/main/cdn/" + id, Rev: rev, Domain: alert.Domain{Kind: "cdn", Name: id},
		State: alert.StateOpen, Severity: alert.SeverityPage, Onset: t0, OpenedAt: t0,
	}
}

func over(i alert.Incident) alert.Incident {
	i.Rev++
	i.State, i.RecoveringAt, i.ResolvedAt = alert.StateResolved, t0.Add(time.Minute), t0.Add(2*time.Minute)
	return i
}

func minor(i alert.Incident) alert.Incident {
	i.Severity = alert.SeverityNotice
	return i
}

func TestPlan(t *testing.T) {
	route := Router{Channels: []NamedChannel{{Name: "pager"}, {Name: "log", Notices: true}}}
	since := func(string) time.Time { return t0 }
	f := func(changed alert.Incident, have, want []Delivery) {
		t.Helper()
		got := Plan([]alert.Incident{changed}, since, route.Of, have)
		if d := cmp.Diff(got, want, cmpopts.EquateEmpty()); d != "" {
			t.Errorf("-got +want:\n%s", d)
		}
	}
	pager, log := Delivery{Incident: "a", Channel: "pager", Want: 1, Since: t0}, Delivery{Incident: "a", Channel: "log", Want: 1, Since: t0}
	f(page("a", 1), nil, []Delivery{pager, log})
	f(minor(page("a", 1)), nil, []Delivery{log})
	f(page("a", 1), []Delivery{pager, log}, nil) // told again, nothing new

	acked := Delivery{Incident: "a", Channel: "pager", Want: 1, Acked: 1, Paged: true}
	wanted, log2 := acked, log
	wanted.Want, wanted.Since, log2.Want = 2, t0, 2
	f(page("a", 2), []Delivery{acked}, []Delivery{wanted, log2})
	f(minor(page("a", 2)), []Delivery{acked}, []Delivery{wanted, log2}) // it has the page: it hears the end
	f(page("a", 2), []Delivery{{Incident: "b", Channel: "pager", Want: 7}, log, acked}, []Delivery{log2, wanted})

	// A new revision is a new attempt for one that was refused, but not for one that is in backoff.
	f(minor(page("a", 2)), []Delivery{{Incident: "a", Channel: "log", Want: 1, Gone: "422"}}, []Delivery{log2})
	backoff := Delivery{Incident: "a", Channel: "log", Want: 1, Tries: 3, NotBefore: t0}
	later := backoff
	later.Want = 2
	f(minor(page("a", 2)), []Delivery{backoff}, []Delivery{later})

	// It is over before anyone has heard of it.
	pager.Want = 2
	f(over(page("a", 1)), nil, []Delivery{pager, log2})

	// What was to be repeated is told with what is new.
	again := acked
	again.Repeat, again.Repeated = 3, 2
	f(page("a", 2), []Delivery{again, log2}, []Delivery{{Incident: "a", Channel: "pager", Want: 2, Acked: 1, Paged: true}})
}

func TestDue(t *testing.T) {
	f := func(ds []Delivery, want string, wantNext time.Time) {
		t.Helper()
		try, next := Due(t0, ds)
		got := ""
		for _, d := range try {
			got += d.Incident
		}
		if got != want || !next.Equal(wantNext) {
			t.Errorf("got %q, next %v, want %q, next %v", got, next, want, wantNext)
		}
	}
	never := time.Time{}
	f(nil, "", never)
	f([]Delivery{{Incident: "a", Want: 1}, {Incident: "b", Want: 2, Acked: 1}}, "ab", never)
	f([]Delivery{{Incident: "a", Want: 1, Acked: 1}, {Incident: "b", Want: 1, Gone: "400"}}, "", never)
	f([]Delivery{{Incident: "a", Want: 1, NotBefore: t0}}, "a", never)
	f([]Delivery{
		{Incident: "a", Want: 1, NotBefore: t0.Add(9)},
		{Incident: "b", Want: 1},
		{Incident: "c", Want: 1, NotBefore: t0.Add(5)},
		{Incident: "d", Want: 1, Acked: 1, NotBefore: t0.Add(1)},
	}, "b", t0.Add(5))
}

func TestAccepted(t *testing.T) {
	f := func(d Delivery, i alert.Incident, want Delivery) {
		t.Helper()
		want.Took, want.Since = t0, t0
		if got := Accepted(d, &Message{Incident: &i, Reminder: d.Repeat}, t0); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	f(Delivery{Want: 2, Tries: 4, NotBefore: t0, Note: "x"}, page("a", 2), Delivery{Want: 2, Acked: 2, Paged: true})
	f(Delivery{Want: 3}, minor(page("a", 2)), Delivery{Want: 3, Acked: 2})
	f(Delivery{Want: 3, Acked: 3, Paged: true}, minor(page("a", 2)), Delivery{Want: 3, Acked: 3, Paged: true})
	f(Delivery{Want: 3, Acked: 3, Paged: true, Repeat: 2, Repeated: 1}, page("a", 3), Delivery{Want: 3, Acked: 3, Paged: true, Repeat: 2, Repeated: 2})
	f(Delivery{Want: 3, Acked: 2, Paged: true}, takenOn(page("a", 3)), Delivery{Want: 3, Acked: 3, Paged: true, Knows: true})
}

func takenOn(i alert.Incident) alert.Incident {
	i.Ack = &alert.Ack{At: t0, By: "anna"}
	return i
}

func TestHush(t *testing.T) {
	f := func(d Delivery, i alert.Incident, by string, want Delivery) {
		t.Helper()
		if got := Hush(t0, d, &i, by); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	f(Delivery{Want: 1}, page("a", 1), "", Delivery{Want: 1})
	f(Delivery{Want: 1}, page("a", 1), "works", Delivery{Want: 1, Silenced: "works"})
	f(Delivery{Want: 1, Silenced: "works"}, page("a", 1), "", Delivery{Want: 1, Since: t0, Note: "until now it was silenced: works"})
	f(Delivery{Want: 1, Acked: 1, Silenced: "works"}, page("a", 1), "", Delivery{Want: 1, Acked: 1}) // nothing is held back
	f(Delivery{Want: 2, Acked: 1}, over(page("a", 1)), "works", Delivery{Want: 2, Acked: 1})         // who was told is told of the end
	f(Delivery{Want: 2}, over(page("a", 1)), "works", Delivery{Want: 2, Silenced: "works", Gone: "silenced to its end: works"})
}

func TestRepeat(t *testing.T) {
	c := NamedChannel{Remind: 10 * time.Minute}
	f := func(c NamedChannel, d Delivery, i alert.Incident, after time.Duration, wantRepeat int, wantNext time.Time) {
		t.Helper()
		d.Took = t0
		got, next := Repeat(t0.Add(after), d, &i, &c)
		if got.Repeat != wantRepeat || !next.Equal(wantNext) {
			t.Errorf("got %d repetitions, next %v, want %d, next %v", got.Repeat, next, wantRepeat, wantNext)
		}
	}
	never := time.Time{}
	told := Delivery{Want: 1, Acked: 1, Paged: true}
	f(c, told, page("a", 1), time.Minute, 0, t0.Add(10*time.Minute))
	f(c, told, page("a", 1), 10*time.Minute, 1, never)
	f(c, told, takenOn(page("a", 1)), time.Hour, 0, never)
	f(c, told, over(page("a", 1)), time.Hour, 0, never)
	f(c, told, minor(page("a", 1)), time.Hour, 0, never)
	f(c, Delivery{Want: 2, Acked: 1}, page("a", 2), time.Hour, 0, never) // there is something new to tell
	f(c, Delivery{Want: 1, Acked: 1, Gone: "400"}, page("a", 1), time.Hour, 0, never)
	f(c, Delivery{Want: 1, Acked: 1, Silenced: "works"}, page("a", 1), time.Hour, 0, never)
	f(c, Delivery{Want: 1, Acked: 1, Repeat: 4, Repeated: 4}, page("a", 1), time.Hour, 5, never)
	f(c, Delivery{Want: 1, Acked: 1, Repeat: 4, Repeated: 3}, page("a", 1), time.Hour, 4, never)
	f(NamedChannel{Resend: time.Minute}, told, takenOn(minor(page("a", 1))), time.Minute, 1, never)
	f(NamedChannel{Resend: time.Minute}, told, over(page("a", 1)), time.Minute, 0, never)
	f(NamedChannel{}, told, page("a", 1), time.Hour, 0, never)
}

func TestTakeover(t *testing.T) {
	c := NamedChannel{Name: "pager", Fallback: "mail", FallbackAfter: 2 * time.Minute}
	f := func(d Delivery, i alert.Incident, after time.Duration, want bool, wantNext time.Time) {
		t.Helper()
		d.Incident, d.Since = "a", t0
		got, ok, next := Takeover(t0.Add(after), d, &i, &c)
		if ok != want || !next.Equal(wantNext) {
			t.Errorf("got %v, next %v, want %v, next %v", ok, next, want, wantNext)
		}
		if ok && (got.Channel != "mail" || got.Incident != "a" || got.Want != i.Rev || got.Note == "") {
			t.Errorf("got %+v", got)
		}
	}
	never := time.Time{}
	f(Delivery{Want: 1}, page("a", 1), time.Minute, false, t0.Add(2*time.Minute))
	f(Delivery{Want: 1}, page("a", 1), 2*time.Minute, true, never)
	f(Delivery{Want: 1, Gone: "400"}, page("a", 1), 0, true, never)
	f(Delivery{Want: 1, Acked: 1, Paged: true}, page("a", 1), time.Hour, false, never)
	f(Delivery{Want: 1}, takenOn(page("a", 1)), time.Hour, false, never)
	f(Delivery{Want: 2}, over(page("a", 1)), time.Hour, false, never)
	f(Delivery{Want: 1}, minor(page("a", 1)), time.Hour, false, never)
	f(Delivery{Want: 1, Silenced: "works"}, page("a", 1), time.Hour, false, never)
	f(Delivery{Want: 2, Acked: 1}, page("a", 2), time.Hour, true, never) // it has heard of it as a notice only
}

func TestBucket(t *testing.T) {
	b := bucket{perMinute: 3}
	f := func(after, want time.Duration) {
		t.Helper()
		if got := b.take(t0.Add(after)).Sub(t0); got != want {
			t.Errorf("at %v: got %v, want %v", after, got, want)
		}
	}
	f(0, 0)
	f(0, 0)
	f(time.Second, time.Second)
	f(2*time.Second, 20*time.Second)
	f(19*time.Second, 20*time.Second)
	f(20*time.Second, 20*time.Second)
	f(20*time.Second, 40*time.Second)
	f(10*time.Minute, 10*time.Minute)
	b = bucket{}
	f(0, 0)
}

func TestFailed(t *testing.T) {
	b := Backoff{time.Second, 60 * time.Second}
	refused := errors.New("no")
	f := func(d Delivery, err error, jitter float64, want Delivery) {
		t.Helper()
		if got := Failed(d, 2, err, t0, b, jitter); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	in := func(tries int, after time.Duration) Delivery {
		return Delivery{Want: 2, Acked: 1, Tries: tries, NotBefore: t0.Add(after)}
	}
	f(in(0, 0), refused, 0.5, in(1, time.Second))
	f(in(1, 0), refused, 0.5, in(2, 2*time.Second))
	f(in(5, 0), refused, 0.5, in(6, 32*time.Second))
	f(in(6, 0), refused, 0.5, in(7, 60*time.Second))
	f(in(1e9, 0), refused, 0.5, in(1e9+1, 60*time.Second))
	f(in(0, 0), refused, 0, in(1, 800*time.Millisecond))
	f(in(6, 0), refused, 0, in(7, 48*time.Second))
	f(in(0, 0), wrapped(&RetryError{30 * time.Second, refused}), 0, in(1, 30*time.Second))
	f(in(0, 0), &RetryError{0, refused}, 0, in(1, time.Second))
	f(in(0, 0), &RetryError{24 * time.Hour, refused}, 0, in(1, 10*time.Minute))
	f(in(3, 0), wrapped(Permanent(refused)), 0, Delivery{Want: 2, Acked: 1, Gone: "posting: no"})
	f(Delivery{Want: 3, Acked: 1}, Permanent(refused), 0, Delivery{Want: 3, Acked: 1}) // of a revision that nobody wants any more
	if !errors.Is(Permanent(refused), refused) {
		t.Error("Permanent hides its error")
	}
}

func wrapped(err error) error { return fmt.Errorf("posting: %w", err) }

func TestEvent(t *testing.T) {
	f := func(i alert.Incident, first bool, want Event) {
		t.Helper()
		if got := (&Message{Incident: &i, First: first}).Event(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	recovering := page("a", 3)
	recovering.State = alert.StateRecovering
	f(page("a", 1), true, EventPage)
	f(page("a", 4), true, EventPage)
	f(page("a", 2), false, EventUpdate)
	f(recovering, false, EventRecovering)
	i := takenOn(page("a", 2))
	for want, m := range map[Event]Message{
		EventAcknowledged: {Incident: &i, Acked: true, Reminder: 1}, EventReminder: {Incident: &i, Reminder: 1}, EventPage: {Incident: &i, Acked: true, First: true},
	} {
		if got := m.Event(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	f(recovering, true, EventPage)
	f(over(page("a", 1)), true, EventResolved)
	f(over(page("a", 1)), false, EventResolved)
	f(minor(page("a", 1)), true, EventNotice)
	f(minor(page("a", 2)), false, EventUpdate)
	if got := (&Message{Notices: []alert.Notice{{}}}).Event(); got != EventNotice {
		t.Errorf("got %q, want notice", got)
	}
	if got := (&Message{Notices: []alert.Notice{{}}, Test: true}).Event(); got != EventTest {
		t.Errorf("got %q, want test", got)
	}
}
