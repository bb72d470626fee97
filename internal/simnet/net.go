package simnet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Options are what a Net is started with.
type Options struct {
	Seed  uint64  // of every draw
	Speed float64 // scenario seconds in a real one; 0 = 1
}

// Net is the world of a scenario on real sockets. It serves from Start to Close; before Begin all is well.
type Net struct {
	World *World

	speed    float64
	port     uint16 // of every site
	dnsPort  uint16 // of every resolver
	certs    *certificates
	onset    atomic.Pointer[time.Time]
	origin   string // address of the origins
	toOrigin *http.Transport
	draws    []draw // by site and vantage
	served   []atomic.Uint32

	edges     []net.Listener
	holes     []*hole
	authority dnsSocket
	resolvers []dnsSocket // by vantage
	originL   net.Listener

	cancel context.CancelFunc
	wg     sync.WaitGroup
}

type dnsSocket struct {
	udp net.PacketConn
	tcp net.Listener
}

func (s dnsSocket) close() {
	_ = s.udp.Close()
	_ = s.tcp.Close()
}

// draw is the lot of the probe that a vantage makes of a site now.
type draw struct {
	mu    sync.Mutex
	since time.Time
	n     uint64
}

const (
	shared2s  = 2 * time.Second  // of the scenario: what asks again so soon is the same probe
	probeTime = 10 * time.Second // of the scenario: how long after its question a probe may still connect
)

// Start builds the world of a scenario on loopback: every site at an address of its CDN's range, all on one port, a
// resolver for each vantage, and an authority and origins behind them. It needs no privilege. The caller must Close it.
func Start(sc *Scenario, o Options) (*Net, error) {
	n := &Net{World: NewWorld(sc, o.Seed, Stratified), speed: o.Speed, toOrigin: &http.Transport{MaxIdleConnsPerHost: 64}}
	if n.speed == 0 {
		n.speed = 1
	}
	if n.speed < 0 {
		return nil, fmt.Errorf("speed %g: must be positive", o.Speed)
	}
	w := n.World
	n.draws = make([]draw, len(w.Sites)*len(w.Vantages))
	n.served = make([]atomic.Uint32, len(n.draws)*int(numClasses))
	var err error
	if n.certs, err = newCertificates(w, time.Now()); err != nil {
		return nil, fmt.Errorf("making certificates: %w", err)
	}
	if err := n.open(); err != nil {
		n.closeSockets()
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	n.cancel = cancel
	n.serve(ctx)
	if err := n.fillHoles(ctx); err != nil {
		n.Close()
		return nil, err
	}
	return n, nil
}

// Begin sets the moment of the onset, which may lie ahead.
func (n *Net) Begin(onset time.Time) { n.onset.Store(&onset) }

// At is the scenario's time since the onset; false before Begin.
func (n *Net) At(now time.Time) (time.Duration, bool) {
	onset := n.onset.Load()
	if onset == nil {
		return 0, false
	}
	return time.Duration(float64(now.Sub(*onset)) * n.speed), true
}

// Lost tells whether a vantage reports nothing now, so that the caller must cut it off. An unknown one is not lost.
func (n *Net) Lost(vantage string) bool {
	t, begun := n.At(time.Now())
	for v := range n.World.Vantages {
		if n.World.Vantages[v].Name == vantage {
			return begun && n.World.Lost(t, v)
		}
	}
	return false
}

// Served is how often a site has shown a class to a vantage: an answer, or a failure on the way to one.
func (n *Net) Served(site, vantage int, c Class) int {
	return int(n.served[n.pair(site, vantage)*int(numClasses)+int(c)].Load())
}

// Summary says in a line what there is.
func (n *Net) Summary() string {
	w := n.World
	cdns := 0
	for _, r := range w.Ranges {
		if r.CDN {
			cdns++
		}
	}
	return fmt.Sprintf("%d sites, %d of them anchors, behind %d CDNs and none; %d vantages", len(w.Sites), anchors, cdns, len(w.Vantages))
}

// Close ends all service and returns when nothing of it is left.
func (n *Net) Close() {
	n.cancel()
	n.closeSockets()
	n.toOrigin.CloseIdleConnections()
	n.wg.Wait()
	n.toOrigin.CloseIdleConnections() // those of the last answers
}

func (n *Net) closeSockets() {
	n.closeEdges()
	n.closeResolvers()
	if n.authority.udp != nil {
		n.authority.close()
	}
	if n.originL != nil {
		_ = n.originL.Close()
	}
}

func (n *Net) closeEdges() {
	for _, l := range n.edges {
		_ = l.Close()
	}
	for _, h := range n.holes {
		_ = h.Close()
	}
	n.edges, n.holes = nil, nil
}

func (n *Net) closeResolvers() {
	for _, s := range n.resolvers {
		s.close()
	}
	n.resolvers = nil
}

func vantageAddr(v int) netip.Addr  { return netip.AddrFrom4([4]byte{127, 0, 1, byte(v + 1)}) }
func resolverAddr(v int) netip.Addr { return netip.AddrFrom4([4]byte{127, 0, 53, byte(v + 1)}) }

// vantageAt is the vantage at an address; -1 = none.
func (n *Net) vantageAt(a net.Addr) int {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return -1
	}
	b := t.AddrPort().Addr().Unmap()
	if v := int(b.As4()[3]) - 1; v >= 0 && v < len(n.World.Vantages) && vantageAddr(v) == b {
		return v
	}
	return -1
}

// open opens every socket.
func (n *Net) open() error {
	var err error
	if n.originL, err = net.Listen("tcp4", "127.0.80.1:0"); err != nil {
		return fmt.Errorf("listening for the origins: %w", err)
	}
	n.origin = n.originL.Addr().String()

	isHole := map[netip.Addr]bool{}
	var addrs, resolvers []netip.Addr
	for i := range n.World.Sites {
		s := &n.World.Sites[i]
		for _, a := range []netip.Addr{s.Addr, s.BlackHole} {
			if _, there := isHole[a]; !there {
				isHole[a] = a == s.BlackHole
				addrs = append(addrs, a)
			}
		}
	}
	n.port, err = onePort(addrs, func(a netip.AddrPort) error { return n.openEdge(a, isHole[a.Addr()]) }, n.closeEdges)
	if err != nil {
		return err
	}
	for v := range n.World.Vantages {
		resolvers = append(resolvers, resolverAddr(v))
	}
	n.dnsPort, err = onePort(resolvers, n.openResolver, n.closeResolvers)
	if err != nil {
		return err
	}
	_, err = onePort([]netip.Addr{netip.AddrFrom4([4]byte{127, 0, 52, 1})}, n.openAuthority, func() {})
	return err
}

func (n *Net) openEdge(a netip.AddrPort, isHole bool) error {
	if isHole {
		h, err := digHole(a)
		if err == nil {
			n.holes = append(n.holes, h)
		}
		return err
	}
	l, err := net.Listen("tcp4", a.String())
	if err == nil {
		n.edges = append(n.edges, l)
	}
	return err
}

func (n *Net) openResolver(a netip.AddrPort) error {
	s, err := openDNS(a)
	if err == nil {
		n.resolvers = append(n.resolvers, s)
	}
	return err
}

func (n *Net) openAuthority(a netip.AddrPort) (err error) {
	n.authority, err = openDNS(a)
	return err
}

func openDNS(a netip.AddrPort) (dnsSocket, error) {
	udp, err := net.ListenPacket("udp4", a.String())
	if err != nil {
		return dnsSocket{}, err
	}
	tcp, err := net.Listen("tcp4", a.String())
	if err != nil {
		return dnsSocket{}, errors.Join(err, udp.Close())
	}
	return dnsSocket{udp, tcp}, nil
}

// serve starts what answers.
func (n *Net) serve(ctx context.Context) {
	n.wg.Go(func() { serveDNS(ctx, n.authority.udp, n.authority.tcp, newAuthority(n.World)) })
	addr := n.authority.udp.LocalAddr().String()
	for v, s := range n.resolvers {
		r := newResolver(n, v, addr)
		n.wg.Go(func() { serveDNS(ctx, s.udp, s.tcp, r) })
	}
	n.wg.Go(func() { n.serveOrigins(ctx) })
	config := n.tlsConfig()
	for _, l := range n.edges {
		n.wg.Go(func() { n.serveEdge(ctx, l, config) })
	}
}

func (n *Net) fillHoles(ctx context.Context) error {
	errs := make([]error, len(n.holes))
	var wg sync.WaitGroup
	for i, h := range n.holes {
		wg.Go(func() { errs[i] = h.fill(ctx) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (n *Net) pair(site, vantage int) int { return site*len(n.World.Vantages) + vantage }

func (n *Net) count(site, vantage int, c Class) {
	if vantage >= 0 {
		n.served[n.pair(site, vantage)*int(numClasses)+int(c)].Add(1)
	}
}

func (n *Net) scaled(d time.Duration) time.Duration { return time.Duration(float64(d) / n.speed) }

// asked is what a probe meets whose question for a name has come: a new one, unless the last one came just before. A
// question that gets no answer is asked again by the same probe.
func (n *Net) asked(site, vantage int) Class { return n.fault(site, vantage, n.scaled(shared2s)) }

// reached is what a probe meets that has connected: its lot was drawn when it asked for the name.
func (n *Net) reached(site, vantage int) Class { return n.fault(site, vantage, n.scaled(probeTime)) }

func (n *Net) fault(site, vantage int, shared time.Duration) Class {
	now := time.Now()
	t, begun := n.At(now)
	if vantage < 0 {
		return n.World.Fault(-1, site, 0, 0)
	}
	if !begun {
		t = -1
	}
	d := &n.draws[n.pair(site, vantage)]
	d.mu.Lock()
	defer d.mu.Unlock()
	if now.Sub(d.since) > shared {
		d.since = now
		d.n++
	}
	c := n.World.Fault(t, site, vantage, mix(n.World.seed, drawProbe, uint64(site), uint64(vantage), d.n))
	if c == ClassDNSTimeout {
		d.since = now
	}
	return c
}
