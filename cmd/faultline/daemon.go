package main

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"faultline/alert"
	"faultline/alert/history"
	"faultline/alert/notify"
	"faultline/internal/asn"
	"faultline/internal/config"
	"faultline/internal/store"
	"faultline/internal/web"
	"faultline/probe"
	"faultline/probe/cdn"
	"faultline/probe/http3"
)

// daemon is a running faultline: its parts and how they hang together. The way of the data is
// runner -> judge -> pager, and back from the judge to the runner with sweeps.
type daemon struct {
	options
	cfg   *config.Config // the present one; of the goroutine that reloads
	store *store.Store

	memory   *probe.Memory
	captures *probe.Captures
	kept     chan kept // to be saved
	runner   *probe.Runner
	judge    *judge
	counter  *history.Counter  // of the judge's goroutine
	counted  []history.Batch   // taken from it and not saved yet; of the goroutine that saves
	learned  map[string][]byte // likewise, as the store's records
	window   *window
	pager    *pager
	silences *silences
	heart    *heart
	feed     web.Feed
	metrics  *web.Metrics
	cymru    *asn.Cymru // nil = not asked

	network atomic.Pointer[func(netip.Addr) string] // of an address; points to nil = unknown
	tasks   atomic.Pointer[taskIndex]               // to turn the judge's wants into tasks
	reloads chan chan error
	ready   atomic.Bool

	troubles troubles
	unsaved  failures
}

// taskIndex finds what a want names.
type taskIndex struct {
	sites    map[string]*probe.Site
	vantages map[string]*probe.Vantage
	labels   []string // that are failure domains
	world    alert.World
}

func indexTasks(c *config.Config) *taskIndex {
	x := &taskIndex{map[string]*probe.Site{}, map[string]*probe.Vantage{}, c.Labels, world(c)}
	for _, s := range slices.Concat(c.Sites, c.Anchors) {
		x.sites[s.Name] = s
	}
	for _, v := range c.Vantages {
		x.vantages[v.Name] = v
	}
	return x
}

// runDaemon watches by the config that o.load gives until ctx is done. An error means that it could not begin.
func runDaemon(ctx context.Context, o options) error {
	cfg, err := o.load()
	if err != nil {
		return err
	}
	st, damaged, err := openStore(cfg.Daemon.StateDir)
	if err != nil {
		return err
	}
	defer func() {
		if err := st.Close(); err != nil {
			o.log.Error().Err(err).Msg("closing the state failed")
		}
	}()
	d := &daemon{options: o, cfg: cfg, store: st, reloads: make(chan chan error), troubles: troubles{fleet: cfg.Policy.Fleet}}
	listeners, err := d.listen()
	if err != nil {
		return err
	}
	if err := d.build(ctx); err != nil {
		closeAll(listeners)
		return err
	}
	d.troubles.clearAll(d.pager.tell)
	if damaged != nil {
		o.log.Error().Err(damaged).Msg("the state was damaged; going on with an empty one")
		d.troubles.raise(troubleDamaged, damaged.Error(), d.pager.tell)
	}
	d.run(ctx, listeners)
	return nil
}

func openStore(dir string) (st *store.Store, damaged *store.DamagedError, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, fmt.Errorf("making the state directory: %w; set state_dir to a directory that this user may write", err)
	}
	st, err = store.Open(filepath.Join(dir, "state.db"))
	if st != nil && errors.As(err, &damaged) {
		return st, damaged, nil
	}
	return st, nil, err
}

// build makes the parts from the config and the state.
func (d *daemon) build(ctx context.Context) error {
	learned, err := d.store.Learned()
	if err != nil {
		return fmt.Errorf("reading what was learned: %w", err)
	}
	incidents, deliveries, err := d.store.Load(ctx)
	if err != nil {
		return fmt.Errorf("reading incidents: %w", err)
	}
	judged := d.troubles.take(incidents)
	d.memory, d.captures, d.kept = probe.NewMemory(), probe.NewCaptures(), make(chan kept, keptAhead)
	d.memory.Load(learned)
	look, err := d.prober(d.cfg)
	if err != nil {
		return err
	}
	engine := alert.New(time.Now(), d.cfg.Policy, world(d.cfg), alert.Saved{Incidents: judged, Learned: learned})
	d.counter = history.NewCounter(engine)
	d.counter.SetSites(d.cfg.Sites)
	d.judge = newJudge(engine, d.heard, d.decided)
	d.judge.world = func() alert.World { return d.tasks.Load().world }
	d.window = &window{judge: d.judge, own: d.troubles.list, every: 500 * time.Millisecond, last: &alert.View{}}
	d.metrics = web.NewMetrics(version(), d.window.view, d.cfg.Daemon.PerSite)

	d.tasks.Store(indexTasks(d.cfg))
	schedule := probe.NewSchedule(d.cfg.Pace, d.cfg.Vantages)
	schedule.SetSites(time.Now(), slices.Concat(d.cfg.Sites, d.cfg.Anchors))
	if err := d.networks(ctx, d.cfg); err != nil {
		return err
	}
	d.runner = probe.NewRunner(schedule, look, func(r probe.Result) {
		if of := *d.network.Load(); of != nil && r.Addr.IsValid() {
			r.Network = of(r.Addr.Addr())
		}
		if d.lost == nil || !d.lost(r.Vantage) {
			d.judge.emit(ctx, r)
		}
	})
	d.runner.MaxInFlight = inFlight(d.cfg.Daemon.MaxInFlight)
	d.runner.OnStart = func(t probe.Task, late time.Duration) {
		d.metrics.Start(t.Vantage.Name, time.Now(), scheduledEvery(&t))
		if t.Sweep == 0 {
			d.metrics.ScheduleLag(late)
		}
	}
	d.runner.OnSweep = func(outcome string, n int) {
		for range n {
			d.metrics.Sweep(outcome)
		}
	}
	d.metrics.InFlight(d.runner.InFlight)

	delivery, err := d.delivery(d.cfg)
	if err != nil {
		return err
	}
	d.pager = newPager(delivery, incidents, deliveries)
	beats, err := heartbeats(d.cfg, d.log)
	if err != nil {
		return err
	}
	d.heart = newHeart()
	d.heart.set(beats)
	d.silences = &silences{store: d.store, site: d.site, changed: d.pager.silence}
	if err := d.silences.load(d.cfg.Silences); err != nil {
		return err
	}
	d.metrics.Pending(d.pager.pending)
	d.metrics.Reloaded(true)
	return nil
}

// networks makes what finds the network of an address, as a config says.
func (d *daemon) networks(ctx context.Context, c *config.Config) error {
	var of func(netip.Addr) string
	switch {
	case c.Network.ASNFile != "":
		t, err := asn.Load(c.Network.ASNFile)
		if err != nil {
			return err
		}
		of = t.Of
	case c.Network.Cymru && d.cymru == nil:
		d.cymru = asn.NewCymru(ctx)
		fallthrough
	case c.Network.Cymru:
		of = d.cymru.Of
	}
	d.network.Store(&of)
	return nil
}

// prober makes the probe function of a config. Fronting and habits are kept in the daemon's memory.
func (d *daemon) prober(c *config.Config) (probe.Func, error) {
	p, err := newProber(c, d.memory, d.captures)
	if err != nil {
		return nil, err
	}
	d.memory.Keep(slices.Concat(c.Sites, c.Anchors))
	return p.Probe, nil
}

func newProber(c *config.Config, memory *probe.Memory, captures *probe.Captures) (*probe.Prober, error) {
	rules, err := cdn.Load(c.CDNRules...)
	if err != nil {
		return nil, err
	}
	var roots *x509.CertPool
	if c.Daemon.CAFile != "" {
		pem, err := os.ReadFile(c.Daemon.CAFile)
		if err != nil {
			return nil, fmt.Errorf("reading ca_file: %w", err)
		}
		roots = x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("reading ca_file %s: it holds no certificate in PEM form", c.Daemon.CAFile)
		}
	}
	return probe.NewProber(probe.Config{
		Judge: rules.Judge, Ask: rules.Ask(), UserAgent: c.Daemon.UserAgent(version()), Roots: roots, Allow: c.Daemon.AllowAddresses, Memory: memory,
		HTTP3: http3.Do, Captures: captures,
		Recheck: c.Probe.Recheck, Habit: c.Probe.Habit, DNSTry: c.Probe.DNSTry,
	}), nil
}

// scheduledEvery is the interval of a scheduled probe, and 0 for a sweep.
func scheduledEvery(t *probe.Task) time.Duration {
	if t.Sweep != 0 {
		return 0
	}
	return t.Site.Interval
}

func world(c *config.Config) alert.World {
	return alert.World{Sites: c.Sites, Anchors: c.Anchors, Vantages: c.Vantages, Labels: c.Labels}
}

// inFlight bounds the probes under way by the file descriptors at hand: two for each, and some for everything else.
func inFlight(configured int) int {
	const reserve, each, most = 128, 2, 20000
	if configured > 0 {
		return configured
	}
	var lim syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &lim); err != nil {
		return 256
	}
	return int(min(most, max(16, (int64(min(lim.Cur, 1<<20))-reserve)/each)))
}

// run plays all parts until ctx is done, and ends them in the order of the data, so that nothing decided is lost.
func (d *daemon) run(ctx context.Context, listeners []listener) {
	var probing, judging, paging, serving sync.WaitGroup
	judgeCtx, endJudge := context.WithCancel(context.WithoutCancel(ctx))
	pageCtx, endPager := context.WithCancel(context.WithoutCancel(ctx))
	serveCtx, endServing := context.WithCancel(context.WithoutCancel(ctx))

	probing.Go(func() { d.runner.Run(ctx) })
	judging.Go(func() { d.judge.run(judgeCtx) })
	judging.Go(func() { d.saveLearned(judgeCtx) })
	paging.Go(func() { d.pager.run(pageCtx) })
	paging.Go(func() { d.saveKept(pageCtx) })
	for _, l := range listeners {
		serving.Go(func() { d.serve(serveCtx, l) })
		d.log.Info().Stringer("listen", l.Addr()).Bool("control", l.writes).Msg("serving")
		if d.options.serve != nil && !l.writes {
			d.options.serve(l.Addr())
		}
	}
	serving.Go(func() { d.watchdog(serveCtx) })
	serving.Go(func() { d.heart.run(ctx, d.isUseful) })
	d.ready.Store(true)
	systemd("READY=1")
	d.log.Info().Int("sites", len(d.cfg.Sites)).Int("vantages", len(d.cfg.Vantages)).Int("channels", len(d.cfg.Channels)).
		Str("version", version()).Msg("watching")

	d.reloadUntil(ctx)
	systemd("STOPPING=1")
	d.ready.Store(false)
	probing.Wait()
	endJudge()
	judging.Wait()
	endPager()
	paging.Wait()
	endServing()
	serving.Wait()
	d.keepLearned(d.judge.engine)
	d.counted = append(d.counted, d.counter.TakeAll()...)
	d.saveCounts()
	d.log.Info().Msg("stopped")
}

// heard is told of every result, in the judge's turn.
func (d *daemon) heard(now time.Time, r *probe.Result) {
	if d.record != nil {
		d.record.heard(now, r, d.tasks.Load())
	}
	d.counter.Heard(now, r)
	d.metrics.Result(r)
	d.feed.Result(r)
	d.feed.ViewChanged()
	if d.watch != nil {
		d.watch(r)
	}
}

// decided carries out what the engine decided, in the judge's turn: it hands over and does not wait.
func (d *daemon) decided(out *alert.Effects) {
	for i := range out.Incidents {
		in := &out.Incidents[i]
		d.feed.Incident(in)
		d.log.Warn().Str("incident", in.ID).Stringer("domain", in.Domain).Str("state", string(in.State)).
			Str("severity", string(in.Severity)).Uint64("rev", in.Rev).Msg("incident")
	}
	for i := range out.Notices {
		n := &out.Notices[i]
		d.log.Warn().Str("notice", n.Kind).Str("vantage", n.Vantage).Bool("over", n.Over).Str("text", n.Text).Msg("notice")
	}
	if len(out.Incidents)+len(out.Notices) > 0 {
		d.pager.tell(slices.Clone(out.Incidents), slices.Clone(out.Notices))
		d.keepCaptures(out.Incidents)
		d.feed.ViewChanged()
	}
	x := d.tasks.Load()
	for _, w := range out.Want {
		if d.swept != nil {
			d.swept(w)
		}
		s, v := x.sites[w.Site], x.vantages[w.Vantage]
		if s != nil && v != nil {
			d.runner.Ask(probe.Task{Site: s, Vantage: v, Family: w.Family, By: w.By, Timeout: min(w.Timeout, s.Timeout), Sweep: w.ID})
		}
	}
}

// delivery is how messages go out by a config.
func (d *daemon) delivery(c *config.Config) (notify.Config, error) {
	named, err := notifyChannels(c, d.log)
	if err != nil {
		return notify.Config{}, err
	}
	return notify.Config{
		Book: d.store, Channels: named, Routes: c.Routes, Site: d.site, Link: linker(c.Daemon.URL), Log: d.log,
		Present: func() []alert.Incident { return d.window.view().Incidents }, Timeout: c.Delivery.Timeout,
		Backoff: notify.Backoff{Base: c.Delivery.BackoffBase, Cap: c.Delivery.BackoffCap},
		OnOutcome: func(channel string, o notify.Outcome, latency time.Duration) {
			d.metrics.Notification(channel, string(o), latency)
		},
		OnTold:       d.keepTold,
		OnStoreError: func(err error) { d.storeFailed(savingPages, err) },
	}, nil
}

// site finds a site that is watched; nil = it is not.
func (d *daemon) site(name string) *probe.Site { return d.tasks.Load().sites[name] }

// linker gives the address of an incident's page; nil = nobody said where the page is.
func linker(base string) func(incident string) string {
	if base == "" {
		return nil
	}
	return func(incident string) string { return base + "/incidents/" + url.PathEscape(incident) }
}

// saveLearned keeps what was learned and what was counted, every minute.
func (d *daemon) saveLearned(ctx context.Context) {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		records := map[string][]byte{}
		err := d.judge.do(ctx, func(e *alert.Engine) {
			e.Dirty(func(k string, b []byte) { records[k] = b })
			if len(d.counted) == 0 { // else it goes on counting until that can be saved
				d.counted = d.counter.Take(time.Now())
			}
		})
		if err != nil {
			return
		}
		d.memory.Dirty(func(k string, b []byte) { records[k] = b })
		d.putLearned(records)
		d.saveCounts()
	}
}

// keepLearned keeps what was learned, at the end, when nobody else has the engine any more.
func (d *daemon) keepLearned(e *alert.Engine) {
	records := map[string][]byte{}
	e.Dirty(func(k string, b []byte) { records[k] = b })
	d.memory.Dirty(func(k string, b []byte) { records[k] = b })
	d.putLearned(records)
}

// putLearned saves records; those that cannot be saved are tried again with the next ones.
func (d *daemon) putLearned(records map[string][]byte) {
	for k, b := range d.learned {
		if _, newer := records[k]; !newer {
			records[k] = b
		}
	}
	if len(records) == 0 {
		return
	}
	d.learned = nil
	err := d.store.SaveLearned(func(yield func(string, []byte)) {
		for k, b := range records {
			yield(k, b)
		}
	})
	if err != nil {
		d.learned = records
	}
	d.storeFailed(savingLearned, err)
}

// saveCounts saves what was counted; what cannot be saved is tried again.
func (d *daemon) saveCounts() {
	if len(d.counted) == 0 {
		return
	}
	err := d.store.AddCounts(d.counted)
	if err == nil {
		d.counted = nil
	}
	d.storeFailed(savingCounts, err)
}

// listener is one address to serve at, and whether what comes there may change something.
type listener struct {
	net.Listener
	writes bool
	guard  *web.Guard // nil = none
}

func (d *daemon) listen() ([]listener, error) {
	var ls []listener
	if addr := d.cfg.Daemon.Listen; addr != "" {
		guard, err := d.guard()
		if err != nil {
			return nil, err
		}
		l, err := net.Listen("tcp", addr)
		if err != nil {
			return nil, fmt.Errorf("listening for the status page: %w; set listen to another address, or to \"\" for none", err)
		}
		ls = append(ls, listener{l, false, guard})
	}
	if path := d.cfg.Daemon.ControlSocket; path != "" {
		l, err := web.ListenControl(path)
		if err != nil {
			closeAll(ls)
			return nil, err
		}
		ls = append(ls, listener{l, true, nil})
	}
	return ls, nil
}

// guard reads the web config file; nil = there is none.
func (d *daemon) guard() (*web.Guard, error) {
	path := cmp.Or(d.webConfig, d.cfg.Daemon.WebConfigFile)
	if path == "" {
		return nil, nil //nolint:nilnil // a nil guard lets everybody read
	}
	return web.NewGuard(path, d.log)
}

func closeAll(ls []listener) {
	for _, l := range ls {
		_ = l.Close()
	}
}

func (d *daemon) serve(ctx context.Context, l listener) {
	h := web.New(web.Config{
		View: d.window.view, Reload: func() error { return d.reload(ctx) }, Ready: d.isReady, Healthy: d.isHealthy,
		Captures: d.store.Captures, Told: d.store.Told, Acknowledge: d.acknowledge,
		Silences: d.silences.list, AddSilence: d.silences.add, ExpireSilence: d.silences.expire, Silenced: d.silenced,
		History: d.store.History, Metrics: d.metrics, Feed: &d.feed, Recording: d.record.directory(), Writes: l.writes, Guard: l.guard, Version: version(), Log: d.log,
	})
	if err := web.Serve(ctx, l, h, l.guard.TLS(), d.log); err != nil {
		d.log.Error().Err(err).Stringer("listen", l.Addr()).Msg("serving ended")
	}
}

func (d *daemon) isReady() error {
	if !d.ready.Load() {
		return errors.New("starting or stopping")
	}
	return d.isHealthy()
}
