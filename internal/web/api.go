package web

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"faultline/alert"
	"faultline/alert/notify"
	"faultline/probe"
)

// Every list is cut to a page: ?limit=1…1000 (200 when not said) and ?offset=.
const (
	defaultLimit = 200
	maxLimit     = 1000
)

// list is the envelope of every list.
type list[T any] struct {
	At    time.Time `json:"at"`    // of the view it comes from
	Total int       `json:"total"` // of the items there are, on all pages
	Items []T       `json:"items"`
}

// apiIncident is an incident with its words. In a list it has no members, evidence and text.
type apiIncident struct {
	*alert.Incident
	Title      string        `json:"title"`
	Text       string        `json:"text,omitempty"`
	SilencedBy []string      `json:"silenced_by,omitempty"` // IDs of silences
	Deliveries []notify.Told `json:"deliveries,omitempty"`  // how they went
}

func (s *server) fullIncident(i *alert.Incident) apiIncident {
	told, err := s.Told(i.ID)
	if err != nil {
		s.Log.Error().Err(err).Str("incident", i.ID).Msg("deliveries not read")
	}
	return apiIncident{i, i.Title(), i.Text(), s.silencedBy(i), told}
}

func (s *server) briefIncident(i *alert.Incident) apiIncident {
	c := *i
	c.Members, c.Evidence, c.Course = nil, nil, nil
	return apiIncident{Incident: &c, Title: i.Title(), SilencedBy: s.silencedBy(i)}
}

// silencedBy names what keeps an incident quiet, while there is anything to tell of it.
func (s *server) silencedBy(i *alert.Incident) []string {
	if i.State == alert.StateResolved {
		return nil
	}
	return s.Silenced(i)
}

type apiSite struct {
	alert.SiteView
	Cells []apiCell `json:"cells"` // in place of SiteView's
}

type apiCell struct {
	Vantage string `json:"vantage"`
	alert.CellView
	Class string `json:"class,omitempty"`
	Fault string `json:"fault,omitempty"`
}

func (s *server) listIncidents(w http.ResponseWriter, r *http.Request) {
	state := r.URL.Query().Get("state")
	if state != "" && state != "all" && state != "open" {
		problem(w, http.StatusBadRequest, fmt.Sprintf("unknown state %q: use open (not resolved) or all", state))
		return
	}
	v := s.View()
	var found []*alert.Incident
	for _, i := range newestFirst(v) {
		if state != "open" || i.State != alert.StateResolved {
			found = append(found, i)
		}
	}
	writePage(w, r, v.At, found, s.briefIncident)
}

func (s *server) getIncident(w http.ResponseWriter, r *http.Request) {
	i := findIncident(s.View(), r.PathValue("id"))
	if i == nil {
		problem(w, http.StatusNotFound, "no such incident is open or among the last resolved ones: see /api/v1/incidents")
		return
	}
	writeJSON(w, s.fullIncident(i))
}

func (s *server) listCaptures(w http.ResponseWriter, r *http.Request) {
	list, err := s.Captures(r.PathValue("id"))
	if err != nil {
		s.Log.Error().Err(err).Msg("captures not read")
		problem(w, http.StatusInternalServerError, "the captures cannot be read: the daemon's log says why")
		return
	}
	writePage(w, r, s.View().At, list, func(c *probe.Capture) *probe.Capture { return c })
}

func (s *server) listSites(w http.ResponseWriter, r *http.Request) {
	v := s.View()
	writePage(w, r, v.At, v.Sites, func(sv alert.SiteView) apiSite {
		a := apiSite{SiteView: sv, Cells: make([]apiCell, 0, len(sv.Cells))}
		for n, c := range sv.Cells {
			cell := apiCell{CellView: c}
			if n < len(v.Vantages) {
				cell.Vantage = v.Vantages[n].Name
			}
			if c.State != alert.CellNone && c.State != alert.CellPending {
				cell.Class, cell.Fault = c.Class.String(), c.Fault.String()
			}
			a.Cells = append(a.Cells, cell)
		}
		return a
	})
}

func (s *server) listVantages(w http.ResponseWriter, r *http.Request) {
	v := s.View()
	writePage(w, r, v.At, v.Vantages, func(x alert.VantageView) alert.VantageView { return x })
}

func (s *server) listDomains(w http.ResponseWriter, r *http.Request) {
	v := s.View()
	writePage(w, r, v.At, v.Domains, func(x alert.DomainView) alert.DomainView { return x })
}

// recording tells those who share this host where results are recorded.
func (s *server) recording(w http.ResponseWriter, _ *http.Request) {
	if !s.Writes {
		problem(w, http.StatusForbidden, "this is told on the control socket only")
		return
	}
	writeJSON(w, map[string]string{"dir": s.Recording})
}

func noEndpoint(w http.ResponseWriter, _ *http.Request) {
	problem(w, http.StatusNotFound, "no such endpoint: there are /api/v1/incidents, sites, vantages, domains, silences and stream")
}

// newestFirst orders the incidents of v by when they were opened.
func newestFirst(v *alert.View) []*alert.Incident {
	out := make([]*alert.Incident, len(v.Incidents))
	for n := range v.Incidents {
		out[n] = &v.Incidents[n]
	}
	slices.SortStableFunc(out, func(a, b *alert.Incident) int { return b.OpenedAt.Compare(a.OpenedAt) })
	return out
}

func findIncident(v *alert.View, id string) *alert.Incident {
	for n := range v.Incidents {
		if v.Incidents[n].ID == id {
			return &v.Incidents[n]
		}
	}
	return nil
}

// writePage writes the part of all that the query asks for, each item as conv makes it.
func writePage[T, U any](w http.ResponseWriter, r *http.Request, at time.Time, all []T, conv func(T) U) {
	q := r.URL.Query()
	limit, err := number(q, "limit", defaultLimit, 1, maxLimit)
	if err != nil {
		problem(w, http.StatusBadRequest, err.Error())
		return
	}
	offset, err := number(q, "offset", 0, 0, 1<<31-1)
	if err != nil {
		problem(w, http.StatusBadRequest, err.Error())
		return
	}
	from := min(offset, len(all))
	part := all[from:min(from+limit, len(all))]
	out := list[U]{At: at, Total: len(all), Items: make([]U, 0, len(part))}
	for _, x := range part {
		out.Items = append(out.Items, conv(x))
	}
	writeJSON(w, out)
}

func number(q url.Values, key string, unsaid, least, most int) (int, error) {
	s := q.Get(key)
	if s == "" {
		return unsaid, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < least || n > most {
		return 0, fmt.Errorf("%s is %q: it must be a number from %d to %d", key, s, least, most)
	}
	return n, nil
}

func writeJSON(w http.ResponseWriter, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		problem(w, http.StatusInternalServerError, "writing the answer as JSON: "+err.Error())
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(b, '\n')) // the client has gone: nobody to tell
}

// problem answers with an error in the form of RFC 9457.
func problem(w http.ResponseWriter, status int, detail string) {
	b, _ := json.Marshal(struct { // cannot fail: strings and a number
		Title  string `json:"title"`
		Status int    `json:"status"`
		Detail string `json:"detail"`
	}{http.StatusText(status), status, detail})
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_, _ = w.Write(append(b, '\n'))
}
