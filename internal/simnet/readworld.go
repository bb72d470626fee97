package simnet

import (
	"regexp"
	"slices"
	"strings"
)

var defaultVantages = []VantageSpec{
	{"v1", "us-east"}, {"v2", "us-west"}, {"v3", "eu-west"}, {"v4", "ap-east"}, {"v5", "ap-northeast"},
}

// shared are the kinds of domain that sites can have in common by themselves.
var shared = []string{"cdn", "dns", "network", "hosting", "ca", "country", "origin"}

func (s *Scenario) readWorld(t *table) {
	w := &s.World
	w.Interval = t.seconds("interval_s", 30)
	if w.Interval <= 0 {
		t.errorf("interval_s", "is no interval; seconds, as in 30")
	}
	w.Sites = t.count("sites", 20, 1, maxSites)
	w.Owners = t.count("owners", w.Sites, 1, w.Sites)
	w.MemberOf = t.refs("member_of")
	if _, given := t.m["member_of"]; !given && slices.Contains(shared, s.Domain.Kind) && s.Domain.Name != "" {
		w.MemberOf = []Ref{s.Domain}
	}
	w.OnCDN = t.cdn("on_cdn", w.MemberOf)
	w.Extra = t.count("extra", 0, 0, maxSites)
	w.ExtraOwners = t.count("extra_owners", w.Extra, 0, w.Extra)
	if w.Extra > 0 {
		w.ExtraOwners = max(1, w.ExtraOwners)
	}
	w.ExtraMemberOf = t.refs("extra_member_of")
	w.ExtraOnCDN = t.cdn("extra_on_cdn", w.ExtraMemberOf)
	w.Controls = t.count("controls", 30, 0, maxSites)
	w.Normal = t.oneOf("normal", "ok", []string{"ok", "blocked"})
	w.SiteAlert = t.oneOf("site_alert", "notice", []string{"notice", "page"})
	w.Noise = t.noise()
	w.Warmup, w.Tail = t.seconds("warmup_s", 3600), t.seconds("tail_s", 1800)
	t.str("note", "")
	s.readVantages(t)
	t.done()
}

func (t *table) noise() float64 {
	if v, ok := t.m["noise"].(string); ok && v == "none" {
		t.take("noise")
		return 0
	}
	return t.num("noise", 0.01, 0, 1)
}

var cdnForm = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,39}$`)

// cdn takes the CDN that sites are on: the one that they are members of, unless the file says otherwise.
func (t *table) cdn(key string, memberOf []Ref) string {
	def := "spread"
	for _, m := range memberOf {
		if m.Kind == "cdn" {
			def = m.Name
		}
	}
	name := t.str(key, def)
	if !cdnForm.MatchString(name) {
		t.errorf(key, "%q is no name of a CDN; lower case, digits and -, or none, or spread", name)
	}
	return name
}

var vantageName = regexp.MustCompile(`^v([0-9]+|-.+)$`)

// readVantages takes the vantages: a number of them, "NAME REGION" strings, a table of regions by name, or tables with
// name and region. Without the key they are the default ones, and those that a phase names beside them.
func (s *Scenario) readVantages(t *table) {
	w := &s.World
	v, given := t.m["vantages"]
	if list, ok := v.([]any); ok && len(list) > 0 { // an inline list of tables
		if _, ok := list[0].(map[string]any); ok {
			v = []map[string]any(nil)
		}
	}
	switch v := v.(type) {
	case int64:
		n := t.count("vantages", len(defaultVantages), 1, len(defaultVantages))
		w.Vantages = slices.Clone(defaultVantages[:n])
	case map[string]any:
		sub := t.sub("vantages")
		for name := range v {
			w.Vantages = append(w.Vantages, VantageSpec{name, sub.str(name, "")})
		}
		slices.SortFunc(w.Vantages, func(a, b VantageSpec) int { return strings.Compare(a.Name, b.Name) })
	case []map[string]any:
		for _, sub := range t.subs("vantages") {
			w.Vantages = append(w.Vantages, VantageSpec{sub.str("name", ""), sub.str("region", "")})
			sub.str("note", "")
			sub.done()
		}
	default:
		if given {
			w.Vantages = vantagesOf(t.strs("vantages"))
		} else {
			w.Vantages = s.withNamed(slices.Clone(defaultVantages))
		}
	}
	t.take("vantages")
	if len(w.Vantages) == 0 || len(w.Vantages) > maxVantages {
		t.errorf("vantages", "%d vantages; from 1 to %d", len(w.Vantages), maxVantages)
	}
	for i, v := range w.Vantages {
		if !regionForm.MatchString(v.Name) || !regionForm.MatchString(v.Region) || strings.HasPrefix(v.Name+v.Region, "*") {
			t.errorf("vantages", "%q in %q: a vantage needs a name and a region, as in \"v1 us-east\"", v.Name, v.Region)
		}
		if slices.ContainsFunc(w.Vantages[:i], func(o VantageSpec) bool { return o.Name == v.Name }) {
			t.errorf("vantages", "%q is there twice", v.Name)
		}
	}
	s.checkRegions(t)
}

func vantagesOf(list []string) []VantageSpec {
	var out []VantageSpec
	for _, e := range list {
		f := strings.FieldsFunc(e, func(r rune) bool { return r == ' ' || r == ':' || r == '=' || r == '@' })
		switch {
		case len(f) == 1 && !vantageName.MatchString(f[0]):
			out = append(out, VantageSpec{"v-" + f[0], f[0]})
		case len(f) == 1:
			out = append(out, VantageSpec{f[0], strings.TrimPrefix(f[0], "v-")})
		default:
			out = append(out, VantageSpec{f[0], strings.Join(f[1:], "-")})
		}
	}
	return out
}

// withNamed adds a vantage in every region, and every v-NAME, that a phase names and vs lack.
func (s *Scenario) withNamed(vs []VantageSpec) []VantageSpec {
	for i := range s.Phases {
		for _, r := range s.Phases[i].Regions {
			there := slices.ContainsFunc(vs, func(v VantageSpec) bool { return inRegion(r, v) })
			name, named := strings.CutPrefix(r, "v-")
			switch {
			case there || r == "*other" || vantageName.MatchString(r) && !named:
			case named:
				vs = append(vs, VantageSpec{r, name})
			case !slices.ContainsFunc(vs, func(v VantageSpec) bool { return v.Name == "v-"+r }):
				vs = append(vs, VantageSpec{"v-" + r, r})
			}
		}
	}
	return vs
}

// checkRegions tells of vantages that phases name and that are not there.
func (s *Scenario) checkRegions(t *table) {
	for i := range s.Phases {
		for _, r := range s.Phases[i].Regions {
			if vantageName.MatchString(r) && !slices.ContainsFunc(s.World.Vantages, func(v VantageSpec) bool { return v.Name == r }) {
				t.r.errorf("phase", "regions: there is no vantage %q", r)
			}
		}
	}
}
