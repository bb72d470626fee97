package notify

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"faultline/alert"
)

// fakeChannel notes what it takes as "event id.rev". answer, if set, decides; it may wait.
type fakeChannel struct {
	answer func(ctx context.Context, n int) error // n counts the attempts from 0

	mu    sync.Mutex
	n     int
	took  []string
	tried []time.Time

	messages []Message // those that it took
}

func (c *fakeChannel) Deliver(ctx context.Context, m Message) error {
	c.mu.Lock()
	n := c.n
	c.n++
	c.tried = append(c.tried, time.Now())
	c.mu.Unlock()
	if c.answer != nil {
		if err := c.answer(ctx, n); err != nil {
			return err
		}
	}
	what := ""
	if m.Incident == nil {
		what = m.Notices[0].ID
	} else {
		what = fmt.Sprintf("%s.%d", m.Incident.ID, m.Incident.Rev)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.took = append(c.took, string(m.Event())+" "+what)
	c.messages = append(c.messages, m)
	return nil
}

func (c *fakeChannel) check(t *testing.T, want ...string) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if got := strings.Join(c.took, ", "); got != strings.Join(want, ", ") {
		t.Errorf("the channel took %q, want %q", got, strings.Join(want, ", "))
	}
}

func (c *fakeChannel) attempts() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}

// hang waits for ctx, as a receiver does that accepts and never answers.
func hang(ctx context.Context, _ int) error {
	<-ctx.Done()
	return ctx.Err()
}

// fakeBook keeps what it is given and can fail or hang.
type fakeBook struct {
	before func(ctx context.Context) error

	mu        sync.Mutex
	saves     int
	incidents map[string]alert.Incident
	ds        map[deliveryKey]Delivery
}

func (b *fakeBook) Save(ctx context.Context, incidents []alert.Incident, ds []Delivery) error {
	if b.before != nil {
		if err := b.before(ctx); err != nil {
			return err
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ds == nil {
		b.incidents, b.ds = map[string]alert.Incident{}, map[deliveryKey]Delivery{}
	}
	b.saves++
	for _, i := range incidents {
		b.incidents[i.ID] = i
	}
	for _, d := range ds {
		b.ds[d.key()] = d
	}
	return nil
}

func (b *fakeBook) Load(context.Context) ([]alert.Incident, []Delivery, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Collect(maps.Values(b.incidents)), slices.Collect(maps.Values(b.ds)), nil
}

func (b *fakeBook) get(incident, channel string) Delivery {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ds[deliveryKey{incident, channel}]
}

// running is a Deliverer within a bubble; stop ends it and gives Run's error.
func running(t *testing.T, c Config, incidents []alert.Incident, ds []Delivery) (d *Deliverer, stop func() error) {
	t.Helper()
	c.Log = zerolog.Nop()
	d = NewDeliverer(c, incidents, ds)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	return d, sync.OnceValue(func() error { cancel(); return <-done })
}

func tell(d *Deliverer, incidents ...alert.Incident) { d.Tell(incidents, nil) }

func after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestDeliverLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pager, log, book := &fakeChannel{}, &fakeChannel{}, &fakeBook{}
		outcomes := map[string]int{}
		d, stop := running(t, Config{
			Book: book, Channels: []NamedChannel{{Name: "pager", Channel: pager, Notices: false}, {Name: "log", Channel: log, Notices: true}},
			OnOutcome: func(channel string, o Outcome, latency time.Duration) {
				if latency != 0 {
					t.Errorf("%s %s took %v", channel, o, latency)
				}
				outcomes[channel+" "+string(o)]++ // one at a time: all stand still between the tells
			},
		}, nil, nil)
		recovering := page("a", 3)
		recovering.State = alert.StateRecovering
		for _, i := range []alert.Incident{page("a", 1), minor(page("b", 1)), page("a", 2), recovering, over(recovering)} {
			tell(d, i)
			after(time.Second)
		}
		d.Tell(nil, []alert.Notice{{ID: "n1"}})
		after(time.Second)
		pager.check(t, "page a.1", "update a.2", "recovering a.3", "resolved a.4")
		log.check(t, "page a.1", "notice b.1", "update a.2", "recovering a.3", "resolved a.4", "notice n1")
		if got := d.Pending(); got != 0 {
			t.Errorf("%d are pending", got)
		}
		got := book.get("a", "pager")
		if want := (Delivery{Incident: "a", Channel: "pager", Want: 4, Acked: 4, Paged: true, Since: got.Took, Took: got.Took}); got != want {
			t.Errorf("the book holds %+v, want %+v", got, want)
		}
		if len(d.incidents) != 1 {
			t.Errorf("%d incidents are kept in memory, want b only", len(d.incidents))
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		if want := map[string]int{"pager accepted": 4, "log accepted": 6}; !maps.Equal(outcomes, want) {
			t.Errorf("got outcomes %v, want %v", outcomes, want)
		}
	})
}

func TestNoticeThatBecomesAPage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pager, log := &fakeChannel{}, &fakeChannel{}
		d, stop := running(t, Config{Book: &fakeBook{}, Channels: []NamedChannel{{Name: "pager", Channel: pager, Notices: false}, {Name: "log", Channel: log, Notices: true}}}, nil, nil)
		tell(d, minor(page("a", 1)))
		after(time.Second)
		tell(d, page("a", 2))
		after(time.Second)
		tell(d, page("a", 3))
		after(time.Second)
		stop()
		pager.check(t, "page a.2", "update a.3")
		log.check(t, "notice a.1", "page a.2", "update a.3")
	})
}

func TestHangingChannelDelaysNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad, good := &fakeChannel{answer: hang}, &fakeChannel{}
		d, stop := running(t, Config{Book: &fakeBook{}, Channels: []NamedChannel{{Name: "bad", Channel: bad, Notices: true}, {Name: "good", Channel: good, Notices: true}}}, nil, nil)
		start := time.Now()
		d.Tell(nil, make([]alert.Notice, 5000))
		for n := range 5000 {
			tell(d, page("a", uint64(n+1)))
		}
		if time.Since(start) != 0 {
			t.Error("Tell has waited")
		}
		synctest.Wait()
		notices := slices.DeleteFunc(slices.Clone(good.took), func(s string) bool { return s != "notice " })
		if len(notices) != maxNotices || !slices.ContainsFunc(good.took, func(s string) bool { return strings.HasSuffix(s, " a.5000") }) {
			t.Errorf("the good channel took %d notices, of %d messages", len(notices), len(good.took))
		}
		if time.Since(start) != 0 {
			t.Error("the good channel has waited")
		}
		if got := d.Pending(); got != maxNotices+1 {
			t.Errorf("%d are pending, want %d", got, maxNotices+1)
		}
		stop()
		if got := time.Since(start); got != 5*time.Second {
			t.Errorf("Run ended after %v, want the grace of 5 s", got)
		}
	})
}

// A receiver that is away for long hears of everything once it is back, in its newest state, within one backoff step.
func TestReceiverAwayForAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		c := &fakeChannel{answer: func(context.Context, int) error {
			if time.Since(start) < time.Hour {
				return errors.New("connection refused")
			}
			return nil
		}}
		book := &fakeBook{}
		d, stop := running(t, Config{Book: book, Channels: []NamedChannel{{Name: "c", Channel: c, Notices: false}}}, nil, nil)
		tell(d, page("a", 1), page("b", 1), page("c", 1))
		after(10 * time.Minute)
		tell(d, page("a", 2), over(page("b", 1)))
		after(50*time.Minute - time.Nanosecond)
		c.check(t)
		if got := c.attempts(); got < 3*50 || got > 3*80 {
			t.Errorf("%d attempts in an hour for three incidents", got)
		}
		if got := book.get("c", "c"); got.Tries < 50 || got.NotBefore.IsZero() {
			t.Errorf("the book holds %+v", got)
		}
		after(72 * time.Second)
		slices.Sort(c.took)
		c.check(t, "page a.2", "page c.1", "resolved b.2")
		stop()
	})
}

func TestResolutionNeverOvertakesItsPage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &fakeChannel{answer: func(ctx context.Context, n int) error {
			time.Sleep(3 * time.Second)
			if n == 0 {
				return nil
			}
			if n < 3 {
				return errors.New("busy")
			}
			return nil
		}}
		d, stop := running(t, Config{Book: &fakeBook{}, Channels: []NamedChannel{{Name: "c", Channel: c, Notices: false}}}, nil, nil)
		tell(d, page("a", 1))
		after(time.Second)
		tell(d, over(page("a", 1))) // while the page is under way
		after(time.Minute)
		c.check(t, "page a.1", "resolved a.2")
		stop()
	})
}

func TestRefusedForGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &fakeChannel{answer: func(_ context.Context, n int) error {
			if n == 0 {
				return Permanent(errors.New("422"))
			}
			return nil
		}}
		book := &fakeBook{}
		var refused int
		d, stop := running(t, Config{
			Book: book, Channels: []NamedChannel{{Name: "c", Channel: c, Notices: false}},
			OnOutcome: func(_ string, o Outcome, _ time.Duration) {
				if o == OutcomeRefused {
					refused++
				}
			},
		}, nil, nil)
		tell(d, page("a", 1))
		after(time.Hour)
		if got := book.get("a", "c"); c.attempts() != 1 || got.Gone != "422" || d.Pending() != 0 || refused != 1 {
			t.Errorf("%d attempts, %+v, %d pending, %d refused", c.attempts(), got, d.Pending(), refused)
		}
		tell(d, page("a", 2))
		after(time.Second)
		c.check(t, "page a.2")
		stop()
	})
}

func TestRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &fakeChannel{answer: func(_ context.Context, n int) error {
			if n == 0 {
				return &RetryError{42 * time.Second, errors.New("429")}
			}
			return nil
		}}
		d, stop := running(t, Config{Book: &fakeBook{}, Channels: []NamedChannel{{Name: "c", Channel: c, Notices: false}}}, nil, nil)
		tell(d, page("a", 1))
		after(10 * time.Second)
		tell(d, page("a", 2)) // does not shorten it
		after(time.Minute)
		c.check(t, "page a.2")
		if got := c.tried[1].Sub(c.tried[0]); got != 42*time.Second {
			t.Errorf("tried again after %v, want 42 s", got)
		}
		stop()
	})
}

func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old, gone := &fakeChannel{}, &fakeChannel{answer: hang}
		book := &fakeBook{}
		d, stop := running(t, Config{Book: book, Channels: []NamedChannel{{Name: "old", Channel: old, Notices: false}, {Name: "gone", Channel: gone, Notices: false}}}, nil, nil)
		tell(d, page("a", 1), page("b", 1))
		after(time.Second)
		tell(d, over(page("b", 1)))
		after(time.Second)
		stop()

		incidents, ds, _ := book.Load(t.Context())
		fresh := &fakeChannel{}
		d, stop = running(t, Config{Book: book, Channels: []NamedChannel{{Name: "old", Channel: old, Notices: false}, {Name: "fresh", Channel: fresh, Notices: false}}}, incidents, ds)
		tell(d, page("a", 1)) // the engine was restored, too
		after(time.Minute)
		old.check(t, "page a.1", "page b.1", "resolved b.2") // nothing twice
		fresh.check(t, "page a.1")                           // it hears of what is open
		if got := book.get("b", "gone"); !got.Done() {
			t.Errorf("the book holds %+v for a channel that is no more", got)
		}
		tell(d, over(page("a", 1)))
		after(time.Second)
		fresh.check(t, "page a.1", "resolved a.2")
		stop()
	})
}

// Killed between the save and the answer: the next start sends it, under the same key.
func TestRestartBeforeTheAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &fakeChannel{}
		saved := Delivery{Incident: "a", Channel: "c", Want: 1, NotBefore: time.Now().Add(1000 * time.Hour), Tries: 2}
		_, stop := running(t, Config{Book: &fakeBook{}, Channels: []NamedChannel{{Name: "c", Channel: c, Notices: false}}}, []alert.Incident{page("a", 1)}, []Delivery{saved})
		synctest.Wait()
		c.check(t, "page a.1")
		stop()
	})
}

func TestSavedBeforeTheFirstAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		book := &fakeBook{before: func(context.Context) error { time.Sleep(time.Second); return nil }}
		c := &fakeChannel{answer: func(context.Context, int) error {
			if got := book.get("a", "c"); got.Want != 1 || got.Acked != 0 {
				t.Errorf("sent while the book held %+v", got)
			}
			return nil
		}}
		d, stop := running(t, Config{Book: book, Channels: []NamedChannel{{Name: "c", Channel: c, Notices: false}}}, nil, nil)
		tell(d, page("a", 1))
		after(999 * time.Millisecond)
		if c.attempts() != 0 || d.Pending() == 0 {
			t.Error("sent before it was saved")
		}
		after(time.Millisecond)
		c.check(t, "page a.1")
		stop()
	})
}

func TestStoreFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		full, start := errors.New("no space left on device"), time.Now()
		book := &fakeBook{before: func(context.Context) error {
			if time.Since(start) < time.Minute {
				return full
			}
			return nil
		}}
		c := &fakeChannel{}
		var d *Deliverer
		var errs []error
		conf := Config{Book: book, Channels: []NamedChannel{{Name: "c", Channel: c, Notices: false}}, OnStoreError: func(err error) {
			errs = append(errs, err)
			if len(errs) == 1 {
				tell(d, page("self", 1))
			}
		}}
		d, stop := running(t, conf, nil, nil)
		tell(d, page("a", 1))
		synctest.Wait()
		c.check(t, "page a.1", "page self.1")
		if time.Since(start) != 0 {
			t.Error("the pages have waited for the store")
		}
		after(90 * time.Second)
		if got := book.get("a", "c"); got.Acked != 1 || len(book.incidents) != 2 {
			t.Errorf("the book holds %+v after it was mended", got)
		}
		if n := len(errs); n < 3 || n > 20 || errs[0] != full || errs[n-1] != nil || errs[n-2] == nil {
			t.Errorf("got errors %v", errs)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestStoreHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release, start := make(chan struct{}), time.Now()
		book := &fakeBook{before: func(context.Context) error { <-release; return nil }}
		c := &fakeChannel{}
		var errs []error
		d, stop := running(t, Config{
			Book: book, Channels: []NamedChannel{{Name: "c", Channel: c, Notices: false}},
			OnStoreError: func(err error) { errs = append(errs, err) },
		}, nil, nil)
		tell(d, page("a", 1))
		after(2 * time.Second)
		c.check(t, "page a.1")
		tell(d, page("b", 1)) // does not wait a second time
		synctest.Wait()
		c.check(t, "page a.1", "page b.1")
		if got := time.Since(start); got != 2*time.Second || len(errs) != 1 {
			t.Errorf("sent after %v with errors %v, want 2 s and one", got, errs)
		}
		after(time.Hour)
		if len(errs) != 1 {
			t.Errorf("got errors %v, want one", errs)
		}
		if err := stop(); err == nil {
			t.Error("Run does not tell that the outcomes are lost")
		}
		close(release)
	})
}

func TestStoreIsSlowOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		saves := 0
		book := &fakeBook{}
		book.before = func(context.Context) error {
			if saves++; saves == 1 {
				time.Sleep(time.Minute)
			}
			return nil
		}
		c := &fakeChannel{}
		d, stop := running(t, Config{Book: book, Channels: []NamedChannel{{Name: "c", Channel: c, Notices: false}}}, nil, nil)
		tell(d, page("a", 1))
		after(time.Second)
		tell(d, page("a", 2))
		after(2 * time.Minute)
		if got := book.get("a", "c"); got.Acked != 2 || book.incidents["a"].Rev != 2 {
			t.Errorf("the book holds %+v, revision %d", got, book.incidents["a"].Rev)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// What was told last is saved and tried once, within the grace, before Run returns.
func TestEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := &fakeChannel{answer: func(context.Context, int) error { time.Sleep(2 * time.Second); return nil }}
		down := &fakeChannel{answer: func(context.Context, int) error { return errors.New("down") }}
		book := &fakeBook{}
		d, stop := running(t, Config{Book: book, Channels: []NamedChannel{{Name: "slow", Channel: slow, Notices: true}, {Name: "down", Channel: down, Notices: true}}}, nil, nil)
		synctest.Wait()
		d.Tell([]alert.Incident{page("a", 1), page("b", 1)}, []alert.Notice{{ID: "n"}})
		if err := stop(); err != nil {
			t.Error(err)
		}
		slices.Sort(slow.took)
		slow.check(t, "notice n", "page a.1", "page b.1")
		if got := down.attempts(); got != 3 {
			t.Errorf("%d attempts at the channel that is down, want one for each message", got)
		}
		if a, b := book.get("b", "slow"), book.get("b", "down"); a.Acked != 1 || b.Acked != 0 || b.Tries != 1 {
			t.Errorf("the book holds %+v and %+v", a, b)
		}
	})
}

func TestNoticesAreTriedThrice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &fakeChannel{answer: func(_ context.Context, n int) error {
			if n < 4 {
				return errors.New("busy")
			}
			return nil
		}}
		d, stop := running(t, Config{Book: &fakeBook{}, Channels: []NamedChannel{{Name: "c", Channel: c, Notices: true}}}, nil, nil)
		d.Tell(nil, []alert.Notice{{ID: "n1"}, {ID: "n2"}})
		after(time.Minute)
		c.check(t, "notice n2")
		if got := c.attempts(); got != 5 {
			t.Errorf("%d attempts, want 3 and 2", got)
		}
		stop()
	})
}

// Many pages at once, of different weight: the heavy ones first, the oldest first.
func TestOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &fakeChannel{}
		d, stop := running(t, Config{Book: &fakeBook{}, Channels: []NamedChannel{{Name: "c", Channel: c, Notices: true}}}, nil, nil)
		young, old := page("young", 1), page("old", 1)
		young.OpenedAt = t0.Add(time.Second)
		tell(d, minor(page("minor", 1)), young, old)
		synctest.Wait()
		c.check(t, "page old.1", "page young.1", "notice minor.1")
		stop()
	})
}
