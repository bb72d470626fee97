// Package record writes results to files as they come, and reads such files: so that what was decided can be decided again.
//
// A recording is JSON lines: a result in the form of the contract, with recv, the time at which the engine was told, and, where
// a file first speaks of a site, what the config says of it. It is plain, or compressed with zstd or gzip.
package record

import (
	"encoding/json"
	"fmt"
	"net/url"
	"time"

	"faultline/probe"
)

// Entry is one line of a recording.
type Entry struct {
	Recv   time.Time // when the engine was told; when the answer was known, where the line does not say
	Result probe.Result
	Site   *probe.Site // as far as the line says something of it; nil = only its name
}

// extra are the fields of a line beside the result's own.
type extra struct {
	Recv time.Time `json:"recv,omitzero"`
	*siteFields
}

// siteFields are what a line may say of its site.
type siteFields struct {
	Owner      string            `json:"owner,omitempty"`
	OwnerFixed bool              `json:"owner_fixed,omitempty"`
	Group      string            `json:"group,omitempty"`
	Labels     map[string]string `json:"labels,omitempty"`
	Alert      string            `json:"alert,omitempty"`
	Anchor     bool              `json:"anchor,omitempty"`
	SiteCDN    string            `json:"site_cdn,omitempty"` // as the config says
	Families   []string          `json:"families,omitempty"`
	IntervalS  float64           `json:"interval_s,omitempty"`
	TimeoutS   float64           `json:"timeout_s,omitempty"`
}

func fieldsOf(s *probe.Site) *siteFields {
	f := &siteFields{
		Owner: s.Owner, OwnerFixed: s.OwnerFixed, Group: s.Group, Labels: s.Labels, Alert: s.Alert.String(), Anchor: s.Anchor, SiteCDN: s.CDN,
		IntervalS: s.Interval.Seconds(), TimeoutS: s.Timeout.Seconds(),
	}
	for _, x := range s.Families {
		f.Families = append(f.Families, x.String())
	}
	return f
}

// AppendLine appends a result that the engine was told of at recv as a line to b, without the final newline; site may be nil.
func AppendLine(b []byte, recv time.Time, r *probe.Result, s *probe.Site) ([]byte, error) {
	x := extra{Recv: recv}
	if s != nil {
		x.siteFields = fieldsOf(s)
	}
	head, err := json.Marshal(x)
	if err != nil {
		return b, err
	}
	body, err := json.Marshal(r)
	if err != nil {
		return b, err
	}
	b = append(b, head[:len(head)-1]...)
	b = append(b, ',')
	return append(b, body[1:]...), nil
}

// Bounds of what a line may say of its site.
const (
	leastInterval = time.Second
	mostInterval  = 24 * time.Hour
)

// parseLine reads a line.
func parseLine(line []byte) (Entry, error) {
	var e Entry
	if err := json.Unmarshal(line, &e.Result); err != nil {
		return e, err
	}
	var x extra
	x.siteFields = &siteFields{}
	if err := json.Unmarshal(line, &x); err != nil {
		return e, err
	}
	return e, e.complete(&x)
}

// complete checks an entry and takes over what its line says beside the result.
func (e *Entry) complete(x *extra) error {
	r := &e.Result
	switch {
	case r.Site == "" || r.Vantage == "":
		return fmt.Errorf("a result needs a site and a vantage")
	case r.At.IsZero() && x.Recv.IsZero():
		return fmt.Errorf("a result needs the time at which it was known: at")
	case r.At.IsZero():
		r.At = x.Recv
	}
	e.Recv = x.Recv
	if e.Recv.IsZero() {
		e.Recv = r.At
	}
	f := x.siteFields
	if f.Owner == "" && f.Labels == nil && f.IntervalS == 0 {
		return nil
	}
	interval := time.Duration(min(f.IntervalS, mostInterval.Seconds()) * float64(time.Second))
	if f.IntervalS != 0 && interval < leastInterval {
		return fmt.Errorf("interval_s %g: at least %g", f.IntervalS, leastInterval.Seconds())
	}
	s := &probe.Site{
		Name: r.Site, Owner: f.Owner, OwnerFixed: f.OwnerFixed, Group: f.Group, Labels: f.Labels, Anchor: f.Anchor, CDN: f.SiteCDN, Alert: probe.AlertNotice,
		Interval: interval, Timeout: min(interval, time.Duration(min(max(0, f.TimeoutS), mostInterval.Seconds())*float64(time.Second))),
	}
	for a := probe.AlertNone; a <= probe.AlertPage; a++ {
		if a.String() == f.Alert {
			s.Alert = a
		}
	}
	for _, name := range f.Families {
		for _, fam := range []probe.Family{probe.FamilyIP4, probe.FamilyIP6} {
			if fam.String() == name {
				s.Families = append(s.Families, fam)
			}
		}
	}
	if u, err := url.Parse(r.URL); err == nil && u.Host != "" {
		s.URL = u
	}
	e.Site = s
	return nil
}
