package config

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"faultline/probe"
)

// builtInAnchors are large, well-run, unrelated sites on as many networks. They only serve to tell whether a vantage is well: any
// answer will do, a block too.
var builtInAnchors = []string{
	"https://www.google.com/generate_204", "https://www.apple.com/library/test/success.html", "https://www.microsoft.com/robots.txt",
	"https://www.wikipedia.org/", "https://www.debian.org/", "https://www.kernel.org/", "https://www.ietf.org/", "https://www.amazon.com/robots.txt",
	"https://www.facebook.com/robots.txt", "https://www.yahoo.co.jp/robots.txt", "https://www.baidu.com/robots.txt", "https://www.bbc.co.uk/robots.txt",
	"https://www.ripe.net/robots.txt", "https://www.ovhcloud.com/robots.txt",
}

const leastAnchors = 3

func (r *reader) anchors(t *table, names map[string]string) []*probe.Site {
	urls := t.strs("anchors", quoted(builtInAnchors))
	given := t.has("anchors")
	if !given {
		urls = builtInAnchors
	}
	interval := t.duration("anchor_interval", time.Minute, leastInterval, time.Hour)
	if given && len(urls) > 0 && len(urls) < leastAnchors {
		t.problem("anchors", "there are %d; write %d at least, on different networks, or none ([]) to let the sites themselves vouch", len(urls), leastAnchors)
	}
	var out []*probe.Site
	for _, raw := range urls {
		u, err := parseURL(raw)
		if err != nil {
			t.problem("anchors", "%v", err)
			continue
		}
		s := &probe.Site{
			URL: u, Anchor: true, Interval: interval, Timeout: min(interval, 10*time.Second), Method: "GET",
			Expect: probe.Expect{Status: []probe.StatusRange{{From: 100, To: 499}}},
		}
		s.Owner = ownerOf(s)
		l := siteList{t: t, names: names}
		s.Name = l.name("anchor-" + u.Hostname())
		out = append(out, s)
	}
	return out
}

// anchorFamilies looks at the anchors over IPv6 too where a site is looked at over it by itself: they tell whether the vantage's
// IPv6 is well.
func anchorFamilies(c *Config) {
	if !slices.ContainsFunc(c.Sites, func(s *probe.Site) bool { return slices.Contains(s.Families, probe.FamilyIP6) }) {
		return
	}
	for _, s := range c.Anchors {
		s.Families = families["both"]
	}
}

func quoted(list []string) string {
	parts := make([]string, len(list))
	for i, s := range list {
		parts[i] = fmt.Sprintf("%q", s)
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

// pace asks for room for the probes of every vantage, over every family. One site that lacks it is told.
func (r *reader) pace(c *Config) {
	for _, s := range c.Sites {
		looks := len(c.Vantages) * max(1, len(s.Families))
		if need := c.Pace.PerSite * time.Duration(looks); s.Interval < need && len(c.Vantages) > 0 {
			r.problem("vantage", "%d looks every %s, from every vantage over every family, are more than one probe in %s of one site (%s); write an interval of %s at least",
				looks, short(s.Interval), short(c.Pace.PerSite), s.Name, short(need))
			return
		}
	}
}

// quicThroughProxy refuses what cannot be: HTTP/3 is UDP, and no proxy here carries that.
func (r *reader) quicThroughProxy(c *Config) {
	for _, v := range c.Vantages {
		for _, s := range c.Sites {
			if v.Proxy != nil && s.HTTP == probe.HTTP3 {
				r.problem("vantage", "%s goes through a proxy, which carries no HTTP/3, and %s is to be asked over it; write http = \"2\" there, or take the proxy out", v.Name, s.Name)
				return
			}
		}
	}
}

// together looks at what only the whole config can show.
func (r *reader) together(c *Config) {
	if len(c.Sites) == 0 && len(r.problems) == 0 {
		r.problem("site", "there is none; write at least [[site]] with name and url, or a [[site_list]]")
	}
	r.pace(c)
	r.quicThroughProxy(c)
	owners := map[string]bool{}
	for _, s := range c.Sites {
		owners[s.Owner] = true
	}
	if len(owners) > 0 && len(owners) < c.Policy.MinOwners {
		r.warn("site", "there are %d owners, and %d must fail together for a shared page: only sites alone can be told", len(owners), c.Policy.MinOwners)
	}
	if len(c.Vantages) == 1 {
		r.warn("vantage", "there is one: a failure near it looks like a failure of everything; a second one, on another network, would tell them apart")
	}
}
