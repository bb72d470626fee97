package main

import (
	"context"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"faultline/alert"
	"faultline/alert/notify"
)

// pager holds the Deliverer of the present channels, and replaces it when a reload changes them.
type pager struct {
	log    zerolog.Logger
	change chan struct{} // holds one token: with is another

	mu       sync.Mutex // guards what follows
	now      *notify.Deliverer
	with     notify.Config // of the one that is to deliver
	silences *alert.Silences
}

// newPager makes a pager that goes on from what the store holds.
func newPager(with notify.Config, incidents []alert.Incident, ds []notify.Delivery) *pager {
	return &pager{log: with.Log, change: make(chan struct{}, 1), with: with, now: notify.NewDeliverer(with, incidents, ds)}
}

func (p *pager) deliverer() *notify.Deliverer {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now
}

// tell hands over decisions. It never blocks.
func (p *pager) tell(incidents []alert.Incident, notices []alert.Notice) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now.Tell(incidents, notices)
}

// silence goes on with other silences.
func (p *pager) silence(s *alert.Silences) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.silences = s
	p.now.SetSilences(s)
}

// pending is the number of messages that nobody has accepted yet.
func (p *pager) pending() int { return p.deliverer().Pending() }

// turned is when deliveries were last looked at.
func (p *pager) turned() time.Time { return p.deliverer().Turned() }

// untold is how long the oldest page has been waiting that nobody has taken, and which it is; "" = none is.
func (p *pager) untold(now time.Time) (incident string, age time.Duration) {
	return p.deliverer().Untold(now)
}

// replace goes on with other channels.
func (p *pager) replace(with notify.Config) {
	p.mu.Lock()
	p.with = with
	p.mu.Unlock()
	select {
	case p.change <- struct{}{}:
	default:
	}
}

// run delivers until ctx is done. The Deliverer of new channels takes over all that the old one leaves, so that nothing is
// lost and none is told twice.
func (p *pager) run(ctx context.Context) {
	for d := p.deliverer(); ; d = p.next() {
		epoch, end := context.WithCancel(ctx)
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := d.Run(epoch); err != nil {
				p.log.Error().Err(err).Msg("deliveries ended badly")
			}
		})
		select {
		case <-ctx.Done():
		case <-p.change:
		}
		end()
		wg.Wait()
		if ctx.Err() != nil {
			return
		}
	}
}

func (p *pager) next() *notify.Deliverer {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now = p.now.Next(p.with)
	p.now.SetSilences(p.silences)
	return p.now
}
