package alert

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"faultline/probe"
)

// Match chooses incidents and notices: of every key that is there, one of the values must fit. In a value, * stands for anything.
// The keys are site, group, domain ("cdn:cloudflare"), vantage and label.NAME.
type Match map[string][]string

const (
	matchSite    = "site"
	matchGroup   = "group"
	matchDomain  = "domain"
	matchVantage = "vantage"
	matchLabel   = "label." // with the label's name
)

const maxMatches = 100 // values of one Match

// Check says what is wrong with m; nil = nothing.
func (m Match) Check() error {
	n := 0
	for key, values := range m {
		label, isLabel := strings.CutPrefix(key, matchLabel)
		if !slices.Contains([]string{matchSite, matchGroup, matchDomain, matchVantage}, key) && (!isLabel || label == "") {
			return fmt.Errorf("%q cannot be matched; there are site, group, domain, vantage and label.NAME", key)
		}
		if slices.Contains(values, "") || len(values) == 0 {
			return fmt.Errorf("%s has no value; write one as in %s=name", key, key)
		}
		n += len(values)
	}
	switch {
	case n == 0:
		return errors.New("it matches nothing; say what it is about, as in site=forum or domain=cdn:cloudflare")
	case n > maxMatches:
		return fmt.Errorf("it has %d values to match; more than %d is too many: use a group, a label, or a * in a name", n, maxMatches)
	}
	return nil
}

// String is m as the command line takes it.
func (m Match) String() string {
	var parts []string
	for _, key := range slices.Sorted(maps.Keys(m)) {
		for _, v := range m[key] {
			parts = append(parts, key+"="+v)
		}
	}
	return strings.Join(parts, ",")
}

// ParseMatch reads "site=forum,group=news,domain=cdn:cloudflare".
func ParseMatch(s string) (Match, error) {
	m := Match{}
	for part := range strings.SplitSeq(s, ",") {
		key, value, ok := strings.Cut(strings.TrimSpace(part), "=")
		if !ok {
			return nil, fmt.Errorf("%q is no match; write one as in site=forum", part)
		}
		m[key] = append(m[key], value)
	}
	return m, m.Check()
}

// fits tells whether a value is one of those wanted under a key; a key that is not there wants nothing.
func (m Match) fits(key, value string) bool {
	want, ok := m[key]
	return !ok || slices.ContainsFunc(want, func(pattern string) bool { return like(pattern, value) })
}

// fitsSite tells whether all that m wants of a site fits the one of that name. One that is not known has its name alone.
func (m Match) fitsSite(name string, site *probe.Site) bool {
	if site == nil {
		site = &probe.Site{}
	}
	for key := range m {
		label, isLabel := strings.CutPrefix(key, matchLabel)
		switch {
		case key == matchSite && !m.fits(key, name), key == matchGroup && !m.fits(key, site.Group), isLabel && !m.fits(key, site.Labels[label]):
			return false
		}
	}
	return true
}

// isAboutSites tells whether m wants something of a site.
func (m Match) isAboutSites() bool {
	for key := range m {
		if key == matchSite || key == matchGroup || strings.HasPrefix(key, matchLabel) {
			return true
		}
	}
	return false
}

// like tells whether s fits a pattern in which * stands for anything.
func like(pattern, s string) bool {
	first, rest, star := strings.Cut(pattern, "*")
	if !star {
		return pattern == s
	}
	if !strings.HasPrefix(s, first) {
		return false
	}
	s = s[len(first):]
	parts := strings.Split(rest, "*")
	for _, part := range parts[:len(parts)-1] {
		at := strings.Index(s, part)
		if at < 0 {
			return false
		}
		s = s[at+len(part):]
	}
	return strings.HasSuffix(s, parts[len(parts)-1])
}

// MatchesIncident tells whether m fits an incident: its domain, and some failing site with a vantage that it fails from.
func MatchesIncident(m Match, i *Incident, site func(string) *probe.Site) bool {
	if !m.fits(matchDomain, i.Domain.String()) {
		return false
	}
	if !m.isAboutSites() && len(m[matchVantage]) == 0 {
		return true
	}
	return slices.ContainsFunc(i.Members, func(x Member) bool {
		return m.fitsSite(x.Site, site(x.Site)) && slices.ContainsFunc(x.Vantages, func(v string) bool { return m.fits(matchVantage, v) })
	})
}

// MatchesNotice tells whether m fits a notice.
func MatchesNotice(m Match, n *Notice, site func(string) *probe.Site) bool {
	return m.fits(matchDomain, n.Domain.String()) && m.fits(matchVantage, n.Vantage) && m.fitsSite(n.Site, site(n.Site))
}
