package config

import (
	"fmt"
	"net/url"
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

// channels reads every [[channel]].
func (r *reader) channels(ts []*table) []Channel {
	names := map[string]string{}
	var out []Channel
	for _, t := range ts {
		c := Channel{Name: r.uniqueName(t, names, "channel")}
		if !t.has("kind") {
			r.problem(t.path, "it has no kind; write kind = \"webhook\" or kind = \"log\"")
		}
		c.Kind = t.oneOf("kind", "log", "log", "webhook")
		c.Notices = t.boolean("notices", c.Kind == "log")
		if c.Kind == "webhook" {
			c.URL = t.secret("url")
			c.Secret = t.secret("secret")
			r.webhook(t, &c)
		}
		t.done()
		out = append(out, c)
	}
	if len(out) == 0 {
		out = []Channel{{Name: "log", Kind: "log", Notices: true}}
	}
	return out
}

// secret takes a value that is given in the file, or in another file that key_file names. It is never repeated in a message.
func (t *table) secret(key string) string {
	value, file := t.str(key, ""), t.r.path(t.str(key+"_file", ""))
	if file == "" {
		return value
	}
	if value != "" {
		t.problem(key+"_file", "%s is given too; write one of the two", key)
	}
	b, err := readFile(file)
	if err != nil {
		t.problem(key+"_file", "%v; write the path of a file that holds it", err)
	}
	return strings.TrimSpace(string(b))
}

func (r *reader) webhook(t *table, c *Channel) {
	u, err := url.Parse(c.URL)
	switch {
	case c.URL == "":
		r.problem(t.path, "it has no url; write url = \"https://…\", or url_file = \"…\" to keep it out of this file")
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		t.problem("url", "it is no URL; write one as in \"https://pager.example/hook\"")
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		r.warn(t.at("url"), "it goes over plain http: whoever is on the way can read and forge pages; https would be right")
	}
}

func isLoopback(host string) bool {
	return host == "localhost" || strings.HasPrefix(host, "127.") || host == "::1"
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
