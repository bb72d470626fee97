package alert

import (
	"time"

	"faultline/probe"
)

// World is what there is to watch, and from where. Anchors are ordinary sites with Site.Anchor set.
type World struct {
	Sites    []*probe.Site
	Anchors  []*probe.Site
	Vantages []*probe.Vantage
	Labels   []string // those that are failure domains; "group" is the sites' group
}

// Policy holds the numbers by which the engine decides. All are set: see DefaultPolicy.
type Policy struct {
	Fleet string // name of the fleet, in every dedup key

	FalsePages  float64 // that may be raised in a year, over all domains, by chance
	MinOwners   int     // a domain with fewer failing owners never pages
	MinVantages int     // likewise; capped by the number of vantages configured
	MinShare    float64 // of a domain's owners seen since the onset that must fail, unless most failures name the edge

	Window     time.Duration // how far apart onsets may lie to be one event
	Quiet      time.Duration // after a start, nothing is decided for so long
	Hold       time.Duration // least time for a vantage's anchors to answer before they are asked again, and for a larger domain to be seen
	Strange    time.Duration // owners fail together without proof for so long: that is told
	Blind      time.Duration // too little is seen for so long: that pages
	Lost       time.Duration // a vantage that has sent nothing for so long is told
	Quarantine time.Duration // a sick vantage is left out for at least so long
	ClearAfter time.Duration // failing share below a tenth for so long: recovering
	Resolve    time.Duration // recovering for so long: resolved
	Leave      time.Duration // a member still failing so long after the others is no part of the incident any more
	Alone      time.Duration // a site that fails alone is told after so long
	Update     time.Duration // least time between two updates of one incident

	Unobservable time.Duration // a site whose every answer is a block for so long is told
	SlowBy       time.Duration // an answer that takes less than so much longer than usual is not slow
	Accustom     time.Duration // slowness that lasts so long is the site's habit from then on

	SweepTimeout time.Duration // of one extra probe
	SweepBy      time.Duration // an extra probe not begun by then is dropped
	SweepEvery   time.Duration // least time between two sweeps of one domain, or two self-checks of a vantage

	ScanEvery time.Duration // least time between two scans of what was touched
	SlowEvery time.Duration // and of what only time can change
}

// DefaultPolicy is the policy of a config that says nothing else. Figures: detection study, sections 0 and 3.
func DefaultPolicy() Policy {
	return Policy{
		Fleet:      "main",
		FalsePages: 1, MinOwners: 3, MinVantages: 2, MinShare: 0.5,
		Window: 300 * time.Second, Quiet: 60 * time.Second, Hold: 2 * time.Second, Strange: 240 * time.Second, Blind: 30 * time.Second, Lost: 5 * time.Minute, Quarantine: 60 * time.Second,
		ClearAfter: 60 * time.Second, Resolve: 600 * time.Second, Leave: 30 * time.Minute, Alone: 30 * time.Second, Update: 60 * time.Second,
		Unobservable: 30 * time.Minute, SlowBy: 500 * time.Millisecond, Accustom: 24 * time.Hour,
		SweepTimeout: 3 * time.Second, SweepBy: 2 * time.Second, SweepEvery: 10 * time.Second,
		ScanEvery: 50 * time.Millisecond, SlowEvery: 250 * time.Millisecond,
	}
}

// Scale divides every duration of p by n: a drill's time runs n times as fast.
func (p Policy) Scale(n float64) Policy {
	for _, d := range []*time.Duration{
		&p.Window, &p.Quiet, &p.Hold, &p.Strange, &p.Blind, &p.Lost, &p.Quarantine, &p.ClearAfter, &p.Resolve, &p.Leave, &p.Alone, &p.Update,
		&p.Unobservable, &p.SlowBy, &p.Accustom,
		&p.SweepTimeout, &p.SweepBy, &p.SweepEvery, &p.ScanEvery, &p.SlowEvery,
	} {
		*d = time.Duration(float64(*d) / n)
	}
	return p
}

// Saved is what an engine is started again with.
type Saved struct {
	Incidents []Incident        // those not resolved
	Learned   map[string][]byte // by the keys of Engine.Dirty
}

// View is what the engine shows, for pages and metrics. It is filled anew by Engine.View; the caller owns it.
type View struct {
	At        time.Time     `json:"at"`
	QuietTill time.Time     `json:"quiet_till,omitzero"` // nothing is decided before, because the daemon has just started
	Incidents []Incident    `json:"incidents"`           // not resolved, the oldest first; then the last resolved ones
	Domains   []DomainView  `json:"domains"`             // by kind and name
	Vantages  []VantageView `json:"vantages"`            // in the order of the world, then each "NAME (ip6)" where IPv6 is looked at by itself
	Sites     []SiteView    `json:"sites"`               // in the order of the world; anchors last
}

// DomainView is a failure domain as the engine sees it now.
type DomainView struct {
	Domain
	Sites   int     `json:"sites"`
	Owners  int     `json:"owners"`
	Failing int     `json:"failing_owners"`
	Ratio   float64 `json:"failing_ratio"`      // failing owners over those that were seen lately; 0 to 1
	Quorum  bool    `json:"quorum"`             // it has owners enough to page
	Suspect bool    `json:"suspect"`            // a scan is under way
	Open    string  `json:"incident,omitempty"` // ID of its open incident

	Score     float64 `json:"score"`     // how sure it is that it fails, in nats; 0 while nothing is suspected
	Threshold float64 `json:"threshold"` // that the score must reach
}

// VantageView is a vantage as the engine sees it now.
type VantageView struct {
	Name    string    `json:"name"`
	Region  string    `json:"region,omitempty"`
	Healthy bool      `json:"healthy"`
	Since   time.Time `json:"since,omitzero"`
	Why     string    `json:"why,omitempty"`
	LastAt  time.Time `json:"last_at,omitzero"`
}

// SiteView is a site as the engine sees it now, with a cell for each of View.Vantages, in their order.
type SiteView struct {
	Site   string     `json:"site"`
	URL    string     `json:"url"`
	Group  string     `json:"group,omitempty"`
	Owner  string     `json:"owner"`
	CDN    string     `json:"cdn"`
	Anchor bool       `json:"anchor,omitempty"`
	Cells  []CellView `json:"cells"`
}

// CellView is the newest answer of a site at a vantage.
type CellView struct {
	State CellState   `json:"state"`
	Class probe.Class `json:"-"`
	Fault probe.Fault `json:"-"`
	At    time.Time   `json:"at,omitzero"`
	Since time.Time   `json:"since,omitzero"` // of the present state
}

// CellState is a cell's state in one word.
type CellState string

// The states of a cell. Blocked, stale and no data are neither well nor failing.
const (
	CellOK      CellState = "ok"
	CellFailing CellState = "failing"
	CellPending CellState = "pending"
	CellBlocked CellState = "blocked"
	CellSick    CellState = "sick"  // the vantage is: its results do not count
	CellStale   CellState = "stale" // no result for three intervals
	CellNone    CellState = "no data"
)
