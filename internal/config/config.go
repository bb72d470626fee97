// Package config reads the config file: strictly, with every mistake named at once, each with its place.
package config

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/BurntSushi/toml"

	"faultline/alert"
	"faultline/alert/notify"
	"faultline/probe"
)

// Config is a whole config, with defaults filled in.
type Config struct {
	Daemon   Daemon
	CDNRules []string // files, as they can be opened
	Network  Network
	Vantages []*probe.Vantage
	Sites    []*probe.Site // in the order of the file, those of lists last
	Anchors  []*probe.Site
	Labels   []string // those that are failure domains
	Policy   alert.Policy
	Pace     probe.Pace
	Probe    Probe
	Channels []Channel      // never empty: without any, pages go to the log
	Routes   []notify.Route // without the sites' lookup
	Silences []alert.Silence
	Delivery Delivery

	Heartbeats []Heartbeat
}

// Daemon is about the process itself.
type Daemon struct {
	Listen         string // host:port of the status page; "" = none
	URL            string // by which people reach it, without a slash at its end; "" = nobody said
	WebConfigFile  string // with TLS and users for it; "" = none
	ControlSocket  string // path
	StateDir       string
	LogLevel       string
	LogFormat      string // "auto", "console" or "json"
	Contact        string // how probed sites can reach us
	AllowAddresses []netip.Prefix
	CAFile         string // roots in place of the system's; "" = the system's
	MaxInFlight    int    // 0 = as many as there are file descriptors for
	PerSite        bool   // metrics for each site
}

// UserAgent is what probes call themselves.
func (d *Daemon) UserAgent(version string) string {
	ua := "faultline/" + version
	if d.Contact != "" {
		ua += " (+" + d.Contact + ")"
	}
	return ua
}

// Network is about finding out which network addresses lie in.
type Network struct {
	ASNFile string // as it can be opened; "" = none
	Cymru   bool   // Team Cymru's DNS service may be asked
}

// Probe holds the times of one probe that are no site's own; see probe.Config.
type Probe struct {
	Recheck, Habit, DNSTry time.Duration
}

// maxFile bounds a config, and every file that it names.
const maxFile = 64 << 20

// Load reads a config and the lists that it names. err is an Errors with every mistake, or says why the file cannot be read;
// warnings name what is legal but unwise.
func Load(path string) (cfg *Config, warnings []Problem, err error) {
	text, err := readFile(path)
	if err != nil {
		return nil, nil, fmt.Errorf("reading config: %w", err)
	}
	return parse(path, text, systemHost())
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(b) > maxFile {
		err = fmt.Errorf("%s is larger than %d MiB", path, maxFile>>20)
	}
	return b, err
}

// parse reads a config's text.
func parse(path string, text []byte, h host) (*Config, []Problem, error) {
	var m map[string]any
	if _, err := toml.Decode(string(text), &m); err != nil {
		var p toml.ParseError
		if errors.As(err, &p) {
			return nil, nil, Errors{{path, p.Position.Line, p.LastKey, p.Message + "; this is no TOML from here on"}}
		}
		return nil, nil, Errors{{path, 0, "", err.Error()}}
	}
	r := &reader{file: path, dir: filepath.Dir(path), lines: positions(string(text)), keys: map[string]string{}}
	cfg := r.config(&table{r: r, m: m}, h)
	if len(r.problems) > 0 {
		return nil, r.warnings, r.sorted()
	}
	return cfg, r.warnings, nil
}

func (r *reader) config(t *table, h host) *Config {
	c := &Config{
		Pace: probe.DefaultPace(), Probe: Probe{3 * time.Second, time.Second, 1500 * time.Millisecond},
		Delivery: Delivery{10 * time.Second, time.Second, 60 * time.Second},
	}
	c.Daemon = r.daemon(t.sub("daemon"), h)
	c.Policy = alert.DefaultPolicy()
	c.Policy.Fleet = r.fleet
	c.CDNRules = r.cdn(t.sub("cdn"))
	c.Network = r.network(t.sub("network"))
	c.Vantages = r.vantages(t.subs("vantage"), h)
	defaults := r.defaults(t.sub("defaults"))
	names := map[string]string{}
	c.Sites = r.sites(t.subs("site"), defaults, names)
	c.Sites = append(c.Sites, r.siteLists(t.subs("site_list"), defaults, c.Sites, names)...)
	a := t.sub("alert")
	r.policy(a, &c.Policy)
	c.Labels = r.labels(a, c.Sites)
	c.Anchors = r.anchors(a, names)
	a.done()
	anchorFamilies(c)
	c.Channels = r.channels(t.subs("channel"))
	c.Routes = r.routes(t.subs("route"), c)
	c.Silences = r.maintenance(t.subs("maintenance"), c)
	c.Heartbeats = r.heartbeats(t.subs("heartbeat"))
	t.done()
	r.together(c)
	return c
}

// daemon reads [daemon].
func (r *reader) daemon(t *table, h host) Daemon {
	r.fleet = t.str("fleet", "main")
	if !isName(r.fleet) {
		t.problem("fleet", "%q is no name; write letters, digits, dots and dashes", clip(r.fleet))
	}
	d := Daemon{
		Listen: t.str("listen", "127.0.0.1:9780"), URL: strings.TrimRight(t.str("url", ""), "/"), WebConfigFile: r.path(t.str("web_config_file", "")), ControlSocket: t.str("control_socket", ""), StateDir: t.str("state_dir", ""),
		LogLevel: t.oneOf("log_level", "info", "debug", "info", "warn", "error"), LogFormat: t.oneOf("log_format", "auto", "auto", "console", "json"),
		Contact: t.str("contact", ""), AllowAddresses: t.addresses("allow_addresses"), CAFile: r.path(t.str("ca_file", "")),
		MaxInFlight: t.integer("max_in_flight", 0, 0, 100000), PerSite: t.boolean("per_site_metrics", true),
	}
	if d.ControlSocket == "" {
		d.ControlSocket = h.controlSocket()
	}
	if d.StateDir == "" {
		d.StateDir = h.stateDir()
	}
	if d.Listen != "" {
		if _, _, err := splitHostPort(d.Listen); err != nil {
			t.problem("listen", "%q is no address; write host:port, as in \"127.0.0.1:9780\", or \"\" for no status page", clip(d.Listen))
		}
	}
	if u, err := url.Parse(d.URL); d.URL != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "") {
		t.problem("url", "%q is no URL; write one as in \"https://faultline.example.org\"", clip(d.URL))
	}
	if hasControl(d.Contact) {
		t.problem("contact", "it holds a control character; write a URL or a mail address on one line")
	}
	t.done()
	return d
}

func (r *reader) cdn(t *table) []string {
	var files []string
	for _, f := range t.strs("rules", "[]") {
		f = r.path(f)
		if _, err := os.Stat(f); err != nil {
			t.problem("rules", "%s cannot be read: %v; write a path that starts at the config's own directory", clip(f), errors.Unwrap(err))
		}
		files = append(files, f)
	}
	t.done()
	return files
}

func (r *reader) network(t *table) Network {
	n := Network{ASNFile: r.path(t.str("asn_file", "")), Cymru: t.boolean("team_cymru", false)}
	if n.ASNFile != "" && n.Cymru {
		r.warn(t.at("team_cymru"), "asn_file is there: it alone is used")
	}
	t.done()
	return n
}

// policy reads the numbers by which the engine decides.
func (r *reader) policy(t *table, p *alert.Policy) {
	p.FalsePages = t.number("false_pages_per_year", p.FalsePages, 0.001, 1000)
	p.MinOwners = t.integer("min_owners", p.MinOwners, 2, 1000)
	p.MinVantages = t.integer("min_vantages", p.MinVantages, 1, 1000)
	p.MinShare = t.share("min_share", p.MinShare)
	p.Quiet = t.duration("quiet_after_start", p.Quiet, 0, time.Hour)
	p.ClearAfter = t.duration("clear_after", p.ClearAfter, 10*time.Second, time.Hour)
	p.Resolve = t.duration("resolve_after", p.Resolve, time.Minute, 24*time.Hour)
	p.Alone = t.duration("site_alone_after", p.Alone, 10*time.Second, 24*time.Hour)
	p.Update = t.duration("update_every", p.Update, 10*time.Second, 24*time.Hour)
}

// labels reads which labels are failure domains.
func (r *reader) labels(t *table, sites []*probe.Site) []string {
	labels := t.strs("label_domains", "[]")
	for _, l := range labels {
		switch {
		case alert.IsKind(l):
			t.problem("label_domains", "%q is a kind of domain that is found out by itself; give the label another name", clip(l))
		case !slices.ContainsFunc(sites, func(s *probe.Site) bool { return l == "group" && s.Group != "" || s.Labels[l] != "" }):
			r.warn(t.at("label_domains"), "no site has the label %q; give it as labels = { %s = \"…\" } where it applies", clip(l), clip(l))
		}
	}
	return labels
}

// path is a path of the config, which starts at its own directory.
func (r *reader) path(p string) string {
	if p == "" || filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(r.dir, p)
}

// What a probe may take on a busy machine however fast a drill's time runs: as a whole, and before it counts as late.
// Otherwise a fast drill would take the machine's own stutter for sick vantages.
const (
	leastScaled = 500 * time.Millisecond
	leastHabit  = time.Second
)

// Scale divides every duration by n: the time of a drill runs n times as fast. What a probe may take has a floor.
func (c *Config) Scale(n float64) {
	c.Policy = c.Policy.Scale(n)
	defer func() {
		c.Probe.Habit, c.Probe.Recheck = max(c.Probe.Habit, leastHabit), max(c.Probe.Recheck, leastScaled)
		c.Probe.DNSTry, c.Policy.SweepTimeout = max(c.Probe.DNSTry, leastScaled), max(c.Policy.SweepTimeout, leastScaled)
	}()
	times := []*time.Duration{
		&c.Pace.PerSite, &c.Pace.Refill, &c.Probe.Recheck, &c.Probe.Habit, &c.Probe.DNSTry,
		&c.Delivery.Timeout, &c.Delivery.BackoffBase, &c.Delivery.BackoffCap,
	}
	for i := range c.Channels {
		ch := &c.Channels[i]
		times = append(times, &ch.FallbackAfter, &ch.Remind, &ch.Gather)
		if a := ch.Alertmanager; a != nil {
			times = append(times, &a.Resend)
		}
	}
	for i := range c.Heartbeats {
		times = append(times, &c.Heartbeats[i].Every)
	}
	for _, d := range times {
		*d = time.Duration(float64(*d) / n)
	}
	for _, list := range [][]*probe.Site{c.Sites, c.Anchors} {
		for _, s := range list {
			s.Interval, s.Timeout = time.Duration(float64(s.Interval)/n), time.Duration(float64(s.Timeout)/n)
		}
	}
}
