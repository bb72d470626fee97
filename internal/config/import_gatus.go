package config

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"faultline/probe"
)

// gatusEndpoint is what Faultline understands of an endpoint of Gatus.
type gatusEndpoint struct {
	Enabled    *bool             `yaml:"enabled"`
	Name       string            `yaml:"name"`
	Group      string            `yaml:"group"`
	URL        string            `yaml:"url"`
	Method     string            `yaml:"method"`
	Body       string            `yaml:"body"`
	GraphQL    bool              `yaml:"graphql"`
	Headers    map[string]string `yaml:"headers"`
	Interval   string            `yaml:"interval"`
	Conditions []string          `yaml:"conditions"`
	DNS        *yaml.Node        `yaml:"dns"`
	Client     struct {
		Insecure       bool   `yaml:"insecure"`
		IgnoreRedirect bool   `yaml:"ignore-redirect"`
		Timeout        string `yaml:"timeout"`
		ProxyURL       string `yaml:"proxy-url"`
	} `yaml:"client"`
}

// gatus reads the endpoints of a config of Gatus.
func (l *siteList) gatus(text []byte) error {
	var file struct {
		Endpoints []yaml.Node `yaml:"endpoints"`
		External  []yaml.Node `yaml:"external-endpoints"`
		Suites    []yaml.Node `yaml:"suites"`
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		return fmt.Errorf("it is no config of Gatus: %w", err)
	}
	for _, n := range slices.Concat(file.External, file.Suites) {
		l.warn(n.Line, "endpoints", "external endpoints and suites are no single URL to look at; it is left out")
	}
	if len(file.Endpoints) == 0 {
		return errors.New("it has no endpoints; is it a config of Gatus?")
	}
	for i := range file.Endpoints {
		n := &file.Endpoints[i]
		var e gatusEndpoint
		if err := n.Decode(&e); err != nil {
			l.warn(n.Line, "endpoints", "the endpoint cannot be read (%s); it is left out", oneLine(err))
			continue
		}
		l.gatusEndpoint(n.Line, &e)
	}
	return nil
}

func (l *siteList) gatusEndpoint(line int, e *gatusEndpoint) {
	name := clip(e.Name)
	switch {
	case e.Enabled != nil && !*e.Enabled:
		l.warn(line, "enabled", "%s is switched off; it is left out", name)
		return
	case e.DNS != nil || !strings.HasPrefix(e.URL, "http://") && !strings.HasPrefix(e.URL, "https://"):
		l.warn(line, "url", "%s is no web site (%s); it is left out", name, clip(e.URL))
		return
	case e.Body != "" || e.GraphQL || e.Method != "" && e.Method != "GET" && e.Method != "HEAD":
		l.warn(line, "method", "%s sends something; Faultline only asks, with GET or HEAD; it is left out", name)
		return
	}
	if e.Client.Insecure {
		l.warn(line, "client.insecure", "%s: Faultline verifies certificates always", name)
	}
	if e.Client.IgnoreRedirect {
		l.warn(line, "client.ignore-redirect", "%s: Faultline follows redirects to what they lead to", name)
	}
	if e.Client.ProxyURL != "" {
		l.warn(line, "client.proxy-url", "%s: a proxy is a key of [[vantage]]", name)
	}
	s := l.base
	s.Group, s.Method = e.Group, cmp.Or(e.Method, "GET")
	for k, v := range e.Headers {
		if strings.Contains(v, "${") {
			l.warn(line, "headers", "%s: %s holds a variable of the environment; write its value", name, clip(k))
			delete(e.Headers, k)
		}
	}
	s.Headers = l.headers(line, e.Headers)
	l.times(line, &s, l.duration(line, "interval", e.Interval), l.duration(line, "client.timeout", e.Client.Timeout))
	l.conditions(line, name, &s.Expect, e.Conditions)
	if e.Group != "" && l.names[cleanName(e.Name)] != "" {
		e.Name = e.Group + "." + e.Name
	}
	l.take(line, e.URL, e.Name, s)
}

// duration reads a time of another program; 0 = not said, or not understood.
func (l *siteList) duration(line int, key, s string) time.Duration {
	d, err := time.ParseDuration(s)
	if s != "" && (err != nil || d <= 0) {
		l.warn(line, key, "%q is no time; the default is taken", clip(s))
		return 0
	}
	return d
}

var gatusCondition = regexp.MustCompile(`^\[([A-Z_]+)\](\S*)\s*(==|!=|<=|>=|<|>)\s*(.*)$`)

// conditions takes over what conditions say of the status and of the body as a whole.
func (l *siteList) conditions(line int, name string, x *probe.Expect, conditions []string) {
	var good [1000]bool
	for i := 100; i < len(good); i++ {
		good[i] = true
	}
	asked := false
	for _, c := range conditions {
		m := gatusCondition.FindStringSubmatch(strings.TrimSpace(c))
		ok := false
		switch {
		case m == nil:
		case m[1] == "CONNECTED", m[1] == "CERTIFICATE_EXPIRATION" && m[2] == "":
			ok = true // both are looked at anyway
		case m[1] == "STATUS" && m[2] == "":
			if ok = statusCondition(m[3], m[4], &good); ok {
				asked = true
			}
		case m[1] == "BODY" && m[2] == "":
			ok = bodyCondition(m[3], m[4], x)
		}
		if !ok {
			l.warn(line, "conditions", "%s: %q has no counterpart; it is left out (expect_status, expect_body and reject_body can say much)", name, clip(c))
		}
	}
	if asked {
		x.Status = ranges(&good)
		if len(x.Status) == 0 {
			l.warn(line, "conditions", "%s: no status meets all conditions; 200 to 399 is taken", name)
		}
	}
}

// statusCondition takes out of good what a condition refuses.
func statusCondition(op, value string, good *[1000]bool) bool {
	var want []int
	if list, ok := strings.CutPrefix(value, "any("); ok {
		value = strings.TrimSuffix(list, ")")
	}
	for v := range strings.SplitSeq(value, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(v))
		if err != nil {
			return false
		}
		want = append(want, n)
	}
	for status := range good {
		var ok bool
		switch op {
		case "==":
			ok = slices.Contains(want, status)
		case "!=":
			ok = !slices.Contains(want, status)
		case "<":
			ok = status < want[0]
		case "<=":
			ok = status <= want[0]
		case ">":
			ok = status > want[0]
		case ">=":
			ok = status >= want[0]
		}
		good[status] = good[status] && ok
	}
	return true
}

// ranges gives the runs of good statuses; nil = as is the default.
func ranges(good *[1000]bool) []probe.StatusRange {
	var out []probe.StatusRange
	for s := 100; s < len(good); s++ {
		if !good[s] {
			continue
		}
		if n := len(out); n > 0 && out[n-1].To == s-1 {
			out[n-1].To = s
		} else {
			out = append(out, probe.StatusRange{From: s, To: s})
		}
	}
	if slices.Equal(out, []probe.StatusRange{{From: 200, To: 399}}) {
		return nil
	}
	return out
}

// bodyCondition takes over a comparison of the whole body with a text, or with a pattern: pat(*text*).
func bodyCondition(op, value string, x *probe.Expect) bool {
	pattern := `\A` + regexp.QuoteMeta(value) + `\z`
	switch glob, isPattern := strings.CutPrefix(value, "pat("); {
	case isPattern:
		parts := strings.Split(strings.TrimSuffix(glob, ")"), "*")
		for i, p := range parts {
			parts[i] = regexp.QuoteMeta(p)
		}
		pattern = `(?s)\A` + strings.Join(parts, ".*") + `\z`
		pattern = strings.Replace(pattern, `(?s)\A.*`, "(?s)", 1)
		pattern = strings.TrimSuffix(pattern, `.*\z`)
		if !strings.Contains(pattern, ".*") {
			pattern = strings.TrimPrefix(pattern, "(?s)")
		}
	case strings.HasPrefix(value, "any("), strings.HasPrefix(value, "len("), strings.HasPrefix(value, "has("):
		return false
	}
	re, err := regexp.Compile(pattern)
	switch {
	case err != nil || pattern == "":
		return false
	case op == "==" && x.Body == nil:
		x.Body = re
	case op == "!=" && x.NotBody == nil:
		x.NotBody = re
	default:
		return false
	}
	return true
}
