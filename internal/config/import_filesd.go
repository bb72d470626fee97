package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"strings"

	"go.yaml.in/yaml/v3"
)

// targetGroup is one group of Prometheus' file-based service discovery, as blackbox_exporter's users write it.
type targetGroup struct {
	Targets []string          `json:"targets" yaml:"targets"`
	Labels  map[string]string `json:"labels" yaml:"labels"`
}

// fileSD reads a file of Prometheus' file-based service discovery, YAML or JSON.
func (l *siteList) fileSD(text []byte) error {
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	if t := bytes.TrimSpace(text); bytes.HasPrefix(t, []byte("[")) || bytes.HasPrefix(t, []byte("{")) {
		groups, err := elements(text, "")
		for _, e := range groups {
			var g targetGroup
			if err := json.Unmarshal(e.raw, &g); err != nil {
				l.warn(e.line, "targets", "the group cannot be read (%s); it is left out", oneLine(err))
				continue
			}
			l.group(func(int) int { return e.line }, g)
		}
		return err
	}
	var groups []yaml.Node
	if err := yaml.Unmarshal(text, &groups); err != nil {
		return fmt.Errorf("it is no YAML list of groups with targets: %w", err)
	}
	for i := range groups {
		var g targetGroup
		var at struct {
			Targets []yaml.Node `yaml:"targets"`
		}
		if err := groups[i].Decode(&g); err != nil {
			l.warn(groups[i].Line, "targets", "the group cannot be read (%s); it is left out", oneLine(err))
			continue
		}
		_ = groups[i].Decode(&at)
		l.group(func(n int) int { return at.Targets[n].Line }, g)
	}
	return nil
}

// group takes the targets of one group. A bare name is asked over HTTP, as blackbox_exporter does, unless its port or
// its labels say otherwise. Labels that begin with __ are Prometheus' own.
func (l *siteList) group(line func(int) int, g targetGroup) {
	scheme := g.Labels["__scheme__"]
	labels := maps.Clone(g.Labels)
	maps.DeleteFunc(labels, func(k, _ string) bool { return strings.HasPrefix(k, "__") })
	for i, target := range g.Targets {
		like := l.base
		if len(labels) > 0 {
			like.Labels = labels
		}
		if !strings.Contains(target, "://") {
			switch {
			case scheme != "":
				target = scheme + "://" + target
			case strings.HasSuffix(target, ":443"):
				target = "https://" + strings.TrimSuffix(target, ":443")
			default:
				target = "http://" + target
			}
		}
		l.take(line(i), target, "", like)
	}
}
