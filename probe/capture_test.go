package probe

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/miekg/dns"
)

const teapot = "HTTP/1.1 502 Bad Gateway\r\nServer: nginx\r\nSet-Cookie: sid=hunter2hunter2; Path=/\r\nX-Echo: Bearer topsecret99\r\nContent-Length: 27\r\n\r\nyou sent topsecret99 to me\n"

func TestAFirstFailureIsCaptured(t *testing.T) {
	g := newRig(t)
	g.conf.Captures = NewCaptures()
	g.site.Headers = []Header{{"Authorization", "Bearer topsecret99"}, {"Accept-Language", "zh-HK"}}
	g.serveTLS(nil, says(teapot))
	r := g.wants(ClassHTTPOriginError)
	c := g.conf.Captures.Find(&r)
	if c == nil || c.Seq != r.Seq {
		t.Fatalf("got %+v, want the capture of result %d", c, r.Seq)
	}
	if c.Status != "HTTP/1.1 502 Bad Gateway" || len(c.Chain) != 1 || c.Addr != r.Addr || c.Time.Total != r.Time.Total {
		t.Errorf("got %+v", c)
	}
	block, _ := pem.Decode([]byte(c.Chain[0]))
	if cert, err := x509.ParseCertificate(block.Bytes); err != nil || cert.Subject.CommonName != host {
		t.Errorf("got the certificate %v, %v", cert, err)
	}
	if len(c.DNS) != 2 || !strings.Contains(c.DNS[0], "127.0.0.1") || !strings.Contains(c.DNS[0], ";; from udp://") {
		t.Errorf("got the DNS messages %q", c.DNS)
	}
	all, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"hunter2", "topsecret99"} {
		if strings.Contains(string(all), secret) || bytes.Contains(c.Body, []byte(secret)) {
			t.Errorf("%s is not redacted:\n%s\n%s", secret, all, c.Body)
		}
	}
	if !bytes.Contains(c.Body, []byte("you sent [redacted] to me")) {
		t.Errorf("got the body %q", c.Body)
	}
	var back Capture
	if err := json.Unmarshal(all, &back); err != nil {
		t.Fatal(err)
	}
	back.Time = c.Time // the JSON is rounded to microseconds
	if d := cmp.Diff(&back, c, cmpopts.EquateComparable(netip.AddrPort{}), cmpopts.EquateApproxTime(0)); d != "" {
		t.Error(d)
	}
}

func TestOneCapturePerSpell(t *testing.T) {
	g := newRig(t)
	g.conf.Captures = NewCaptures()
	var answer atomic.Value
	answer.Store(teapot)
	g.serve(func(c net.Conn) { says(answer.Load().(string))(c) })
	count := func(want int) {
		t.Helper()
		g.probe()
		if got := len(g.conf.Captures.kept); got != want {
			t.Errorf("got %d captures, want %d", got, want)
		}
	}
	count(1)
	count(1)
	answer.Store("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
	count(2) // another class
	answer.Store(good)
	count(2)
	answer.Store(teapot)
	count(3) // a new spell
}

func TestCapturesAreBounded(t *testing.T) {
	c := NewCaptures()
	for i := range 2 * maxCaptures {
		c.keep(&Capture{Site: "s", Vantage: "v", Seq: uint64(i), Body: make([]byte, maxBody)})
	}
	if len(c.kept) > maxCaptures || c.size > maxCaptureSize || c.kept[len(c.kept)-1].Seq != 2*maxCaptures-1 {
		t.Errorf("got %d captures of %d bytes", len(c.kept), c.size)
	}
	if got := c.Find(&Result{Site: "s", Vantage: "v", Seq: 0}); got == nil || got.Seq != 2*maxCaptures-1 {
		t.Errorf("got %+v, want the newest of the site: its own is gone", got)
	}
	if got := c.Find(&Result{Site: "s", Vantage: "w"}); got != nil {
		t.Errorf("got %+v of another vantage", got)
	}
}

func TestACaptureShowsWhatCannotBeRead(t *testing.T) {
	g := newRig(t)
	g.conf.Captures = NewCaptures()
	g.conf.DNSTry, g.task.Timeout = 500*time.Millisecond, time.Second
	g.resolve(func(w dns.ResponseWriter, q *dns.Msg) {
		b, _ := honestly(q).Pack()
		_, _ = w.Write(b[:len(b)-3])
	})
	r := g.wants(ClassDNSMalformed)
	if c := g.conf.Captures.Find(&r); c == nil || len(c.DNS) == 0 || !strings.Contains(c.DNS[0], "cannot be read") {
		t.Errorf("got %+v", c)
	}
}
