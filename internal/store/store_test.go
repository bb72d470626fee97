package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/rs/zerolog"

	"faultline/alert"
	"faultline/alert/notify"
	"faultline/probe"
)

var t0 = time.Date(2019, 7, 2, 13, 43, 0, 0, time.UTC)

func incident(id string, rev uint64) alert.Incident {
	return alert.Incident{
		ID: id, Key: "faultline/main/cdn/" + id, Rev: rev, Domain: alert.Domain{Kind: "cdn", Name: id},
		State: alert.StateOpen, Severity: alert.SeverityPage, Onset: t0, OpenedAt: t0, Why: []string{"because"},
		Evidence: []probe.Result{{
			Site: "lihkg", URL: "https://lihkg.com/", At: t0, Status: 502, Addr: netip.MustParseAddrPort("104.16.0.1:443"),
			Verdict: probe.Verdict{Class: probe.ParseClass("http_edge_error"), Fault: probe.FaultEdge, CDN: "cloudflare"},
		}},
	}
}

func resolved(id string, rev uint64, at time.Time) alert.Incident {
	i := incident(id, rev)
	i.State, i.ResolvedAt = alert.StateResolved, at
	return i
}

func openStore(t *testing.T, path string) *Store {
	t.Helper()
	s, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func save(t *testing.T, s *Store, incidents []alert.Incident, ds []notify.Delivery) {
	t.Helper()
	if err := s.Save(t.Context(), incidents, ds); err != nil {
		t.Fatal(err)
	}
}

func checkLoad(t *testing.T, s *Store, incidents []alert.Incident, ds []notify.Delivery) {
	t.Helper()
	gotIncidents, gotDs, err := s.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	opts := cmp.Options{cmpopts.EquateEmpty(), cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })}
	if d := cmp.Diff(gotIncidents, incidents, opts); d != "" {
		t.Errorf("incidents (-got +want):\n%s", d)
	}
	if d := cmp.Diff(gotDs, ds, opts); d != "" {
		t.Errorf("deliveries (-got +want):\n%s", d)
	}
}

func TestSaveLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state", "faultline.db")
	s := openStore(t, path)
	a, b := incident("a", 3), incident("b", 1)
	da := notify.Delivery{Incident: "a", Channel: "hook", Want: 3, Acked: 2, Paged: true, Tries: 1, NotBefore: t0}
	db := notify.Delivery{Incident: "b", Channel: "hook", Want: 1, Gone: "400"}
	save(t, s, []alert.Incident{b, a}, []notify.Delivery{db, da})
	checkLoad(t, s, []alert.Incident{a, b}, []notify.Delivery{da, db})

	s.Close()
	s = openStore(t, path)
	checkLoad(t, s, []alert.Incident{a, b}, []notify.Delivery{da, db})

	a.Rev, da.Acked, da.Want = 4, 4, 4
	save(t, s, []alert.Incident{a}, []notify.Delivery{da})
	checkLoad(t, s, []alert.Incident{a, b}, []notify.Delivery{da, db})

	for name, want := range map[string]fs.FileMode{path: 0o600, filepath.Dir(path): fs.ModeDir | 0o700} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode(); got != want {
			t.Errorf("%s has mode %v, want %v", name, got, want)
		}
	}
}

func TestResolvedIsForgottenOnceDelivered(t *testing.T) {
	s := openStore(t, filepath.Join(t.TempDir(), "db"))
	hook := notify.Delivery{Incident: "a", Channel: "hook", Want: 1, Acked: 1}
	mail := notify.Delivery{Incident: "a", Channel: "mail", Want: 1, Acked: 1}
	other := notify.Delivery{Incident: "a2", Channel: "mail", Want: 1, Acked: 1} // its ID begins like the other's
	save(t, s, []alert.Incident{incident("a", 1), incident("a2", 1)}, []notify.Delivery{hook, mail, other})

	end := resolved("a", 2, t0.Add(time.Hour))
	hook.Want, mail.Want = 2, 2
	save(t, s, []alert.Incident{end}, []notify.Delivery{hook, mail})
	checkLoad(t, s, []alert.Incident{incident("a2", 1), end}, []notify.Delivery{hook, mail, other})

	hook.Acked = 2
	save(t, s, nil, []notify.Delivery{hook})
	checkLoad(t, s, []alert.Incident{incident("a2", 1), end}, []notify.Delivery{hook, mail, other})

	mail.Gone = "refused"
	save(t, s, nil, []notify.Delivery{mail})
	checkLoad(t, s, []alert.Incident{incident("a2", 1)}, []notify.Delivery{other})

	history, err := s.Incidents(10)
	if err != nil || len(history) != 1 || history[0].ID != "a" || history[0].Rev != 2 {
		t.Errorf("got history %v, %v, want the incident a", history, err)
	}
}

// Both lists or neither: a save that fails in its middle leaves no trace.
func TestSaveIsOneTransaction(t *testing.T) {
	s := openStore(t, filepath.Join(t.TempDir(), "db"))
	save(t, s, []alert.Incident{incident("a", 1)}, nil)
	tooLong := notify.Delivery{Incident: strings.Repeat("x", 1<<15), Channel: "hook", Want: 1}
	if err := s.Save(t.Context(), []alert.Incident{incident("a", 2), incident("b", 1)}, []notify.Delivery{tooLong}); err == nil {
		t.Fatal("a key that is too long was taken")
	}
	checkLoad(t, s, []alert.Incident{incident("a", 1)}, nil)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Save(ctx, []alert.Incident{incident("b", 1)}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context canceled", err)
	}
	checkLoad(t, s, []alert.Incident{incident("a", 1)}, nil)
}

func TestHistoryIsBoundedAndNewestFirst(t *testing.T) {
	s := openStore(t, filepath.Join(t.TempDir(), "db"))
	var ds []notify.Delivery
	var all []alert.Incident
	for n := range MaxResolved + 50 {
		id := fmt.Sprintf("i%04d", n)
		all = append(all, resolved(id, 2, t0.Add(time.Duration(n)*time.Minute)))
		ds = append(ds, notify.Delivery{Incident: id, Channel: "dead", Want: 2})
	}
	save(t, s, all[:MaxResolved], ds[:MaxResolved])
	save(t, s, all[MaxResolved:], ds[MaxResolved:])

	got, err := s.Incidents(MaxResolved * 2)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != MaxResolved || got[0].ID != "i1049" || got[MaxResolved-1].ID != "i0050" {
		t.Errorf("got %d from %s to %s, want 1000 from i1049 to i0050", len(got), got[0].ID, got[len(got)-1].ID)
	}
	if got, _ := s.Incidents(2); len(got) != 2 || got[1].ID != "i1048" {
		t.Errorf("got %d with a limit of 2", len(got))
	}
	incidents, left, err := s.Load(t.Context())
	if err != nil || len(incidents) != MaxResolved || len(left) != MaxResolved {
		t.Errorf("got %d incidents, %d deliveries (%v), want 1000 of each", len(incidents), len(left), err)
	}
}

// Three times as many incidents as are kept leave the file as large as they did once.
func TestFileDoesNotGrow(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	s := openStore(t, path)
	s.db.NoSync = true
	n := 0
	many := func() int64 {
		for range MaxResolved + 200 {
			id, at := fmt.Sprintf("i%06d", n), t0.Add(time.Duration(n)*time.Minute)
			n++
			save(t, s, []alert.Incident{incident(id, 1)}, []notify.Delivery{{Incident: id, Channel: "hook", Want: 1}})
			save(t, s, []alert.Incident{resolved(id, 2, at)}, []notify.Delivery{{Incident: id, Channel: "hook", Want: 2, Acked: 2}})
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	first := many()
	many()
	if last := many(); last > first {
		t.Errorf("%d bytes at first, %d later", first, last)
	}
}

func TestLearned(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	s := openStore(t, path)
	buf := []byte{0, 0}
	err := s.SaveLearned(func(yield func(string, []byte)) {
		for n := range 2500 {
			buf[0], buf[1] = byte(n>>8), byte(n) // one buffer for all, as its owner may do
			yield(fmt.Sprint("k", n), buf)
		}
		yield("empty", []byte{})
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.SaveLearned(func(yield func(string, []byte)) { yield("k7", nil); yield("k8", []byte("new")); yield("never", nil) }); err != nil {
		t.Fatal(err)
	}
	s.Close()
	s = openStore(t, path)
	got, err := s.Learned()
	if err != nil || len(got) != 2500 {
		t.Fatalf("got %d records, %v, want 2500", len(got), err)
	}
	if got["k7"] != nil || string(got["k8"]) != "new" || got["empty"] == nil || got["k2499"][1] != byte(2499&0xff) {
		t.Errorf("got k7 %q, k8 %q, empty %v, k2499 %v", got["k7"], got["k8"], got["empty"], got["k2499"])
	}
	if err := s.SaveLearned(func(yield func(string, []byte)) { yield("", []byte("x")) }); err == nil {
		t.Error("a record without a key was taken")
	}
}

func TestSecondOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	openStore(t, path)
	s, err := Open(path)
	if s != nil || err == nil || !strings.Contains(err.Error(), "another faultline is running on this state directory") {
		t.Errorf("got %v, want that another one is running", err)
	}
}

func TestErrorsSayWhatToDo(t *testing.T) {
	f := func(err error, want string) {
		t.Helper()
		got := explain("/var/lib/faultline/db", err)
		if !strings.Contains(got.Error(), want) || !errors.Is(got, err) {
			t.Errorf("got %q, want it to say %q", got, want)
		}
	}
	f(&fs.PathError{Op: "write", Path: "db", Err: syscall.ENOSPC}, "free some space in /var/lib/faultline")
	f(&fs.PathError{Op: "open", Path: "db", Err: syscall.EROFS}, "writable")
	f(&fs.PathError{Op: "open", Path: "db", Err: syscall.EACCES}, "the user that faultline runs as")
	f(errors.New("odd"), "odd")

	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(filepath.Join(file, "db")); err == nil || !strings.Contains(err.Error(), "directory") {
		t.Errorf("got %v, want that it is no directory", err)
	}
}

// The whole way: told, saved, sent, killed, started again.
func TestBookOfADeliverer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	var took []string
	run := func(tell ...alert.Incident) {
		t.Helper()
		s := openStore(t, path)
		defer s.Close()
		incidents, ds, err := s.Load(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		d := notify.NewDeliverer(notify.Config{
			Book: s, Log: zerolog.Nop(), Channels: []notify.NamedChannel{{Name: "c", Channel: channel(func(m notify.Message) {
				took = append(took, fmt.Sprint(m.Event(), " ", m.Incident.ID, ".", m.Incident.Rev))
			})}},
		}, incidents, ds)
		d.Tell(tell, nil)
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // Run still sends what is due
		if err := d.Run(ctx); err != nil {
			t.Error(err)
		}
	}
	run(incident("a", 1))
	run()
	run(incident("a", 1))
	run(resolved("a", 2, t0.Add(time.Hour)))
	run()
	if d := cmp.Diff(took, []string{"page a.1", "resolved a.2"}); d != "" {
		t.Errorf("-got +want:\n%s", d)
	}
	checkLoad(t, openStore(t, path), nil, nil)
}

type channel func(notify.Message)

func (c channel) Deliver(_ context.Context, m notify.Message) error {
	c(m)
	return nil
}
