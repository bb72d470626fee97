package simnet

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/BurntSushi/toml"
)

// ConfigOptions are what a config of the daemon needs beside the world.
type ConfigOptions struct {
	WebhookURL    string // of the one channel, named drill, which takes notices too; "" = no channel
	Listen        string // HTTP address; "" = 127.0.0.1:0
	StateDir      string // "" = state in the config's directory
	ControlSocket string // "" = control.sock there
}

type configFile struct {
	Daemon struct {
		Listen         string   `toml:"listen"`
		ControlSocket  string   `toml:"control_socket"`
		StateDir       string   `toml:"state_dir"`
		CAFile         string   `toml:"ca_file"`
		Contact        string   `toml:"contact"`
		AllowAddresses []string `toml:"allow_addresses"`
	} `toml:"daemon"`
	Defaults struct {
		Interval string `toml:"interval"`
		Timeout  string `toml:"timeout"`
	} `toml:"defaults"`
	CDN struct {
		Rules []string `toml:"rules"`
	} `toml:"cdn"`
	Alert struct {
		Anchors        []string `toml:"anchors"`
		AnchorInterval string   `toml:"anchor_interval"`
		LabelDomains   []string `toml:"label_domains"`
	} `toml:"alert"`
	Vantage []configVantage `toml:"vantage"`
	Channel []configChannel `toml:"channel"`
	Site    []configSite    `toml:"site"`
}

type configVantage struct {
	Name      string   `toml:"name"`
	Region    string   `toml:"region"`
	Source    string   `toml:"source"`
	Resolvers []string `toml:"resolvers"`
}

type configChannel struct {
	Kind         string `toml:"kind"`
	Name         string `toml:"name"`
	URL          string `toml:"url"`
	NoticesEvery string `toml:"notices_every"`
	PerMinute    int    `toml:"per_minute"`

	Notices bool `toml:"notices"`
}

type configSite struct {
	Name   string            `toml:"name"`
	URL    string            `toml:"url"`
	Group  string            `toml:"group"`
	Owner  string            `toml:"owner"`
	Alert  string            `toml:"alert"`
	Labels map[string]string `toml:"labels,omitempty"`
}

const maxTimeout = 10 * time.Second // of a probe

// WriteConfig writes, into dir, a config for the daemon that watches this world from its vantages, with the CA and the
// CDN rules that the config names, and returns the config's path. Its durations are the scenario's own: a daemon that
// is to keep up with Options.Speed divides them itself.
func (n *Net) WriteConfig(dir string, o ConfigOptions) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("finding the config's directory: %w", err)
	}
	var c configFile
	c.Daemon.Listen = cmp.Or(o.Listen, "127.0.0.1:0")
	c.Daemon.ControlSocket = cmp.Or(o.ControlSocket, filepath.Join(dir, "control.sock"))
	c.Daemon.StateDir = cmp.Or(o.StateDir, filepath.Join(dir, "state"))
	c.Daemon.CAFile = filepath.Join(dir, "ca.pem")
	c.Daemon.Contact = "drill@faultline.example"
	c.Daemon.AllowAddresses = []string{"127.0.0.0/8"}
	spec := &n.World.Scenario.World
	c.Defaults.Interval = spec.Interval.String()
	c.Defaults.Timeout = min(maxTimeout, spec.Interval).String()
	c.Alert.LabelDomains = n.World.Labels()
	c.Alert.AnchorInterval = (2 * spec.Interval).String()
	if o.WebhookURL != "" {
		c.Channel = []configChannel{{Kind: "webhook", Name: "drill", URL: o.WebhookURL, NoticesEvery: "0s", PerMinute: 10000, Notices: true}}
	}
	for v, vs := range n.World.Vantages {
		resolver := fmt.Sprintf("%s:%d", resolverAddr(v), n.dnsPort)
		c.Vantage = append(c.Vantage, configVantage{vs.Name, vs.Region, vantageAddr(v).String(), []string{resolver}})
	}
	for i := range n.World.Sites {
		s := &n.World.Sites[i]
		if s.Kind == KindAnchor {
			c.Alert.Anchors = append(c.Alert.Anchors, n.URL(i))
			continue
		}
		c.Site = append(c.Site, configSite{s.Name, n.URL(i), s.Group, s.Owner, s.Alert, s.Labels})
	}
	files := n.World.ruleFiles()
	for _, f := range files {
		c.CDN.Rules = append(c.CDN.Rules, filepath.Join(dir, f.name))
	}
	files = append(files, textFile{"ca.pem", n.certs.rootPEM}, textFile{"faultline.toml", encode(c)})
	for _, f := range files {
		if err := os.WriteFile(filepath.Join(dir, f.name), f.text, 0o644); err != nil {
			return "", fmt.Errorf("writing the drill's config: %w", err)
		}
	}
	return filepath.Join(dir, "faultline.toml"), nil
}

// URL is where a site is to be found.
func (n *Net) URL(site int) string {
	return fmt.Sprintf("https://%s:%d/", n.World.Sites[site].Host, n.port)
}

type textFile struct {
	name string
	text []byte
}

type ruleFile struct {
	Name     string         `toml:"name,omitempty"`
	Ranges   []string       `toml:"ranges,omitempty"`
	Rule     []ruleOfPage   `toml:"rule,omitempty"`
	Operator []ruleOperator `toml:"operator,omitempty"`
}

type ruleOfPage struct {
	ID      string   `toml:"id"`
	Class   string   `toml:"class"`
	Status  string   `toml:"status"`
	BodyAny []string `toml:"body_any"`
	Why     string   `toml:"why"`
	Source  string   `toml:"source"`
}

type ruleOperator struct {
	Name string   `toml:"name"`
	NS   []string `toml:"ns"`
}

// ruleFiles say which simulated ranges are whose, and whose the name servers of made-up operators.
func (w *World) ruleFiles() []textFile {
	var out []textFile
	for _, r := range w.Ranges {
		if !r.CDN {
			continue
		}
		f := ruleFile{Name: r.Name, Ranges: []string{r.Prefix.String()}}
		if pagesOf(r.Name) == "other" { // its page is made up, so nobody can know it
			f.Rule = []ruleOfPage{{
				"simulated", "http_edge_error", "500-599",
				[]string{"<hr><center>" + r.Name + "</center>"},
				"{status} with the own page of " + r.Name, "the simulation",
			}}
		}
		out = append(out, textFile{"cdn-" + r.Name + ".toml", encode(f)})
	}
	var operators ruleFile
	for i := range w.Sites {
		s := &w.Sites[i]
		op := ruleOperator{s.Operator, []string{operatorZone(s.Operator)}}
		known := slices.ContainsFunc(operators.Operator, func(o ruleOperator) bool { return o.Name == op.Name })
		if s.Operator != "" && !known && s.NS[0] == "a."+op.NS[0] {
			operators.Operator = append(operators.Operator, op)
		}
	}
	if len(operators.Operator) > 0 {
		out = append(out, textFile{"operators.toml", encode(operators)})
	}
	return out
}

func encode(v any) []byte {
	var b bytes.Buffer
	_ = toml.NewEncoder(&b).Encode(v) // our own structs, into memory
	return b.Bytes()
}
