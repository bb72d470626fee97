package web

import (
	"github.com/prometheus/client_golang/prometheus"

	"faultline/alert"
)

// maxPerSite is the number of sites from which on there are no series for each site.
const maxPerSite = 2000

var (
	siteUp = prometheus.NewDesc("faultline_site_up",
		"1 when the site answered as it should, 0 when not; absent when the newest answer does not count.", []string{"site", "group", "vantage"}, nil)
	siteInfo = prometheus.NewDesc("faultline_site_info",
		"Always 1; the labels say what is known of the site.", []string{"site", "group", "cdn"}, nil)
	domainSites = prometheus.NewDesc("faultline_domain_sites",
		"Sites that belong to the failure domain.", []string{"kind", "name"}, nil)
	domainFailing = prometheus.NewDesc("faultline_domain_failing_ratio",
		"Share of the failure domain's owners that are failing.", []string{"kind", "name"}, nil)
	domainScore = prometheus.NewDesc("faultline_domain_score",
		"How sure it is that the failure domain fails, in nats; 0 while nothing is suspected.", []string{"kind", "name"}, nil)
	domainThreshold = prometheus.NewDesc("faultline_domain_threshold",
		"The score that the failure domain must reach to page.", []string{"kind", "name"}, nil)
	incidentOpen = prometheus.NewDesc("faultline_incident_open",
		"Incidents that are not resolved.", []string{"kind", "name", "severity", "scope"}, nil)
	vantageHealthy = prometheus.NewDesc("faultline_vantage_healthy",
		"1 when the vantage is well, 0 when its results do not count.", []string{"vantage"}, nil)
)

// viewCollector makes series of the newest view when asked, so that nothing is kept per site between scrapes.
type viewCollector struct {
	view    func() *alert.View
	perSite bool
}

// Describe implements prometheus.Collector.
func (c viewCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{siteUp, siteInfo, domainSites, domainFailing, domainScore, domainThreshold, incidentOpen, vantageHealthy} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c viewCollector) Collect(ch chan<- prometheus.Metric) {
	v := c.view()
	for n := range v.Vantages {
		gauge(ch, vantageHealthy, truth(v.Vantages[n].Healthy), v.Vantages[n].Name)
	}
	for n := range v.Domains {
		if d := &v.Domains[n]; d.Quorum || d.Suspect || d.Open != "" {
			gauge(ch, domainSites, float64(d.Sites), d.Kind, d.Name)
			gauge(ch, domainFailing, d.Ratio, d.Kind, d.Name)
			gauge(ch, domainScore, d.Score, d.Kind, d.Name)
			gauge(ch, domainThreshold, d.Threshold, d.Kind, d.Name)
		}
	}
	collectIncidents(ch, v)
	if c.perSite && len(v.Sites) <= maxPerSite {
		for n := range v.Sites {
			collectSite(ch, v, &v.Sites[n])
		}
	}
}

func collectIncidents(ch chan<- prometheus.Metric, v *alert.View) {
	open := map[[4]string]float64{}
	for n := range v.Incidents {
		if i := &v.Incidents[n]; i.State != alert.StateResolved {
			open[[4]string{i.Domain.Kind, i.Domain.Name, string(i.Severity), string(i.Scope)}]++
		}
	}
	for k, n := range open {
		gauge(ch, incidentOpen, n, k[:]...)
	}
}

// collectSite leaves anchors out: they say how the vantage is, and nobody asked for them to be watched.
func collectSite(ch chan<- prometheus.Metric, v *alert.View, s *alert.SiteView) {
	if s.Anchor {
		return
	}
	gauge(ch, siteInfo, 1, s.Site, s.Group, s.CDN)
	for n, c := range s.Cells {
		if n < len(v.Vantages) && (c.State == alert.CellOK || c.State == alert.CellFailing) {
			gauge(ch, siteUp, truth(c.State == alert.CellOK), s.Site, s.Group, v.Vantages[n].Name)
		}
	}
}

func gauge(ch chan<- prometheus.Metric, d *prometheus.Desc, value float64, labels ...string) {
	clean := make([]string, len(labels))
	for n, l := range labels {
		clean[n] = label(l)
	}
	ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, clean...)
}
