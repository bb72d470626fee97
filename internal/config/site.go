package config

import (
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/publicsuffix"

	"faultline/probe"
)

// Bounds of a site's times.
const (
	leastInterval = time.Second
	mostInterval  = 24 * time.Hour
	leastTimeout  = 100 * time.Millisecond
	maxSites      = 200000
)

// defaults reads [defaults]: a site on which the others are built.
func (r *reader) defaults(t *table) probe.Site {
	s := probe.Site{Interval: 30 * time.Second, Timeout: 10 * time.Second, Method: "GET", Alert: probe.AlertNotice}
	r.siteSettings(t, &s)
	t.done()
	return s
}

// siteSettings reads the keys that [defaults], [[site]] and [[site_list]] share.
func (r *reader) siteSettings(t *table, s *probe.Site) {
	s.Group = t.str("group", s.Group)
	if labels := t.words("labels"); labels != nil {
		s.Labels = labels
	}
	if t.has("timeout") && !t.has("interval") && s.Timeout > s.Interval {
		s.Timeout = s.Interval
	}
	given := t.has("timeout")
	s.Interval = t.duration("interval", s.Interval, leastInterval, mostInterval)
	s.Timeout = t.duration("timeout", min(s.Timeout, s.Interval), leastTimeout, mostInterval)
	if s.Timeout > s.Interval {
		key := "interval"
		if given {
			key = "timeout"
		}
		t.problem(key, "the timeout of %s is longer than the interval of %s; write a shorter timeout or a longer interval", short(s.Timeout), short(s.Interval))
	}
	s.Method = t.oneOf("method", s.Method, "GET", "HEAD")
	s.Families = families[t.oneOf("family", familyName(s.Families), "any", "ip4", "ip6", "both")]
	s.HTTP, _ = probe.ParseHTTPVersion(t.oneOf("http", s.HTTP.String(), "1.1", "2", "3"))
	s.Addresses = addressChoices[t.oneOf("addresses", addressName(s.Addresses), "first", "all")]
	if h := r.headers(t); h != nil {
		s.Headers = h
	}
	if t.has("expect_status") {
		s.Expect.Status = r.statuses(t)
	} else {
		t.take("expect_status", `["200-399"]`)
	}
	s.Expect.Body = t.regexp("expect_body", s.Expect.Body)
	s.Expect.NotBody = t.regexp("reject_body", s.Expect.NotBody)
	if s.Method == "HEAD" && (s.Expect.Body != nil || s.Expect.NotBody != nil) {
		t.problem("method", "an answer to HEAD has no body to look into; write GET, or leave expect_body and reject_body out")
	}
	s.Alert = alertLevels[t.oneOf("alert", s.Alert.String(), "none", "notice", "page")]
	if a := t.addresses("allow_addresses"); a != nil {
		s.AllowAddresses = a
	}
}

var families = map[string][]probe.Family{
	"ip4": {probe.FamilyIP4}, "ip6": {probe.FamilyIP6}, "both": {probe.FamilyIP4, probe.FamilyIP6},
}

func familyName(list []probe.Family) string {
	for _, name := range []string{"ip4", "ip6", "both"} {
		if slices.Equal(list, families[name]) {
			return name
		}
	}
	return "any"
}

var addressChoices = map[string]probe.Addresses{"first": probe.AddressFirst, "all": probe.AddressAll}

func addressName(a probe.Addresses) string {
	if a == probe.AddressAll {
		return "all"
	}
	return "first"
}

var alertLevels = map[string]probe.Alert{"none": probe.AlertNone, "notice": probe.AlertNotice, "page": probe.AlertPage}

func (t *table) regexp(key string, def *regexp.Regexp) *regexp.Regexp {
	s := t.str(key, "")
	if s == "" {
		return def
	}
	re, err := regexp.Compile(s)
	if err != nil {
		t.problem(key, "%q is no regular expression (%v); write one of RE2, as in \"(?i)log in\"", clip(s), err)
	}
	return re
}

// reserved are the headers that the prober sends itself, in its own way.
var reserved = []string{"Host", "Connection", "Content-Length", "Transfer-Encoding", "Accept-Encoding", "Upgrade", "Te", "Trailer", "Expect"}

func (r *reader) headers(t *table) []probe.Header {
	m := t.words("headers")
	var out []probe.Header
	for _, name := range slices.Sorted(maps.Keys(m)) {
		if wrong := headerProblem(name, m[name]); wrong != "" {
			t.problem("headers."+name, "%s", wrong)
			continue
		}
		out = append(out, probe.Header{Name: name, Value: m[name]})
	}
	return out
}

// headerProblem says what is wrong with a header; "" = it can be sent.
func headerProblem(name, value string) string {
	switch {
	case slices.ContainsFunc(reserved, func(h string) bool { return strings.EqualFold(h, name) }):
		return "the prober sets it itself; leave it out"
	case !isToken(name):
		return fmt.Sprintf("%q is no header name; write letters, digits and dashes", clip(name))
	case hasControl(value):
		return "it holds a control character; write the value on one line"
	}
	return ""
}

func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return r > 'z' || r < '!' || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
	})
}

// statuses reads expected statuses: numbers, and ranges as strings.
func (r *reader) statuses(t *table) []probe.StatusRange {
	var out []probe.StatusRange
	for _, v := range t.list("expect_status", `["200-399"]`) {
		if status, ok := parseStatus(fmt.Sprint(v)); ok {
			out = append(out, status)
		} else {
			t.problem("expect_status", "%q is no status; write numbers and ranges, as in [200, \"300-399\"]", clip(fmt.Sprint(v)))
		}
	}
	return out
}

// parseStatus reads "200" or "200-299".
func parseStatus(s string) (probe.StatusRange, bool) {
	from, to, isRange := strings.Cut(strings.TrimSpace(s), "-")
	if !isRange {
		to = from
	}
	a, err1 := strconv.Atoi(from)
	b, err2 := strconv.Atoi(to)
	return probe.StatusRange{From: a, To: b}, err1 == nil && err2 == nil && a >= 100 && b <= 999 && a <= b
}

// sites reads every [[site]].
func (r *reader) sites(ts []*table, defaults probe.Site, names map[string]string) []*probe.Site {
	if len(ts) > maxSites {
		ts[maxSites].r.problem(ts[maxSites].path, "there are %d sites; %d at most", len(ts), maxSites)
		ts = ts[:maxSites]
	}
	seen := map[string]string{}
	out := make([]*probe.Site, 0, len(ts))
	for _, t := range ts {
		s := defaults
		s.Name = r.uniqueName(t, names, "site")
		raw := t.str("url", "")
		u, err := parseURL(raw)
		switch {
		case !t.has("url"):
			r.problem(t.path, "it has no url; write url = \"https://…/\"")
		case err != nil:
			t.problem("url", "%v", err)
		case seen[u.String()] != "":
			t.problem("url", "%s is watched already, as %s; leave one out", clip(u.String()), seen[u.String()])
		default:
			seen[u.String()] = s.Name
		}
		r.siteSettings(t, &s)
		s.CDN, s.Owner = t.str("cdn", ""), t.str("owner", "")
		s.OwnerFixed = s.Owner != ""
		t.done()
		if u != nil {
			s.URL = u
			s.Owner = ownerOf(&s)
		}
		if t.has("http") && s.HTTP != probe.HTTP11 && err == nil && u.Scheme == "http" {
			t.problem("http", "HTTP/%v needs TLS, and the url begins with http://; write https:// or leave http out", s.HTTP)
		}
		out = append(out, &s)
	}
	return out
}

// ownerOf is whose site it is: what the config says, else the registrable domain, else the address.
func ownerOf(s *probe.Site) string {
	host := strings.ToLower(strings.TrimSuffix(s.URL.Hostname(), "."))
	if s.Owner != "" {
		return s.Owner
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return host
	}
	if d, err := publicsuffix.EffectiveTLDPlusOne(host); err == nil {
		return d
	}
	return host
}

const maxURL = 2048

// parseURL reads the URL of a site. Its error says what would be right.
func parseURL(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	switch {
	case len(raw) > maxURL:
		return nil, fmt.Errorf("it is longer than %d bytes; write a shorter one", maxURL)
	case err != nil || hasControl(raw):
		return nil, fmt.Errorf("%q is no URL; write one as in \"https://forum.example/\"", clip(raw))
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("%q begins with neither http:// nor https://; write one as in \"https://forum.example/\"", clip(raw))
	case u.User != nil:
		return nil, fmt.Errorf("it holds a user name or a password; send them by headers = { Authorization = \"…\" }")
	case u.Hostname() == "" || strings.ContainsAny(u.Hostname(), " /\\"):
		return nil, fmt.Errorf("%q names no host; write one as in \"https://forum.example/\"", clip(raw))
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
			return nil, fmt.Errorf("%q has the port %s; write one from 1 to 65535", clip(raw), clip(port))
		}
	}
	if err := probe.ASCIIHost(u); err != nil {
		return nil, fmt.Errorf("%w; write the host in its xn-- form if it is one", err)
	}
	u.Fragment = ""
	if u.Path == "" {
		u.Path = "/"
	}
	return u, nil
}
