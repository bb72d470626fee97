package config

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"faultline/alert"
	"faultline/alert/notify"
	"faultline/probe"
)

const anySeverity = "any"

// routes reads every [[route]].
func (r *reader) routes(ts []*table, c *Config) []notify.Route {
	var out []notify.Route
	for _, t := range ts {
		x := notify.Route{
			Severity: alert.Severity(t.oneOf("severity", anySeverity, anySeverity, string(alert.SeverityPage), string(alert.SeverityNotice))),
			Match:    r.match(t, c), Kinds: t.strs("kinds", "[]"), When: t.weekly("when"), Zone: t.zone("zone"),
			Channels: t.strs("channels", "[]"), Continue: t.boolean("continue", false),
		}
		if x.Severity == anySeverity {
			x.Severity = ""
		}
		if len(x.Channels) == 0 && !t.has("channels") {
			r.problem(t.path, "it has no channels; write channels = [\"…\"], or [] to send what fits it nowhere")
		}
		for _, name := range x.Channels {
			if !slices.ContainsFunc(c.Channels, func(ch Channel) bool { return ch.Name == name }) {
				t.problem("channels", "there is no channel %q; write the names of [[channel]]s", clip(name))
			}
		}
		t.done()
		out = append(out, x)
	}
	return out
}

// maintenance reads every [[maintenance]].
func (r *reader) maintenance(ts []*table, c *Config) []alert.Silence {
	var out []alert.Silence
	for n, t := range ts {
		s := alert.Silence{
			ID: fmt.Sprintf("config-%d", n+1), Match: r.match(t, c), Weekly: t.weekly("weekly"), Comment: t.str("comment", ""), By: "the config", Config: true,
		}
		zone := t.zone("zone")
		s.Zone = zone.String()
		s.From, s.Till = t.moment("from", zone), t.moment("till", zone)
		if len(s.Match) == 0 {
			r.problem(t.path, "it has no match; write match = { site = \"…\" }, or group, domain, vantage, label.NAME")
		}
		if len(s.Weekly) == 0 && s.Till.IsZero() {
			r.problem(t.path, "it has no time; write weekly = [\"sun 03:00-05:00\"], or from and till")
		}
		if !s.Till.IsZero() && !s.Till.After(s.From) {
			t.problem("till", "it lies before from; write a later time")
		}
		t.done()
		out = append(out, s)
	}
	return out
}

// weekly reads times that return every week.
func (t *table) weekly(key string) []alert.Weekly {
	var out []alert.Weekly
	for _, s := range t.strs(key, "[]") {
		w, err := alert.ParseWeekly(s)
		if err != nil {
			t.problem(key, "%v", err)
			continue
		}
		out = append(out, w)
	}
	return out
}

func (t *table) zone(key string) *time.Location {
	name := t.str(key, "UTC")
	loc, err := time.LoadLocation(name)
	if err != nil || name == "" {
		t.problem(key, "%q is no time zone; write one as in \"Asia/Hong_Kong\"", clip(name))
		return time.UTC
	}
	return loc
}

// moment reads a point in time: "2026-03-01 03:00" in the zone, or with an offset of its own as in "2026-03-01T03:00:00+08:00".
func (t *table) moment(key string, zone *time.Location) time.Time {
	s := t.str(key, "")
	if s == "" {
		return time.Time{}
	}
	if at, err := time.Parse(time.RFC3339, s); err == nil {
		return at
	}
	at, err := time.ParseInLocation("2006-01-02 15:04", s, zone)
	if err != nil {
		t.problem(key, "%q is no time; write one as in \"2026-03-01 03:00\"", clip(s))
	}
	return at
}

// match reads what a route or a maintenance is about: { group = "boards", domain = ["cdn:*"], label.country = "hk" }.
func (r *reader) match(t *table, c *Config) alert.Match {
	m, ok := typed[map[string]any](t, "match", "{}", `a table, as in { group = "boards" }`)
	if !ok || len(m) == 0 {
		return nil
	}
	out := alert.Match{}
	for _, key := range sortedKeys(m) {
		if labels, ok := m[key].(map[string]any); ok && key == "label" {
			for _, name := range sortedKeys(labels) {
				out["label."+name] = t.values("match.label."+name, labels[name])
			}
			continue
		}
		out[key] = t.values("match."+key, m[key])
	}
	if err := out.Check(); err != nil {
		t.problem("match", "%v", err)
		return nil
	}
	r.matchesNothing(t, out, c)
	return out
}

// values takes a string, or a list of strings.
func (t *table) values(key string, v any) []string {
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	var out []string
	for _, x := range list {
		s, ok := x.(string)
		if !ok {
			t.problem(key, "it is %s; write a string in quotes, or a list of them", kindOf(x))
			return []string{"?"}
		}
		out = append(out, s)
	}
	return out
}

// matchesNothing warns of names that are not there: most often they are mistyped.
func (r *reader) matchesNothing(t *table, m alert.Match, c *Config) {
	known := map[string]func(s *probe.Site, value string) bool{
		"site": func(s *probe.Site, v string) bool { return s.Name == v }, "group": func(s *probe.Site, v string) bool { return s.Group == v },
	}
	for _, key := range []string{"site", "group"} {
		for _, v := range m[key] {
			if !strings.Contains(v, "*") && !slices.ContainsFunc(c.Sites, func(s *probe.Site) bool { return known[key](s, v) }) {
				r.warn(t.at("match."+key), "there is no %s %q", key, clip(v))
			}
		}
	}
	for _, v := range m["vantage"] {
		if !strings.Contains(v, "*") && !slices.ContainsFunc(c.Vantages, func(x *probe.Vantage) bool { return x.Name == v }) {
			r.warn(t.at("match.vantage"), "there is no vantage %q", clip(v))
		}
	}
}
