package report

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"faultline/probe"
)

// look is one failing look at a site: what was asked, how long it took, and what came.
type look struct {
	Site, Vantage string
	At            string
	What          string // "HTTP 502, http_edge_error, fault edge"
	Why           string
	Facts         []fact
	Head          string // status line and header; "" = no response, or none kept
	Body          string
	More          int // bytes of the body that are not shown
	Messages      []string
}

// looks are the incident's failing answers, each with its capture, and then the captures that show something else.
func (r *Report) looks(clock func(time.Time) string) []look {
	type seen struct {
		site, vantage string
		class         probe.Class
	}
	var out []look
	shown := map[seen]bool{}
	for n := range r.Incident.Evidence {
		e := &r.Incident.Evidence[n]
		shown[seen{e.Site, e.Vantage, e.Class}] = true
		out = append(out, newLook(e, r.captureOf(e), clock))
	}
	for _, c := range r.Captures {
		if c != nil && !shown[seen{c.Site, c.Vantage, c.Class}] {
			shown[seen{c.Site, c.Vantage, c.Class}] = true
			out = append(out, newLook(resultOf(c), c, clock))
		}
	}
	return out[:min(len(out), maxLooks)]
}

// captureOf is what a result was judged by, else what its site's other failing look from there saw; nil = nothing is kept.
func (r *Report) captureOf(e *probe.Result) *probe.Capture {
	var other *probe.Capture
	for _, c := range r.Captures {
		switch {
		case c == nil || c.Site != e.Site || c.Vantage != e.Vantage:
		case c.Seq == e.Seq:
			return c
		case other == nil:
			other = c
		}
	}
	return other
}

// resultOf is as much of a result as its capture tells.
func resultOf(c *probe.Capture) *probe.Result {
	return &probe.Result{
		Site: c.Site, URL: c.URL, Vantage: c.Vantage, Seq: c.Seq, At: c.At, Addr: c.Addr, Time: c.Time,
		Verdict: probe.Verdict{Class: c.Class, Fault: c.Class.Fault()},
	}
}

func newLook(e *probe.Result, c *probe.Capture, clock func(time.Time) string) look {
	l := look{
		Site: plain(e.Site, maxName), Vantage: plain(e.Vantage, maxName), At: clock(e.At), What: saidBy(e), Why: plain(e.Why, maxSentence),
	}
	l.fact("Asked for", asked(e))
	l.fact("Took", took(&e.Time))
	l.fact("DNS", resolved(&e.DNS))
	if c == nil {
		l.fact("Certificate", handshake(&e.TLS))
		l.fact("Kept", []string{"nothing of what came"})
		return l
	}
	l.fact("Certificate", append(handshake(&e.TLS), certificates(c.Chain)...))
	if c.Seq != e.Seq {
		l.fact("Kept", []string{"what came is of another failing look at this site from there, at " + clock(c.At)})
	}
	l.answer(c)
	return l
}

func (l *look) fact(head string, bodies []string) {
	if len(bodies) > 0 {
		l.Facts = append(l.Facts, fact{head, bodies})
	}
}

// saidBy is an answer in a few words.
func saidBy(e *probe.Result) string {
	s := ""
	if e.Status != 0 {
		s = fmt.Sprintf("HTTP %d, ", e.Status)
	}
	return s + fmt.Sprintf("%s, fault %s", e.Class, e.Fault)
}

func asked(e *probe.Result) []string {
	s := plain(e.URL, maxSentence)
	if e.Final != "" {
		s += ", which led to " + plain(e.Final, maxSentence)
	}
	if e.Addr != (netip.AddrPort{}) {
		s += ", at " + e.Addr.String()
	}
	if e.Proto != "" {
		s += ", over " + plain(e.Proto, maxName)
	}
	return []string{s}
}

func took(t *probe.Timings) []string {
	var parts []string
	for _, p := range []struct {
		name string
		d    time.Duration
	}{
		{"DNS", t.Resolve},
		{"connecting", t.Connect},
		{"TLS", t.TLS},
		{"to the first byte", t.TTFB},
		{"all", t.Total},
	} {
		if p.d > 0 {
			parts = append(parts, fmt.Sprintf("%s %.1f ms", p.name, float64(p.d.Microseconds())/1000))
		}
	}
	if len(parts) == 0 {
		return nil
	}
	return []string{strings.Join(parts, ", ")}
}

func resolved(d *probe.DNSInfo) []string {
	if d.Resolver == "" && d.Rcode == "" {
		return nil
	}
	s := plain(d.Resolver, maxName)
	if d.Rcode == "" {
		s += " did not answer"
	} else {
		s += " answered " + plain(d.Rcode, maxName)
	}
	var addrs []string
	for _, a := range d.Addrs {
		addrs = append(addrs, a.String())
	}
	if names := append(append([]string(nil), d.CNAME...), addrs...); len(names) > 0 {
		s += ": " + several(names, 12, 0)
	}
	out := []string{s}
	if d.Diagnosis != probe.DiagnosisNone {
		out = append(out, "what fails is, by the zone's own servers: "+d.Diagnosis.String())
	}
	return out
}

func handshake(t *probe.TLSInfo) []string {
	if t.Version == "" && t.Issuer == "" {
		return nil
	}
	return []string{strings.TrimSpace(fmt.Sprintf("TLS %s, issued by %s", plain(t.Version, maxName), plain(t.Issuer, maxName)))}
}

// certificates tells of the site's own certificate, and how many came with it.
func certificates(chain []string) []string {
	if len(chain) == 0 {
		return nil
	}
	block, _ := pem.Decode([]byte(chain[0]))
	if block == nil {
		return []string{"a certificate that cannot be read"}
	}
	sum := fmt.Sprintf("SHA-256 %x", sha256.Sum256(block.Bytes))
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return []string{"a certificate that cannot be read", sum}
	}
	out := []string{
		fmt.Sprintf("of %s, valid from %s to %s", plain(cert.Subject.String(), maxName), day(cert.NotBefore), day(cert.NotAfter)),
		sum,
	}
	if len(cert.DNSNames) > 0 {
		out = append(out, "for "+several(cert.DNSNames, 8, 0))
	}
	if n := len(chain) - 1; n > 0 {
		out = append(out, plural(n, "more certificate", "more certificates")+" came with it")
	}
	return out
}

func (l *look) answer(c *probe.Capture) {
	if c.Status != "" {
		var b strings.Builder
		b.WriteString(plain(c.Status, maxSentence) + "\n")
		for _, h := range c.Headers {
			b.WriteString(plain(h.Name+": "+h.Value, maxSentence) + "\n")
		}
		l.Head = block(b.String(), maxAnswer)
	}
	l.Body = block(string(c.Body), maxAnswer)
	l.More = max(len(c.Body)-maxAnswer, 0)
	for n, m := range c.DNS {
		if n < 4 {
			l.Messages = append(l.Messages, block(m, maxAnswer))
		}
	}
}
