package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"time"

	"faultline/alert"
)

// Errors that a write can end with, beside those that are the daemon's own fault.
type (
	wrongError    struct{ error }
	notFoundError struct{ error }
)

func (e wrongError) Unwrap() error    { return e.error }
func (e notFoundError) Unwrap() error { return e.error }

// Wrong marks an error as one of whoever asks.
func Wrong(err error) error { return wrongError{err} }

// NotFound marks an error as one of asking for what is not there.
func NotFound(err error) error { return notFoundError{err} }

const maxBody = 64 << 10 // bytes of what is sent to change something

// write lets f change something: it is given who asks, and gives back what there is to show.
func (s *server) write(method string, f func(r *http.Request, by string) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method != method {
			w.Header().Set("Allow", method)
			problem(w, http.StatusMethodNotAllowed, "this changes something: use "+method)
			return
		}
		by, ok := s.writer(r)
		if !ok {
			problem(w, http.StatusForbidden, "nobody may change anything at this address: use the command line on the daemon's host, or name users in the web config file")
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		out, err := f(r, by)
		switch {
		case err == nil:
			writeJSON(w, out)
		case errors.As(err, new(wrongError)):
			problem(w, http.StatusBadRequest, err.Error())
		case errors.As(err, new(notFoundError)):
			problem(w, http.StatusNotFound, err.Error())
		default:
			s.Log.Error().Err(err).Str("path", r.URL.Path).Msg("a change was not made")
			problem(w, http.StatusInternalServerError, err.Error())
		}
	}
}

// writer is who asks for a change, and whether he may: whoever reaches the control socket, and users of the web config file.
func (s *server) writer(r *http.Request) (by string, ok bool) {
	if s.Writes {
		return "the control socket", true
	}
	name := user(r)
	return name, name != ""
}

// readBody reads a JSON object strictly; nothing at all is an empty one.
func readBody(r *http.Request, into any) error {
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); r.ContentLength != 0 && (err != nil || t != "application/json") {
		return Wrong(errors.New("the body must be JSON, with Content-Type: application/json"))
	}
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil && !errors.Is(err, io.EOF) {
		return Wrong(fmt.Errorf("reading the body: %w", err))
	}
	return nil
}

// acknowledge takes {"comment": "…", "by": "…"}; by is who asks where that is not said.
func (s *server) acknowledge(r *http.Request, by string) (any, error) {
	var in struct {
		By      string `json:"by"`
		Comment string `json:"comment"`
	}
	if err := readBody(r, &in); err != nil {
		return nil, err
	}
	if len(in.Comment) > maxComment || len(in.By) > maxName {
		return nil, Wrong(fmt.Errorf("the comment may have %d bytes, and the name %d", maxComment, maxName))
	}
	id := r.PathValue("id")
	if err := s.Acknowledge(r.Context(), id, signed(by, in.By), in.Comment); err != nil {
		return nil, err
	}
	i := findIncident(s.View(), id)
	if i == nil {
		return struct{}{}, nil // it has ended in this moment
	}
	return s.fullIncident(i), nil
}

// Bounds of what people write, in bytes.
const (
	maxComment = 1000
	maxName    = 100
)

// signed is who has asked, with the name that he gives himself.
func signed(by, says string) string {
	if says == "" || says == by {
		return by
	}
	return says + " (" + by + ")"
}

// apiSilence is a silence, and how it stands.
type apiSilence struct {
	alert.Silence
	State string `json:"state"` // active, coming (or between two of its times) or over
}

func stateOfSilence(now time.Time, x *alert.Silence) string {
	switch {
	case x.Active(now):
		return "active"
	case x.Over(now):
		return "over"
	default:
		return "coming"
	}
}

func (s *server) listSilences(w http.ResponseWriter, r *http.Request) {
	now := time.Now()
	list := slices.Clone(s.Silences())
	alert.SortSilences(list, now)
	writePage(w, r, now, list, func(x alert.Silence) apiSilence { return apiSilence{x, stateOfSilence(now, &x)} })
}

// addSilence takes an alert.Silence without id and by, and with "for" (as "2h") in place of till if that is easier.
func (s *server) addSilence(r *http.Request, by string) (any, error) {
	var in struct {
		alert.Silence
		For string `json:"for"`
	}
	if err := readBody(r, &in); err != nil {
		return nil, err
	}
	now, x := time.Now().Truncate(time.Second), in.Silence
	if in.For != "" {
		d, err := time.ParseDuration(in.For)
		if err != nil || d <= 0 || !x.Till.IsZero() {
			return nil, Wrong(fmt.Errorf("for is %q: write a time as in \"2h\", and no till beside it", in.For))
		}
		x.Till = now.Add(d)
		if x.From.After(now) {
			x.Till = x.From.Add(d)
		}
	}
	x.By = signed(by, x.By)
	x, err := s.AddSilence(now, x)
	return apiSilence{x, stateOfSilence(now, &x)}, err
}

func (s *server) expireSilence(r *http.Request, _ string) (any, error) {
	now := time.Now()
	x, err := s.ExpireSilence(now, r.PathValue("id"))
	return apiSilence{x, stateOfSilence(now, &x)}, err
}
