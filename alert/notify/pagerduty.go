package notify

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"faultline/alert"
)

// PagerDutyURL is where PagerDuty takes events. Accounts in its EU region have https://events.eu.pagerduty.com/v2/enqueue.
const PagerDutyURL = "https://events.pagerduty.com/v2/enqueue"

// PagerDuty is the channel that sends events to PagerDuty's Events API v2, or to what speaks the same. The dedup_key is
// the incident's key, or the notice's behind the fleet's name, so that several hubs, and repeats, make one PagerDuty
// incident.
//
// A page, and a notice, is a trigger; an acknowledgement acknowledges; the end resolves. Updates, reminders and
// recoveries are taken without being sent. PagerDuty reminds and escalates by itself, and under a key whose incident was
// resolved there by hand a further trigger would open a second one and wake the same person again, once a minute in a
// long outage. The one exception is an incident that fails again after it had recovered: whoever has closed it meanwhile
// must hear of that, so each wave triggers once, and once more after a restart of this program. Where the incident is
// still open, PagerDuty only adds the trigger to its log. The link leads to what is known now. A notice that becomes a page
// is a trigger of severity critical instead of warning under the same key, at which PagerDuty raises the urgency.
//
// PagerDuty takes an event with status 202, or another 2xx with {"status": "success"}; any other page that a wrong URL
// leads to is no acceptance.
type PagerDuty struct {
	place      *place
	routingKey string
	fleet      string

	mu    sync.Mutex
	waves map[string]int // guarded by mu; by Incident.ID: the newest wave that was triggered
}

// NewPagerDuty makes a channel of an integration's routing key. The fleet's name groups what comes from here.
func NewPagerDuty(rawURL, routingKey, fleet string) (*PagerDuty, error) {
	p, err := newPlace("PagerDuty's", rawURL, routingKey)
	if err != nil {
		return nil, err
	}
	return &PagerDuty{place: p, routingKey: routingKey, fleet: fleet, waves: map[string]int{}}, nil
}

// The actions of an event.
const (
	pdTrigger     = "trigger"
	pdAcknowledge = "acknowledge"
	pdResolve     = "resolve"
)

// The limits of an event, by PagerDuty's documentation. That of the whole, 512 KB, is far from what the details can hold.
const (
	pdMaxKey     = 255
	pdMaxSummary = 1024
)

// pdEvent is what PagerDuty takes.
type pdEvent struct {
	RoutingKey string     `json:"routing_key"`
	Action     string     `json:"event_action"`
	DedupKey   string     `json:"dedup_key"`
	Payload    *pdPayload `json:"payload,omitempty"` // of a trigger, as all that follows
	Client     string     `json:"client,omitempty"`
	ClientURL  string     `json:"client_url,omitempty"`
	Links      []pdLink   `json:"links,omitempty"`
}

type pdPayload struct {
	Summary   string `json:"summary"`
	Source    string `json:"source"`
	Severity  string `json:"severity"`
	Timestamp string `json:"timestamp,omitempty"`
	Component string `json:"component,omitempty"`
	Group     string `json:"group,omitempty"`
	Class     string `json:"class,omitempty"`
	Details   any    `json:"custom_details,omitempty"`
}

type pdLink struct {
	Href string `json:"href"`
	Text string `json:"text"`
}

// Deliver sends the events that m stands for.
func (p *PagerDuty) Deliver(ctx context.Context, m Message) error {
	if m.Incident == nil {
		return p.deliverNotices(ctx, &m)
	}
	for _, action := range p.actions(&m) {
		if err := p.send(ctx, p.incidentEvent(&m, action)); err != nil {
			return err
		}
		p.note(m.Incident, action)
	}
	return nil
}

// actions say what becomes of an incident, in order. What someone had taken on before PagerDuty heard of it wakes nobody
// there for long.
func (p *PagerDuty) actions(m *Message) []string {
	i := m.Incident
	switch event := m.Event(); {
	case i.State == alert.StateResolved:
		return []string{pdResolve}
	case event == EventPage || event == EventNotice || event == EventTest:
		if i.Ack != nil {
			return []string{pdTrigger, pdAcknowledge}
		}
		return []string{pdTrigger}
	case event == EventAcknowledged:
		return []string{pdAcknowledge}
	case event == EventUpdate && i.Waves > 1:
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.waves[i.ID] < i.Waves {
			return []string{pdTrigger}
		}
	}
	return nil
}

// note remembers what PagerDuty has taken, as long as the incident lasts.
func (p *PagerDuty) note(i *alert.Incident, action string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch action {
	case pdTrigger:
		p.waves[i.ID] = i.Waves
	case pdResolve:
		delete(p.waves, i.ID)
	}
}

// deliverNotices sends the newest of each key. A refusal for good keeps none of the others from being tried.
func (p *PagerDuty) deliverNotices(ctx context.Context, m *Message) error {
	newest := map[string]*alert.Notice{}
	for i := range m.Notices {
		newest[m.Notices[i].Key] = &m.Notices[i]
	}
	const atATime = 8
	slots := make(chan struct{}, atATime)
	errs := make([]error, len(m.Notices))
	var wg sync.WaitGroup
	for i := range m.Notices {
		if n := &m.Notices[i]; newest[n.Key] == n {
			slots <- struct{}{}
			wg.Go(func() {
				errs[i] = p.send(ctx, p.noticeEvent(m, n))
				<-slots
			})
		}
	}
	wg.Wait()
	return worstOf(errs)
}

// worstOf is nil if all are, an error that is worth another attempt if there is one, and else one that is not.
func worstOf(errs []error) error {
	var worst error
	for _, err := range errs {
		if err != nil && (worst == nil || outcomeOf(err) == OutcomeFailed) {
			worst = err
		}
	}
	return worst
}

func (p *PagerDuty) send(ctx context.Context, e *pdEvent) error {
	body, err := json.Marshal(e)
	if err != nil {
		return Permanent(fmt.Errorf("encoding event: %w", err))
	}
	r, err := p.place.send(ctx, body, map[string]string{"Content-Type": "application/json"})
	if err != nil {
		return err
	}
	var answer struct {
		Status  string
		Message string
		Errors  []string
	}
	bad := json.Unmarshal([]byte(r.body), &answer)
	if r.status == http.StatusAccepted || r.ok() && answer.Status == "success" {
		return nil
	}
	words := strings.Join(append([]string{answer.Message}, answer.Errors...), "; ")
	if bad != nil {
		words = r.body
	}
	if r.ok() {
		return fmt.Errorf("%s: it answered %d%s, which is no acceptance by PagerDuty; check PagerDuty's URL", p.place.doing(), r.status, p.place.said(words))
	}
	return p.place.judge(r, p.place.said(words))
}
