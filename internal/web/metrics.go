package web

import (
	"fmt"
	"hash/fnv"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/rs/zerolog"

	"faultline/alert"
	"faultline/probe"
)

// Metrics are the daemon's own metrics, in a registry of their own. All methods are safe for concurrent use; those that
// take a func are called at most once each, before the first scrape.
type Metrics struct {
	reg *prometheus.Registry

	results   *prometheus.CounterVec
	phases    *prometheus.HistogramVec
	starts    *prometheus.CounterVec
	startedAt prometheus.Histogram
	lag       prometheus.Histogram
	sweeps    *prometheus.CounterVec
	sent      *prometheus.CounterVec
	latency   prometheus.Histogram
	reloaded  prometheus.Gauge

	mu       sync.RWMutex
	counters map[resultKey]prometheus.Counter   // guarded by mu: looking one up in the vector costs far more
	timers   map[string]*[5]prometheus.Observer // guarded by mu; by vantage, in the order of phaseLabels
}

type resultKey struct {
	vantage string
	class   probe.Class
	fault   probe.Fault
}

var phaseLabels = [5]string{"resolve", "connect", "tls", "ttfb", "total"}

// NewMetrics makes the metrics of a daemon of that version. view is read at every scrape and must never give nil. With
// perSite there are series for each site, unless there are more than 2,000 sites.
func NewMetrics(version string, view func() *alert.View, perSite bool) *Metrics {
	m := &Metrics{
		reg: prometheus.NewRegistry(),
		results: counter("faultline_probe_results_total",
			"Finished probes, by what they found and whose failure it is.", "vantage", "class", "fault"),
		phases: prometheus.NewHistogramVec(seconds("faultline_probe_phase_seconds",
			"Length of each phase of the probes that reached it, and of the whole."), []string{"vantage", "phase"}),
		starts: counter("faultline_probe_starts_total", "Probes begun, sweeps included.", "vantage"),
		startedAt: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "faultline_schedule_phase_ratio",
			Help:    "Where in their interval scheduled probes began: an even schedule fills all buckets alike.",
			Buckets: []float64{0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1},
		}),
		lag: prometheus.NewHistogram(seconds("faultline_schedule_lag_seconds",
			"How late scheduled probes began.")),
		sweeps: counter("faultline_sweeps_total", "Extra probes that were asked for, by what became of them.", "outcome"),
		sent:   counter("faultline_notifications_total", "Attempts to deliver a notification.", "channel", "outcome"),
		latency: prometheus.NewHistogram(seconds("faultline_notification_latency_seconds",
			"Time from the decision to notify until a channel had taken it.")),
		reloaded: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "faultline_config_last_reload_successful", Help: "1 when the config file was good the last time it was read.",
		}),
		counters: map[resultKey]prometheus.Counter{},
		timers:   map[string]*[5]prometheus.Observer{},
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "faultline_build_info", Help: "Always 1; the labels say what is running.",
		ConstLabels: prometheus.Labels{"version": label(version), "goversion": runtime.Version()},
	})
	build.Set(1)
	m.reloaded.Set(1) // a daemon that runs has read its config
	m.reg.MustRegister(m.results, m.phases, m.starts, m.startedAt, m.lag, m.sweeps, m.sent, m.latency, m.reloaded, build,
		viewCollector{view, perSite},
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Result counts a result. A pending one does not count: the final one will.
func (m *Metrics) Result(r *probe.Result) {
	if r.Pending {
		return
	}
	c, timers := m.series(resultKey{r.Vantage, r.Class, r.Fault})
	c.Inc()
	t := &r.Time
	for n, d := range [5]time.Duration{t.Resolve, t.Connect, t.TLS, t.TTFB, t.Total} {
		if d > 0 { // else it was not reached
			timers[n].Observe(d.Seconds())
		}
	}
}

func (m *Metrics) series(k resultKey) (prometheus.Counter, *[5]prometheus.Observer) {
	m.mu.RLock()
	c, timers := m.counters[k], m.timers[k.vantage]
	m.mu.RUnlock()
	if c != nil {
		return c, timers
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	vantage := label(k.vantage)
	c = m.results.WithLabelValues(vantage, k.class.String(), k.fault.String())
	m.counters[k] = c
	if timers = m.timers[k.vantage]; timers == nil {
		timers = new([5]prometheus.Observer)
		for n, phase := range phaseLabels {
			timers[n] = m.phases.WithLabelValues(vantage, phase)
		}
		m.timers[k.vantage] = timers
	}
	return c, timers
}

// Start counts a probe begun at that time from a vantage. every is the interval of a scheduled one, 0 for a sweep's.
func (m *Metrics) Start(vantage string, at time.Time, every time.Duration) {
	m.starts.WithLabelValues(label(vantage)).Inc()
	if every > 0 {
		m.startedAt.Observe(float64(at.UnixNano()%int64(every)) / float64(every))
	}
}

// ScheduleLag takes how late a scheduled probe began; less than nothing counts as nothing.
func (m *Metrics) ScheduleLag(d time.Duration) { m.lag.Observe(max(d, 0).Seconds()) }

// Sweep counts an extra probe that was asked for; outcome comes from a closed list of the caller's.
func (m *Metrics) Sweep(outcome string) { m.sweeps.WithLabelValues(label(outcome)).Inc() }

// Notification counts an attempt to deliver; outcome comes from a closed list of the caller's. latency is the time from
// the decision until the channel had taken it, 0 when it has not.
func (m *Metrics) Notification(channel, outcome string, latency time.Duration) {
	m.sent.WithLabelValues(label(channel), label(outcome)).Inc()
	if latency > 0 {
		m.latency.Observe(latency.Seconds())
	}
}

// Reloaded takes whether the config was good when it was last read.
func (m *Metrics) Reloaded(ok bool) { m.reloaded.Set(truth(ok)) }

// Pending shows the number of deliveries that no channel has taken yet.
func (m *Metrics) Pending(n func() int) {
	m.gauge("faultline_deliveries_pending", "Deliveries that their channel has not taken yet.", n)
}

// InFlight shows the number of probes under way.
func (m *Metrics) InFlight(n func() int) {
	m.gauge("faultline_probes_in_flight", "Probes under way.", n)
}

func (m *Metrics) gauge(name, help string, n func() int) {
	m.reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help},
		func() float64 { return float64(n()) }))
}

// handler leaves out a series that is wrong and logs it, rather than losing the whole scrape.
func (m *Metrics) handler(log zerolog.Logger) http.Handler {
	return promhttp.HandlerFor(m.reg, promhttp.HandlerOpts{
		ErrorHandling: promhttp.ContinueOnError, ErrorLog: scrapeLog{log}, EnableOpenMetrics: true, MaxRequestsInFlight: 8,
	})
}

type scrapeLog struct{ log zerolog.Logger }

func (l scrapeLog) Println(v ...any) {
	l.log.Warn().Str("what", fmt.Sprint(v...)).Msg("scrape incomplete")
}

func counter(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
}

// seconds describes a histogram of times, native and, for older scrapers, in buckets from 1 ms to a minute.
func seconds(name, help string) prometheus.HistogramOpts {
	return prometheus.HistogramOpts{
		Name: name, Help: help,
		Buckets:                         []float64{0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60},
		NativeHistogramBucketFactor:     1.1,
		NativeHistogramMaxBucketNumber:  100,
		NativeHistogramMinResetDuration: time.Hour,
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

const maxLabel = 128 // bytes

// label makes s a legal label value of bounded length. Two long values stay two: what was cut off is hashed.
func label(s string) string {
	if len(s) <= maxLabel && utf8.ValidString(s) {
		return s
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(s)) // never fails
	return fmt.Sprintf("%s~%08x", strings.ToValidUTF8(s[:min(len(s), maxLabel-9)], ""), h.Sum32())
}
