package main

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"

	"faultline/probe"
)

// explain prints one result for a person: the verdict first, then how it came about.
func explain(w io.Writer, r *probe.Result) {
	verdict := "OK"
	switch {
	case r.Fault == probe.FaultBlocked:
		verdict = "BLOCKED"
	case !r.OK():
		verdict = "FAILING"
	}
	fmt.Fprintf(w, "%s  %s\n", verdict, clean(r.URL))
	row := func(head, format string, args ...any) {
		fmt.Fprintf(w, "  %-10s %s\n", head, clean(fmt.Sprintf(format, args...)))
	}
	row("class", "%s (phase %s)", r.Class, r.Class.Phase())
	if len(r.Candidates) > 0 {
		row("fault", "%s: it is one of %s", r.Fault, joinFaults(r.Candidates))
	} else {
		row("fault", "%s: %s", r.Fault, faultWords[r.Fault])
	}
	if r.Why != "" {
		row("why", "%s", r.Why)
	}
	if r.CDN != "" {
		row("fronted by", "%s, by %s", r.CDN, strings.Join(r.CDNBy, ", "))
	} else {
		row("fronted by", "no CDN that is known")
	}
	if r.Status != 0 {
		row("status", "%d over %s", r.Status, r.Proto)
	}
	if r.Final != "" {
		row("led to", "%s", r.Final)
	}
	explainNetwork(row, r)
	for _, line := range bars(&r.Time) {
		fmt.Fprintf(w, "  %s\n", line)
	}
	if next := whatNext(r); next != "" {
		row("next", "%s", next)
	}
}

func explainNetwork(row func(string, string, ...any), r *probe.Result) {
	if r.Addr.IsValid() {
		row("address", "%s", r.Addr)
	}
	if d := r.DNS; d.Resolver != "" {
		var addrs []string
		for _, a := range d.Addrs {
			addrs = append(addrs, a.String())
		}
		row("dns", "%s by %s: %s", d.Rcode, d.Resolver, strings.Join(append(d.CNAME, addrs...), ", "))
		if d.Operator != "" {
			row("", "zone served by %s (%s)", d.Operator, strings.Join(d.NS, ", "))
		}
		if len(d.EDE) > 0 {
			row("", "extended DNS errors %v", d.EDE)
		}
	}
	if t := r.TLS; t.Version != "" || !t.NotAfter.IsZero() {
		row("tls", "%s, issued by %s, valid until %s", t.Version, t.Issuer, t.NotAfter.UTC().Format("2006-01-02 15:04 UTC"))
	}
	if r.Attempt > 1 {
		row("attempt", "%d: the answer was checked again at once", r.Attempt)
	}
	if r.RetryAfter > 0 {
		row("rest", "the site asks for %s without probes", r.RetryAfter)
	}
}

// bars draws the phases in the order of time, to one scale.
func bars(t *probe.Timings) []string {
	const width = 40
	phases := []struct {
		name string
		d    time.Duration
	}{{"resolve", t.Resolve}, {"connect", t.Connect}, {"tls", t.TLS}, {"first byte", t.TTFB}}
	rest := t.Total
	for _, p := range phases {
		rest -= p.d
	}
	phases = append(phases, struct {
		name string
		d    time.Duration
	}{"rest", max(0, rest)})
	var lines []string
	at := time.Duration(0)
	for _, p := range phases {
		if p.d > 0 && t.Total > 0 {
			from, to := int(at*width/t.Total), int((at+p.d)*width/t.Total)
			bar := strings.Repeat(" ", min(from, width)) + strings.Repeat("█", max(1, min(to, width)-from))
			lines = append(lines, fmt.Sprintf("%-10s %-*s %8.1f ms", p.name, width+1, bar, float64(p.d.Microseconds())/1000))
		}
		at += p.d
	}
	return append(lines, fmt.Sprintf("%-10s %-*s %8.1f ms", "total", width+1, "", float64(t.Total.Microseconds())/1000))
}

var faultWords = map[probe.Fault]string{
	probe.FaultNone: "nobody's", probe.FaultEdge: "the CDN's own", probe.FaultOrigin: "the site's own servers",
	probe.FaultBlocked: "nobody's: this prober is not let in, which is no outage", probe.FaultConfig: "the site is set up wrongly",
	probe.FaultDNS: "the resolver, or the name servers of the zone", probe.FaultPath: "the network between",
	probe.FaultLocal: "this host itself", probe.FaultAmbiguous: "one answer cannot tell",
}

// whatNext is what a person can try.
func whatNext(r *probe.Result) string {
	switch r.Fault {
	case probe.FaultEdge:
		return "look at other sites of the same CDN, and at its status page"
	case probe.FaultOrigin:
		return "look at the site's own servers; the CDN, if there is one, works"
	case probe.FaultBlocked:
		return "probe from another address, or have the site let this prober's User-Agent in"
	case probe.FaultDNS:
		return "try another resolver with --resolver 9.9.9.9"
	case probe.FaultPath, probe.FaultAmbiguous:
		return "probe from elsewhere: one place cannot tell the path from the far end"
	case probe.FaultLocal:
		return "look at this host's network, resolver and limits"
	case probe.FaultConfig:
		return "look at the site's DNS records, certificate and CDN settings"
	}
	return ""
}

func joinFaults(fs []probe.Fault) string {
	var s []string
	for _, f := range fs {
		s = append(s, f.String())
	}
	return strings.Join(s, ", ")
}

// clean replaces what could steer a terminal in text that comes from remote answers.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) && r != ' ' {
			return '·'
		}
		return r
	}, s)
}
