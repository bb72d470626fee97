package notify

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"faultline/alert"
)

// A reload while the store fails: the next Deliverer goes on with what no store holds, tells nothing twice, and notes when
// the store works again.
func TestNextTakesOverWhatIsNotSaved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var full atomic.Bool
		full.Store(true)
		book := &fakeBook{before: func(context.Context) error {
			if full.Load() {
				return errors.New("no space left on device")
			}
			return nil
		}}
		told, away := &fakeChannel{}, &fakeChannel{answer: func(context.Context, int) error { return errors.New("connection refused") }}
		back := &fakeChannel{}
		var store []string
		config := func(second Channel) Config {
			return Config{
				Book: book, Channels: []NamedChannel{{Name: "told", Channel: told, Notices: true}, {Name: "away", Channel: second}},
				OnStoreError: func(err error) {
					if (err == nil) != (len(store)%2 == 1) {
						return
					}
					store = append(store, errorText(err))
				},
			}
		}
		d, stop := running(t, config(away), nil, nil)
		tell(d, page("a", 1))
		after(time.Minute)
		told.check(t, "page a.1")
		if stop() == nil {
			t.Error("the last outcomes are saved nowhere, and Run says nothing")
		}
		tell(d, page("b", 1)) // between the two
		d, stop = resume(t, d, config(back))
		after(time.Second)
		told.check(t, "page a.1", "page b.1")
		d.Tell(nil, []alert.Notice{{ID: "n1"}})
		after(time.Second)
		told.check(t, "page a.1", "page b.1", "notice n1")
		back.check(t, "page a.1", "page b.1")
		full.Store(false)
		after(time.Minute)
		if err := stop(); err != nil {
			t.Error(err)
		}
		for _, id := range []string{"a", "b"} {
			for _, channel := range []string{"told", "away"} {
				if got := book.get(id, channel); got.Acked != 1 {
					t.Errorf("the book holds %+v", got)
				}
			}
		}
		if len(store) != 2 || store[1] != "" {
			t.Errorf("of the store was told %q, want that it failed and that it works", store)
		}
	})
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// A channel that is taken out and comes back is not told again, and one that was refused is asked once more.
func TestNextKnowsChannelsThatWereTakenOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := &fakeChannel{}, &fakeChannel{}
		both := Config{Book: &fakeBook{}, Channels: []NamedChannel{{Name: "a", Channel: a}, {Name: "b", Channel: b}}}
		one := Config{Book: both.Book, Channels: both.Channels[:1]}
		d, stop := running(t, both, nil, nil)
		tell(d, page("x", 1))
		after(time.Second)
		stop()
		d, stop = resume(t, d, one)
		after(time.Second)
		stop()
		d, stop = resume(t, d, both)
		after(time.Second)
		tell(d, over(page("x", 1)))
		after(time.Second)
		stop()
		a.check(t, "page x.1", "resolved x.2")
		b.check(t, "page x.1", "resolved x.2")
		if len(d.parted) != 0 {
			t.Errorf("%v is kept of what is over", d.parted)
		}
	})
}

// What is told while Run makes its last turn is delivered all the same.
func TestToldAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &fakeChannel{}
		ctx, cancel := context.WithCancel(t.Context())
		var d *Deliverer
		saves := 0
		d = NewDeliverer(Config{Channels: []NamedChannel{{Name: "c", Channel: c}}, Book: &fakeBook{before: func(context.Context) error {
			if saves++; saves == 1 {
				tell(d, page("b", 1))
				cancel()
			}
			return nil
		}}}, nil, nil)
		tell(d, page("a", 1))
		if err := d.Run(ctx); err != nil {
			t.Error(err)
		}
		c.check(t, "page a.1", "page b.1")
	})
}

// An incident that is over and done with while a message of it is under way is not forgotten before that ends.
func TestSilencedWhileItsEndIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &fakeChannel{answer: func(ctx context.Context, _ int) error {
			time.Sleep(5 * time.Second)
			return errors.New("busy")
		}}
		d, stop := running(t, Config{Book: &fakeBook{}, Channels: []NamedChannel{{Name: "c", Channel: c}}}, nil, nil)
		tell(d, over(page("a", 1)))
		after(time.Second)
		d.SetSilences(silencing(-time.Second, time.Hour, alert.Match{"domain": {"*"}}))
		after(time.Minute)
		if got := d.Pending(); got != 0 || len(d.incidents) != 0 {
			t.Errorf("%d pending, %d kept", got, len(d.incidents))
		}
		stop()
	})
}

// A site that nobody has silenced joins an incident that is. It is told, although the engine found it not worth an update.
func TestJoinsASilencedIncident(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &fakeChannel{}
		var now atomic.Pointer[alert.Incident]
		i := failing(page("a", 1), "forum")
		now.Store(&i)
		d, stop := running(t, Config{
			Book: &fakeBook{}, Channels: []NamedChannel{{Name: "c", Channel: c}},
			Silences: silencing(-time.Second, 24*time.Hour, alert.Match{"site": {"forum"}}),
			Present:  func() []alert.Incident { return []alert.Incident{*now.Load()} },
		}, nil, nil)
		tell(d, i)
		after(time.Minute)
		c.check(t)
		more := failing(page("a", 1), "forum", "news")
		now.Store(&more)
		after(time.Minute)
		c.check(t, "page a.1")
		if got := len(c.messages[0].Incident.Members); got != 2 {
			t.Errorf("the page names %d sites, want both", got)
		}
		stop()
	})
}

// resume is d's Next, running.
func resume(t *testing.T, d *Deliverer, c Config) (_ *Deliverer, stop func() error) {
	t.Helper()
	n := d.Next(c)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	return n, func() error { cancel(); return <-done }
}
