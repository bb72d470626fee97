package main

import (
	"math"
	"net/netip"
	"net/url"
	"slices"
	"time"

	"faultline/alert"
	"faultline/internal/simnet"
	"faultline/internal/virtual"
	"faultline/probe"
	"faultline/probe/cdn"
)

// How long what a simulated probe meets takes. Figures of the detection study: 0.25 s and a tail of 0.1 s for an answer.
const (
	simAnswer  = 250 * time.Millisecond
	simTail    = 100 * time.Millisecond
	simSlow    = 6 * time.Second
	simSilent  = 3 * time.Second // two questions to a resolver that does not answer
	simShared  = 2 * time.Second // a probe's looks share their lot for so long
	simTimeout = 10 * time.Second
)

// simWorld is a scenario's world for virtual time: what happens comes from the scenario, and what a probe makes of it from the
// same answers, and the same rules, as in a drill.
type simWorld struct {
	*simnet.World
	rules *cdn.Rules
	onset time.Time
	seed  uint64
	noise noiseModel
	as    []*probe.Site // what the sites are watched as; nil = as a scenario's are

	found  map[foundKey]*probe.Result
	own    [][]spell            // each site's own failures, in the order of time
	failed map[string]time.Time // when an owner in the failing domain first had a failing probe
}

type foundKey struct {
	site  int
	class simnet.Class
}

func newSimWorld(world *simnet.World, rules *cdn.Rules, noise noiseModel, onset time.Time, seed uint64) *simWorld {
	w := &simWorld{
		World: world, rules: rules, noise: noise, onset: onset, seed: seed,
		found: map[foundKey]*probe.Result{}, failed: map[string]time.Time{},
	}
	owners := make([]string, len(w.Sites))
	for i := range w.Sites {
		if w.Sites[i].Kind != simnet.KindAnchor {
			owners[i] = w.Sites[i].Owner
		}
	}
	sc := w.Scenario
	w.own = noise.draw(owners, seed, onset.Add(-sc.World.Warmup), onset.Add(sc.Last()+sc.World.Tail))
	return w
}

func seconds(s float64) time.Duration {
	return time.Duration(min(s, math.MaxInt64/2/float64(time.Second)) * float64(time.Second))
}

// chance is a number in [0, 1) that belongs to one look of one probe.
func (w *simWorld) chance(p virtual.Probe, what uint64) float64 {
	x := w.seed ^ p.Draw*0x9e3779b97f4a7c15 ^ uint64(p.Nth)<<56 ^ what<<48
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return float64((x^x>>31)>>11) / (1 << 53)
}

// Look is a virtual.World's. The looks of one probe share their lot for a while.
func (w *simWorld) Look(at time.Time, p virtual.Probe) virtual.Look {
	lot := p.Draw
	if at.Sub(p.Begun) > simShared {
		lot = ^p.Draw
	}
	class := w.Fault(at.Sub(w.onset), p.Site, p.Vantage, lot)
	if class == simnet.ClassOK {
		class = w.ownFault(at, p)
	} else if !at.Before(w.onset) && class != simnet.ClassBlocked && class != simnet.ClassSlow {
		w.note(&w.Sites[p.Site], at)
	}
	return virtual.Look{Found: w.finding(p.Site, class), Took: w.took(class, p)}
}

// note notes that a probe of an affected site failed.
func (w *simWorld) note(s *simnet.Site, at time.Time) {
	if _, known := w.failed[s.Owner]; !known && (s.Kind == simnet.KindDomain || s.Kind == simnet.KindExtra) {
		w.failed[s.Owner] = at
	}
}

// ownFault is what a site, or one look at it, fails with by itself.
func (w *simWorld) ownFault(at time.Time, p virtual.Probe) simnet.Class {
	if w.Sites[p.Site].Kind == simnet.KindAnchor {
		return simnet.ClassOK
	}
	down := w.isDown(p.Site, at)
	switch {
	case down && p.Site%2 == 0:
		return simnet.ClassConnectTimeout
	case down:
		return simnet.ClassOrigin5xx
	case w.chance(p, 1) < w.noise.look:
		return simnet.ClassConnectTimeout
	}
	return simnet.ClassOK
}

func (w *simWorld) took(class simnet.Class, p virtual.Probe) time.Duration {
	answer := simAnswer - time.Duration(math.Log(1-w.chance(p, 2))*float64(simTail))
	switch class {
	case simnet.ClassConnectTimeout:
		return p.Timeout
	case simnet.ClassDNSTimeout:
		return min(p.Timeout, simSilent)
	case simnet.ClassSlow:
		return min(p.Timeout, simSlow+answer)
	}
	return min(p.Timeout, answer)
}

// Lost is a virtual.World's.
func (w *simWorld) Lost(at time.Time, vantage int) bool {
	return w.World.Lost(at.Sub(w.onset), vantage)
}

// finding is what a probe makes of a class at a site, by the rules.
func (w *simWorld) finding(site int, class simnet.Class) *probe.Result {
	if class == simnet.ClassSlow { // a good answer, though a late one
		class = simnet.ClassOK
	}
	key := foundKey{site, class}
	if r, ok := w.found[key]; ok {
		return r
	}
	s := &w.Sites[site]
	e := &probe.Evidence{Host: s.Host, CNAME: s.CNAME, NS: s.NS, Class: probe.ClassOK}
	r := &probe.Result{}
	switch class {
	case simnet.ClassDNSTimeout:
		e.Class = probe.ClassDNSTimeout
	case simnet.ClassDNSServfail:
		e.Class, e.EDE = probe.ClassDNSServfail, []uint16{22}
	case simnet.ClassConnectTimeout:
		e.Class = probe.ClassConnectTimeout
	case simnet.ClassTLSCert:
		e.Class = probe.ClassTLSCertExpired
	default:
		a := w.Answer(site, -1, class, w.onset, uint64(site))
		resp := &probe.Response{Proto: "HTTP/1.1", Status: a.Status, Reason: a.Reason, Body: a.Body}
		for _, h := range a.Headers {
			resp.Headers = append(resp.Headers, probe.Header{Name: h.Name, Value: h.Value})
		}
		e.Response, r.Status, r.Proto = resp, a.Status, "HTTP/1.1"
	}
	r.Verdict = w.rules.Judge(e, probe.Fronting{CDN: s.CDN})
	r.DNS = probe.DNSInfo{NS: s.NS, EDE: e.EDE, CNAME: s.CNAME, Operator: r.Operator}
	r.TLS.Issuer, r.Network = s.CA, s.Network
	r.Addr = netip.AddrPortFrom(s.Addr, 443)
	w.found[key] = r
	return r
}

// play is the world, ready to be played with a policy.
func (w *simWorld) play(p alert.Policy) *virtual.Play {
	v := &virtual.Play{
		World: w, Policy: p, Pace: probe.DefaultPace(), Recheck: 3 * time.Second, Habit: time.Second, Labels: w.Labels(),
	}
	for i := range w.Sites {
		var site *probe.Site
		if w.as != nil {
			site = w.as[i]
		} else {
			site = watched(&w.Sites[i], w.Scenario.World.Interval)
		}
		if site.Anchor {
			v.Anchors = append(v.Anchors, site)
		} else {
			v.Sites = append(v.Sites, site)
		}
	}
	for _, vs := range w.Vantages {
		v.Vantages = append(v.Vantages, &probe.Vantage{Name: vs.Name, Region: vs.Region})
	}
	return v
}

// watched is what a scenario's site is watched as.
func watched(s *simnet.Site, interval time.Duration) *probe.Site {
	site := &probe.Site{
		Name: s.Name, URL: &url.URL{Scheme: "https", Host: s.Host, Path: "/"}, Group: s.Group, Labels: s.Labels, Owner: s.Owner, OwnerFixed: true,
		Interval: interval, Timeout: min(simTimeout, interval), Method: "GET", Alert: probe.AlertNotice,
	}
	switch {
	case s.Kind == simnet.KindAnchor:
		site.Anchor, site.Interval, site.Alert = true, 2*interval, probe.AlertNone
	case s.Alert == "page":
		site.Alert = probe.AlertPage
	}
	return site
}

// isOwn tells whether an incident is about sites of one owner that failed by themselves, outside the scenario: a site that
// asks for a page then gets one, whatever the scenario expects.
func (w *simWorld) isOwn(i *alert.Incident) bool {
	if i.Domain.Kind != alert.KindOrigin || i.Severity != alert.SeverityPage || len(i.Members) == 0 {
		return false
	}
	for _, m := range i.Members {
		s := w.siteOf(m)
		if s < 0 || w.affected(s, m.Since) || !w.isDown(s, m.Since) {
			return false
		}
	}
	return true
}

// isHit tells whether the scenario hits a member of an incident.
func (w *simWorld) isHit(i *alert.Incident, at time.Time) bool {
	return slices.ContainsFunc(i.Members, func(m alert.Member) bool { s := w.siteOf(m); return s >= 0 && w.affected(s, at) })
}

func (w *simWorld) siteOf(m alert.Member) int {
	return slices.IndexFunc(w.Sites, func(s simnet.Site) bool { return s.Name == m.Site })
}

// isDown tells whether a site fails by itself.
func (w *simWorld) isDown(site int, at time.Time) bool {
	own := w.own[site]
	if len(own) == 0 {
		return false
	}
	n, same := slices.BinarySearchFunc(own, at, func(o spell, t time.Time) int { return o.from.Compare(t) })
	return same && own[n].to.After(at) || n > 0 && own[n-1].to.After(at)
}

// affected tells whether a phase hits a site, from any vantage.
func (w *simWorld) affected(site int, at time.Time) bool {
	for v := range w.Vantages {
		for draw := range uint64(8) { // of probes
			if c := w.Fault(at.Sub(w.onset), site, v, draw); c != simnet.ClassOK && c != simnet.ClassBlocked {
				return true
			}
		}
	}
	return false
}
