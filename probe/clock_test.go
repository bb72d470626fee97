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
		for _, off := range offs {
			c.read(time.Now().Add(off).UTC().Format(http.TimeFormat))
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
		c.read(s)
	}
	if c.n != 0 {
		t.Errorf("got %d readings of what is no date", c.n)
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
	for range 3 {
		g.prober.clock.read(time.Now().Add(24 * time.Hour).UTC().Format(http.TimeFormat))
	}
	if r := g.wants(ClassTLSCertExpired); !strings.Contains(r.Why, "clock is off by 24h0m0s") {
		t.Errorf("got %q", r.Why)
	}
}
