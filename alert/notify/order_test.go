package notify

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"faultline/alert"
)

func sameKey(i alert.Incident, as alert.Incident, later time.Duration) alert.Incident {
	i.Key, i.OpenedAt = as.Key, as.OpenedAt.Add(later)
	return i
}

// closed makes a channel that refuses until it is opened.
func closed() (c *fakeChannel, open func()) {
	shut := make(chan struct{})
	return &fakeChannel{answer: func(context.Context, int) error {
		if isClosed(shut) {
			return nil
		}
		return errors.New("connection refused")
	}}, func() { close(shut) }
}

// The ends of yesterday's outages wait behind no page of today's, which a rate limit would hold back for long.
func TestPagesGoBeforeOldEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, open := closed()
		d, stop := running(t, Config{Book: &fakeBook{}, Channels: []NamedChannel{{Name: "c", Channel: c, PerMinute: 2}}}, nil, nil)
		for n := range 20 {
			tell(d, over(page(fmt.Sprint("old", n), 1)))
		}
		after(10 * time.Minute)
		fresh := page("new", 1)
		fresh.OpenedAt = fresh.OpenedAt.Add(time.Hour)
		open()
		tell(d, fresh)
		after(time.Minute)
		if len(c.took) == 0 || c.took[0] != "page new.1" {
			t.Errorf("it took %q, want the page first", c.took)
		}
		stop()
	})
}

// What failed before and fails again: its old end goes before its new page, and that before the page of anything younger.
func TestEndGoesBeforeThePageOfTheSameKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shut := false
		c := &fakeChannel{answer: func(context.Context, int) error {
			if shut {
				return errors.New("connection refused")
			}
			return nil
		}}
		d, stop := running(t, Config{Book: &fakeBook{}, Channels: []NamedChannel{{Name: "c", Channel: c}}}, nil, nil)
		a := page("a", 1)
		tell(d, a)
		after(time.Second)
		shut = true
		b, other := sameKey(page("b", 1), a, time.Hour), page("d", 1)
		other.OpenedAt = a.OpenedAt.Add(2 * time.Hour)
		d.c.Timeout = time.Second
		shut = false
		d.Tell([]alert.Incident{over(a), b, other}, nil)
		after(time.Minute)
		c.check(t, "page a.1", "resolved a.2", "page b.1", "page d.1")
		stop()
	})
}

// A fallback that has never heard of the older one is told of the new one alone; and no late end closes it.
func TestNoLateEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, open := closed()
		fb := &fakeChannel{}
		d, stop := running(t, Config{
			Book: &fakeBook{}, Routes: []Route{{Channels: []string{"c"}}},
			Channels: []NamedChannel{{Name: "c", Channel: c, Fallback: "fb", FallbackAfter: time.Minute}, {Name: "fb", Channel: fb}},
		}, nil, nil)
		a := page("a", 1)
		tell(d, a)
		after(time.Second)
		tell(d, over(a))
		after(time.Second)
		b := sameKey(page("b", 1), a, time.Hour)
		tell(d, b)
		after(2 * time.Minute)
		fb.check(t, "page b.1")
		open()
		after(2 * time.Minute)
		c.check(t, "page b.1")
		fb.check(t, "page b.1")
		stop()
	})
}

// Notices have a limit of their own, so that none keeps a page waiting.
func TestNoticesKeepNoPageWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &fakeChannel{}
		d, stop := running(t, Config{Book: &fakeBook{}, Channels: []NamedChannel{{Name: "c", Channel: c, Notices: true, PerMinute: 1}}}, nil, nil)
		d.Tell(nil, []alert.Notice{{ID: "n1", Key: "1"}, {ID: "n2", Key: "2"}})
		after(time.Second)
		tell(d, page("a", 1))
		after(time.Second)
		c.check(t, "notice n1", "page a.1")
		stop()
	})
}

// Whoever was told of something hears of its end, silenced or not, and also when it was said again in the silence.
func TestEndOfANoticeInSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &fakeChannel{}
		d, stop := running(t, Config{Book: &fakeBook{}, Channels: []NamedChannel{{Name: "c", Channel: c, Notices: true}}}, nil, nil)
		say := func(id, key string, over bool) {
			d.Tell(nil, []alert.Notice{{ID: id, Key: key, Vantage: "v1", Over: over}})
			after(time.Second)
		}
		say("n1", "sick", false)
		say("n2", "slow", false)
		d.SetSilences(silencing(-time.Second, time.Hour, alert.Match{"vantage": {"v1"}}))
		say("n3", "sick", true)
		say("n4", "slow", false)
		say("n5", "slow", true)
		say("n6", "lost", false)
		say("n7", "lost", true)
		c.check(t, "notice n1", "notice n2", "notice n3", "notice n5")
		stop()
	})
}

// A page that only the log has taken has reached nobody, where somebody else was to be told; nor has one that is over.
func TestUntoldCountsPeople(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := closed()
		log := NamedChannel{Name: "log", Channel: Log{}}
		f := func(want bool, channels ...NamedChannel) {
			t.Helper()
			d, stop := running(t, Config{Book: &fakeBook{}, Channels: channels}, nil, nil)
			tell(d, page("a", 1))
			after(time.Second)
			tell(d, over(page("a", 1)))
			after(time.Minute)
			if id, age := d.Untold(time.Now()); (id == "a" && age > 50*time.Second) != want {
				t.Errorf("%d channels: page %q waits for %v", len(channels), id, age)
			}
			stop()
		}
		f(true, log, NamedChannel{Name: "c", Channel: c})
		f(false, log)
	})
}

// A channel may need longer than the others.
func TestTimeoutOfAChannel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := func(ctx context.Context, _ int) error {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(time.Minute):
				return nil
			}
		}
		mail, hook := &fakeChannel{answer: slow}, &fakeChannel{answer: slow}
		d, stop := running(t, Config{
			Book: &fakeBook{}, Channels: []NamedChannel{{Name: "mail", Channel: mail, Timeout: 90 * time.Second}, {Name: "hook", Channel: hook}},
		}, nil, nil)
		tell(d, page("a", 1))
		after(2 * time.Minute)
		mail.check(t, "page a.1")
		hook.check(t)
		stop()
	})
}
