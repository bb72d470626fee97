package probe

import (
	"net/netip"
	"strings"
	"time"
)

// Evidence is what one probe has to show, for a Judge.
type Evidence struct {
	Site *Site  // nil where a saved response is judged
	Host string // the host of the URL that answered, or failed to
	// Class is what the transport found. ClassOK means that a whole response is there and its class is still to be told.
	Class     Class
	Detail    string         // of a transport failure: what was seen ("remote error: tls: internal error"); bounded, for people
	Addr      netip.AddrPort // connected to, or tried
	CNAME     []string       // as in DNSInfo, of Host
	NS        []string       // as in DNSInfo
	Diagnosis Diagnosis      // as in DNSInfo
	EDE       []uint16       // as in DNSInfo
	Response  *Response      // nil = none; may be there beside a body failure
	ClockOff  time.Duration  // of this host, where it alone makes the certificate seem out of its time; 0 = it does not
	Foreign   bool           // redirects led off the site's registrable domain
}

// Response is an HTTP response as it came. Its contents are the remote's: any bytes at all.
type Response struct {
	Proto   string // "HTTP/1.1"
	Status  int
	Reason  string // reason phrase; "" over HTTP/2
	Headers []Header
	Body    []byte // the first 64 KiB, as sent: its content encoding undone where that was possible
}

// Get returns the value of the first header of that name, compared without case; "" = none.
func (r *Response) Get(name string) string {
	for i := range r.Headers {
		if strings.EqualFold(r.Headers[i].Name, name) {
			return r.Headers[i].Value
		}
	}
	return ""
}

// Fronting is the CDN before a site, as it was last seen in a healthy, or at least edge-made and well, answer.
type Fronting struct {
	CDN string    // "" = none was found
	By  []string  // the evidence: "header cf-ray", "address 104.16.0.0/13", "cname x.cdn.cloudflare.net"
	At  time.Time // when it was last confirmed; zero = never seen
}

// Verdict is what a Judge makes of Evidence.
type Verdict struct {
	Class      Class
	Fault      Fault
	Candidates []Fault  // with FaultAmbiguous: who it can be, likeliest first
	CDN        string   // who fronts the site now, or the remembered one; "" = unknown or none
	CDNBy      []string // evidence for CDN
	Why        string   // one sentence for a person
	// Learn is set when the answer shows who fronts the site, so that it may be remembered: never from a failing probe.
	Learn    bool
	Operator string // of the zone's name servers; "" = unknown
}

// A Judge says whose failure the evidence is, knowing what fronted the site before. It is pure and safe for concurrent use.
type Judge func(e *Evidence, was Fronting) Verdict
