package main

import (
	"context"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"faultline/alert"
	"faultline/alert/notify"
	"faultline/internal/store"
)

// makeDeliverer makes the Deliverer of a config's channels, from what the store holds.
type makeDeliverer func(incidents []alert.Incident, ds []notify.Delivery) *notify.Deliverer

// pager holds the Deliverer of the present channels, and replaces it when a reload changes them.
type pager struct {
	store *store.Store
	log   zerolog.Logger

	mu        sync.Mutex // guards what follows
	make      makeDeliverer
	now       *notify.Deliverer // nil between two of them
	silences  *alert.Silences
	incidents []alert.Incident // told in between
	notices   []alert.Notice

	change chan struct{} // holds one token: make is another
}

// tell hands over decisions. It never blocks.
func (p *pager) tell(incidents []alert.Incident, notices []alert.Notice) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.now == nil {
		p.incidents, p.notices = append(p.incidents, incidents...), append(p.notices, notices...)
		return
	}
	p.now.Tell(incidents, notices)
}

// silence goes on with other silences.
func (p *pager) silence(s *alert.Silences) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.silences = s
	if p.now != nil {
		p.now.SetSilences(s)
	}
}

// pending is the number of messages that nobody has accepted yet.
func (p *pager) pending() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.now == nil {
		return len(p.incidents) + len(p.notices)
	}
	return p.now.Pending()
}

// turned is when deliveries were last looked at. Between two sets of channels it is as if they had just been.
func (p *pager) turned() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.now == nil {
		return time.Now()
	}
	return p.now.Turned()
}

// untold is how long the oldest page has been waiting that nobody has taken, and which it is; "" = none is.
func (p *pager) untold(now time.Time) (incident string, age time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.now == nil {
		return "", 0
	}
	return p.now.Untold(now)
}

// replace goes on with other channels.
func (p *pager) replace(with makeDeliverer) {
	p.mu.Lock()
	p.make = with
	p.mu.Unlock()
	select {
	case p.change <- struct{}{}:
	default:
	}
}

// run delivers until ctx is done. What the store holds is loaded again for each new set of channels, so that none is
// told twice.
func (p *pager) run(ctx context.Context) {
	for ctx.Err() == nil {
		incidents, ds, err := p.store.Load(context.WithoutCancel(ctx))
		if err != nil {
			p.log.Error().Err(err).Msg("deliveries cannot be read; going on without them, which may page again")
		}
		d := p.install(incidents, ds)
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
		p.mu.Lock()
		p.now = nil
		p.mu.Unlock()
		end()
		wg.Wait()
		p.mu.Lock()
		p.notices = append(d.Held(), p.notices...)
		p.mu.Unlock()
	}
}

func (p *pager) install(incidents []alert.Incident, ds []notify.Delivery) *notify.Deliverer {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now = p.make(incidents, ds)
	p.now.SetSilences(p.silences)
	p.now.Tell(p.incidents, p.notices)
	p.incidents, p.notices = nil, nil
	return p.now
}
