package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"faultline/alert"
	"faultline/alert/notify"
	"faultline/internal/store"
)

// crashChild is the part of the daemon between a decision and its acknowledgement, with the real store and the real webhook,
// as a process that can be killed. It is told on standard input what is broken, a line of names each time, and says on standard
// output what nobody has taken yet.
func crashChild(dir, url string) error {
	st, err := store.Open(filepath.Join(dir, "state.db"))
	if err != nil {
		return err
	}
	incidents, ds, err := st.Load(context.Background())
	if err != nil {
		return err
	}
	hook, err := notify.NewWebhook(url, "")
	if err != nil {
		return err
	}
	d := notify.NewDeliverer(notify.Config{
		Book: st, Channels: []notify.NamedChannel{{Name: "hook", Channel: hook}}, Log: zerolog.New(os.Stderr),
		Timeout: 200 * time.Millisecond, Backoff: notify.Backoff{Base: 5 * time.Millisecond, Cap: 20 * time.Millisecond},
	}, incidents, ds)
	go func() { _ = d.Run(context.Background()) }() // it ends by being killed
	open := map[string]alert.Incident{}
	for _, i := range incidents {
		if i.State != alert.StateResolved {
			open[i.Domain.Name] = i
		}
	}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		d.Tell(judged(open, strings.Fields(lines.Text())), nil)
		fmt.Println(d.Pending())
	}
	return lines.Err()
}

// judged is what changes when just these things are broken.
func judged(open map[string]alert.Incident, broken []string) (changed []alert.Incident) {
	now := time.Now().UTC()
	for _, name := range broken {
		if _, known := open[name]; known {
			continue
		}
		open[name] = alert.Incident{
			ID: now.Format("20060102T150405.000000000Z") + "-cdn-" + name, Key: "faultline/main/cdn/" + name, Rev: 1, Domain: alert.Domain{Kind: alert.KindCDN, Name: name},
			State: alert.StateOpen, Severity: alert.SeverityPage, Onset: now, OpenedAt: now, PagedAt: now, Waves: 1,
		}
		changed = append(changed, open[name])
	}
	for name, i := range open {
		if !slices.Contains(broken, name) {
			delete(open, name)
			i.Rev, i.State, i.RecoveringAt, i.ResolvedAt = i.Rev+1, alert.StateResolved, now, now
			changed = append(changed, i)
		}
	}
	return changed
}

// unreliable is a receiver that takes a message, refuses it, takes it and does not say so, or hangs.
type unreliable struct {
	mu   sync.Mutex
	took []hookHead
	good bool // from now on it only takes
}

type hookHead struct {
	Event    string
	Key      string
	Repeat   string // Idempotency-Key
	Incident struct{ ID string }
}

func (u *unreliable) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	var h hookHead
	if err := json.Unmarshal(body, &h); err != nil {
		h.Event = "not JSON: " + err.Error()
	}
	h.Repeat = r.Header.Get("Idempotency-Key")
	u.mu.Lock()
	defer u.mu.Unlock()
	luck := rand.IntN(10)
	if u.good {
		luck = 0
	}
	switch luck {
	case 6:
		w.WriteHeader(http.StatusInternalServerError)
	case 7:
		w.Header().Set("Retry-After", "0")
		w.WriteHeader(http.StatusTooManyRequests)
	case 8: // it is taken, and the answer is lost
		u.took = append(u.took, h)
		panic(http.ErrAbortHandler)
	case 9:
		panic(http.ErrAbortHandler)
	default:
		u.took = append(u.took, h)
	}
}

// A process with pages on their way is killed 200 times, at any time, while the receiver fails at random: every page arrives, with
// its key, each is followed by its end, and what arrives twice can be told to be the same.
func TestKilledAnyTime(t *testing.T) {
	kills := 200
	receiver := &unreliable{}
	server := httptest.NewServer(receiver)
	t.Cleanup(server.Close)
	server.Config.ErrorLog = nil
	dir := t.TempDir()
	names := []string{"cloudflare", "fastly", "akamai", "cloudfront"}
	broken := map[string]bool{}
	for range kills {
		c := startCrashChild(t, dir, server.URL)
		for range 1 + rand.IntN(3) {
			name := names[rand.IntN(len(names))]
			broken[name] = !broken[name]
			c.tell(broken)
			time.Sleep(time.Duration(rand.IntN(12)) * time.Millisecond) // when it is killed is to be chance
		}
		c.kill()
	}
	receiver.mu.Lock()
	receiver.good = true
	receiver.mu.Unlock()
	last := startCrashChild(t, dir, server.URL)
	eventually(t, 30*time.Second, "all to be delivered", func() bool { return last.tell(nil) == "0" })
	last.kill()

	st, err := store.Open(filepath.Join(dir, "state.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	incidents, err := st.Incidents(store.MaxResolved)
	if err != nil {
		t.Fatal(err)
	}
	receiver.check(t, incidents)
	t.Logf("%d kills, %d incidents, %d messages taken", kills, len(incidents), len(receiver.took))
}

func (u *unreliable) check(t *testing.T, incidents []alert.Incident) {
	t.Helper()
	said := map[string][]hookHead{}
	for _, h := range u.took {
		if h.Key == "" || h.Repeat == "" || h.Incident.ID == "" {
			t.Errorf("got %+v", h)
		}
		said[h.Incident.ID] = append(said[h.Incident.ID], h)
	}
	newest := map[string]time.Time{} // by key
	for _, i := range incidents {
		if i.OpenedAt.After(newest[i.Key]) {
			newest[i.Key] = i.OpenedAt
		}
	}
	for _, i := range incidents {
		list := said[i.ID]
		delete(said, i.ID)
		// The end of what fails again, when it cannot be told at once, is left out: it would close what is new.
		again := newest[i.Key].After(i.OpenedAt)
		if len(list) == 0 && !again {
			t.Errorf("nothing was told of %s", i.ID)
			continue
		}
		distinct := map[string]string{}
		ended := false
		for _, h := range list {
			if h.Key != i.Key || ended && h.Event != "resolved" {
				t.Errorf("%s: got %+v after %+v", i.ID, h, list)
			}
			ended = ended || h.Event == "resolved"
			distinct[h.Repeat] = h.Event
		}
		if !ended && !again || len(distinct) > 2 {
			t.Errorf("%s: got %+v, want a page at most, and its end", i.ID, list)
		}
	}
	if len(said) > 0 {
		t.Errorf("told of incidents that were not saved: %+v", said)
	}
}

// crashProcess is a running crashChild.
type crashProcess struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

func startCrashChild(t *testing.T, dir, url string) *crashProcess {
	t.Helper()
	c := &crashProcess{t: t, cmd: exec.CommandContext(t.Context(), os.Args[0], dir, url)}
	c.cmd.Env = append(os.Environ(), childVariable+"=crash")
	var errs bytes.Buffer
	c.cmd.Stderr = &errs
	in, err := c.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.in, c.out = in, bufio.NewScanner(out)
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.kill)
	return c
}

// tell says what is broken now, and gives how much nobody has taken yet.
func (c *crashProcess) tell(broken map[string]bool) string {
	c.t.Helper()
	var names []string
	for name, is := range broken {
		if is {
			names = append(names, name)
		}
	}
	if _, err := fmt.Fprintln(c.in, strings.Join(names, " ")); err != nil {
		c.t.Fatal(err)
	}
	if !c.out.Scan() {
		c.t.Fatal("the process has ended by itself: ", c.cmd.Wait(), c.cmd.Stderr)
	}
	return c.out.Text()
}

func (c *crashProcess) kill() {
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait()
}
