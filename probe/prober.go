package probe

import (
	"context"
	"crypto/x509"
	"fmt"
	"math"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/publicsuffix"
)

// Config is what a Prober works with.
type Config struct {
	Judge     Judge
	UserAgent string
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

	a, looks := p.look(ctx, t, was, t.Timeout, netip.Addr{}), 1
	if again(&a.r) {
		looks = 2
		if second := p.look(ctx, t, was, min(p.c.Recheck, t.Timeout), netip.Addr{}); settles(&second.r) {
			a = second
		}
	}
	total := time.Since(start)
	done()
	a.askOperator(ctx, was)
	a.diagnose(ctx, was)
	if looks == 2 && a.wordless() {
		p.askForWords(ctx, a, was)
	}
	if t.Site.Addresses == AddressAll {
		a = p.lookAtAll(ctx, a, was)
	}

	a.r.Attempt, a.r.Seq, a.r.Sweep = looks, seq, t.Sweep
	a.r.Time.Total, a.r.At = total, start.Add(total)
	if a.r.Learn {
		p.c.Memory.learn(key, Fronting{CDN: a.r.CDN, By: a.r.CDNBy, At: a.r.At})
	}
	if a.r.OK() && looks == 1 {
		p.c.Memory.took(key, t.Vantage.Name, total)
		p.clock.read(a.e.Response.Get("Date"))
	}
	p.c.Captures.note(a)
	return a.r
}

// wordless tells whether an answer came over a version of HTTP that has no reason phrases, though it fails: some CDNs say
// there whose failure it is.
func (a *attempt) wordless() bool {
	resp := a.e.Response
	return resp != nil && !a.r.OK() && resp.Status >= 500 && !strings.HasPrefix(resp.Proto, "HTTP/1.")
}

// askForWords looks once more, over HTTP/1.1. Where the same status comes, its words decide; where another one does, it is
// told.
func (p *Prober) askForWords(ctx context.Context, a *attempt, was Fronting) {
	site := *a.t.Site
	site.HTTP = HTTP11
	t := a.t
	t.Site = &site
	b := p.look(ctx, t, was, min(p.c.Recheck, t.Timeout), netip.Addr{})
	switch {
	case b.r.Status == a.r.Status:
		a.r.Verdict, a.e.Response = b.r.Verdict, b.e.Response
		a.r.RetryAfter = max(a.r.RetryAfter, b.r.RetryAfter)
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
			if again(&looks[i].r) {
				looks[i] = p.look(ctx, a.t, was, min(p.c.Recheck, a.t.Timeout), addr)
			}
		})
	}
	all.Wait()
	best := a
	list := make([]AddressLook, len(looks))
	for i, b := range looks {
		if b.r.OK() && !best.r.OK() {
			b.r.DNS, b.name, b.raw, b.r.Operator = a.r.DNS, a.name, a.raw, a.r.Operator
			best = b
		}
		list[i] = AddressLook{netip.AddrPortFrom(addrs[i], port(a.t.Site.URL)), b.r.Class, b.r.Fault, b.r.Time.sum()}
	}
	best.r.Addresses = list
	return best
}

// again tells whether a result deserves a second look.
func again(r *Result) bool {
	return !r.OK() && r.Fault != FaultBlocked && r.Fault != FaultNone && r.Fault != FaultLocal
}

// settles tells whether a second look says more than a failing first one: the site answers after all, or turns us away.
func settles(r *Result) bool {
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

// Bounds of following redirects: how many, and how long a Location may be, in bytes.
const (
	maxHops     = 5
	maxLocation = 8 << 10
)

// follow makes requests from the site's URL to where its redirects end.
func (a *attempt) follow() (Class, string) {
	u := a.t.Site.URL
	seen := map[string]bool{}
	for range maxHops + 1 {
		if seen[u.String()] {
			return ClassHTTPRedirectLoop, "the redirects lead back to " + clip(u.String())
		}
		seen[u.String()] = true
		a.e.Host, a.e.Response, a.e.CNAME = u.Hostname(), nil, nil
		class, detail := a.hop(u)
		next := a.redirect(u)
		if class != ClassOK || next == nil {
			return class, detail
		}
		if next.Scheme != "http" && next.Scheme != "https" || next.Hostname() == "" {
			return ClassOK, "" // nowhere to follow: the redirect is the answer
		}
		a.e.Foreign = a.e.Foreign || foreign(a.t.Site.URL.Hostname(), next.Hostname())
		u = next
		a.r.Final = clip(u.String())
	}
	return ClassHTTPRedirectLoop, "more than " + strconv.Itoa(maxHops) + " redirects"
}

// hop makes one request: resolve, connect, tls, http.
func (a *attempt) hop(u *url.URL) (Class, string) {
	started, host := time.Now(), u.Hostname()
	addrs, class, detail := a.addresses(host)
	a.r.Time.Resolve += time.Since(started)
	if class != ClassOK {
		return class, clip(detail)
	}
	if a.overQUIC(u) {
		return a.hopOverQUIC(u, addrs)
	}
	started = time.Now()
	wire, class, detail := a.connect(addrs, u)
	a.r.Time.Connect += time.Since(started)
	if class != ClassOK {
		return class, clip(detail)
	}
	defer wire.Close()
	_ = wire.SetDeadline(a.deadline)
	stop := closing(a.ctx, wire)
	defer stop()
	if u.Scheme != "https" {
		return a.fetch(wire, u)
	}
	started = time.Now()
	secure, class, detail := a.handshake(wire, host)
	a.r.Time.TLS += time.Since(started)
	if class != ClassOK {
		return class, detail
	}
	if secure.ConnectionState().NegotiatedProtocol == "h2" {
		return a.fetchHTTP2(secure, u)
	}
	return a.fetch(secure, u)
}

// addresses are those that host has and that a probe may go to; none where the vantage's proxy is given the name. The result
// shows the DNS of the first name, which is the site's, or of the one that failed.
func (a *attempt) addresses(host string) ([]netip.Addr, Class, string) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return a.literal(addr.Unmap())
	}
	if a.only.IsValid() && host == a.t.Site.URL.Hostname() {
		return []netip.Addr{a.only}, ClassOK, ""
	}
	if a.t.Vantage.Proxy != nil && len(a.t.Vantage.Resolvers) == 0 {
		return nil, ClassOK, ""
	}
	res := a.p.resolve(a.ctx, a.t.Vantage, a.t.Family, host)
	a.e.CNAME = res.info.CNAME
	may := a.p.guarded(a.t.Site, res.info.Addrs)
	if res.class == ClassOK && len(may) == 0 {
		res.class = ClassDNSBogusAnswer
		res.detail = fmt.Sprintf("%s leads to %v, which is no public address; allow_addresses would let it through", host, res.info.Addrs[0])
	}
	if a.name == "" || res.class != ClassOK {
		a.r.DNS, a.name, a.raw, a.res = res.info, host, res.raw, res
	}
	if a.first == nil {
		a.first = may
	}
	return may, res.class, res.detail
}

// literal is the address that stands in a URL in place of a name. One where no public site is, is our own guard's to
// refuse; a site that leads there is not the site, but what captive portals do.
func (a *attempt) literal(addr netip.Addr) ([]netip.Addr, Class, string) {
	if fam := a.t.Family; fam != FamilyAny && addr.Is4() != (fam == FamilyIP4) {
		return nil, ClassDNSNoData, fmt.Sprintf("%v is no address of the family %v", addr, fam)
	}
	may := a.p.guarded(a.t.Site, []netip.Addr{addr})
	switch {
	case len(may) > 0:
		return may, ClassOK, ""
	case a.r.Final != "":
		return nil, ClassHTTPInterference, fmt.Sprintf("it leads to %v, which is no public address", addr)
	default:
		return nil, ClassConnectDenied, fmt.Sprintf("%v is no public address; allow_addresses would let it through", addr)
	}
}

// port is the port of a URL; 0, which refuses, where what it says is none.
func port(u *url.URL) uint16 {
	switch {
	case u.Port() != "":
		n, _ := strconv.ParseUint(u.Port(), 10, 16)
		if n > math.MaxUint16 {
			return 0
		}
		return uint16(n)
	case u.Scheme == "http":
		return 80
	default:
		return 443
	}
}

// redirect is where the answer leads; nil = it is the answer itself.
func (a *attempt) redirect(from *url.URL) *url.URL {
	resp := a.e.Response
	if resp == nil || !slices.Contains([]int{301, 302, 303, 307, 308}, resp.Status) {
		return nil
	}
	if e := &a.t.Site.Expect; len(e.Status) > 0 && e.OK(resp.Status) {
		return nil
	}
	location := resp.Get("Location")
	if location == "" || len(location) > maxLocation {
		return nil
	}
	to, err := from.Parse(location)
	if err != nil {
		return nil
	}
	to.Fragment, to.User = "", nil
	return to
}

// foreign tells whether two hosts are of different registrable domains.
func foreign(a, b string) bool {
	reg := func(h string) string {
		h = strings.ToLower(strings.TrimSuffix(h, "."))
		if d, err := publicsuffix.EffectiveTLDPlusOne(h); err == nil {
			return d
		}
		return h
	}
	return reg(a) != reg(b)
}
