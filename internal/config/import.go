package config

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"faultline/probe"
)

// ImportFormats are the formats that Importer.Add reads.
var ImportFormats = []string{"citizenlab", "file_sd", "gatus", "kuma", "list"}

// Importer gathers the sites of lists that other programs keep, each once and under a name of its own.
type Importer struct {
	Warnings []Problem // what could not be taken over; of each list only the first
	list     siteList
}

// NewImporter gives an Importer that has no site yet.
func NewImporter() *Importer {
	return &Importer{list: siteList{names: map[string]string{}, seen: map[string]bool{}, numbers: map[string]int{}, limit: maxSites}}
}

// Sites are all the sites so far, in the order of the lists. What a list does not say is as the defaults of a config.
func (im *Importer) Sites() []*probe.Site { return im.list.sites }

// Add reads one list of one of ImportFormats. Its error says why the text is no list of that format, or gives no site.
func (im *Importer) Add(file, format string, text []byte) error {
	if len(text) > maxFile {
		return fmt.Errorf("%s is larger than %d MiB; split it", file, maxFile>>20)
	}
	if !utf8.Valid(text) {
		line := 1 + bytes.Count(text[:validUpTo(text)], []byte("\n"))
		return fmt.Errorf("%s:%d: the text is not UTF-8 from here on; convert it, as iconv does", file, line)
	}
	r := &reader{file: file, lines: map[string]int{}, keys: map[string]string{}}
	l := &im.list
	l.r, l.t, l.file, l.warned, l.failed = r, &table{r: r, path: file}, file, 0, false
	l.base = r.defaults(&table{r: r, kind: "defaults"})
	before := len(l.sites)
	var err error
	switch format {
	case "citizenlab":
		l.citizenLab(text, func(line int, raw, category string) {
			like := l.base
			like.Group = category
			l.take(line, raw, "", like)
		})
		if l.failed {
			err = errors.New(r.problems[0].Message)
		}
	case "list":
		l.plain(text, func(line int, raw string) { l.take(line, raw, "", l.base) })
	case "file_sd":
		err = l.fileSD(text)
	case "gatus":
		err = l.gatus(text)
	case "kuma":
		err = l.kuma(text)
	default:
		err = fmt.Errorf("the format %q is not known; write one of %s", format, strings.Join(ImportFormats, ", "))
	}
	if l.warned > maxListWarnings {
		r.warnings = append(r.warnings, Problem{file, 0, "", fmt.Sprintf("%d more of this kind are not shown", l.warned-maxListWarnings)})
	}
	im.Warnings = append(im.Warnings, r.warnings...)
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", file, err)
	case len(l.sites) == before:
		return fmt.Errorf("%s gives no site that is not there already; is it a list of the format %s? Choose another with --format", file, format)
	}
	return nil
}

// validUpTo is where the first bytes stand that are not UTF-8.
func validUpTo(text []byte) int {
	n := 0
	for n < len(text) {
		r, size := utf8.DecodeRune(text[n:])
		if r == utf8.RuneError && size == 1 {
			break
		}
		n += size
	}
	return n
}

var (
	looksGatus  = regexp.MustCompile(`(?m)^(endpoints|external-endpoints|suites):`)
	looksFileSD = regexp.MustCompile(`(?m)^\s*-?\s*"?targets"?\s*:`)
	looksKuma   = regexp.MustCompile(`"(monitorList|accepted_statuscodes)"\s*:`)
)

// GuessFormat tells of which format a list seems to be, from its name and what it says.
func GuessFormat(file string, text []byte) string {
	text = bytes.TrimSpace(bytes.TrimPrefix(text, []byte("\ufeff")))
	isJSON := bytes.HasPrefix(text, []byte("{")) || bytes.HasPrefix(text, []byte("["))
	switch ext := strings.ToLower(filepath.Ext(file)); {
	case bytes.HasPrefix(text, []byte("url,category_code")):
		return "citizenlab"
	case isJSON && looksKuma.Match(text):
		return "kuma"
	case isJSON, looksFileSD.Match(text):
		return "file_sd"
	case looksGatus.Match(text), ext == ".yaml", ext == ".yml":
		return "gatus"
	}
	return "list"
}

// take is add for what other programs write: a bare host is taken over HTTPS, and a user in the URL becomes a header.
func (l *siteList) take(line int, raw, name string, like probe.Site) bool {
	if raw != "" && !strings.Contains(raw, "://") && !strings.ContainsAny(raw, " \t,;") {
		raw = "https://" + raw
	}
	if u, err := url.Parse(raw); err == nil && u.User != nil {
		password, _ := u.User.Password()
		like.Headers = withHeader(like.Headers, "Authorization", basicAuth(u.User.Username(), password))
		u.User = nil
		raw = u.String()
	}
	if like.Method == "HEAD" && (like.Expect.Body != nil || like.Expect.NotBody != nil) {
		like.Method = "GET"
	}
	return l.add(line, raw, strings.TrimSpace(name), like)
}

func basicAuth(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

// withHeader gives the headers with one set.
func withHeader(headers []probe.Header, name, value string) []probe.Header {
	out := slices.DeleteFunc(slices.Clone(headers), func(h probe.Header) bool { return strings.EqualFold(h.Name, name) })
	return append(out, probe.Header{Name: name, Value: value})
}

// headers takes over what can be sent of a table of headers.
func (l *siteList) headers(line int, m map[string]string) []probe.Header {
	var out []probe.Header
	for _, name := range slices.Sorted(maps.Keys(m)) {
		if wrong := headerProblem(name, m[name]); wrong != "" {
			l.warn(line, "headers", "%s: %s", clip(name), wrong)
			continue
		}
		out = withHeader(out, name, m[name])
	}
	return out
}

// leastImported is the shortest interval that a config with one vantage accepts.
const leastImported = 2 * time.Second

// times takes over an interval and a timeout; 0 = not said.
func (l *siteList) times(line int, s *probe.Site, interval, timeout time.Duration) {
	if interval != 0 {
		s.Interval = min(max(interval, leastImported), mostInterval)
		if s.Interval != interval {
			l.warn(line, "interval", "%s becomes %s: it can be %s to %s", short(interval), short(s.Interval), short(leastImported), short(mostInterval))
		}
	}
	if timeout > 0 {
		s.Timeout = max(timeout, leastTimeout)
	}
	s.Timeout = min(s.Timeout, s.Interval)
}

// oneLine is what a parser says, bounded, on one line.
func oneLine(err error) string { return clipTo(strings.Join(strings.Fields(err.Error()), " "), 200) }

// element is one value of a JSON list.
type element struct {
	line int
	raw  json.RawMessage
}

// elements gives the values of the list that a JSON text is, or has under a key.
func elements(text []byte, key string) ([]element, error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	tok, err := dec.Token()
	if tok == json.Delim('{') && key != "" {
		var found bool
		for err == nil && !found && dec.More() {
			if tok, err = dec.Token(); err != nil {
				break
			}
			if found = tok == key; !found {
				err = dec.Decode(new(json.RawMessage))
			}
		}
		if err == nil && !found {
			return nil, fmt.Errorf("it has no %s", key)
		}
		if err == nil {
			tok, err = dec.Token()
		}
	}
	if err != nil {
		return nil, fmt.Errorf("it is no JSON from byte %d on: %w", dec.InputOffset(), err)
	}
	if tok != json.Delim('[') {
		return nil, errors.New("it is no list")
	}
	var out []element
	line, counted := 1, 0
	for dec.More() {
		at := int(dec.InputOffset())
		at += bytes.IndexFunc(text[at:], func(r rune) bool { return !strings.ContainsRune(" \t\r\n,", r) })
		line, counted = line+bytes.Count(text[counted:at], []byte("\n")), at
		e := element{line: line}
		if err := dec.Decode(&e.raw); err != nil {
			return nil, fmt.Errorf("line %d is no JSON: %w", line, err)
		}
		out = append(out, e)
	}
	if _, err := dec.Token(); err != nil {
		return nil, fmt.Errorf("the list is cut off after line %d: %w", line, err)
	}
	return out, nil
}
