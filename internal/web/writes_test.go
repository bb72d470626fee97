package web

import (
	"context"
	"encoding/json"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"faultline/alert"
	"faultline/alert/notify"
)

// change sends a JSON document, or what looks like one.
func change(c Config, method, target, contentType, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	w := httptest.NewRecorder()
	New(c).ServeHTTP(w, r)
	return w
}

func writable() Config {
	c := sampleConfig(sampleView())
	c.Writes = true
	c.AddSilence = func(now time.Time, s alert.Silence) (alert.Silence, error) {
		if s.From.IsZero() {
			s.From = now
		}
		s.ID = "s1"
		if err := s.Check(now); err != nil {
			return s, Wrong(err)
		}
		return s, nil
	}
	c.ExpireSilence = func(now time.Time, id string) (alert.Silence, error) {
		if id != "s1" {
			return alert.Silence{}, NotFound(errors.New("there is no such silence"))
		}
		return alert.Silence{ID: id, Till: now}, nil
	}
	c.Acknowledge = func(_ context.Context, id, by, comment string) error {
		switch id {
		case "gone":
			return NotFound(errors.New("no such incident is open"))
		case "full":
			return errors.New("no space left on device")
		default:
			return nil
		}
	}
	return c
}

func TestWrites(t *testing.T) {
	const asJSON = "application/json"
	f := func(method, target, contentType, body string, status int, want string) {
		t.Helper()
		got := change(writable(), method, target, contentType, body)
		if got.Code != status || !strings.Contains(got.Body.String(), want) {
			t.Errorf("%s %s %s: got %d %s, want %d with %q", method, target, body, got.Code, got.Body, status, want)
		}
	}
	const silences, ack = "/api/v1/silences", "/api/v1/incidents/x/ack"
	f("POST", silences, asJSON, `{"match": {"site": ["forum"]}, "for": "2h", "by": "anna"}`, 200, `"by":"anna (the control socket)","state":"active"`)
	f("POST", silences, asJSON, `{"match": {"site": ["forum"]}, "for": "2h", "from": "2099-01-01T00:00:00Z"}`, 400, "400 days")
	f("POST", silences, asJSON+"; charset=utf-8", `{"match": {"site": ["forum"]}, "weekly": ["sun 03:00-05:00"], "zone": "Asia/Hong_Kong"}`, 200, `"zone":"Asia/Hong_Kong"`)
	f("POST", silences, asJSON, `{"match": {"site": ["forum"]}}`, 400, "it has no end")
	f("POST", silences, asJSON, `{"match": {"site": ["forum"]}, "for": "long"}`, 400, `for is \"long\"`)
	f("POST", silences, asJSON, `{"match": {"site": ["forum"]}, "for": "-1h"}`, 400, "for is")
	f("POST", silences, asJSON, `{"weekly": ["someday"]}`, 400, "is no day")
	f("POST", silences, asJSON, `{"matches": {}}`, 400, "unknown field")
	f("POST", silences, asJSON, `[]`, 400, "reading the body")
	f("POST", silences, asJSON, "", 400, "it matches nothing")
	f("POST", silences, "text/plain", `{"match": {"site": ["forum"]}, "for": "2h"}`, 400, "must be JSON")
	f("POST", silences, asJSON, `{"comment": "`+strings.Repeat("x", maxBody)+`"}`, 400, "too large")
	f("PUT", silences, asJSON, `{}`, 405, "")
	f("DELETE", silences+"/s1", "", "", 200, `"state":"over"`)
	f("DELETE", silences+"/s2", "", "", 404, "there is no such silence")
	f("GET", silences+"/s1", "", "", 405, "use DELETE")
	f("POST", ack, asJSON, `{"by": "anna", "comment": "on it"}`, 200, "")
	f("POST", ack, "", "", 200, "")
	f("POST", ack, asJSON, `{"comment": "`+strings.Repeat("x", 2000)+`"}`, 400, "the comment may have")
	f("POST", "/api/v1/incidents/gone/ack", "", "", 404, "no such incident is open")
	f("POST", "/api/v1/incidents/full/ack", "", "", 500, "no space left")
	f("GET", ack, "", "", 405, "use POST")

	reader := writable()
	reader.Writes = false
	for _, target := range []string{silences, ack} {
		if got := change(reader, "POST", target, asJSON, "{}"); got.Code != 403 {
			t.Errorf("%s: got %d where only reading is allowed, want 403", target, got.Code)
		}
	}
}

func TestSilencesAreListed(t *testing.T) {
	c := sampleConfig(sampleView())
	now := time.Now()
	c.Silences = func() []alert.Silence {
		return []alert.Silence{{ID: "old", Till: now.Add(-time.Hour)}, {ID: "now", Till: now.Add(time.Hour)}, {ID: "soon", From: now.Add(time.Hour), Till: now.Add(2 * time.Hour)}}
	}
	var page struct {
		Items []apiSilence `json:"items"`
	}
	if err := json.Unmarshal(request(New(c), "GET", "/api/v1/silences").Body.Bytes(), &page); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range page.Items {
		got = append(got, s.ID+" "+s.State)
	}
	if want := "now active, soon coming, old over"; strings.Join(got, ", ") != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestIncidentSaysWhoWasToldAndWhatKeepsItQuiet(t *testing.T) {
	c := sampleConfig(sampleView())
	c.Told = func(string) ([]notify.Told, error) {
		return []notify.Told{{Channel: "pager", Event: notify.EventPage, Outcome: notify.OutcomeAccepted}}, nil
	}
	c.Silenced = func(*alert.Incident) []string { return []string{"s1"} }
	v := c.View()
	for n := range v.Incidents {
		i := &v.Incidents[n]
		body := request(New(c), "GET", "/api/v1/incidents/"+i.ID).Body.String()
		if !strings.Contains(body, `"channel":"pager"`) || strings.Contains(body, `"silenced_by":["s1"]`) != (i.State != alert.StateResolved) {
			t.Errorf("%s (%s): got %s", i.ID, i.State, body)
		}
	}
	if list := request(New(c), "GET", "/api/v1/incidents").Body.String(); !strings.Contains(list, `"silenced_by":["s1"]`) {
		t.Errorf("got %s", list)
	}
}

func TestRecordingIsToldToThisHostOnly(t *testing.T) {
	c := sampleConfig(sampleView())
	c.Recording = "/var/lib/faultline/results"
	if got := request(New(c), "GET", "/api/v1/recording"); got.Code != 403 || strings.Contains(got.Body.String(), "/var") {
		t.Errorf("got %d %s", got.Code, got.Body)
	}
	c.Writes = true
	if got := request(New(c), "GET", "/api/v1/recording").Body.String(); got != "{\"dir\":\"/var/lib/faultline/results\"}\n" {
		t.Errorf("got %s", got)
	}
}
