package config

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"faultline/probe"
)

// Setting is one key of a table of a config, with its value: a string, a []string or a map[string]string.
type Setting struct {
	Key   string
	Value any
}

// SiteSettings are the keys that make a site what it is, in the order in which they are written. What is as the defaults
// of a config is left out.
func SiteSettings(s *probe.Site) []Setting {
	r := &reader{lines: map[string]int{}, keys: map[string]string{}}
	def := r.defaults(&table{r: r, kind: "defaults"})
	out := []Setting{{"name", s.Name}, {"url", s.URL.String()}}
	add := func(given bool, key string, value any) {
		if given {
			out = append(out, Setting{key, value})
		}
	}
	add(s.Group != "", "group", s.Group)
	add(len(s.Labels) > 0, "labels", s.Labels)
	add(s.Interval != def.Interval, "interval", short(s.Interval))
	add(s.Timeout != min(def.Timeout, s.Interval), "timeout", short(s.Timeout))
	add(s.Method != def.Method, "method", s.Method)
	add(len(s.Headers) > 0, "headers", headerMap(s.Headers))
	add(len(s.Expect.Status) > 0, "expect_status", statusTexts(s.Expect.Status))
	add(s.Expect.Body != nil, "expect_body", regexpText(s.Expect.Body))
	add(s.Expect.NotBody != nil, "reject_body", regexpText(s.Expect.NotBody))
	return out
}

func headerMap(headers []probe.Header) map[string]string {
	m := make(map[string]string, len(headers))
	for _, h := range headers {
		m[h.Name] = h.Value
	}
	return m
}

func statusTexts(ranges []probe.StatusRange) []string {
	out := make([]string, len(ranges))
	for i, r := range ranges {
		if out[i] = fmt.Sprintf("%d-%d", r.From, r.To); r.From == r.To {
			out[i] = fmt.Sprint(r.From)
		}
	}
	return out
}

func regexpText(re *regexp.Regexp) string {
	if re == nil {
		return ""
	}
	return re.String()
}

// WriteSites writes sites as [[site]] tables of a config.
func WriteSites(w io.Writer, sites []*probe.Site) error {
	b := bufio.NewWriter(w)
	for i, s := range sites {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString("[[site]]\n")
		for _, set := range SiteSettings(s) {
			fmt.Fprintf(b, "%s = %s\n", set.Key, tomlValue(set.Value))
		}
	}
	return b.Flush()
}

func tomlValue(v any) string {
	switch v := v.(type) {
	case []string:
		quoted := make([]string, len(v))
		for i, s := range v {
			quoted[i] = tomlString(s)
		}
		return "[" + strings.Join(quoted, ", ") + "]"
	case map[string]string:
		pairs := make([]string, 0, len(v))
		for _, k := range slices.Sorted(maps.Keys(v)) {
			key := k
			if k == "" || strings.ContainsFunc(k, func(r rune) bool { return r != '-' && r != '_' && !isASCIILetter(r) && (r < '0' || r > '9') }) {
				key = tomlString(k)
			}
			pairs = append(pairs, key+" = "+tomlString(v[k]))
		}
		return "{ " + strings.Join(pairs, ", ") + " }"
	default:
		return tomlString(fmt.Sprint(v))
	}
}

func isASCIILetter(r rune) bool { return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' }

// tomlString writes a string of TOML: a literal one where that spares backslashes.
func tomlString(s string) string {
	if strings.Contains(s, `\`) && !strings.ContainsRune(s, '\'') && !strings.ContainsFunc(s, unicode.IsControl) {
		return "'" + s + "'"
	}
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case unicode.IsControl(r):
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
