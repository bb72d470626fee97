package probe

import (
	"encoding/json"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"time"
)

// jsonResult is a Result as the outside sees it: in `probe`, `replay`, the API and the stream. A field that does not
// apply is absent, never made up.
type jsonResult struct {
	Site    string    `json:"site"`
	URL     string    `json:"url,omitempty"`
	Vantage string    `json:"vantage,omitempty"`
	Region  string    `json:"region,omitempty"`
	Family  string    `json:"family,omitempty"`
	At      time.Time `json:"at,omitzero"`
	Seq     uint64    `json:"seq,omitempty"`
	Pending bool      `json:"pending,omitempty"`

	OK         *bool         `json:"ok,omitempty"`
	Phase      string        `json:"phase,omitempty"`
	Class      string        `json:"class,omitempty"`
	Fault      string        `json:"fault,omitempty"`
	Candidates []string      `json:"candidates,omitempty"`
	Status     int           `json:"status,omitempty"`
	CDN        *string       `json:"cdn,omitempty"`
	CDNBy      []string      `json:"cdn_by,omitempty"`
	Why        string        `json:"why,omitempty"`
	Final      string        `json:"final,omitempty"`
	Addr       string        `json:"addr,omitempty"`
	Network    string        `json:"network,omitempty"`
	Proto      string        `json:"proto,omitempty"`
	OONI       *string       `json:"ooni,omitempty"`
	DNS        *jsonDNS      `json:"dns,omitempty"`
	TLS        *jsonTLS      `json:"tls,omitempty"`
	Addresses  []jsonAddress `json:"addresses,omitempty"`
	MS         *jsonMS       `json:"ms,omitempty"`
	RetryAfter float64       `json:"retry_after_s,omitempty"`
	Attempt    int           `json:"attempt,omitempty"`
	Sweep      bool          `json:"sweep"`
}

type jsonDNS struct {
	Resolver  string       `json:"resolver,omitempty"`
	Rcode     string       `json:"rcode,omitempty"`
	EDE       []uint16     `json:"ede,omitempty"`
	CNAME     []string     `json:"cname,omitempty"`
	Addrs     []netip.Addr `json:"addrs,omitempty"`
	NS        []string     `json:"ns,omitempty"`
	Operator  string       `json:"operator,omitempty"`
	Tried     []jsonTry    `json:"tried,omitempty"`
	Diagnosis string       `json:"diagnosis,omitempty"`
}

type jsonTry struct {
	Resolver string `json:"resolver"`
	Class    string `json:"class"`
}

type jsonAddress struct {
	Addr  netip.AddrPort `json:"addr"`
	OK    bool           `json:"ok"`
	Class string         `json:"class"`
	Fault string         `json:"fault"`
	MS    float64        `json:"ms"`
}

type jsonTLS struct {
	Version  string    `json:"version,omitempty"`
	Issuer   string    `json:"issuer,omitempty"`
	NotAfter time.Time `json:"not_after,omitzero"`
	Names    string    `json:"names,omitempty"` // a hash, in hexadecimal
}

type jsonMS struct {
	Lag     float64 `json:"lag,omitempty"`
	Resolve float64 `json:"resolve,omitempty"`
	Connect float64 `json:"connect,omitempty"`
	TLS     float64 `json:"tls,omitempty"`
	TTFB    float64 `json:"ttfb,omitempty"`
	Total   float64 `json:"total"`
}

func newJSONMS(t *Timings) *jsonMS {
	return &jsonMS{
		Lag: ms(t.Lag), Resolve: ms(t.Resolve), Connect: ms(t.Connect), TLS: ms(t.TLS), TTFB: ms(t.TTFB), Total: ms(t.Total),
	}
}

// MarshalJSON gives the form of the contract.
func (r Result) MarshalJSON() ([]byte, error) {
	j := jsonResult{
		Site: r.Site, URL: r.URL, Vantage: r.Vantage, Region: r.Region, Family: r.Family.String(), At: r.At, Seq: r.Seq,
		Pending: r.Pending, Attempt: r.Attempt, Sweep: r.Sweep != 0,
		MS: newJSONMS(&r.Time),
	}
	if r.Pending {
		return json.Marshal(j)
	}
	ok, ooni, cdn := r.OK(), r.Class.OONI(), r.CDN
	j.OK, j.OONI, j.CDN, j.CDNBy = &ok, &ooni, &cdn, r.CDNBy
	j.Phase, j.Class, j.Fault, j.Why = r.Class.Phase().String(), r.Class.String(), r.Fault.String(), r.Why
	for _, f := range r.Candidates {
		j.Candidates = append(j.Candidates, f.String())
	}
	j.Status, j.Final, j.Proto, j.Network, j.RetryAfter = r.Status, r.Final, r.Proto, r.Network, r.RetryAfter.Seconds()
	if r.Addr.IsValid() {
		j.Addr = r.Addr.String()
	}
	if d := r.DNS; d.Resolver != "" || d.Rcode != "" {
		j.DNS = &jsonDNS{d.Resolver, d.Rcode, d.EDE, d.CNAME, d.Addrs, d.NS, d.Operator, nil, d.Diagnosis.String()}
		for _, t := range d.Tried {
			j.DNS.Tried = append(j.DNS.Tried, jsonTry{t.Resolver, t.Class.String()})
		}
	}
	for _, l := range r.Addresses {
		j.Addresses = append(j.Addresses, jsonAddress{l.Addr, l.Class == ClassOK, l.Class.String(), l.Fault.String(), ms(l.Total)})
	}
	if r.TLS != (TLSInfo{}) {
		j.TLS = &jsonTLS{r.TLS.Version, r.TLS.Issuer, r.TLS.NotAfter, ""}
		if r.TLS.Names != 0 {
			j.TLS.Names = strconv.FormatUint(r.TLS.Names, 16)
		}
	}
	return json.Marshal(j)
}

// UnmarshalJSON reads the form of the contract. A class that this version does not know becomes ClassUnknown; an
// unknown fault, an impossible address or a length that is no number of milliseconds is an error.
func (r *Result) UnmarshalJSON(b []byte) error {
	var j jsonResult
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	*r = Result{
		Site: j.Site, URL: j.URL, Vantage: j.Vantage, Region: j.Region, At: j.At, Seq: j.Seq, Pending: j.Pending,
		Attempt: j.Attempt, Status: j.Status, Final: j.Final, Proto: j.Proto, Network: j.Network,
	}
	if j.Sweep {
		r.Sweep = 1
	}
	var err error
	if r.Family, err = parseFamily(j.Family); err != nil {
		return err
	}
	if j.Addr != "" {
		if r.Addr, err = netip.ParseAddrPort(j.Addr); err != nil {
			return fmt.Errorf("reading addr: %w", err)
		}
	}
	if d := j.DNS; d != nil {
		r.DNS = d.info()
	}
	if err := r.setAddresses(j.Addresses); err != nil {
		return err
	}
	if j.TLS != nil {
		r.TLS = TLSInfo{Version: j.TLS.Version, Issuer: j.TLS.Issuer, NotAfter: j.TLS.NotAfter}
		if j.TLS.Names != "" {
			if r.TLS.Names, err = strconv.ParseUint(j.TLS.Names, 16, 64); err != nil {
				return fmt.Errorf("reading the names of a certificate: %w", err)
			}
		}
	}
	if err := r.Time.set(j.MS); err != nil {
		return err
	}
	if r.RetryAfter, err = fromMS(j.RetryAfter * 1000); err != nil {
		return err
	}
	if j.Pending {
		return nil
	}
	return r.setVerdict(&j)
}

func (r *Result) setVerdict(j *jsonResult) error {
	f, err := ParseFault(j.Fault)
	if err != nil {
		return err
	}
	r.Verdict = Verdict{Class: ParseClass(j.Class), Fault: f, CDNBy: j.CDNBy, Why: j.Why, Operator: r.DNS.Operator}
	if j.CDN != nil {
		r.CDN = *j.CDN
	}
	for _, c := range j.Candidates {
		f, err := ParseFault(c)
		if err != nil {
			return err
		}
		r.Candidates = append(r.Candidates, f)
	}
	return nil
}

func (d *jsonDNS) info() DNSInfo {
	info := DNSInfo{Resolver: d.Resolver, Rcode: d.Rcode, EDE: d.EDE, CNAME: d.CNAME, Addrs: d.Addrs, NS: d.NS, Operator: d.Operator}
	for _, t := range d.Tried {
		info.Tried = append(info.Tried, ResolverTry{t.Resolver, ParseClass(t.Class)})
	}
	if i := slices.Index(diagnosisNames[:], d.Diagnosis); i > 0 { // one that a newer peer made is none
		info.Diagnosis = Diagnosis(i)
	}
	return info
}

func (r *Result) setAddresses(list []jsonAddress) error {
	for _, l := range list {
		f, err := ParseFault(l.Fault)
		if err != nil {
			return err
		}
		total, err := fromMS(l.MS)
		if err != nil {
			return err
		}
		r.Addresses = append(r.Addresses, AddressLook{l.Addr, ParseClass(l.Class), f, total})
	}
	return nil
}

func (t *Timings) set(m *jsonMS) error {
	if m == nil {
		return nil
	}
	for _, x := range []struct {
		to   *time.Duration
		from float64
	}{
		{&t.Lag, m.Lag},
		{&t.Resolve, m.Resolve},
		{&t.Connect, m.Connect},
		{&t.TLS, m.TLS},
		{&t.TTFB, m.TTFB},
		{&t.Total, m.Total},
	} {
		var err error
		if *x.to, err = fromMS(x.from); err != nil {
			return err
		}
	}
	return nil
}

func fromMS(n float64) (time.Duration, error) {
	if math.IsNaN(n) || math.Abs(n) > 1e9 {
		return 0, fmt.Errorf("a length of %g ms is not possible", n)
	}
	return time.Duration(n * float64(time.Millisecond)), nil
}

func parseFamily(s string) (Family, error) {
	for i, n := range familyNames {
		if n == s {
			return Family(i), nil
		}
	}
	return FamilyAny, fmt.Errorf("unknown family %q", s)
}

// ms is d in milliseconds, to the microsecond.
func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
