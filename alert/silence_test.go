package alert

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"faultline/probe"
)

func match(t *testing.T, s string) Match {
	t.Helper()
	m, err := ParseMatch(s)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestLike(t *testing.T) {
	f := func(pattern, s string, want bool) {
		t.Helper()
		if got := like(pattern, s); got != want {
			t.Errorf("%q, %q: got %v, want %v", pattern, s, got, want)
		}
	}
	f("forum", "forum", true)
	f("forum", "forums", false)
	f("*", "", true)
	f("cdn:*", "cdn:cloudflare", true)
	f("cdn:*", "cdn-origin:cloudflare", false)
	f("*.example.org", "a.example.org", true)
	f("a*b*c", "axxbyyc", true)
	f("a*b*c", "axxcyyb", false)
	f("ab*ba", "aba", false)
	f("a**b", "ab", true)
	f(strings.Repeat("*a", 40), strings.Repeat("a", 60)+"b", false) // no pattern takes long
}

func TestSilencesOf(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	sites := map[string]*probe.Site{
		"forum": {Group: "boards", Labels: map[string]string{"country": "hk"}}, "chat": {Group: "boards"}, "news": {Group: "press"},
	}
	member := func(site, vantages string, now bool) Member {
		return Member{Site: site, Vantages: strings.Fields(vantages), Now: now}
	}
	f := func(want string, matches string, members ...Member) {
		t.Helper()
		i := Incident{Domain: Domain{KindCDN, "cloudflare"}, Members: members, Failing: Counts{Sites: len(members)}}
		var list []Silence
		for m := range strings.FieldsSeq(matches) {
			list = append(list, Silence{ID: m, Match: match(t, m), Till: now.Add(time.Hour)})
		}
		var got []string
		for _, s := range NewSilences(list, func(n string) *probe.Site { return sites[n] }).Of(now, &i) {
			got = append(got, s.ID)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: got %q, want %q", matches, got, want)
		}
	}
	forum, chat, news := member("forum", "v1 v2", true), member("chat", "v1", true), member("news", "v1", true)
	f("", "")
	f("site=forum", "site=forum", forum)
	f("", "site=forum", forum, news)
	f("site=forum group=press", "site=forum group=press group=none", forum, news) // together they cover it
	f("group=boards", "group=boards", forum, chat)
	f("site=forum,site=chat", "site=forum,site=chat", forum, chat)
	f("", "label.country=hk", forum, chat)
	f("label.country=hk,group=boards", "label.country=hk,group=boards", forum) // both must fit …
	f("", "label.country=hk,group=press", forum)
	f("domain=cdn:*", "domain=cdn:* domain=dns:*", forum, news)
	f("", "domain=cdn:cloudflare,site=forum", forum, news)
	f("vantage=v1", "vantage=v1", chat, news)
	f("", "vantage=v1", forum) // it fails from v2 too
	f("vantage=v1,vantage=v2", "vantage=v1,vantage=v2", forum)
	f("site=forum", "site=forum", forum, member("news", "v1", false)) // which works again
	f("", "site=forum", member("forum", "v1", false), member("news", "v1", false))
	f("", "site=*") // nothing is known to fail: only the domain can be silenced
	f("domain=*", "domain=*")
	f("site=gone", "site=gone", member("gone", "v1", true))

	many := Incident{Domain: Domain{KindCDN, "cloudflare"}, Members: []Member{forum}, Failing: Counts{Sites: 300}}
	all := NewSilences([]Silence{{Match: match(t, "site=forum"), Till: now.Add(time.Hour)}}, func(n string) *probe.Site { return sites[n] })
	if got := all.Of(now, &many); got != nil {
		t.Errorf("got %v for sites that are not listed", got)
	}
}

func TestSilencesOfNotice(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	f := func(m string, n Notice, want bool) {
		t.Helper()
		s := NewSilences([]Silence{{Match: match(t, m), Till: now.Add(time.Hour)}}, func(string) *probe.Site { return nil })
		if got := s.OfNotice(now, &n); (got != nil) != want {
			t.Errorf("%s: got %v, want %v", m, got, want)
		}
		if s.OfNotice(now.Add(time.Hour), &n) != nil {
			t.Errorf("%s: it holds when it is over", m)
		}
	}
	f("vantage=v1", Notice{Vantage: "v1"}, true)
	f("vantage=v1", Notice{Vantage: "v2"}, false)
	f("vantage=v1", Notice{Site: "forum"}, false)
	f("site=forum", Notice{Site: "forum", Vantage: "v1"}, true)
	f("site=forum,vantage=v2", Notice{Site: "forum", Vantage: "v1"}, false)
	f("domain=cdn:*", Notice{Domain: Domain{KindCDN, "fastly"}}, true)
	f("domain=cdn:*", Notice{Site: "forum"}, false)
}

func TestSilenceTimes(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	s := Silence{From: at, Till: at.Add(time.Hour)}
	f := func(after time.Duration, active bool, next time.Time) {
		t.Helper()
		now := at.Add(after)
		if got := s.Active(now); got != active {
			t.Errorf("%v: active %v, want %v", after, got, active)
		}
		if got := NewSilences([]Silence{s}, nil).Change(now); !got.Equal(next) {
			t.Errorf("%v: changes at %v, want %v", after, got, next)
		}
	}
	f(-time.Second, false, at)
	f(0, true, at.Add(time.Hour))
	f(time.Hour, false, time.Time{})

	s = Silence{Weekly: []Weekly{weekly(t, "sun 20:00-21:00"), weekly(t, "mon 04:00-05:00")}, Zone: "Asia/Hong_Kong", Till: at.Add(9 * time.Hour)} // it is Sunday 20:00 there
	f(0, true, at.Add(time.Hour))
	f(time.Hour, false, at.Add(8*time.Hour))
	f(8*time.Hour, true, at.Add(9*time.Hour))
	f(24*time.Hour, false, time.Time{})
}

func TestSilenceCheck(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	good := Silence{Match: Match{"site": {"forum"}}, Till: now.Add(time.Hour)}
	if err := good.Check(now); err != nil {
		t.Error(err)
	}
	f := func(change func(*Silence), want string) {
		t.Helper()
		s := good
		change(&s)
		if err := s.Check(now); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
	f(func(s *Silence) { s.Match = nil }, "it matches nothing")
	f(func(s *Silence) { s.Match = Match{"host": {"x"}} }, `"host" cannot be matched`)
	f(func(s *Silence) { s.Match = Match{"label.": {"x"}} }, "cannot be matched")
	f(func(s *Silence) { s.Match = Match{"site": {""}} }, "site has no value")
	f(func(s *Silence) { s.Match = Match{"site": make([]string, 0)} }, "site has no value")
	f(func(s *Silence) { s.Match = Match{"site": strings.Split(strings.Repeat("a ", 150)+"a", " ")} }, "too many")
	f(func(s *Silence) { s.Till = time.Time{} }, "it has no end")
	f(func(s *Silence) { s.Till = now }, "its end is past")
	f(func(s *Silence) { s.From = now.Add(2 * time.Hour) }, "it ends before it begins")
	f(func(s *Silence) { s.Till = now.Add(500 * 24 * time.Hour) }, "400 days")
	f(func(s *Silence) { s.Zone = "Hongkong/City" }, "is no time zone")
	f(func(s *Silence) { s.Comment = strings.Repeat("x", 2000) }, "longer than")
}

func TestSilenceJSON(t *testing.T) {
	s := Silence{ID: "x", Match: match(t, "site=a,site=b,domain=cdn:x"), Weekly: []Weekly{weekly(t, "sun 03:00-05:00")}, Zone: "Asia/Hong_Kong", By: "anna"}
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"id":"x","match":{"domain":["cdn:x"],"site":["a","b"]},"weekly":["sun 03:00-05:00"],"zone":"Asia/Hong_Kong","by":"anna"}`
	if string(b) != want {
		t.Errorf("got %s, want %s", b, want)
	}
	var again Silence
	if err := json.Unmarshal(b, &again); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(again, s, cmpopts.EquateComparable(Weekly{})); d != "" {
		t.Errorf("-got +want:\n%s", d)
	}
	if got := s.Match.String(); got != "domain=cdn:x,site=a,site=b" {
		t.Errorf("got %q", got)
	}
}
