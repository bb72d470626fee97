package config

import (
	"bytes"
	"cmp"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"faultline/probe"
)

// siteLists reads every [[site_list]]: sites that a file of URLs names. What cannot be used of a file is warned of, with
// its line; a file that gives nothing is a mistake.
func (r *reader) siteLists(ts []*table, defaults probe.Site, have []*probe.Site, names map[string]string) []*probe.Site {
	seen := map[string]bool{}
	for _, s := range have {
		if s.URL != nil {
			seen[s.URL.String()] = true
		}
	}
	var out []*probe.Site
	for _, t := range ts {
		l := siteList{r: r, t: t, base: defaults, names: names, seen: seen, numbers: map[string]int{}}
		file := r.path(t.str("file", ""))
		format := t.oneOf("format", "list", "citizenlab", "list")
		l.categories = t.strs("categories", "[]")
		l.limit = t.integer("limit", maxSites, 1, maxSites)
		r.siteSettings(t, &l.base)
		t.done()
		if !t.has("file") {
			r.problem(t.path, "it has no file; write file = \"…\"")
			continue
		}
		text, err := readFile(file)
		if err != nil {
			t.problem("file", "%v; write the path of a list, which starts at the config's own directory", err)
			continue
		}
		l.file = file
		if format == "citizenlab" {
			l.citizenLab(text, func(line int, raw, _ string) { l.add(line, raw, "", l.base) })
		} else {
			l.plain(text, func(line int, raw string) { l.add(line, raw, "", l.base) })
		}
		if len(l.sites) == 0 && !l.failed {
			t.problem("file", "%s gives no site; is the format right, and do the categories occur in it?", clip(file))
		}
		out = append(out, l.sites...)
	}
	return out
}

// siteList is one list while it is read.
type siteList struct {
	r          *reader
	t          *table
	file       string
	base       probe.Site
	categories []string
	limit      int
	names      map[string]string
	seen       map[string]bool
	sites      []*probe.Site
	failed     bool // a mistake was told
	warned     int
	numbers    map[string]int // how often a name was asked for again
}

// maxListWarnings bounds what is told of one list.
const maxListWarnings = 20

func (l *siteList) warn(line int, key, format string, args ...any) {
	if l.warned++; l.warned <= maxListWarnings {
		l.r.warnings = append(l.r.warnings, Problem{l.file, line, key, fmt.Sprintf(format, args...)})
	}
}

// plain reads one URL a line; # begins a comment.
func (l *siteList) plain(text []byte, add func(line int, raw string)) {
	n := 0
	for line := range strings.SplitSeq(string(bytes.TrimPrefix(text, []byte("\ufeff"))), "\n") {
		n++
		if line, _, _ = strings.Cut(line, " #"); strings.HasPrefix(line, "#") {
			continue
		}
		if line = strings.TrimSpace(line); line != "" {
			add(n, line)
		}
	}
}

// citizenLab reads a test list of the Citizen Lab: url,category_code,category_description,date_added,source,notes.
func (l *siteList) citizenLab(text []byte, add func(line int, raw, category string)) {
	rows := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(text, []byte("\ufeff"))))
	rows.FieldsPerRecord, rows.LazyQuotes = -1, true
	header, err := rows.Read()
	if err != nil || len(header) < 2 || strings.TrimSpace(header[0]) != "url" || strings.TrimSpace(header[1]) != "category_code" {
		l.failed = true
		l.t.problem("file", "%s does not begin with url,category_code,…; is it a test list of the Citizen Lab? A file of bare URLs is format = \"list\"", clip(l.file))
		return
	}
	for {
		row, err := rows.Read()
		if errors.Is(err, io.EOF) {
			return
		}
		line, _ := rows.FieldPos(0)
		switch {
		case err != nil:
			l.warn(line, "url", "the line cannot be read (%v); it is left out", err)
		case len(row) < 2 || strings.TrimSpace(row[0]) == "":
			l.warn(line, "url", "the line names no URL and category; it is left out")
		case len(l.categories) == 0 || slices.Contains(l.categories, strings.TrimSpace(row[1])):
			add(line, strings.TrimSpace(row[0]), strings.TrimSpace(row[1]))
		}
	}
}

// add takes a site that is like another one, but for its URL and its name. name is made unique; "" = from the URL. It tells
// whether the site was taken.
func (l *siteList) add(line int, raw, name string, like probe.Site) bool {
	u, err := parseURL(raw)
	switch {
	case err != nil:
		l.warn(line, "url", "%v; it is left out", err)
		return false
	case l.seen[u.String()]:
		l.warn(line, "url", "%s is watched already; it is left out", clip(u.String()))
		return false
	case len(l.sites) == l.limit:
		return false
	}
	like.URL = u
	like.Owner = ownerOf(&like)
	like.Name = l.name(cmp.Or(name, u.Hostname()+strings.TrimRight(u.Path, "/")))
	l.seen[u.String()] = true
	l.sites = append(l.sites, &like)
	return true
}

// name makes a name that no other site has.
func (l *siteList) name(from string) string {
	base := cleanName(from)
	name := base
	for l.names[name] != "" {
		l.numbers[base]++
		name = fmt.Sprintf("%s-%d", base, l.numbers[base]+1)
	}
	l.names[name] = l.t.path
	return name
}

// cleanName makes a name out of any text, with room for a number.
func cleanName(from string) string {
	clean := strings.Map(func(r rune) rune {
		if isName(string(r)) {
			return r
		}
		return '-'
	}, from)
	if len(clean) > 80 {
		clean = strings.ToValidUTF8(clean[:80], "")
	}
	return cmp.Or(strings.Trim(clean, "-"), "site")
}
