package simnet

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Delivery is one request that a Receiver got and took.
type Delivery struct {
	At     time.Time
	Header http.Header
	Body   []byte
}

// Receiver is a webhook's other end. Its methods are safe for concurrent use.
type Receiver struct {
	URL string

	srv  *http.Server
	done chan struct{} // closed when serving has ended

	mu      sync.Mutex
	got     []Delivery    // guarded by mu
	more    chan struct{} // guarded by mu; closed, and made anew, when something comes
	status  int           // guarded by mu; of answers, 0 = never answer
	refused int           // guarded by mu
}

const (
	maxDelivery   = 1 << 20 // bytes
	maxDeliveries = 10000   // kept
)

// NewReceiver starts a receiver on loopback that takes whatever is posted. The caller must Close it.
func NewReceiver() (*Receiver, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listening for webhooks: %w", err)
	}
	r := &Receiver{
		URL: "http://" + l.Addr().String() + "/hook", done: make(chan struct{}),
		more: make(chan struct{}), status: http.StatusNoContent,
	}
	r.srv = &http.Server{Handler: r, ReadHeaderTimeout: 10 * time.Second}
	go func() { // Close waits for it
		defer close(r.done)
		_ = r.srv.Serve(l) // it ends by Close, and there is nothing to say
	}()
	return r, nil
}

// ServeHTTP implements http.Handler.
func (r *Receiver) ServeHTTP(rw http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(rw, req.Body, maxDelivery))
	if err != nil {
		http.Error(rw, "too large", http.StatusRequestEntityTooLarge)
		return
	}
	status := r.take(Delivery{time.Now(), req.Header.Clone(), body})
	if status == 0 {
		<-req.Context().Done()
		return
	}
	rw.WriteHeader(status)
}

// take records a delivery, unless the receiver is told to fail, and gives the status to answer with.
func (r *Receiver) take(d Delivery) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.status < 200 || r.status > 299 || len(r.got) >= maxDeliveries {
		r.refused++
		return r.status
	}
	r.got = append(r.got, d)
	close(r.more)
	r.more = make(chan struct{})
	return r.status
}

// Answer sets the status of the answers from now on. What is answered with another one than 2xx is not recorded, as
// nobody has read it; 0 = accept the request and never answer.
func (r *Receiver) Answer(status int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status = status
}

// Refused counts the requests that were not taken.
func (r *Receiver) Refused() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.refused
}

// Deliveries are those taken so far, in their order.
func (r *Receiver) Deliveries() []Delivery {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got)
}

// Wait returns the deliveries as soon as there are more than n, and in any case after d or when ctx is done.
func (r *Receiver) Wait(ctx context.Context, n int, d time.Duration) []Delivery {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	for {
		r.mu.Lock()
		got, more := slices.Clone(r.got), r.more
		r.mu.Unlock()
		if len(got) > n {
			return got
		}
		select {
		case <-more:
		case <-ctx.Done():
			return got
		}
	}
}

// Close ends the receiver and returns when it has ended; those who wait for an answer lose their connection.
func (r *Receiver) Close() {
	_ = r.srv.Close()
	<-r.done
}
