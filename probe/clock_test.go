package probe

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestClock(t *testing.T) {
	f := func(want time.Duration, offs ...time.Duration) {
		t.Helper()
		var c clock
		for i, off := range offs {
			c.read(uint64(i), dated(time.Now().Add(off).UTC().Format(http.TimeFormat)))
		}
		if got := c.off(); (got - want).Abs() > 2*time.Second {
			t.Errorf("%v: got %v, want %v", offs, got, want)
		}
	}
	h := time.Hour
	f(0, h, h) // too few
	f(h, h, h, h)
	f(-48*h, -48*h, -48*h, 0)
	f(0, time.Second, -time.Second, 5*time.Second)
	f(0, h, 0, 0, 0, h)
	var c clock
	for _, s := range []string{"", "yesterday", "Tue, 02 Jul 20199 14:05:00 GMT"} {
		c.read(1, dated(s))
	}
	cached := dated(time.Now().UTC().Format(http.TimeFormat))
	cached.Headers = append(cached.Headers, Header{"Age", "86400"})
	c.read(2, cached)
	if c.n != 0 {
		t.Errorf("got %d readings of what is no date, or not of now", c.n)
	}
	for range 20 {
		c.read(1, dated(time.Now().Add(h).UTC().Format(http.TimeFormat)))
	}
	if c.n != 1 || c.off() != 0 {
		t.Errorf("got %d readings and %v of one site, want one, and nothing known", c.n, c.off())
	}
}

func dated(date string) *Response { return &Response{Headers: []Header{{"Date", date}}} }

// What was read long ago does not count.
func TestOldReadings(t *testing.T) {
	var c clock
	for i := range uint64(5) {
		c.read(i, dated(time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)))
	}
	if c.off() == 0 {
		t.Error("nothing is known of five clocks")
	}
	for i := range c.ring {
		c.ring[i].at = c.ring[i].at.Add(-clockKnown)
	}
	if got := c.off(); got != 0 {
		t.Errorf("got %v of old readings", got)
	}
}

func TestACertificateBeforeItsTimeByOurClock(t *testing.T) {
	g := newRig(t)
	early := pki().leaf(host, func(c *x509.Certificate) {
		c.NotBefore = time.Now().Add(20 * time.Hour)
		c.NotAfter = time.Now().Add(30 * time.Hour)
	})
	g.serveTLS(&tls.Config{Certificates: []tls.Certificate{early}}, says(good))
	if r := g.wants(ClassTLSCertExpired); strings.Contains(r.Why, "clock") {
		t.Errorf("got %q though nothing is known of the clock", r.Why)
	}
	for i := range uint64(3) {
		g.prober.clock.read(i, dated(time.Now().Add(24*time.Hour).UTC().Format(http.TimeFormat)))
	}
	if r := g.wants(ClassTLSCertExpired); !strings.Contains(r.Why, "clock is off by 24h0m0s") {
		t.Errorf("got %q", r.Why)
	}
}
