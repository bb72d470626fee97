package notify

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"faultline/alert"
	"faultline/probe"
)

// A page is repeated until someone takes it on, and the end is told.
func TestReminders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, book := &fakeChannel{}, &fakeBook{}
		named := NamedChannel{Name: "c", Channel: c, Remind: 10 * time.Minute}
		d, stop := running(t, Config{Book: book, Channels: []NamedChannel{named}}, nil, nil)
		tell(d, page("a", 1))
		after(25 * time.Minute)
		stop()
		incidents, ds, _ := book.Load(t.Context())
		d, stop = running(t, Config{Book: book, Channels: []NamedChannel{named}}, incidents, ds) // it counts on over a restart
		after(6 * time.Minute)
		tell(d, takenOn(page("a", 2)))
		after(time.Hour)
		tell(d, over(takenOn(page("a", 2))))
		after(time.Second)
		c.check(t, "page a.1", "reminder a.1", "reminder a.1", "reminder a.1", "acknowledged a.2", "resolved a.3")
		stop()
	})
}

// What a channel must have again and again, as Alertmanager must, it gets until the end, whoever has taken it on.
func TestResend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &fakeChannel{}
		d, stop := running(t, Config{Book: &fakeBook{}, Channels: []NamedChannel{{Name: "c", Channel: c, Notices: true, Resend: time.Minute}}}, nil, nil)
		tell(d, takenOn(minor(page("a", 1))))
		after(time.Minute)
		d.SetSilences(silencing(0, time.Hour, alert.Match{"domain": {"*"}})) // it would take it to be over if it heard no more
		after(2*time.Minute + time.Second)
		tell(d, over(takenOn(minor(page("a", 1)))))
		after(time.Hour)
		c.check(t, "notice a.1", "reminder a.1", "reminder a.1", "reminder a.1", "resolved a.2")
		stop()
	})
}

func TestFallback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		away := &fakeChannel{answer: func(context.Context, int) error {
			if time.Since(start) < 10*time.Minute {
				return errors.New("connection refused")
			}
			return nil
		}}
		other := &fakeChannel{}
		d, stop := running(t, Config{Book: &fakeBook{}, Routes: []Route{{Channels: []string{"away"}, Zone: time.UTC}}, Channels: []NamedChannel{
			{Name: "away", Channel: away, Fallback: "other", FallbackAfter: 2 * time.Minute}, {Name: "other", Channel: other},
		}}, nil, nil)
		tell(d, page("a", 1))
		after(2*time.Minute - time.Nanosecond)
		other.check(t)
		after(time.Nanosecond)
		other.check(t, "page a.1")
		if got := other.messages[0].Notes; len(got) != 1 || !strings.Contains(got[0], "away") {
			t.Errorf("the fallback's page says %q", got)
		}
		tell(d, page("b", 1), takenOn(page("b", 2))) // someone knows already
		after(10 * time.Minute)
		tell(d, over(page("a", 1)))
		after(time.Second)
		other.check(t, "page a.1", "resolved a.2")
		slices.Sort(away.took)
		away.check(t, "page a.1", "page b.2", "resolved a.2")
		stop()
	})
}

func silencing(from, till time.Duration, m alert.Match) *alert.Silences {
	now := time.Now()
	return alert.NewSilences([]alert.Silence{{ID: "s", Match: m, From: now.Add(from), Till: now.Add(till), Comment: "new cables"}},
		func(string) *probe.Site { return nil })
}

func failing(i alert.Incident, sites ...string) alert.Incident {
	i.Failing.Sites = len(sites)
	for _, s := range sites {
		i.Members = append(i.Members, alert.Member{Site: s, Vantages: []string{"v1"}, Now: true})
	}
	return i
}

func TestSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, book := &fakeChannel{}, &fakeBook{}
		outcomes := map[Outcome]int{}
		d, stop := running(t, Config{
			Book: book, Channels: []NamedChannel{{Name: "c", Channel: c, Remind: time.Minute}},
			Silences:  silencing(0, time.Hour, alert.Match{"site": {"forum", "shop"}}),
			OnOutcome: func(_ string, o Outcome, _ time.Duration) { outcomes[o]++ },
		}, nil, nil)
		short, long, shared := failing(page("short", 1), "forum"), failing(page("long", 1), "shop", "forum"), failing(page("shared", 1), "forum", "news")
		tell(d, short, long, shared)
		after(30 * time.Second)
		c.check(t, "page shared.1") // a site fails that is not silenced
		tell(d, over(short), over(shared))
		after(10 * time.Minute)
		c.check(t, "page shared.1", "resolved shared.2")
		if got := book.get("short", "c"); !got.Done() || outcomes[OutcomeSilenced] != 1 {
			t.Errorf("got %+v and %v, want it to be done with", got, outcomes)
		}
		after(49 * time.Minute)
		c.check(t, "page shared.1", "resolved shared.2")
		after(time.Minute) // the silence ends, and the failure is still there
		c.check(t, "page shared.1", "resolved shared.2", "page long.1")
		if got := c.messages[2].Notes; len(got) != 1 || got[0] != "until now it was silenced: new cables" {
			t.Errorf("the page says %q", got)
		}

		// A silence in the midst of it keeps what is new, and reminders, from going out, but not the end.
		d.SetSilences(silencing(0, 10*time.Minute, alert.Match{"domain": {"cdn:long"}}))
		tell(d, failing(page("long", 2), "shop"))
		after(5 * time.Minute)
		tell(d, over(failing(page("long", 2), "shop")))
		after(time.Second)
		c.check(t, "page shared.1", "resolved shared.2", "page long.1", "resolved long.3")
		stop()
	})
}

// A silence that is taken away lets the page out at once, and the time in silence is none in which a channel has not taken it.
func TestSilenceTakenAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, other := &fakeChannel{answer: func(context.Context, int) error { time.Sleep(time.Second); return nil }}, &fakeChannel{}
		d, stop := running(t, Config{
			Book: &fakeBook{}, Routes: []Route{{Channels: []string{"c"}, Zone: time.UTC}},
			Channels: []NamedChannel{{Name: "c", Channel: c, Fallback: "other", FallbackAfter: time.Minute}, {Name: "other", Channel: other}},
			Silences: silencing(0, time.Hour, alert.Match{"site": {"*"}}),
		}, nil, nil)
		tell(d, failing(page("a", 1), "forum"))
		after(30 * time.Minute)
		c.check(t)
		d.SetSilences(nil)
		after(time.Second)
		c.check(t, "page a.1")
		other.check(t)
		stop()
	})
}

func TestSilencedNotices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &fakeChannel{}
		d, stop := running(t, Config{
			Book: &fakeBook{}, Channels: []NamedChannel{{Name: "c", Channel: c, Notices: true}},
			Silences: silencing(0, time.Hour, alert.Match{"vantage": {"v1"}}),
		}, nil, nil)
		lost := alert.Notice{ID: "n1", Key: "vantage/v1", Vantage: "v1"}
		slow := alert.Notice{ID: "n2", Key: "slow/v1", Vantage: "v1"}
		well := alert.Notice{ID: "n3", Key: "vantage/v1", Vantage: "v1", Over: true}
		d.Tell(nil, []alert.Notice{lost, slow, {ID: "n4", Key: "vantage/v2", Vantage: "v2"}})
		after(time.Minute)
		c.check(t, "notice n4")
		d.Tell(nil, []alert.Notice{well})
		after(time.Hour)
		c.check(t, "notice n4", "notice n2")
		d.SetSilences(silencing(0, time.Hour, alert.Match{"vantage": {"v1"}}))
		d.Tell(nil, []alert.Notice{{ID: "n5", Key: "slow/v1", Vantage: "v1"}})
		stop()
		if got := d.Next(Config{}).held; len(got) != 1 || got[0].ID != "n5" {
			t.Errorf("got %+v held, want n5", got)
		}
	})
}

// Notices of one cause go together, and there is a message of them once in a while only. At the end none is kept back.
func TestGather(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &fakeChannel{}
		d, stop := running(t, Config{Book: &fakeBook{}, Channels: []NamedChannel{{Name: "c", Channel: c, Notices: true, Gather: 5 * time.Minute}}}, nil, nil)
		d.Tell(nil, []alert.Notice{{ID: "n1"}})
		after(5 * time.Second)
		d.Tell(nil, []alert.Notice{{ID: "n2"}})
		after(5*time.Second - time.Nanosecond)
		c.check(t)
		after(time.Nanosecond)
		c.check(t, "notice n1")
		if got := c.messages[0].Notices; len(got) != 2 {
			t.Errorf("got %d notices together, want 2", len(got))
		}
		d.Tell(nil, []alert.Notice{{ID: "n3"}})
		after(5*time.Minute - time.Second)
		c.check(t, "notice n1")
		after(time.Second)
		c.check(t, "notice n1", "notice n3")
		d.Tell(nil, []alert.Notice{{ID: "n4"}})
		stop()
		c.check(t, "notice n1", "notice n3", "notice n4")
	})
}

// A channel gets no more than it can bear, pages before anything else, and of each incident what is newest.
func TestPerMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &fakeChannel{}
		d, stop := running(t, Config{Book: &fakeBook{}, Channels: []NamedChannel{{Name: "c", Channel: c, Notices: true, PerMinute: 2}}}, nil, nil)
		tell(d, minor(page("a", 1)), minor(page("b", 1)), minor(page("c", 1)), page("d", 1), page("e", 1))
		after(time.Second)
		c.check(t, "page d.1", "page e.1")
		tell(d, minor(page("a", 2)), page("f", 1))
		after(30 * time.Second)
		tell(d, minor(page("a", 3)))
		after(30 * time.Second)
		c.check(t, "page d.1", "page e.1", "page f.1", "notice a.3")
		stop()
	})
}

func TestRoutes(t *testing.T) {
	sites := map[string]*probe.Site{"forum": {Group: "boards", Labels: map[string]string{"country": "hk"}}, "news": {Group: "press"}}
	night, err := alert.ParseWeekly("22:00-06:00")
	if err != nil {
		t.Fatal(err)
	}
	r := Router{
		Routes: []Route{
			{Match: alert.Match{"group": {"boards"}}, Channels: []string{"boards"}, Continue: true},
			{Match: alert.Match{"label.country": {"hk"}}, Severity: alert.SeverityPage, When: []alert.Weekly{night}, Zone: time.UTC, Channels: []string{"night"}},
			{Kinds: []string{"cdn", alert.NoticeSlow}, Channels: []string{"day", "quiet"}},
		},
		Channels: []NamedChannel{{Name: "boards"}, {Name: "night", Notices: true}, {Name: "day", Notices: true}, {Name: "quiet"}},
		Site:     func(name string) *probe.Site { return sites[name] },
	}
	f := func(i alert.Incident, want string) {
		t.Helper()
		if got := strings.Join(r.Of(&i), " "); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	at := func(hour int, i alert.Incident) alert.Incident {
		i.PagedAt = time.Date(2026, 3, 1, hour, 0, 0, 0, time.UTC)
		return i
	}
	f(at(12, failing(page("cloudflare", 1), "forum", "news")), "boards day quiet")
	f(at(23, failing(page("cloudflare", 1), "forum", "news")), "boards night")
	f(at(5, failing(page("cloudflare", 1), "forum")), "boards night")
	f(at(23, failing(page("cloudflare", 1), "news")), "day quiet")
	f(at(23, failing(page("cloudflare", 1), "unknown")), "day quiet")
	f(at(23, minor(failing(page("cloudflare", 1), "forum"))), "day") // quiet takes no notices
	other := failing(page("x", 1), "news")
	other.Domain.Kind = "origin"
	f(at(12, other), "boards night day quiet") // no route fits: everyone
	for n, want := range map[*alert.Notice]string{
		{Kind: alert.NoticeSlow}: "day", {Kind: alert.NoticeSite, Site: "news"}: "night day", {Kind: alert.NoticeSite, Site: "forum"}: "",
	} {
		if got := strings.Join(r.OfNotice(n), " "); got != want {
			t.Errorf("%+v: got %q, want %q", n, got, want)
		}
	}
}

// What failed before fails again while its end waits for the channel. The end goes first, so that it cannot close what is new;
// and if it cannot go, it is left out.
func TestItFailsAgainWhileItsEndWaits(t *testing.T) {
	f := func(refused int, want ...string) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			c := &fakeChannel{answer: func(_ context.Context, n int) error {
				if n >= 1 && n <= refused {
					return &RetryError{10 * time.Minute, errors.New("busy")}
				}
				return nil
			}}
			book := &fakeBook{}
			d, stop := running(t, Config{Book: book, Channels: []NamedChannel{{Name: "c", Channel: c}}}, nil, nil)
			first, second := page("a", 1), page("b", 1)
			second.Key, second.OpenedAt = first.Key, first.OpenedAt.Add(time.Minute)
			tell(d, first)
			after(time.Second)
			tell(d, over(first))
			after(time.Second)
			tell(d, second)
			after(time.Second)
			c.check(t, want...)
			tell(d, over(second))
			after(time.Hour)
			c.check(t, append(want, "resolved b.2")...)
			if got := book.get("a", "c"); !got.Done() {
				t.Errorf("got %+v, want it to be done with", got)
			}
			stop()
		})
	}
	f(0, "page a.1", "resolved a.2", "page b.1")
	f(1, "page a.1", "resolved a.2", "page b.1")
	f(2, "page a.1", "page b.1")
}
