package probe

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// Capture is all that a failing look saw, for people: what an answer was judged by. It holds whatever a remote sent, but
// for secrets.
type Capture struct {
	Site    string         `json:"site"`
	URL     string         `json:"url"`
	Vantage string         `json:"vantage"`
	Seq     uint64         `json:"seq"` // of the Result: with Vantage it names the capture
	At      time.Time      `json:"at"`
	Class   Class          `json:"-"`
	Addr    netip.AddrPort `json:"addr,omitzero"`
	Status  string         `json:"status,omitempty"` // status line; "" = no response
	Headers []Header       `json:"headers,omitempty"`
	Body    []byte         `json:"body,omitempty"`  // the first 64 KiB, its content encoding undone; base64 in JSON
	Chain   []string       `json:"chain,omitempty"` // the certificates shown, the leaf first: PEM
	DNS     []string       `json:"dns,omitempty"`   // the messages of the resolve phase, as dig shows them
	Time    Timings        `json:"-"`
}

// Bounds of one capture and of all.
const (
	maxChain       = 6
	maxCertificate = 16 << 10
	maxMessages    = 4
	maxMessageText = 16 << 10
	maxCaptures    = 500
	maxCaptureSize = 24 << 20
)

// Captures keeps the newest captures in memory. It is safe for concurrent use; a nil one keeps nothing.
type Captures struct {
	mu     sync.Mutex
	kept   []*Capture         // the oldest first; guarded by mu
	size   int                // bytes of all; guarded by mu
	failed map[spellKey]Class // what was last captured of those that fail at present; guarded by mu
}

// spellKey names a site at a vantage over a family.
type spellKey struct {
	site    uint64
	vantage string
	family  Family
}

// NewCaptures is an empty store.
func NewCaptures() *Captures { return &Captures{failed: map[spellKey]Class{}} }

// note captures the first failing look of a spell, and one more whenever its class changes.
func (c *Captures) note(a *attempt) {
	if c == nil {
		return
	}
	key := spellKey{a.t.Site.Key(), a.t.Vantage.Name, a.t.Family}
	c.mu.Lock()
	defer c.mu.Unlock()
	if a.r.OK() {
		delete(c.failed, key)
		return
	}
	if was, failed := c.failed[key]; a.r.Fault == FaultLocal || failed && was == a.r.Class { // this host's trouble says nothing of the site
		return
	}
	if len(c.failed) >= 100*maxCaptures {
		clear(c.failed)
	}
	c.failed[key] = a.r.Class
	if x := a.capture(); x != nil {
		c.keep(x)
	}
}

func (c *Captures) keep(x *Capture) {
	c.kept = append(c.kept, x)
	c.size += x.size()
	n := 0
	for len(c.kept)-n > maxCaptures || c.size > maxCaptureSize {
		c.size -= c.kept[n].size()
		n++
	}
	c.kept = slices.Delete(c.kept, 0, n)
}

// Find gives the capture of a result, or the newest one of its site from its vantage; nil = there is none, or no longer. It
// must not be changed.
func (c *Captures) Find(r *Result) *Capture {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var newest *Capture
	for _, x := range slices.Backward(c.kept) {
		if x.Vantage != r.Vantage || x.Site != r.Site {
			continue
		}
		if x.Seq == r.Seq {
			return x
		}
		if newest == nil {
			newest = x
		}
	}
	return newest
}

func (x *Capture) size() int {
	n := len(x.Body) + 200
	for _, s := range slices.Concat(x.Chain, x.DNS) {
		n += len(s)
	}
	for _, h := range x.Headers {
		n += len(h.Name) + len(h.Value)
	}
	return n
}

// capture is nil where what came cannot even be shown: some parser stumbled.
func (a *attempt) capture() (x *Capture) {
	defer func() {
		if recover() != nil {
			x = nil
		}
	}()
	x = &Capture{
		Site: a.r.Site, URL: a.r.URL, Vantage: a.r.Vantage, Seq: a.r.Seq, At: a.r.At, Class: a.r.Class, Addr: a.r.Addr, Time: a.r.Time,
	}
	for _, m := range a.raw[:min(len(a.raw), maxMessages)] {
		x.DNS = append(x.DNS, m.text())
	}
	for _, cert := range a.chain[:min(len(a.chain), maxChain)] {
		if len(cert.Raw) <= maxCertificate {
			x.Chain = append(x.Chain, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})))
		}
	}
	if resp := a.e.Response; resp != nil {
		x.Status = strings.TrimSpace(fmt.Sprintf("%s %d %s", resp.Proto, resp.Status, resp.Reason))
		a.redact(x, resp)
	}
	return x
}

// text is a message as dig shows it.
func (m message) text() string {
	var msg dns.Msg
	s := ";; from " + m.from + "\n"
	if err := msg.Unpack(m.b); err != nil {
		return s + fmt.Sprintf(";; %d bytes that cannot be read: %v\n", len(m.b), err)
	}
	s += msg.String()
	return s[:min(len(s), maxMessageText)]
}

const (
	redacted    = "[redacted]"
	leastSecret = 6 // bytes: what is shorter is found everywhere
)

// redact takes out of a response what is nobody's business: cookies, queries of redirects, and the site's own request headers
// and the proxy's password where they are echoed.
func (a *attempt) redact(x *Capture, resp *Response) {
	x.Headers = slices.Clone(resp.Headers)
	for i, h := range x.Headers {
		switch strings.ToLower(h.Name) {
		case "set-cookie", "set-cookie2":
			name, _, ok := strings.Cut(h.Value, "=")
			if !ok {
				name = ""
			}
			x.Headers[i].Value = name + "=" + redacted
		case "authorization", "cookie", "proxy-authorization":
			x.Headers[i].Value = redacted
		case "location", "content-location", "refresh":
			if bare, _, ok := strings.Cut(h.Value, "?"); ok {
				x.Headers[i].Value = bare + "?" + redacted
			}
		}
	}
	x.Body = resp.Body
	hidden := secrets(a.t.Site)
	if p := a.t.Vantage.Proxy; p != nil && len(p.Password) >= leastSecret {
		hidden = append(hidden, p.Password, base64.StdEncoding.EncodeToString([]byte(p.User+":"+p.Password)))
	}
	for _, secret := range hidden {
		x.Status = strings.ReplaceAll(x.Status, secret, redacted)
		for i := range x.Headers {
			x.Headers[i].Value = strings.ReplaceAll(x.Headers[i].Value, secret, redacted)
		}
		x.Body = bytes.ReplaceAll(x.Body, []byte(secret), []byte(redacted))
	}
	x.Body = bytes.Clone(x.Body[:min(len(x.Body), maxBody)])
}

// harmless are request headers whose values are no secrets.
var harmless = []string{
	"accept", "accept-language", "cache-control", "dnt", "from", "origin", "pragma", "range", "referer", "user-agent", "via", "x-forwarded-for",
}

// secrets are the values that the site's own headers send, and the parts of them that a page would repeat.
func secrets(site *Site) []string {
	var out []string
	for _, h := range site.Headers {
		if slices.Contains(harmless, strings.ToLower(h.Name)) {
			continue
		}
		for _, part := range append(strings.FieldsFunc(h.Value, func(r rune) bool { return strings.ContainsRune(" ;,=", r) }), h.Value) {
			if len(part) >= leastSecret && !slices.Contains(out, part) {
				out = append(out, part)
			}
		}
	}
	slices.SortFunc(out, func(a, b string) int { return len(b) - len(a) })
	return out
}

type plainCapture Capture

// jsonCapture adds the class and the timings in the form of a Result.
type jsonCapture struct {
	*plainCapture
	Class string  `json:"class"`
	MS    *jsonMS `json:"ms"`
}

// MarshalJSON gives the form of the API and of the store.
func (x *Capture) MarshalJSON() ([]byte, error) {
	return json.Marshal(jsonCapture{(*plainCapture)(x), x.Class.String(), newJSONMS(&x.Time)})
}

// UnmarshalJSON is the inverse of MarshalJSON.
func (x *Capture) UnmarshalJSON(b []byte) error {
	j := jsonCapture{plainCapture: (*plainCapture)(x)}
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	x.Class = ParseClass(j.Class)
	return x.Time.set(j.MS)
}
