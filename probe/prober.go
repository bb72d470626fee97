package probe

import (
	"context"
	"crypto/x509"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Config is what a Prober works with.
type Config struct {
	Judge     Judge
	UserAgent string
	Ask       []Header       // request headers that make servers say more about their failures
	Roots     *x509.CertPool // nil = the system's
	Allow     []netip.Prefix // addresses besides public ones that probes may go to
	Memory    *Memory        // of fronting and habits; shared, never nil
	HTTP3     HTTP3Func      // nil = sites are not asked over HTTP/3 but over 1.1
	Captures  *Captures      // of first failures; nil = none are kept

	Recheck time.Duration // timeout of the second look at a failure; 0 = 3 s
	Habit   time.Duration // a probe is never late before; 0 = 1 s
	DNSTry  time.Duration // of one question to one resolver; 0 = 1.5 s
}

// Prober makes probes. Its Probe is a Func, safe for concurrent use.
type Prober struct {
	c     Config
	zones zones
	found diagnoses
	clock clock
	seqs  sync.Map // vantage name to *atomic.Uint64

	dnsPort uint16 // of the zones' name servers
}

// NewProber makes a Prober.
func NewProber(c Config) *Prober {
	for _, d := range []struct {
		at  *time.Duration
		def time.Duration
	}{{&c.Recheck, 3 * time.Second}, {&c.Habit, time.Second}, {&c.DNSTry, 1500 * time.Millisecond}} {
		if *d.at == 0 {
			*d.at = d.def
		}
	}
	return &Prober{c: c, zones: zones{byName: map[string]*zone{}}, found: diagnoses{byOperator: map[string]*examined{}}, dnsPort: 53}
}

// seq numbers the probes of a vantage. It begins at the clock's microseconds, so that it rises over restarts too.
func (p *Prober) seq(vantage string) uint64 {
	n, ok := p.seqs.Load(vantage)
	if !ok {
		first := new(atomic.Uint64)
		first.Store(uint64(time.Now().UnixMicro()))
		n, _ = p.seqs.LoadOrStore(vantage, first)
	}
	return n.(*atomic.Uint64).Add(1)
}

// Probe is a Func: one look, and at once a second one when the first fails, so that a lost packet is no news. Where the
// second look gets an answer, that counts; otherwise the first one's does, which had the whole timeout.
func (p *Prober) Probe(ctx context.Context, t Task, late func(Result)) Result {
	start := time.Now()
	key, seq := t.Site.Key(), p.seq(t.Vantage.Name)
	done := p.watch(t, key, seq, start, late)
	was := p.c.Memory.fronting(key, start)

	a, looks := p.look(ctx, t, was, t.FirstLook(), netip.Addr{}), 1
	if again := t.SecondLook(p.c.Recheck, time.Since(start)); Doubtful(&a.r) && again > 0 {
		looks = 2
		if second := p.look(ctx, t, was, again, netip.Addr{}); Settles(&second.r) {
			a = second
		}
	}
	total := time.Since(start)
	done()
	a.askOperator(ctx, was)
	a.diagnose(ctx, was)
	a.askProxy(ctx, was)
	if looks == 2 && a.wordless() {
		p.askForWords(ctx, a, was)
	}
	if t.Site.Addresses == AddressAll && !a.absolute(t.Site.URL) {
		a = p.lookAtAll(ctx, a, was)
	}

	a.r.Attempt, a.r.Seq, a.r.Sweep = looks, seq, t.Sweep
	a.r.Time.Total, a.r.At = total, start.Add(total)
	if a.r.Learn {
		p.c.Memory.learn(key, Fronting{CDN: a.r.CDN, By: a.r.CDNBy, At: a.r.At})
	}
	if a.r.OK() && looks == 1 {
		p.c.Memory.took(key, t.Vantage.Name, total)
		p.clock.read(key, a.e.Response)
	}
	p.c.Captures.note(a)
	return a.r
}

// wordless tells whether a failure over HTTP/2 or HTTP/3 may have words over HTTP/1.1: those have no reason phrases, by which
// some CDNs say whose failure it is, and some servers end the stream where they would make an error page.
func (a *attempt) wordless() bool {
	if resp := a.e.Response; resp != nil {
		return !a.r.OK() && resp.Status >= 500 && !strings.HasPrefix(resp.Proto, "HTTP/1.")
	}
	return a.ended
}

// askForWords looks once more, over HTTP/1.1. Where the same status comes, or an error in place of a stream's end, its words
// decide; where something else does, it is told.
func (p *Prober) askForWords(ctx context.Context, a *attempt, was Fronting) {
	site := *a.t.Site
	site.HTTP = HTTP11
	t := a.t
	t.Site = &site
	b := p.look(ctx, t, was, min(p.c.Recheck, t.Timeout), netip.Addr{})
	switch {
	case b.r.Status == a.r.Status && b.r.Status != 0:
		a.r.Verdict, a.e.Response = b.r.Verdict, b.e.Response
		a.r.RetryAfter = max(a.r.RetryAfter, b.r.RetryAfter)
	case a.ended && b.r.Status >= 500:
		why := a.r.Why
		a.r.Verdict, a.e.Response, a.r.Status, a.r.Proto, a.r.RetryAfter = b.r.Verdict, b.e.Response, b.r.Status, b.r.Proto, b.r.RetryAfter
		a.r.Why += fmt.Sprintf("; over HTTP/%v in its place: %s", a.t.Site.HTTP, why)
	case b.r.OK():
		a.r.Why += "; over HTTP/1.1 the site answers"
	case b.r.Status != 0:
		a.r.Why += fmt.Sprintf("; over HTTP/1.1 it answers %d", b.r.Status)
	}
}

// maxLooks is how many of a site's addresses are looked at, where each is.
const maxLooks = 8

// lookAtAll looks at every other address of the site, at the same time, each as if it were the only one. The site's result
// is a good one if any of them is.
func (p *Prober) lookAtAll(ctx context.Context, a *attempt, was Fronting) *attempt {
	addrs := a.first
	if len(addrs) < 2 || a.r.Class == ClassLocalCancelled {
		return a
	}
	addrs = addrs[:min(len(addrs), maxLooks)]
	looks := make([]*attempt, len(addrs))
	var all sync.WaitGroup
	for i, addr := range addrs {
		if addr == a.pin {
			looks[i] = a
			continue
		}
		all.Go(func() {
			looks[i] = p.look(ctx, a.t, was, min(p.c.Recheck, a.t.Timeout), addr)
			if Doubtful(&looks[i].r) {
				looks[i] = p.look(ctx, a.t, was, min(p.c.Recheck, a.t.Timeout), addr)
			}
		})
	}
	all.Wait()
	best := a
	list := make([]AddressLook, len(looks))
	for i, b := range looks {
		if b.r.OK() && !best.r.OK() {
			b.r.DNS, b.name, b.raw = a.r.DNS, a.name, a.raw
			if b.r.Final == "" { // it was looked at without its name, which can tell who fronts it
				b.e.CNAME = a.r.DNS.CNAME
			}
			b.judge(was)
			best = b
		}
		list[i] = AddressLook{netip.AddrPortFrom(addrs[i], port(a.t.Site.URL)), b.r.Class, b.r.Fault, b.r.Time.sum()}
	}
	best.r.Addresses = list
	return best
}

// Doubtful tells whether a result deserves a second look.
func Doubtful(r *Result) bool {
	return !r.OK() && r.Fault != FaultBlocked && r.Fault != FaultNone && r.Fault != FaultLocal
}

// Settles tells whether a second look says more than a failing first one: the site answers after all, or turns us away.
func Settles(r *Result) bool {
	return r.OK() || r.Class == ClassHTTPClientError || r.Fault == FaultBlocked || r.Class == ClassLocalCancelled
}

// watch tells late, once, when the probe outlasts the site's habit. The caller ends it, after which late is not called.
func (p *Prober) watch(t Task, key, seq uint64, start time.Time, late func(Result)) (done func()) {
	if late == nil {
		return func() {}
	}
	var mu sync.Mutex
	over := false
	patience := max(p.c.Habit, 2*p.c.Memory.habit(key, t.Vantage.Name))
	timer := time.AfterFunc(patience, func() {
		mu.Lock()
		defer mu.Unlock()
		if over {
			return
		}
		r := newResult(t)
		r.Pending, r.Seq, r.Sweep, r.Attempt = true, seq, t.Sweep, 1
		r.Time.Total = time.Since(start)
		r.At = start.Add(r.Time.Total)
		late(r)
	})
	return func() {
		timer.Stop()
		mu.Lock()
		defer mu.Unlock()
		over = true
	}
}

func newResult(t Task) Result {
	return Result{
		Site: t.Site.Name, URL: t.Site.URL.String(), Vantage: t.Vantage.Name, Region: t.Vantage.Region, Family: t.Family,
	}
}

// attempt is one look, under way or over.
type attempt struct {
	p        *Prober
	t        Task
	ctx      context.Context // of the look: it lives no longer than the call that made it
	deadline time.Time
	only     netip.Addr   // the one address of the site to look at; the zero Addr = whichever takes a connection
	first    []netip.Addr // all addresses of the site's own name
	pin      netip.Addr   // the one of them that was connected to first
	name     string       // the host that r.DNS is about; "" = none
	ended    bool         // the server ended the stream of HTTP/2 or HTTP/3 without an answer
	silent   bool         // the vantage's HTTP proxy was given a whole request, and nothing came
	r        Result
	e        Evidence

	raw   []message           // DNS messages about name
	chain []*x509.Certificate // that the peer showed last
	res   resolution          // of name, where it failed
}

// look makes one attempt and judges it.
func (p *Prober) look(ctx context.Context, t Task, was Fronting, timeout time.Duration, only netip.Addr) (a *attempt) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	deadline, _ := ctx.Deadline()
	a = &attempt{p: p, t: t, ctx: ctx, deadline: deadline, only: only, r: newResult(t)}
	defer a.stumble()
	a.e.Site = t.Site
	a.e.Class, a.e.Detail = a.follow()
	a.e.Addr = a.r.Addr
	a.r.DNS.NS, _ = p.zones.nameServers(a.name)
	a.judge(was)
	return a
}

// stumble makes a result of a panic, which only a hostile answer can cause, in a parser that is not ours. Its class is
// unknown, which is evidence of nothing.
func (a *attempt) stumble() {
	if x := recover(); x != nil {
		a.r, a.name = newResult(a.t), ""
		a.r.Why = clip(fmt.Sprintf("the prober stumbled over this answer: %v", x))
	}
}

// askOperator looks up the name servers of a zone that is not known well enough, and judges again. It is called when the
// probe has been timed. A failing site's name servers are not asked for again, and a silent resolver not at all.
func (a *attempt) askOperator(ctx context.Context, was Fronting) {
	defer a.stumble()
	ns, fresh := a.p.zones.nameServers(a.name)
	if fresh || a.r.DNS.Rcode == "" || !a.r.OK() && ns != nil {
		return
	}
	a.r.DNS.NS = a.p.askNameServers(ctx, a.t.Vantage, a.name)
	a.judge(was)
}

// diagnose finds out whose failure it is that a name did not resolve, and judges again.
func (a *attempt) diagnose(ctx context.Context, was Fronting) {
	defer a.stumble()
	if a.res.class == ClassOK || a.r.Class.Phase() != PhaseResolve {
		return
	}
	d, why := a.p.diagnose(ctx, a.t.Vantage, a.t.Family, a.name, &a.res)
	if d == DiagnosisNone {
		return
	}
	a.r.DNS.Diagnosis, a.e.Diagnosis = d, d
	if a.e.Detail != "" {
		a.e.Detail += "; "
	}
	a.e.Detail += why
	a.judge(was)
}

func (a *attempt) judge(was Fronting) {
	a.e.NS, a.e.EDE = a.r.DNS.NS, a.r.DNS.EDE
	a.r.Verdict = a.p.c.Judge(&a.e, was)
	a.r.DNS.Operator = a.r.Operator
	if resp := a.e.Response; resp != nil {
		a.r.Status, a.r.Proto, a.r.RetryAfter = resp.Status, resp.Proto, retryAfter(resp, time.Now())
	}
	if addr := a.r.Addr.Addr(); addr.IsValid() {
		a.r.Family = FamilyIP6
		if addr.Unmap().Is4() {
			a.r.Family = FamilyIP4
		}
	}
}
