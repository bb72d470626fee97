package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"faultline/alert"
	"faultline/alert/history"
	"faultline/probe"
)

// kept answers for a site as a store that holds these items does.
func kept(key uint64, slots, days []history.Item) func(uint64, history.Step, int64, int64) ([]history.Item, error) {
	return func(site uint64, step history.Step, from, to int64) ([]history.Item, error) {
		items := slots
		if step == history.Day {
			items = days
		}
		var out []history.Item
		for _, i := range items {
			if site == key && from <= i.N && i.N < to {
				out = append(out, i)
			}
		}
		return out, nil
	}
}

// historyHandler has a site of which three slots and two days are kept, in a bubble where it is 2000-01-01 00:00 UTC and more.
func historyHandler() (h http.Handler, now time.Time) {
	time.Sleep(36*time.Hour + 7*time.Minute)
	now = time.Now()
	slot, day := history.Slot.Of(now), history.Day.Of(now)
	c := sampleConfig(sampleView())
	c.History = kept(
		probe.SiteKey("lihkg", "https://lihkg.com/"),
		[]history.Item{
			{N: slot - 13, Seen: 1, Counts: history.Counts{OK: 25}},
			{N: slot - 1, Seen: 1, Counts: history.Counts{OK: 20, Failed: 5, Blocked: 1, None: 2}},
			{N: slot, Counts: history.Counts{Blocked: 3}},
		},
		[]history.Item{{N: day - 1, Seen: 144, Counts: history.Counts{OK: 700}}, {N: day, Seen: 2, Counts: history.Counts{OK: 45, Failed: 5, Blocked: 4, None: 2}}},
	)
	return New(c), now
}

func TestHistory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _ := historyHandler()
		f := func(query string, want ...string) {
			t.Helper()
			var got []string
			list := getJSON(t, h, "/api/v1/sites/lihkg/history"+query)
			for _, item := range list["items"].([]any) {
				i := item.(map[string]any)
				got = append(got, fmt.Sprint(i["at"], " ", i["ok"], " ", i["failed"], " ", i["blocked"], " ", i["none"], " ", i["seen"]))
			}
			if d := cmp.Diff(got, want); d != "" || list["total"] != float64(len(want)) || list["at"] != "2000-01-02T12:07:00Z" {
				t.Errorf("%s: at %v, total %v (-got +want):\n%s", query, list["at"], list["total"], d)
			}
		}
		f("?since=2000-01-02T11:50:00Z",
			"2000-01-02T11:50:00Z 0 0 0 0 <nil>", "2000-01-02T11:55:00Z 0 0 0 0 <nil>", "2000-01-02T12:00:00Z 20 5 1 2 <nil>",
			"2000-01-02T12:05:00Z 0 0 3 0 <nil>")
		f("?step=5m&since=2000-01-02T11:00:00Z&until=2000-01-02T11:00:01Z", "2000-01-02T11:00:00Z 25 0 0 0 <nil>")
		f("?step=1d&since=2000-01-01T00:00:00%2B01:00", "1999-12-31T00:00:00Z 0 0 0 0 0",
			"2000-01-01T00:00:00Z 700 0 0 0 0.5", "2000-01-02T00:00:00Z 45 5 4 2 "+fmt.Sprint(2.0/146))
		f("?since=9999-12-31T23:59:59Z")
		f("?until=1970-01-01T00:00:00Z")
		for query, want := range map[string]int{
			"": 577, "?step=1d": 401, "?since=1970-01-01T00:00:00Z&until=9999-12-31T23:59:59Z": 577, "?step=1d&since=1970-01-01T00:00:00Z": 401,
		} {
			if got := len(getJSON(t, h, "/api/v1/sites/lihkg/history"+query)["items"].([]any)); got != want {
				t.Errorf("%q: got %d items, want %d", query, got, want)
			}
		}
	})
}

func TestUptime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _ := historyHandler()
		list := getJSON(t, h, "/api/v1/sites/lihkg/uptime")
		var got []map[string]any
		for _, item := range list["items"].([]any) {
			got = append(got, item.(map[string]any))
		}
		want := []map[string]any{
			{"over": "24h", "since": "2000-01-01T12:10:00Z", "uptime": 0.9, "seen": 2.0 / 288, "ok": 45.0, "failed": 5.0, "blocked": 4.0, "none": 2.0},
			{"over": "7d", "since": "1999-12-27T00:00:00Z", "uptime": 745.0 / 750, "seen": 146.0 / (6*288 + 146), "ok": 745.0, "failed": 5.0, "blocked": 4.0, "none": 2.0},
			{"over": "30d", "since": "1999-12-04T00:00:00Z", "uptime": 745.0 / 750, "seen": 146.0 / (29*288 + 146), "ok": 745.0, "failed": 5.0, "blocked": 4.0, "none": 2.0},
			{"over": "365d", "since": "1999-01-03T00:00:00Z", "uptime": 745.0 / 750, "seen": 146.0 / (364*288 + 146), "ok": 745.0, "failed": 5.0, "blocked": 4.0, "none": 2.0},
		}
		if d := cmp.Diff(got, want); d != "" {
			t.Errorf("-got +want:\n%s", d)
		}
		for _, item := range getJSON(t, h, "/api/v1/sites/new/uptime")["items"].([]any) {
			if i := item.(map[string]any); i["uptime"] != nil || i["seen"] != 0.0 {
				t.Errorf("got %v of a site of which nothing was seen, want no uptime", i)
			}
		}
	})
}

// A site may have any name; it is one segment of the path, escaped.
func TestHistoryOfOddNames(t *testing.T) {
	for _, name := range []string{"a/b", "a//b/", "..", ".", "%2F", "a b?c#d", "名前", hostile, "\x01\xff"} {
		v := &alert.View{At: noon, Sites: []alert.SiteView{{Site: name, URL: "https://odd.example/"}}}
		c := sampleConfig(v)
		asked := false
		c.History = func(site uint64, _ history.Step, _, _ int64) ([]history.Item, error) {
			asked = site == probe.SiteKey(name, "https://odd.example/")
			return nil, nil
		}
		if w := request(New(c), "GET", "/api/v1/sites/"+pathEscape(name)+"/history"); w.Code != 200 || !asked {
			t.Errorf("%q: got %d %s, asked %v", name, w.Code, w.Body, asked)
		}
	}
}

// pathEscape also escapes the dots of "." and "..", as clients that know of them do.
func pathEscape(s string) string { return strings.ReplaceAll(url.PathEscape(s), ".", "%2E") }

func TestHistoryProblems(t *testing.T) {
	c := sampleConfig(sampleView())
	h := New(c)
	c.History = func(uint64, history.Step, int64, int64) ([]history.Item, error) {
		return nil, errors.New("the disk: /secret")
	}
	broken := New(c)
	f := func(h http.Handler, path string, status int, detail string) {
		t.Helper()
		w := request(h, "GET", "/api/v1/sites/"+path)
		var got struct{ Detail string }
		err := json.Unmarshal(w.Body.Bytes(), &got)
		if err != nil || w.Code != status || !strings.Contains(got.Detail, detail) || w.Header().Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: got %d %q, want problem %d %q", path, w.Code, w.Body, status, detail)
		}
	}
	f(h, "nobody/history", 404, "no such site")
	f(h, "nobody/uptime", 404, "no such site")
	f(h, "LIHKG/history", 404, "no such site")
	f(h, "anchor/history", 404, "anchor")
	f(h, "lihkg/nothing", 404, "no such endpoint")
	f(h, "lihkg/history?step=1h", 400, "5m or 1d")
	f(h, "lihkg/history?since=yesterday", 400, "since is")
	f(h, "lihkg/history?since=0001-01-01T00:00:00Z", 400, "since 1970")
	f(h, "lihkg/history?until=2019-07-02", 400, "until is")
	f(h, "lihkg/history?until="+strings.Repeat("9", 5000), 400, "…")
	f(h, "lihkg/history?since=2026-07-02T00:00:00Z&until=2026-07-02T00:00:00Z", 400, "before until")
	f(broken, "lihkg/history", 500, "the daemon's log says why")
	f(broken, "lihkg/uptime", 500, "the daemon's log says why")
	for _, path := range []string{"lihkg/history", "lihkg/uptime"} {
		if w := request(h, "POST", "/api/v1/sites/"+path); w.Code != 405 {
			t.Errorf("POST %s: got %d, want 405", path, w.Code)
		}
	}
}
