package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// alertmanagers are told of everything, each and at the same time: those of a cluster do not pass alerts on to each other.
type alertmanagers struct {
	places []*place
	token  string
	log    zerolog.Logger // of what becomes of each, when that changes

	mu      sync.Mutex
	failing []bool // guarded by mu; by place
}

// amTimeout is how long one has to take alerts; amPatience how long the others have when one has taken them. They get the
// next repetition, and a page must not wait for one that hangs.
const (
	amTimeout  = 5 * time.Second
	amPatience = time.Second
)

const amPath = "/api/v2/alerts"

// newAlertmanagers takes the URLs that their pages have, http or https, which may carry user and password.
func newAlertmanagers(urls []string, token string, log zerolog.Logger) (*alertmanagers, error) {
	if len(urls) == 0 {
		return nil, errors.New("there is no Alertmanager's URL")
	}
	a := &alertmanagers{token: token, log: log, failing: make([]bool, len(urls))}
	for _, u := range urls {
		p, err := newPlace("the Alertmanager's", u, token)
		if err != nil {
			return nil, err
		}
		if !strings.HasSuffix(p.url.Path, amPath) {
			p.url = p.url.JoinPath(amPath)
		}
		a.places = append(a.places, p)
	}
	return a, nil
}

// amAlert is one alert as the API takes it.
type amAlert struct {
	Labels       map[string]string `json:"labels"`
	Annotations  map[string]string `json:"annotations,omitempty"`
	StartsAt     time.Time         `json:"startsAt,omitzero"`
	EndsAt       time.Time         `json:"endsAt"`
	GeneratorURL string            `json:"generatorURL,omitempty"`
}

// The bounds of an alert, in bytes.
const (
	amMaxLabel      = 256
	amMaxAnnotation = 8 << 10
)

// newAMAlert makes an alert that Alertmanager takes: valid text only, nothing empty, and no end before its start.
func newAMAlert(labels, annotations map[string]string, starts, ends time.Time, link string) amAlert {
	a := amAlert{Labels: map[string]string{}, Annotations: map[string]string{}, StartsAt: starts.UTC(), EndsAt: ends.UTC(), GeneratorURL: webLink(link)}
	for k, v := range labels {
		if v != "" {
			a.Labels[k] = fold(v, amMaxLabel)
		}
	}
	for k, v := range annotations {
		if v != "" {
			a.Annotations[k] = cut(v, amMaxAnnotation)
		}
	}
	if a.StartsAt.After(a.EndsAt) {
		a.StartsAt = a.EndsAt
	}
	return a
}

// post is nil when at least one of them has taken the alerts. It returns when all have answered or had their time.
func (a *alertmanagers) post(ctx context.Context, alerts ...amAlert) error {
	body, err := json.Marshal(alerts)
	if err != nil {
		return Permanent(fmt.Errorf("encoding alerts: %w", err))
	}
	limited, cut := context.WithCancel(ctx)
	defer cut()
	limit := time.AfterFunc(amTimeout, cut)
	defer limit.Stop()
	errs := make([]error, len(a.places))
	var hurry sync.Once
	var wg sync.WaitGroup
	for n, p := range a.places {
		wg.Go(func() {
			errs[n] = a.postTo(limited, p, body)
			if errs[n] == nil {
				hurry.Do(func() { limit.Reset(amPatience) })
			} else if limited.Err() != nil && ctx.Err() == nil {
				errs[n] = fmt.Errorf("%s: it did not answer in time", p.doing())
			}
		})
	}
	wg.Wait()
	if !errors.Is(ctx.Err(), context.Canceled) { // our own end is nobody's failure
		a.note(errs)
	}
	return allOf(errs)
}

func (a *alertmanagers) postTo(ctx context.Context, p *place, body []byte) error {
	header := map[string]string{"Content-Type": "application/json"}
	if a.token != "" {
		header["Authorization"] = "Bearer " + a.token
	}
	r, err := p.send(ctx, body, header)
	if err != nil {
		return err
	}
	return p.judge(r, p.said(r.body))
}

// note logs which of them have stopped to take alerts, and which do again.
func (a *alertmanagers) note(errs []error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for n, err := range errs {
		if (err != nil) == a.failing[n] {
			continue
		}
		a.failing[n] = err != nil
		if err != nil {
			a.log.Warn().Err(err).Msg("alertmanager takes no alerts")
		} else {
			a.log.Info().Str("alertmanager", a.places[n].where()).Msg("alertmanager takes alerts again")
		}
	}
}

// allOf is what several that were told the same make together: nil when one has taken it, for good when all have refused
// it so, and after a time when none of those left wants to hear of it before.
func allOf(errs []error) error {
	var texts []string
	var after time.Duration
	refused, waits := true, true
	for _, err := range errs {
		if err == nil {
			return nil
		}
		texts = append(texts, err.Error())
		var retry *RetryError
		switch {
		case outcomeOf(err) == OutcomeRefused:
			continue
		case !errors.As(err, &retry):
			waits = false
		case refused || retry.After < after:
			after = retry.After
		}
		refused = false
	}
	err := errors.New(strings.Join(texts, "; ")) // without what one of them wants, which is not what all do
	switch {
	case refused:
		return Permanent(err)
	case waits:
		return &RetryError{After: after, Err: err}
	}
	return err
}
