package main

import (
	"cmp"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/mattn/go-isatty"

	"faultline/probe"
)

// printer prints for a person. The first error stays.
type printer struct {
	w      io.Writer
	colour bool
	err    error
}

func (p *printer) printf(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format, args...)
	}
}

// row prints one line under a short head, without whatever could steer a terminal.
func (p *printer) row(head, format string, args ...any) {
	p.printf("  %-10s %s\n", head, clean(fmt.Sprintf(format, args...)))
}

// onTerminal tells whether w is one that shows colours.
func onTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && isatty.IsTerminal(f.Fd()) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

// verdict is a result in one word, padded to width, in the colour that goes with it.
func (p *printer) verdict(r *probe.Result, width int) string {
	word, colour := "OK", "32"
	switch {
	case r.Fault == probe.FaultBlocked:
		word, colour = "BLOCKED", "33"
	case !r.OK():
		word, colour = "FAILING", "31"
	}
	word = fmt.Sprintf("%-*s", width, word)
	if p.colour {
		return "\x1b[1;" + colour + "m" + word + "\x1b[0m"
	}
	return word
}

// explain prints one look: the verdict first, then how it came about.
func (p *printer) explain(l *look) {
	r := &l.result
	p.printf("%s  %s\n", p.verdict(r, 0), clean(r.URL))
	p.row("looked", "%s", how(l))
	p.why(r)
	if r.Final != "" {
		p.row("led to", "%s", r.Final)
	}
	p.network(r)
	for _, line := range bars(&r.Time) {
		p.printf("  %s\n", line)
	}
	if next := whatNext(r); next != "" {
		p.row("next", "%s", next)
	}
	if l.capture != nil {
		p.capture(l.capture)
	}
}

// why prints what a result is, whose fault, and by what evidence.
func (p *printer) why(r *probe.Result) {
	p.row("class", "%s (phase %s)", r.Class, r.Class.Phase())
	if len(r.Candidates) > 0 {
		p.row("fault", "%s: it is one of %s", r.Fault, joinFaults(r.Candidates))
	} else {
		p.row("fault", "%s: %s", r.Fault, faultWords[r.Fault])
	}
	if r.Why != "" {
		p.row("why", "%s", r.Why)
	}
	if r.CDN != "" {
		p.row("fronted by", "%s, by %s", r.CDN, strings.Join(r.CDNBy, ", "))
	} else {
		p.row("fronted by", "no CDN that is known")
	}
	if r.Status != 0 {
		p.row("status", "%d over %s", r.Status, r.Proto)
	}
}

// how says over what a look was made.
func how(l *look) string {
	s := "from " + l.result.Vantage + ", over HTTP/" + l.http.String()
	if f := l.result.Family; f != probe.FamilyAny {
		s += ", " + f.String()
	}
	return s
}

func (p *printer) network(r *probe.Result) {
	if r.Addr.IsValid() {
		p.row("address", "%s", r.Addr)
	}
	for _, a := range r.Addresses {
		p.row("", "%-30s %s", a.Addr, a.Class)
	}
	if d := r.DNS; d.Resolver != "" {
		var addrs []string
		for _, a := range d.Addrs {
			addrs = append(addrs, a.String())
		}
		p.row("dns", "%s from %s: %s", cmp.Or(d.Rcode, "no answer"), d.Resolver, strings.Join(append(slices.Clone(d.CNAME), addrs...), ", "))
		for _, t := range d.Tried {
			p.row("", "%s failed: %s", t.Resolver, t.Class)
		}
		if d.Operator != "" {
			p.row("", "zone served by %s (%s)", d.Operator, strings.Join(d.NS, ", "))
		}
		if len(d.EDE) > 0 {
			p.row("", "extended DNS errors %v", d.EDE)
		}
		if d.Diagnosis != probe.DiagnosisNone {
			p.row("diagnosis", "%s: %s", d.Diagnosis, diagnosisWords[d.Diagnosis])
		}
	}
	if t := r.TLS; t.Version != "" || !t.NotAfter.IsZero() {
		p.row("tls", "%s, issued by %s, valid until %s", cmp.Or(t.Version, "no handshake"), t.Issuer, t.NotAfter.UTC().Format("2006-01-02 15:04 UTC"))
	}
	if r.Attempt > 1 {
		p.row("attempt", "%d: the answer was checked again at once", r.Attempt)
	}
	if r.RetryAfter > 0 {
		p.row("rest", "the site asks for %s without probes", r.RetryAfter)
	}
}

// compare prints several looks side by side.
func (p *printer) compare(looks []look) {
	p.printf("%s\n", clean(looks[0].result.URL))
	vantage, class := len("vantage"), len("class")
	for i := range looks {
		vantage, class = max(vantage, len(looks[i].result.Vantage)), max(class, len(looks[i].result.Class.String()))
	}
	p.printf("  %-*s  http  family  %-7s  %-*s  %6s  %8s %8s %8s %8s %8s ms\n", vantage, "vantage", "", class, "class", "status",
		"resolve", "connect", "tls", "first", "total")
	for i := range looks {
		l, r := &looks[i], &looks[i].result
		status := "-"
		if r.Status != 0 {
			status = fmt.Sprint(r.Status)
		}
		fam := r.Family.String()
		if fam == "" {
			fam = "any"
		}
		p.printf("  %-*s  %-4s  %-6s  %s  %-*s  %6s ", vantage, clean(r.Vantage), l.http, fam, p.verdict(r, 7), class, r.Class, status)
		for _, d := range []time.Duration{r.Time.Resolve, r.Time.Connect, r.Time.TLS, r.Time.TTFB, r.Time.Total} {
			p.printf(" %8.1f", millis(d))
		}
		p.printf("\n")
	}
}

// What is shown of a capture.
const (
	shownHeaders = 20
	shownBody    = 15 // lines
	shownLine    = 160
	shownDNS     = 20 // lines a message
)

// capture prints what a failing look saw.
func (p *printer) capture(c *probe.Capture) {
	if c.Status != "" {
		p.printf("  answer\n")
		p.quote(c.Status, 1)
		for _, h := range c.Headers[:min(len(c.Headers), shownHeaders)] {
			p.quote(h.Name+": "+h.Value, 1)
		}
		p.quote("", 1)
		p.quote(strings.TrimSpace(string(c.Body)), shownBody)
	}
	for i, text := range c.Chain {
		block, _ := pem.Decode([]byte(text))
		if block == nil {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			p.row("chain", "%d: %v", i, err)
			continue
		}
		p.row("chain", "%d: %s, for %s, by %s, %s to %s", i, cert.Subject, strings.Join(cert.DNSNames, " "), cert.Issuer,
			cert.NotBefore.UTC().Format(time.DateOnly), cert.NotAfter.UTC().Format(time.DateOnly))
	}
	if c.Class.Phase() == probe.PhaseResolve {
		for _, m := range c.DNS {
			p.printf("  message\n")
			p.quote(strings.TrimSpace(m), shownDNS)
		}
	}
}

// quote prints the first lines of what a remote sent.
func (p *printer) quote(text string, most int) {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if i == most {
			p.printf("    … %d lines more\n", len(lines)-most)
			return
		}
		line = strings.TrimRight(line, "\r")
		if len(line) > shownLine {
			line = strings.ToValidUTF8(line[:shownLine], "") + "…"
		}
		p.printf("    %s\n", clean(line))
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
			pad := strings.Repeat(" ", max(0, width+1-min(from, width)-max(1, min(to, width)-from)))
			lines = append(lines, fmt.Sprintf("%-10s %s%s %8.1f ms", p.name, bar, pad, millis(p.d)))
		}
		at += p.d
	}
	return append(lines, fmt.Sprintf("%-10s %-*s %8.1f ms", "total", width+1, "", millis(t.Total)))
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

var faultWords = map[probe.Fault]string{
	probe.FaultNone: "nobody's", probe.FaultEdge: "the CDN's own", probe.FaultOrigin: "the site's own servers",
	probe.FaultBlocked: "nobody's: this prober is not let in, which is no outage", probe.FaultConfig: "the site is set up wrongly",
	probe.FaultDNS: "the resolver, or the name servers of the zone", probe.FaultPath: "the network between",
	probe.FaultLocal: "this host itself", probe.FaultAmbiguous: "one answer cannot tell",
}

var diagnosisWords = map[probe.Diagnosis]string{
	probe.DiagnosisResolver: "the resolver's failure", probe.DiagnosisLying: "the resolver does not say what the zone says",
	probe.DiagnosisOperator: "the failure of whoever runs the zone's name servers", probe.DiagnosisZone: "the zone itself is so",
	probe.DiagnosisPath: "the network between here and the name servers", probe.DiagnosisLocal: "this host's own network",
}

// whatNext is what a person can try.
func whatNext(r *probe.Result) string {
	switch r.DNS.Diagnosis {
	case probe.DiagnosisResolver, probe.DiagnosisLying:
		return "use another resolver, or look at this one: " + r.DNS.Resolver
	case probe.DiagnosisOperator:
		return "look at other zones of the same operator, and at its status page"
	case probe.DiagnosisZone:
		return "look at the zone's records, delegation and signatures"
	}
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
		return "look at this host's network, resolver, proxy and limits"
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
		if r == '\t' {
			return ' '
		}
		if !unicode.IsPrint(r) {
			return '·'
		}
		return r
	}, s)
}
