package simnet

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"
)

func post(ctx context.Context, url, body string) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	return resp.StatusCode, nil
}

func TestReceiver(t *testing.T) {
	r, err := NewReceiver()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if status, err := post(t.Context(), r.URL, "one"); err != nil || status != http.StatusNoContent {
		t.Errorf("status %d, %v", status, err)
	}
	r.Answer(http.StatusServiceUnavailable)
	if status, err := post(t.Context(), r.URL, "two"); err != nil || status != http.StatusServiceUnavailable {
		t.Errorf("while failing: status %d, %v", status, err)
	}
	r.Answer(0)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if status, err := post(ctx, r.URL, "three"); err == nil {
		t.Errorf("while hanging: status %d", status)
	}
	r.Answer(http.StatusOK)
	waited := make(chan []Delivery)
	go func() { waited <- r.Wait(t.Context(), 1, time.Minute) }()
	if _, err := post(t.Context(), r.URL, "four"); err != nil {
		t.Error(err)
	}
	got := <-waited
	if len(got) != 2 || string(got[0].Body) != "one" || string(got[1].Body) != "four" || r.Refused() != 2 {
		t.Errorf("%d deliveries, %d refused: %q", len(got), r.Refused(), got)
	}
	if got := r.Wait(t.Context(), 5, time.Millisecond); len(got) != 2 || len(r.Deliveries()) != 2 {
		t.Errorf("after waiting for more: %d deliveries", len(got))
	}
}

// Close ends even a request that hangs.
func TestReceiverCloseHanging(t *testing.T) {
	r, err := NewReceiver()
	if err != nil {
		t.Fatal(err)
	}
	r.Answer(0)
	done := make(chan error)
	go func() {
		_, err := post(t.Context(), r.URL, "x")
		done <- err
	}()
	for r.Refused() == 0 {
		time.Sleep(time.Millisecond)
	}
	r.Close()
	if <-done == nil {
		t.Error("the hanging request was answered")
	}
}
