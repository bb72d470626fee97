package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/BurntSushi/toml"
)

// noiseModel is how often sites, and single looks at them, fail by themselves.
type noiseModel struct {
	look     float64   // chance that a look fails though nothing is wrong
	onsets   quantiles // own outages of a site a year; each site draws its own rate
	outage   quantiles // how long one lasts; seconds
	together float64   // chance that another site of the same owner goes down with it
}

// quantiles describe a spread by points of its distribution. A single one is a constant rate, or a mean.
type quantiles []quantile

type quantile struct{ part, value float64 }

// draw is the value at a part of the distribution, between 0 and 1: straight between the points, flat beyond them.
func (q quantiles) draw(u float64) float64 {
	for i := range q {
		if u > q[i].part {
			continue
		}
		if i == 0 {
			break
		}
		a, b := q[i-1], q[i]
		return a.value + (b.value-a.value)*(u-a.part)/(b.part-a.part)
	}
	if u <= q[0].part {
		return q[0].value
	}
	return q[len(q)-1].value
}

const year = 365.25 * 24 * time.Hour

// The noise of a scenario that asks for 1 %: detection study, section 4. Its own outages are 80 times those of the median of
// real sites.
const (
	harshLook    = 0.004
	harshOnsets  = 2e-5 // a second
	harshOutage  = 300
	harshPercent = 0.01
)

func scenarioNoise(percent float64) noiseModel {
	n := percent / harshPercent
	return noiseModel{look: harshLook * n, onsets: quantiles{{1, harshOnsets * year.Seconds() * n}}, outage: quantiles{{1, harshOutage}}}
}

// noises are those with a name. Figures: detection study, sections 1 and 4.
var noises = map[string]noiseModel{
	"measured": {
		look:     harshLook,
		onsets:   quantiles{{0.1, 0}, {0.5, 8.1}, {0.75, 33.6}, {0.9, 88}, {0.95, 162}, {0.99, 668}},
		outage:   quantiles{{0.1, 398}, {0.5, 1295}, {0.75, 2833}, {0.9, 7354}, {0.95, 13866}, {0.99, 115240}},
		together: 0.5,
	},
	"median": {look: harshLook, onsets: quantiles{{1, 8.1}}, outage: quantiles{{1, 1295}}, together: 0.5},
	"harsh":  scenarioNoise(harshPercent),
	"none":   {onsets: quantiles{{1, 0}}, outage: quantiles{{1, 0}}},
}

// maxNoiseFile bounds a noise file.
const maxNoiseFile = 1 << 20

// openNoise gives the noise of that name, or of that file.
func openNoise(nameOrFile string) (noiseModel, error) {
	if n, ok := noises[nameOrFile]; ok {
		return n, nil
	}
	if st, err := os.Stat(nameOrFile); err == nil && st.Size() > maxNoiseFile {
		return noiseModel{}, fmt.Errorf("noise file %s is larger than %d MiB", nameOrFile, maxNoiseFile>>20)
	}
	var file struct {
		Look     float64 `toml:"look_failure"`
		Onsets   any     `toml:"onsets_per_year"`
		Outage   any     `toml:"outage_s"`
		Together float64 `toml:"together"`
	}
	meta, err := toml.DecodeFile(nameOrFile, &file)
	if os.IsNotExist(err) {
		return noiseModel{}, fmt.Errorf("%q is neither a noise with a name (%s) nor a file", nameOrFile, strings.Join(sortedNames(noises), ", "))
	}
	if err != nil {
		return noiseModel{}, fmt.Errorf("reading noise %s: %w", nameOrFile, err)
	}
	for _, key := range meta.Undecoded() {
		if len(key) == 1 { // those below are a table's, see readQuantiles
			return noiseModel{}, fmt.Errorf("noise %s: %s is no key of it; there are look_failure, onsets_per_year, outage_s and together", nameOrFile, key)
		}
	}
	n := noiseModel{look: file.Look, together: file.Together}
	if n.onsets, err = readQuantiles(file.Onsets, 1e6); err != nil {
		return noiseModel{}, fmt.Errorf("noise %s: onsets_per_year: %w", nameOrFile, err)
	}
	if n.outage, err = readQuantiles(file.Outage, year.Seconds()); err != nil {
		return noiseModel{}, fmt.Errorf("noise %s: outage_s: %w", nameOrFile, err)
	}
	if !within(n.look, 0, 0.5) || !within(n.together, 0, 1) {
		return noiseModel{}, fmt.Errorf("noise %s: look_failure is from 0 to 0.5, together from 0 to 1", nameOrFile)
	}
	return n, nil
}

func within(x, least, most float64) bool { return x >= least && x <= most }

// readQuantiles takes a number, or a table of them: { p50 = 8.1, p90 = 88 }.
func readQuantiles(v any, most float64) (quantiles, error) {
	const form = "a number, or a table of quantiles as in { p50 = 8.1, p90 = 88 }"
	number := func(v any) (float64, error) {
		x, ok := v.(float64)
		if i, isInt := v.(int64); isInt {
			x, ok = float64(i), true
		}
		if !ok || !within(x, 0, most) {
			return 0, fmt.Errorf("%v: %s, from 0 to %g", v, form, most)
		}
		return x, nil
	}
	m, ok := v.(map[string]any)
	if !ok {
		x, err := number(v)
		return quantiles{{1, x}}, err
	}
	var q quantiles
	for key, v := range m {
		var percent float64
		if _, err := fmt.Sscanf(key, "p%g", &percent); err != nil || !within(percent, 0, 100) {
			return nil, fmt.Errorf("%q is no quantile: %s", key, form)
		}
		x, err := number(v)
		if err != nil {
			return nil, err
		}
		q = append(q, quantile{percent / 100, x})
	}
	if len(q) == 0 {
		return nil, fmt.Errorf("empty: %s", form)
	}
	slices.SortFunc(q, func(a, b quantile) int { return int(math.Copysign(1, a.part-b.part)) })
	return q, nil
}

// length draws how long an outage lasts; of a single number it is the mean.
func (n *noiseModel) length(rng *rand.Rand) time.Duration {
	if len(n.outage) == 1 {
		return seconds(rng.ExpFloat64() * n.outage[0].value)
	}
	return seconds(n.outage.draw(rng.Float64()))
}

// rate draws how often a site begins to fail by itself; a second.
func (n *noiseModel) rate(rng *rand.Rand) float64 {
	if len(n.onsets) == 1 {
		return n.onsets[0].value / year.Seconds()
	}
	return n.onsets.draw(rng.Float64()) / year.Seconds()
}

// spell is a stretch of time in which a site fails by itself.
type spell struct{ from, to time.Time }

// togetherWithin is how far apart the sites of one owner go down together: detection study, section 1.
const togetherWithin = 90 * time.Second

// draw gives sites failures of their own between two times: those of each in the order of time, apart from each other. The
// owner of a site is "" where it never fails.
func (n *noiseModel) draw(owners []string, seed uint64, from, until time.Time) [][]spell {
	own := make([][]spell, len(owners))
	for i, owner := range owners {
		if owner == "" {
			continue
		}
		rng := rand.New(rand.NewPCG(seed, uint64(i)))
		rate := n.rate(rng)
		if rate == 0 {
			continue
		}
		for at := from; ; {
			at = at.Add(seconds(rng.ExpFloat64() / rate))
			if at.After(until) {
				break
			}
			down := spell{at, at.Add(n.length(rng))}
			own[i] = append(own[i], down)
			n.spread(own, owners, i, down, rng)
		}
	}
	for i := range own {
		own[i] = merged(own[i])
	}
	return own
}

// spread takes other sites of the same owner down too.
func (n *noiseModel) spread(own [][]spell, owners []string, i int, down spell, rng *rand.Rand) {
	if n.together == 0 {
		return
	}
	for j, owner := range owners {
		if j == i || owner != owners[i] || rng.Float64() >= n.together {
			continue
		}
		late := seconds(rng.Float64() * togetherWithin.Seconds())
		own[j] = append(own[j], spell{down.from.Add(late), down.to.Add(late)})
	}
}

// merged sorts spells and joins those that overlap.
func merged(all []spell) []spell {
	slices.SortFunc(all, func(a, b spell) int { return a.from.Compare(b.from) })
	out := all[:0]
	for _, x := range all {
		if n := len(out); n > 0 && !x.from.After(out[n-1].to) {
			if x.to.After(out[n-1].to) {
				out[n-1].to = x.to
			}
			continue
		}
		out = append(out, x)
	}
	return out
}
