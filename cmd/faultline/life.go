package main

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	sd "github.com/coreos/go-systemd/v22/daemon"

	"faultline/alert"
	"faultline/internal/config"
	"faultline/probe"
)

const (
	// stalled is how long the runner, the judge or the deliveries may stand still before the daemon is no longer healthy. All
	// turn at least once a second.
	stalled = 15 * time.Second
	// untold is how long a page may wait for the first channel to take it.
	untold = 5 * time.Minute
)

// isHealthy tells whether probes are being scheduled, results judged and pages delivered. Where it is not, a restart may
// help: systemd's watchdog goes by it.
func (d *daemon) isHealthy() error {
	if age := time.Since(d.runner.Turned()); age > stalled {
		return fmt.Errorf("no probe was scheduled for %v", age.Round(time.Second))
	}
	if age := time.Since(time.Unix(0, d.judge.turned.Load())); age > stalled {
		return fmt.Errorf("no result was judged for %v", age.Round(time.Second))
	}
	if age := time.Since(d.pager.turned()); age > stalled {
		return fmt.Errorf("no delivery was looked at for %v", age.Round(time.Second))
	}
	return nil
}

// isUseful tells whether the daemon is healthy and what it decides reaches somebody. Heartbeats go by it: a restart would
// mend nothing, but someone should know.
func (d *daemon) isUseful() error {
	if err := d.isHealthy(); err != nil {
		return err
	}
	if i, age := d.pager.untold(time.Now()); age > untold {
		return fmt.Errorf("page %s has reached nobody for %v", i, age.Round(time.Second))
	}
	for _, i := range d.troubles.list() {
		if i.Domain.Name == troubleStore {
			return errors.New("the state cannot be saved")
		}
	}
	return nil
}

// watchdog answers systemd's watchdog for as long as the daemon makes real progress.
func (d *daemon) watchdog(ctx context.Context) {
	every, err := sd.SdWatchdogEnabled(false)
	if err != nil || every == 0 {
		return
	}
	tick := time.NewTicker(every / 3)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := d.isHealthy(); err != nil {
			d.log.Error().Err(err).Msg("standing still; the watchdog is not answered")
			continue
		}
		systemd(sd.SdNotifyWatchdog)
	}
}

// systemd tells the service manager, if there is one.
func systemd(state string) { _, _ = sd.SdNotify(false, state) }

// reloadUntil reads the config anew whenever that is asked for, until ctx is done.
func (d *daemon) reloadUntil(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.hup:
			_ = d.apply(ctx)
		case done := <-d.reloads:
			done <- d.apply(ctx)
		}
	}
}

// reload asks for the config to be read anew and gives what was wrong with it.
func (d *daemon) reload(ctx context.Context) error {
	done := make(chan error, 1)
	select {
	case d.reloads <- done:
		return <-done
	case <-ctx.Done():
		return errors.New("stopping")
	}
}

// apply swaps a good config in; a bad one changes nothing.
func (d *daemon) apply(ctx context.Context) error {
	systemd(sd.SdNotifyReloading)
	defer systemd(sd.SdNotifyReady)
	err := d.swap(ctx)
	d.metrics.Reloaded(err == nil)
	if err != nil {
		d.log.Error().Err(err).Msg("the new config is not taken; the old one stays")
		return err
	}
	d.log.Info().Int("sites", len(d.cfg.Sites)).Int("vantages", len(d.cfg.Vantages)).Msg("reloaded")
	return nil
}

func (d *daemon) swap(ctx context.Context) error {
	next, err := d.load()
	if err != nil {
		return err
	}
	look, err := d.prober(next)
	if err != nil {
		return err
	}
	delivery, err := d.delivery(next)
	if err != nil {
		return err
	}
	beats, err := heartbeats(next, d.log)
	if err != nil {
		return err
	}
	if err := d.networks(ctx, next); err != nil {
		return err
	}
	sites := slices.Concat(next.Sites, next.Anchors)
	d.tasks.Store(indexTasks(next))
	err = d.judge.do(ctx, func(e *alert.Engine) {
		d.counter.SetSites(next.Sites)
		e.SetPolicy(next.Policy)
		e.SetWorld(time.Now(), world(next))
	})
	if err != nil {
		return err
	}
	if sameVantages(d.cfg, next) && d.cfg.Pace == next.Pace {
		d.runner.SetSites(sites, look)
	} else {
		schedule := probe.NewSchedule(next.Pace, next.Vantages)
		schedule.SetSites(time.Now(), sites)
		d.runner.SetSchedule(schedule, look)
	}
	if !sameDelivery(d.cfg, next) {
		d.pager.replace(delivery)
	}
	d.silences.configure(next.Silences)
	if !reflect.DeepEqual(d.cfg.Heartbeats, next.Heartbeats) {
		d.heart.set(beats)
	}
	if !reflect.DeepEqual(d.cfg.Daemon, next.Daemon) {
		d.log.Warn().Msg("[daemon] has changed: listen, web_config_file, control_socket and state_dir are taken at the next start")
	}
	d.cfg = next
	return nil
}

// sameDelivery tells whether messages go the same ways.
func sameDelivery(a, b *config.Config) bool {
	return reflect.DeepEqual(a.Channels, b.Channels) && reflect.DeepEqual(a.Routes, b.Routes) && a.Delivery == b.Delivery && a.Daemon.URL == b.Daemon.URL
}

func sameVantages(a, b *config.Config) bool { return reflect.DeepEqual(a.Vantages, b.Vantages) }

// What the store is asked to save.
const (
	savingPages   = "incidents and deliveries"
	savingLearned = "what was learned"
	savingCounts  = "the history of the sites"
)

// storeFailed notes how saving something went. It raises an incident when the store begins to fail, and ends it when all
// can be saved again: pages still go out meanwhile, but would not survive a crash.
func (d *daemon) storeFailed(what string, err error) {
	d.unsaved.note(what, err, func() {
		d.log.Error().Err(err).Str("what", what).Msg("the state cannot be saved")
		d.troubles.raise(troubleStore, what+" cannot be saved: "+err.Error()+
			"; see to free space and permissions of the state directory. Pages still go out, but might be sent again after a crash", d.pager.tell)
	}, func() { d.troubles.clear(troubleStore, d.pager.tell) })
}
