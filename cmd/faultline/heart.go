package main

import (
	"context"
	"sync"

	"faultline/alert/notify"
)

// heart beats as the newest config says.
type heart struct {
	change chan []*notify.Heartbeat // holds one: those that are to beat from now on
}

func newHeart() *heart { return &heart{make(chan []*notify.Heartbeat, 1)} }

// set goes on with other heartbeats. It is called from one goroutine at a time and does not block.
func (h *heart) set(beats []*notify.Heartbeat) {
	select {
	case <-h.change:
	default:
	}
	h.change <- beats
}

// run beats, while alive gives no error, until ctx is done.
func (h *heart) run(ctx context.Context, alive func() error) {
	var beats []*notify.Heartbeat
	for ctx.Err() == nil {
		beating, stop := context.WithCancel(ctx)
		var all sync.WaitGroup
		for _, b := range beats {
			all.Go(func() { b.Run(beating, alive) })
		}
		select {
		case <-ctx.Done():
		case beats = <-h.change:
		}
		stop()
		all.Wait()
	}
}
