package web

import (
	"fmt"
	"net/http"
	"net/url"
	"time"

	"faultline/alert"
	"faultline/alert/history"
	"faultline/probe"
)

// apiItem is the counts of a site in one slot or day.
type apiItem struct {
	At time.Time `json:"at"` // when it begins
	history.Counts
	Seen *float64 `json:"seen,omitempty"` // of a day: the share of its slots, so far, in which the site was seen as well or as failing
}

// listHistory answers with the counts of a site, the oldest first: ?step=5m or 1d, those that touch [?since, ?until).
func (s *server) listHistory(w http.ResponseWriter, r *http.Request) {
	site, ok := s.countedSite(w, r)
	if !ok {
		return
	}
	q := r.URL.Query()
	step, err := stepOf(q.Get("step"))
	if err != nil {
		problem(w, http.StatusBadRequest, err.Error())
		return
	}
	since, until, err := between(q)
	if err != nil {
		problem(w, http.StatusBadRequest, err.Error())
		return
	}
	now := time.Now()
	from, to := step.Clip(now, since, until)
	items, err := s.History(site, step, from, to)
	if err != nil {
		s.noHistory(w, err)
		return
	}
	out := list[apiItem]{At: now.UTC(), Total: int(to - from), Items: make([]apiItem, 0, to-from)}
	for _, i := range history.Fill(from, to, items) {
		out.Items = append(out.Items, newItem(step, now, i))
	}
	writeJSON(w, out)
}

func newItem(step history.Step, now time.Time, i history.Item) apiItem {
	a := apiItem{At: step.Start(i.N), Counts: i.Counts}
	if step == history.Day {
		end := step.Start(i.N + 1).Add(-1)
		if end.After(now) {
			end = now
		}
		seen := history.SeenShare(i.Seen, a.At, end)
		a.Seen = &seen
	}
	return a
}

// listUptime answers with a site's figures over 24 hours and 7, 30 and 365 days.
func (s *server) listUptime(w http.ResponseWriter, r *http.Request) {
	site, ok := s.countedSite(w, r)
	if !ok {
		return
	}
	now := time.Now()
	slots, err := s.all(site, history.Slot, now)
	if err != nil {
		s.noHistory(w, err)
		return
	}
	days, err := s.all(site, history.Day, now)
	if err != nil {
		s.noHistory(w, err)
		return
	}
	figures := history.Figures(now, slots, days)
	writeJSON(w, list[history.Figure]{At: now.UTC(), Total: len(figures), Items: figures})
}

func (s *server) all(site uint64, step history.Step, now time.Time) ([]history.Item, error) {
	from, to := step.Clip(now, time.Time{}, time.Time{})
	return s.History(site, step, from, to)
}

// countedSite finds the site that a request names; where there is none, it has answered.
func (s *server) countedSite(w http.ResponseWriter, r *http.Request) (key uint64, ok bool) {
	site := findSite(s.View(), r.PathValue("name"))
	switch {
	case site == nil:
		problem(w, http.StatusNotFound, "no such site is watched: see /api/v1/sites")
	case site.Anchor:
		problem(w, http.StatusNotFound, "this is an anchor: no history is kept of anchors")
	default:
		return probe.SiteKey(site.Site, site.URL), true
	}
	return 0, false
}

func findSite(v *alert.View, name string) *alert.SiteView {
	for n := range v.Sites {
		if v.Sites[n].Site == name {
			return &v.Sites[n]
		}
	}
	return nil
}

func (s *server) noHistory(w http.ResponseWriter, err error) {
	s.Log.Error().Err(err).Msg("history not read")
	problem(w, http.StatusInternalServerError, "the history cannot be read: the daemon's log says why")
}

func stepOf(s string) (history.Step, error) {
	switch s {
	case "", "5m":
		return history.Slot, nil
	case "1d":
		return history.Day, nil
	default:
		return 0, fmt.Errorf("unknown step %q: use 5m or 1d", s)
	}
}

// between is what ?since and ?until say; zero = not said.
func between(q url.Values) (since, until time.Time, err error) {
	if since, err = moment(q, "since"); err != nil {
		return since, until, err
	}
	if until, err = moment(q, "until"); err != nil {
		return since, until, err
	}
	if !since.IsZero() && !until.IsZero() && !since.Before(until) {
		return since, until, fmt.Errorf("since is not before until")
	}
	return since, until, nil
}

func moment(q url.Values, key string) (time.Time, error) {
	s := q.Get(key)
	if s == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil || t.Unix() < 0 {
		return time.Time{}, fmt.Errorf("%s is %q: it must be a time since 1970 as 2019-07-02T13:42:00Z (a + is written %%2B)", key, clip(40, s))
	}
	return t, nil
}
