package web

import (
	"bufio"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"faultline/alert"
	"faultline/probe"
)

// openStream starts a daemon's HTTP on loopback, opens a stream on it and waits until it is subscribed.
func openStream(t *testing.T, c Config, query string) (*bufio.Scanner, context.CancelFunc, <-chan error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, l, New(c), nil, zerolog.Nop()) }()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+l.Addr().String()+"/api/v1/stream"+query, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	if got := resp.Header.Get("Content-Type"); got != "text/event-stream" {
		t.Fatalf("got %q", got)
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	if !lines.Scan() || !strings.HasPrefix(lines.Text(), "retry:") {
		t.Fatalf("stream begins with %q", lines.Text())
	}
	return lines, cancel, ended
}

// nextEvent reads one event from a stream.
func nextEvent(t *testing.T, lines *bufio.Scanner) (name, data string) {
	t.Helper()
	for lines.Scan() {
		key, value, _ := strings.Cut(lines.Text(), ": ")
		switch key {
		case "event":
			name = value
		case "data":
			return name, value
		}
	}
	t.Fatalf("stream ended: %v", lines.Err())
	return "", ""
}

func TestStreamCarriesEventsAndEndsWithTheDaemon(t *testing.T) {
	c := sampleConfig(sampleView())
	lines, stop, ended := openStream(t, c, "")
	c.Feed.Result(&probe.Result{Site: "lihkg\n\nevent: forged", Vantage: "hkg-1", Verdict: probe.Verdict{Class: probe.ClassOK}})
	name, data := nextEvent(t, lines)
	var r probe.Result
	if err := json.Unmarshal([]byte(data), &r); err != nil || name != "result" || r.Site != "lihkg\n\nevent: forged" {
		t.Errorf("got %s %q, %v", name, data, err)
	}
	c.Feed.Incident(&sampleView().Incidents[0])
	if name, data := nextEvent(t, lines); name != "incident" || !strings.Contains(data, cloudflareID) {
		t.Errorf("got %s %q", name, data)
	}
	c.Feed.ViewChanged()
	if name, data := nextEvent(t, lines); name != "view" || data != `{"at":"2019-07-02T13:46:00Z"}` {
		t.Errorf("got %s %q", name, data)
	}
	stop()
	for lines.Scan() { // to the end of the stream
	}
	if err := <-ended; err != nil {
		t.Errorf("Serve: %v", err)
	}
	if c.Feed.listened.Load() != 0 {
		t.Error("the stream is still subscribed")
	}
}

func TestStreamOnlyWhatWasAskedFor(t *testing.T) {
	c := sampleConfig(sampleView())
	lines, stop, ended := openStream(t, c, "?events=incident")
	c.Feed.Result(&probe.Result{Site: "lihkg"})
	c.Feed.ViewChanged()
	c.Feed.Incident(&sampleView().Incidents[0])
	if name, _ := nextEvent(t, lines); name != "incident" {
		t.Errorf("got %s first", name)
	}
	stop()
	<-ended
}

// recorder is a ResponseWriter that keeps what a stream writes, until gate is closed not at all.
type recorder struct {
	*httptest.ResponseRecorder
	gate chan struct{}
}

func (r recorder) Write(b []byte) (int, error) {
	<-r.gate
	return r.ResponseRecorder.Write(b)
}

func runStream(ctx context.Context, c Config, gate chan struct{}) *httptest.ResponseRecorder {
	w := recorder{httptest.NewRecorder(), gate}
	New(c).ServeHTTP(w, httptest.NewRequest("GET", "/api/v1/stream", http.NoBody).WithContext(ctx))
	return w.ResponseRecorder
}

// TestViewsAreToldOnceASecond: a hundred changes in five seconds are six events, and the last change is among them.
func TestViewsAreToldOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := sampleView()
		c := sampleConfig(v)
		c.View = func() *alert.View { return v }
		ctx, cancel := context.WithCancel(t.Context())
		gate := make(chan struct{})
		close(gate)
		done := make(chan string)
		go func() { done <- runStream(ctx, c, gate).Body.String() }()
		synctest.Wait()
		for range 100 {
			c.Feed.ViewChanged()
			time.Sleep(50 * time.Millisecond)
		}
		time.Sleep(2 * time.Second)
		cancel()
		if got := strings.Count(<-done, "event: view"); got != 6 {
			t.Errorf("got %d events, want 6", got)
		}
	})
}

// TestSlowStreamIsDroppedAndTold: a listener that does not read costs its buffer and nothing more.
func TestSlowStreamIsDroppedAndTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := sampleConfig(sampleView())
		gate := make(chan struct{})
		done := make(chan string)
		go func() { done <- runStream(t.Context(), c, gate).Body.String() }()
		synctest.Wait()
		for n := range 10 * feedBuffer {
			c.Feed.Result(&probe.Result{Seq: uint64(n)}) // blocks for good if publishing ever waits
		}
		if c.Feed.listened.Load() != 0 {
			t.Error("the slow listener is still subscribed")
		}
		close(gate)
		got := <-done
		if n := strings.Count(got, "event: result"); n != feedBuffer || !strings.HasSuffix(got, "connect again\"}\n\n") {
			t.Errorf("got %d results ending in %.80q, want %d and word of the drop", n, got[max(0, len(got)-80):], feedBuffer)
		}
	})
}

func TestStreamsAreBounded(t *testing.T) {
	c := sampleConfig(sampleView())
	var last *subscriber
	for range maxSubscribers {
		s, err := c.Feed.subscribe(topicView)
		if err != nil {
			t.Fatal(err)
		}
		last = s
	}
	w := request(New(c), "GET", "/api/v1/stream")
	if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
		t.Errorf("one too many: got %d, want 503 and when to come again", w.Code)
	}
	c.Feed.unsubscribe(last)
	if _, err := c.Feed.subscribe(topicView); err != nil {
		t.Errorf("after one has left: %v", err)
	}
}

func TestPublishingToNobodyCostsNothing(t *testing.T) {
	var f Feed
	r, i := &probe.Result{}, &alert.Incident{}
	if n := testing.AllocsPerRun(100, func() { f.Result(r); f.Incident(i); f.ViewChanged() }); n > 0 {
		t.Errorf("got %v allocations", n)
	}
}
