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
	routes := []Route{{Channel: "pager"}, {Channel: "log", Notices: true}}
	f := func(changed alert.Incident, have, want []Delivery) {
		t.Helper()
		got := Plan([]alert.Incident{changed}, routes, have)
		if d := cmp.Diff(got, want, cmpopts.EquateEmpty()); d != "" {
			t.Errorf("-got +want:\n%s", d)
		}
	}
	pager, log := Delivery{Incident: "a", Channel: "pager", Want: 1}, Delivery{Incident: "a", Channel: "log", Want: 1}
	f(page("a", 1), nil, []Delivery{pager, log})
	f(minor(page("a", 1)), nil, []Delivery{log})
	f(page("a", 1), []Delivery{pager, log}, nil) // told again, nothing new

	acked := Delivery{Incident: "a", Channel: "pager", Want: 1, Acked: 1, Paged: true}
	wanted := acked
	wanted.Want = 2
	f(page("a", 2), []Delivery{acked}, []Delivery{wanted, {Incident: "a", Channel: "log", Want: 2}})
	f(minor(page("a", 2)), []Delivery{acked}, []Delivery{wanted, {Incident: "a", Channel: "log", Want: 2}}) // it has the page: it hears the end
	f(page("a", 2), []Delivery{{Incident: "b", Channel: "pager", Want: 7}, log, acked},
		[]Delivery{wanted, {Incident: "a", Channel: "log", Want: 2}})

	// A new revision is a new attempt for one that was refused, but not for one that is in backoff.
	f(minor(page("a", 2)), []Delivery{{Incident: "a", Channel: "log", Want: 1, Gone: "422"}}, []Delivery{{Incident: "a", Channel: "log", Want: 2}})
	backoff := Delivery{Incident: "a", Channel: "log", Want: 1, Tries: 3, NotBefore: t0}
	later := backoff
	later.Want = 2
	f(minor(page("a", 2)), []Delivery{backoff}, []Delivery{later})

	// It is over before anyone has heard of it.
	f(over(page("a", 1)), nil, []Delivery{{Incident: "a", Channel: "pager", Want: 2}, {Incident: "a", Channel: "log", Want: 2}})
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
	f := func(d Delivery, rev uint64, s alert.Severity, want Delivery) {
		t.Helper()
		if got := Accepted(d, rev, s); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	f(Delivery{Want: 2, Tries: 4, NotBefore: t0}, 2, alert.SeverityPage, Delivery{Want: 2, Acked: 2, Paged: true})
	f(Delivery{Want: 3}, 2, alert.SeverityNotice, Delivery{Want: 3, Acked: 2})
	f(Delivery{Want: 3, Acked: 3, Paged: true}, 2, alert.SeverityNotice, Delivery{Want: 3, Acked: 3, Paged: true})
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
