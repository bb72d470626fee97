package web

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"
)

const (
	viewEvery   = time.Second      // at most so often is a stream told of a new view
	heartbeat   = 15 * time.Second // so that a dead connection is noticed
	streamWrite = 10 * time.Second // to take one event
)

// stream answers GET /api/v1/stream?events=result,incident,view (all three when not said) with server-sent events:
// "result" and "incident" carry what their names say, "view" only says that there is something new to fetch, and
// "dropped" is the last one for a listener that did not keep up.
func (s *server) stream(w http.ResponseWriter, r *http.Request) {
	want, err := parseTopics(r.URL.Query().Get("events"))
	if err != nil {
		problem(w, http.StatusBadRequest, err.Error())
		return
	}
	sub, err := s.Feed.subscribe(want)
	if err != nil {
		w.Header().Set("Retry-After", "30")
		problem(w, http.StatusServiceUnavailable, err.Error()+": try again later")
		return
	}
	defer s.Feed.unsubscribe(sub)

	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // or nginx would hold events back
	out := sink{w, http.NewResponseController(w)}
	_ = out.rc.SetReadDeadline(time.Time{}) // the server's own is for ordinary requests
	if out.write("retry: 3000\n\n") == nil {
		_ = s.follow(r.Context(), sub, out) // the client, or the daemon, has ended it
	}
}

// follow copies sub to out until ctx ends, a write fails, or the subscriber was dropped.
func (s *server) follow(ctx context.Context, sub *subscriber, out sink) error {
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	pause := time.NewTimer(0) // when it fires, the next view may be told
	defer pause.Stop()
	var view <-chan struct{} // nil during the pause
	for {
		var err error
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-beat.C:
			err = out.write(": still here\n\n")
		case <-pause.C:
			view = sub.view
		case <-view:
			view = nil
			pause.Reset(viewEvery)
			err = out.write(fmt.Sprintf("event: view\ndata: {\"at\":%q}\n\n", s.View().At.UTC().Format(time.RFC3339Nano)))
		case e, ok := <-sub.events:
			if !ok {
				return out.write("event: dropped\ndata: {\"why\":\"this stream was read too slowly; connect again\"}\n\n")
			}
			err = out.event(e)
		}
		if err != nil {
			return err
		}
	}
}

// sink writes to one event stream.
type sink struct {
	w  http.ResponseWriter
	rc *http.ResponseController
}

func (o sink) event(e event) error {
	b, err := e.data()
	if err != nil {
		return err
	}
	return o.write(fmt.Sprintf("event: %s\ndata: %s\n\n", e.name, b)) // JSON has no line breaks of its own
}

func (o sink) write(s string) error {
	_ = o.rc.SetWriteDeadline(time.Now().Add(streamWrite)) // not every writer has one
	if _, err := o.w.Write([]byte(s)); err != nil {
		return err
	}
	return o.rc.Flush()
}

func parseTopics(s string) (topics, error) {
	if s == "" {
		return topicResult | topicIncident | topicView, nil
	}
	var t topics
	for name := range strings.SplitSeq(s, ",") {
		switch name {
		case "result":
			t |= topicResult
		case "incident":
			t |= topicIncident
		case "view":
			t |= topicView
		default:
			return 0, fmt.Errorf("unknown event %q: choose from result, incident and view", name)
		}
	}
	return t, nil
}
