// Package alert decides: it takes probe results and the time, and gives back incidents, notices and wants (extra
// probes). It does no I/O, has no clock and no goroutine, and does not depend on the order of a map.
package alert

import (
	"time"

	"faultline/probe"
)

// Domain is a failure domain: something that several results share and that can fail as one.
type Domain struct {
	Kind string `json:"kind"` // one of the Kind constants, or a site label that the config declares
	Name string `json:"name"`
}

func (d Domain) String() string { return d.Kind + ":" + d.Name }

// The kinds of domain that the engine knows by itself.
const (
	KindCDN       = "cdn"        // a CDN's edge
	KindCDNOrigin = "cdn-origin" // a CDN cannot reach many unrelated origins
	KindDNS       = "dns"        // operator of the zones' name servers
	KindNetwork   = "network"    // the one that the answering addresses lie in
	KindPath      = "path"       // the way from some regions; transit, unnamed
	KindCA        = "ca"         // issuer of the certificates
	KindResolver  = "resolver"   // that vantages ask
	KindOrigin    = "origin"     // one owner's sites
	KindVantage   = "vantage"    // a place to look from
	KindSelf      = "self"       // this program: its sight, its store, its deliveries
)

// Severity says whether a person is woken.
type Severity string

// The severities.
const (
	SeverityPage   Severity = "page"
	SeverityNotice Severity = "notice"
)

// Scope says from how much of the world a failure is seen.
type Scope string

// The scopes.
const (
	ScopeGlobal   Scope = "global"
	ScopeRegional Scope = "regional"
	ScopeNone     Scope = "none"
)

// Assessment is the kind of trouble an incident looks like, from the closed list of the contract.
type Assessment string

// The assessments.
const (
	ProviderOutage Assessment = "provider_outage"
	Interference   Assessment = "interference"
	SingleOwner    Assessment = "single_owner"
	PathTrouble    Assessment = "path"
	ProberTrouble  Assessment = "prober"
	Unclear        Assessment = "unclear"
)

// State is where an incident is in its life.
type State string

// The states, in the order of a life; a wave leads from Recovering back to Open.
const (
	StateOpen       State = "open"
	StateRecovering State = "recovering" // its members answer again since RecoveringAt
	StateResolved   State = "resolved"   // stable for the policy's time; RecoveringAt is the end of the failure
)

// Incident is one failure domain's failure, from onset to resolution, with its evidence. It is a value: the engine
// hands out copies whose slices it never touches again.
type Incident struct {
	ID       string   `json:"id"`  // "20190702T134202Z-cdn-cloudflare"; for reports
	Key      string   `json:"key"` // faultline/<fleet>/<kind>/<name>: the dedup key, without time or host
	Rev      uint64   `json:"rev"` // grows with every change that people should hear of
	Domain   Domain   `json:"domain"`
	State    State    `json:"state"`
	Severity Severity `json:"severity"`
	Scope    Scope    `json:"scope"`
	Or       []Domain `json:"or,omitempty"` // what explains the failures just as well

	Assessment Assessment `json:"assessment"`
	Why        []string   `json:"why"` // the reasons for the domain and the assessment, a sentence each

	Onset        time.Time `json:"onset"`                  // estimated: the first failing answer, less its own length
	OpenedAt     time.Time `json:"opened_at"`              // when it was decided
	PagedAt      time.Time `json:"paged_at,omitzero"`      // when it was decided to wake someone; zero for a notice only
	RecoveringAt time.Time `json:"recovering_at,omitzero"` // since when its members answer again
	ResolvedAt   time.Time `json:"resolved_at,omitzero"`
	Waves        int       `json:"waves"`         // 1 + how often it came back before it was resolved
	Ack          *Ack      `json:"ack,omitempty"` // nil = nobody has taken it on

	Failing Counts   `json:"failing"`           // members failing now, or, once recovering, at the worst
	Of      Counts   `json:"of"`                // members that were seen since the onset
	Regions []string `json:"regions,omitempty"` // of the vantages that show it, sorted
	Members []Member `json:"members,omitempty"` // failing sites, the first to fail first; at most MaxMembers
	Fine    []string `json:"fine,omitempty"`    // what is not failing, a phrase each ("fastly: 10 of 10 owners answer")

	Evidence []probe.Result `json:"evidence,omitempty"` // first failing answers of different sites; at most MaxEvidence
	Course   []Point        `json:"course,omitempty"`   // how much failed when; at most MaxCourse
}

// Bounds of what an incident carries.
const (
	MaxMembers  = 200
	MaxEvidence = 8
	MaxCourse   = 240
)

// Point is how much of a failure domain failed at a time.
type Point struct {
	At       time.Time      `json:"at"`
	Failing  int            `json:"failing"`            // sites
	Of       int            `json:"of"`                 // sites that were seen since the onset
	Vantages map[string]int `json:"vantages,omitempty"` // of those seen from each, how many per cent fail there
}

// Counts counts the distinct things an incident is about.
type Counts struct {
	Sites    int `json:"sites"`
	Owners   int `json:"owners"`
	Vantages int `json:"vantages"`
}

// Member is one failing site of an incident.
type Member struct {
	Site     string    `json:"site"`
	Owner    string    `json:"owner"`
	Since    time.Time `json:"since"` // its first failing answer
	Vantages []string  `json:"vantages"`
	Class    string    `json:"class"` // of its first failing answer
	Status   int       `json:"status,omitempty"`
	Now      bool      `json:"now"` // still failing
}

// Notice is worth knowing and wakes nobody.
type Notice struct {
	ID      string    `json:"id"`
	Kind    string    `json:"kind"` // one of the Notice constants
	At      time.Time `json:"at"`
	Over    bool      `json:"over,omitempty"` // the end of what an earlier one with the same Key said
	Key     string    `json:"key"`            // kind and subject: what an end refers to
	Domain  Domain    `json:"domain,omitzero"`
	Vantage string    `json:"vantage,omitempty"`
	Site    string    `json:"site,omitempty"`
	Text    string    `json:"text"`
}

// The kinds of notice, from the closed list of the contract.
const (
	NoticeVantageUnhealthy = "vantage_unhealthy"
	NoticeVantageBlocked   = "vantage_blocked"
	NoticeUnreachableFrom  = "unreachable_from"
	NoticeCofailure        = "cofailure"
	NoticeMassBlock        = "mass_block"
	NoticeClock            = "clock"
	NoticeSlow             = "slow"
	NoticeOwner            = "owner"
	NoticeSite             = "site"
	NoticeCertExpiry       = "cert_expiry"
	NoticeUnobservable     = "unobservable"
)

// Want is an extra probe that suspicion asks for. It may be dropped: then the engine is slower, not wrong.
type Want struct {
	ID      uint64
	Vantage string
	Family  probe.Family // FamilyAny where the site leaves no choice
	Site    string
	By      time.Time // not begun by then: drop it
	Timeout time.Duration
	Why     Reason
}

// Reason says why a Want was asked for; budgets are kept apart by it.
type Reason uint8

// The reasons.
const (
	WhySelfCheck Reason = iota // anchors of a vantage where something failed
	WhyConfirm                 // the failing site, and neighbours, from elsewhere
	WhySweep                   // all of a suspected domain, and controls
)

var reasonNames = [...]string{"self-check", "confirm", "sweep"}

func (r Reason) String() string {
	if int(r) < len(reasonNames) {
		return reasonNames[r]
	}
	return "unknown"
}

// Effects are the decisions of one Advance. The caller owns it and hands the same one in again; Advance appends.
type Effects struct {
	Incidents []Incident // new or changed, in order; of one incident only the newest matters
	Notices   []Notice
	Want      []Want
}

// Reset empties e and keeps its memory.
func (e *Effects) Reset() {
	e.Incidents, e.Notices, e.Want = e.Incidents[:0], e.Notices[:0], e.Want[:0]
}
