package main

import (
	"context"
	"sync"
	"time"

	"faultline/alert"
)

// window shows the engine to the web side: a view is made in the judge's turn when somebody asks, and then serves all
// who ask within its time.
type window struct {
	judge *judge
	own   func() []alert.Incident // that are not the engine's
	every time.Duration

	mu   sync.Mutex
	last *alert.View // never nil
	made time.Time
}

// viewWait is how long the web side waits for a view before it shows the last one.
const viewWait = 2 * time.Second

func (w *window) view() *alert.View {
	w.mu.Lock()
	defer w.mu.Unlock()
	if time.Since(w.made) < w.every {
		return w.last
	}
	ctx, cancel := context.WithTimeout(context.Background(), viewWait)
	defer cancel()
	// The view escapes this call when the judge is late, so he fills one of his own.
	filled := make(chan *alert.View, 1)
	err := w.judge.do(ctx, func(e *alert.Engine) {
		v := new(alert.View)
		e.View(time.Now(), v)
		filled <- v
	})
	if err == nil {
		w.last, w.made = <-filled, time.Now()
		w.last.Incidents = append(w.own(), w.last.Incidents...)
	}
	return w.last
}
