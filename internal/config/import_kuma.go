package config

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// kumaMonitor is what Faultline understands of a monitor in a backup of Uptime Kuma.
type kumaMonitor struct {
	ID            int64    `json:"id"`
	Parent        int64    `json:"parent"`
	Name          string   `json:"name"`
	Type          string   `json:"type"`
	URL           string   `json:"url"`
	Method        string   `json:"method"`
	Active        any      `json:"active"`     // true, or 1
	Interval      float64  `json:"interval"`   // seconds
	Timeout       float64  `json:"timeout"`    // seconds
	UpsideDown    any      `json:"upsideDown"` // true, or 1
	IgnoreTLS     any      `json:"ignoreTls"`
	Keyword       string   `json:"keyword"`
	InvertKeyword any      `json:"invertKeyword"`
	Statuses      []string `json:"accepted_statuscodes"`
	Headers       any      `json:"headers"` // a JSON text, or a table
	AuthMethod    string   `json:"authMethod"`
	User          string   `json:"basic_auth_user"`
	Password      string   `json:"basic_auth_pass"`
	Tags          []struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	} `json:"tags"`
}

// truthy tells whether a value of a database that has no booleans means true.
func truthy(v any) bool { return v != nil && v != false && v != float64(0) && v != "" && v != "0" }

// kuma reads the monitors of a backup of Uptime Kuma: {"monitorList": […]}, or the list alone.
func (l *siteList) kuma(text []byte) error {
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	list, err := elements(text, "monitorList")
	if err != nil {
		return fmt.Errorf("it is no backup of Uptime Kuma: %w", err)
	}
	groups := map[int64]string{}
	monitors := make([]*kumaMonitor, len(list))
	for i, e := range list {
		m := &kumaMonitor{Active: true}
		if err := json.Unmarshal(e.raw, m); err != nil {
			l.warn(e.line, "monitorList", "the monitor cannot be read (%s); it is left out", oneLine(err))
			continue
		}
		monitors[i] = m
		if m.Type == "group" {
			groups[m.ID] = m.Name
		}
	}
	for i, m := range monitors {
		if m != nil && m.Type != "group" {
			l.kumaMonitor(list[i].line, m, groups[m.Parent])
		}
	}
	return nil
}

func (l *siteList) kumaMonitor(line int, m *kumaMonitor, group string) {
	name := clip(m.Name)
	switch method := strings.ToUpper(cmp.Or(m.Method, "GET")); {
	case m.Type != "http" && m.Type != "keyword" && m.Type != "json-query":
		l.warn(line, "type", "%s is no web site but of the type %s; it is left out", name, clip(m.Type))
		return
	case !truthy(m.Active):
		l.warn(line, "active", "%s is paused; it is left out", name)
		return
	case truthy(m.UpsideDown):
		l.warn(line, "upsideDown", "%s is meant to be down, which Faultline has no counterpart of; it is left out", name)
		return
	case method != "GET" && method != "HEAD":
		l.warn(line, "method", "%s sends a %s; Faultline only asks, with GET or HEAD; it is left out", name, clip(method))
		return
	}
	if truthy(m.IgnoreTLS) {
		l.warn(line, "ignoreTls", "%s: Faultline verifies certificates always", name)
	}
	s := l.base
	s.Group, s.Method = group, strings.ToUpper(cmp.Or(m.Method, "GET"))
	s.Headers = l.headers(line, l.kumaHeaders(line, m))
	switch m.AuthMethod {
	case "":
	case "basic":
		s.Headers = withHeader(s.Headers, "Authorization", basicAuth(m.User, m.Password))
	default:
		l.warn(line, "authMethod", "%s logs in by %s, which Faultline does not", name, clip(m.AuthMethod))
	}
	l.times(line, &s, seconds(m.Interval), seconds(m.Timeout))
	for _, text := range m.Statuses {
		if r, ok := parseStatus(text); ok {
			s.Expect.Status = append(s.Expect.Status, r)
		} else {
			l.warn(line, "accepted_statuscodes", "%s: %q is no status; it is left out", name, clip(text))
		}
	}
	switch keyword := (*regexp.Regexp)(nil); {
	case m.Type == "keyword" && m.Keyword != "":
		keyword = regexp.MustCompile(regexp.QuoteMeta(m.Keyword))
		if truthy(m.InvertKeyword) {
			s.Expect.NotBody = keyword
		} else {
			s.Expect.Body = keyword
		}
	case m.Type == "json-query":
		l.warn(line, "jsonPath", "%s asks for a value in JSON; write it as expect_body", name)
	}
	for _, t := range m.Tags {
		if t.Name != "" {
			if s.Labels == nil {
				s.Labels = map[string]string{}
			}
			s.Labels[t.Name] = t.Value
		}
	}
	l.take(line, m.URL, m.Name, s)
}

// seconds is a time that may be nonsense: 0 = not said.
func seconds(s float64) time.Duration {
	if !(s > 0) {
		return 0
	}
	return time.Duration(min(s, 10*mostInterval.Seconds()) * float64(time.Second)).Round(time.Millisecond)
}

func (l *siteList) kumaHeaders(line int, m *kumaMonitor) map[string]string {
	table := map[string]any{}
	switch h := m.Headers.(type) {
	case map[string]any:
		table = h
	case string:
		if strings.TrimSpace(h) == "" {
			break
		}
		if err := json.Unmarshal([]byte(h), &table); err != nil {
			l.warn(line, "headers", "%s: they are no JSON; they are left out", clip(m.Name))
		}
	}
	out := map[string]string{}
	for k, v := range table {
		out[k] = fmt.Sprint(v)
	}
	return out
}
