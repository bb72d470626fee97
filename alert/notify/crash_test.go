package notify

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"faultline/alert"
)

var errDead = errors.New("the process has ended")

// mortal is a process that ends at its nth operation on the world: saving, or delivering. That operation has its effect or
// not, and its answer is never seen.
type mortal struct {
	book  fakeBook
	die   func()
	at    int  // the operation at which it ends; 0 = it does not
	after bool // the last operation has its effect

	mu   sync.Mutex
	n    int // operations so far
	dead bool
	took []string // "key id event", of each message that was taken, repeats of one left out
	ids  map[string]bool
}

func (w *mortal) do(effect func()) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.dead {
		return errDead
	}
	if w.n++; w.n != w.at {
		effect()
		return nil
	}
	if w.after {
		effect()
	}
	w.dead = true
	w.die()
	return errDead
}

func (w *mortal) Save(ctx context.Context, incidents []alert.Incident, ds []Delivery) error {
	time.Sleep(time.Millisecond) // a message that does not wait for it overtakes it
	return w.do(func() { _ = w.book.Save(ctx, incidents, ds) })
}

func (w *mortal) Load(ctx context.Context) ([]alert.Incident, []Delivery, error) {
	return w.book.Load(ctx)
}

func (w *mortal) Deliver(_ context.Context, m Message) error {
	return w.do(func() {
		if !w.ids[m.ID()] {
			w.ids[m.ID()] = true
			w.took = append(w.took, fmt.Sprintf("%s %s %s", m.Key(), m.Incident.ID, m.Event()))
		}
	})
}

// play tells of an outage from its page to its end, to a deliverer that begins with what the book holds, as an engine would:
// it goes on with the incident that it finds, or finds the outage anew.
func (w *mortal) play(t *testing.T, life int) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	w.die = cancel
	incidents, ds, _ := w.Load(t.Context())
	i := page(fmt.Sprintf("a%d", life), 1)
	i.Key = "faultline/main/cdn/a"
	for _, have := range incidents {
		i = have
	}
	d := NewDeliverer(Config{Book: w, Channels: []NamedChannel{{Name: "c", Channel: w}, {Name: "log", Channel: &fakeChannel{}}}}, incidents, ds)
	var run sync.WaitGroup
	run.Go(func() { _ = d.Run(ctx) })
	for _, next := range []func(alert.Incident) alert.Incident{
		func(i alert.Incident) alert.Incident { return i },
		func(i alert.Incident) alert.Incident { i.Rev, i.Waves = i.Rev+1, 2; return i },
		over,
	} {
		if ctx.Err() == nil && i.State != alert.StateResolved {
			i = next(i)
			d.Tell([]alert.Incident{i}, nil)
			after(time.Minute)
		}
	}
	cancel()
	run.Wait()
}

// The process ends at every single step between the decision and the acknowledgement of the last message, before or after the
// step has its effect. Nobody misses the page, its repeats can be told by their ID, and the end comes last.
func TestCrashAtEveryStep(t *testing.T) {
	steps := 0
	for at := 0; at <= steps; at++ {
		for _, late := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				w := &mortal{at: at, after: late, ids: map[string]bool{}}
				w.play(t, 1)
				if at == 0 {
					steps = w.n
				}
				w.at, w.dead = 0, false
				w.play(t, 2)
				w.check(t, fmt.Sprintf("ended at step %d of %d (effect: %v)", at, steps, late))
			})
		}
	}
	if steps < 9 {
		t.Errorf("there were %d steps only", steps)
	}
}

func (w *mortal) check(t *testing.T, when string) {
	t.Helper()
	said := map[string][]string{}
	for _, s := range w.took {
		f := strings.Fields(s)
		if f[0] != "faultline/main/cdn/a" {
			t.Errorf("%s: got the key %q", when, f[0])
		}
		said[f[1]] = append(said[f[1]], f[2])
	}
	for id, events := range said {
		all := strings.Join(events, " ")
		if events[0] != "page" || events[len(events)-1] != "resolved" || strings.Count(all, "resolved") != 1 {
			t.Errorf("%s: of %s was told %q", when, id, all)
		}
	}
	if len(said) != 1 {
		t.Errorf("%s: got %d incidents, want one: %q", when, len(said), w.took)
	}
	if incidents, ds, _ := w.Load(t.Context()); len(incidents) == 0 || incidents[0].State != alert.StateResolved || len(ds) == 0 || !ds[0].Done() {
		t.Errorf("%s: the book holds %+v, %+v", when, incidents, ds)
	}
}
