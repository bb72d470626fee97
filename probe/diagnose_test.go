package probe

import (
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// world is a zone's own name server at 127.0.0.53 and the vantage's resolver, which both can fail.
type zoneRig struct {
	*rig
	asked atomic.Int64 // questions that the name server got
}

// newZoneRig has a resolver that does with questions for the site's zone what bad says, and answers others, and a name
// server that does what own says; nil = nobody is there.
func newZoneRig(t *testing.T, bad, own dns.HandlerFunc) *zoneRig {
	z := &zoneRig{rig: newRig(t)}
	z.conf.DNSTry, z.task.Timeout, z.conf.Recheck = 150*time.Millisecond, 2*time.Second, 200*time.Millisecond
	z.serve(says(good))
	port := z.nameServer(own)
	z.resolve(func(w dns.ResponseWriter, q *dns.Msg) {
		name := strings.ToLower(q.Question[0].Name)
		m := new(dns.Msg).SetReply(q)
		switch {
		case name == "site.example." && q.Question[0].Qtype == dns.TypeNS:
			m.Answer = records("site.example. 60 IN NS ns1.dns.example.")
		case name == "ns1.dns.example." && q.Question[0].Qtype == dns.TypeA:
			m.Answer = records("ns1.dns.example. 60 IN A 127.0.0.53")
		case name == host+".":
			bad(w, q)
			return
		}
		_ = w.WriteMsg(m)
	})
	z.prober = NewProber(z.conf)
	z.prober.dnsPort = port
	return z
}

func (z *zoneRig) nameServer(own dns.HandlerFunc) uint16 {
	pc, err := net.ListenPacket("udp4", "127.0.0.53:0")
	if err != nil {
		z.t.Fatal(err)
	}
	port := pc.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	s := &dns.Server{PacketConn: pc, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		z.asked.Add(1)
		if own != nil {
			own(w, q)
		}
	})}
	var up sync.WaitGroup
	up.Add(1)
	s.NotifyStartedFunc = up.Done
	done := make(chan error, 1)
	go func() { done <- s.ActivateAndServe() }()
	up.Wait()
	z.t.Cleanup(func() { _ = s.Shutdown(); <-done })
	return port
}

func rcoded(code int) dns.HandlerFunc {
	return with(func(_, m *dns.Msg) { m.Rcode, m.Answer, m.Authoritative = code, nil, true })
}

func mute(dns.ResponseWriter, *dns.Msg) {}

func TestDiagnosis(t *testing.T) {
	f := func(name string, bad, own dns.HandlerFunc, class Class, want Diagnosis) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			z := newZoneRig(t, bad, own)
			if r := z.wants(class); r.DNS.Diagnosis != want {
				t.Errorf("got %v (%s), want %v", r.DNS.Diagnosis, r.Why, want)
			}
			if n := z.asked.Load(); n > 8 {
				t.Errorf("the name server was asked %d times", n)
			}
		})
	}
	soa := func(_, m *dns.Msg) {
		m.Answer, m.Authoritative = nil, true
		m.Ns = records("site.example. 60 IN SOA ns1.dns.example. a.example. 1 1 1 1 1")
	}
	f("the resolver fails alone", rcoded(dns.RcodeServerFailure), honest, ClassDNSServfail, DiagnosisResolver)
	f("the resolver refuses", rcoded(dns.RcodeRefused), honest, ClassDNSRefused, DiagnosisResolver)
	f("the resolver does not answer", mute, honest, ClassDNSTimeout, DiagnosisResolver)
	f("the resolver denies what is there", rcoded(dns.RcodeNameError), honest, ClassDNSNXDomain, DiagnosisLying)
	f("the resolver says that there is no address", with(soa), honest, ClassDNSNoData, DiagnosisLying)
	f("there is no such name", rcoded(dns.RcodeNameError), rcoded(dns.RcodeNameError), ClassDNSNXDomain, DiagnosisZone)
	f("there is no address", with(soa), with(soa), ClassDNSNoData, DiagnosisZone)
	f("the delegation is lame", rcoded(dns.RcodeServerFailure), rcoded(dns.RcodeRefused), ClassDNSServfail, DiagnosisZone)
	f("the name servers fail", rcoded(dns.RcodeServerFailure), rcoded(dns.RcodeServerFailure), ClassDNSServfail, DiagnosisOperator)
	f("the name servers are silent", rcoded(dns.RcodeServerFailure), mute, ClassDNSServfail, DiagnosisOperator)
	f("everything is silent for this name", mute, mute, ClassDNSTimeout, DiagnosisOperator)
	f("an alias of another zone", rcoded(dns.RcodeServerFailure), with(func(_, m *dns.Msg) {
		m.Answer, m.Authoritative = records(host+". 60 IN CNAME alias.site.example."), true
	}), ClassDNSServfail, DiagnosisResolver)
	f("DNSSEC, by extended error", with(func(_, m *dns.Msg) {
		m.Rcode, m.Answer = dns.RcodeServerFailure, nil
		m.SetEdns0(udpSize, false)
		m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_EDE{InfoCode: dns.ExtendedErrorCodeSignatureExpired})
	}), honest, ClassDNSServfail, DiagnosisZone)
	f("DNSSEC, without extended errors", with(func(q, m *dns.Msg) {
		if !q.CheckingDisabled {
			m.Rcode, m.Answer = dns.RcodeServerFailure, nil
		}
	}), honest, ClassDNSServfail, DiagnosisZone)
}

func TestDiagnosisByASecondResolver(t *testing.T) {
	f := func(name string, known bool, want Diagnosis) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			z := newZoneRig(t, mute, mute)
			first := z.vantage.Resolvers
			z.vantage.Resolvers = nil
			z.vantage.Second = z.resolve(honest)
			z.vantage.Resolvers = first
			if !known {
				first[0].Addr = blackHoleUDP(t)
				z.vantage.Second = nil
			}
			if r := z.wants(ClassDNSTimeout); r.DNS.Diagnosis != want {
				t.Errorf("got %v (%s), want %v", r.DNS.Diagnosis, r.Why, want)
			}
		})
	}
	f("it reaches the name servers", true, DiagnosisPath)
	f("nothing can be reached", false, DiagnosisLocal)
}

// blackHoleUDP is a socket that nobody reads from.
func blackHoleUDP(t *testing.T) netip.AddrPort {
	pc, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pc.Close() })
	return pc.LocalAddr().(*net.UDPAddr).AddrPort()
}

// Twenty sites of one operator whose servers are dead are diagnosed once.
func TestDiagnosisIsOncePerOperator(t *testing.T) {
	z := newZoneRig(t, rcoded(dns.RcodeServerFailure), mute)
	z.prober.zones.remember("site.example", []string{"ns1.dns.example"}, []netip.Addr{netip.MustParseAddr("127.0.0.53")})
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if r := z.prober.Probe(t.Context(), z.task, nil); r.DNS.Diagnosis != DiagnosisOperator {
				t.Errorf("got %v (%s)", r.DNS.Diagnosis, r.Why)
			}
		})
	}
	all.Wait()
	if n := z.asked.Load(); n != 1 {
		t.Errorf("the name server was asked %d times, want once", n)
	}
}

// Where the resolver gives no name servers of the zone, those of the zone above are asked for them.
func TestDiagnosisFromTheZoneAbove(t *testing.T) {
	z := newZoneRig(t, rcoded(dns.RcodeServerFailure), with(func(q, m *dns.Msg) {
		if q.Question[0].Qtype == dns.TypeNS { // as the zone above
			m.Answer = nil
			m.Ns = records("site.example. 60 IN NS ns1.site.example.")
			m.Extra = records("ns1.site.example. 60 IN A 127.0.0.53")
		}
	}))
	z.vantage.Resolvers = nil
	z.resolve(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		switch {
		case q.Question[0].Name == "example." && q.Question[0].Qtype == dns.TypeNS:
			m.Answer = records("example. 60 IN NS ns.example.")
			m.Extra = records("ns.example. 60 IN A 127.0.0.53")
		default:
			m.Rcode = dns.RcodeServerFailure
		}
		_ = w.WriteMsg(m)
	})
	if r := z.wants(ClassDNSServfail); r.DNS.Diagnosis != DiagnosisResolver {
		t.Errorf("got %v (%s)", r.DNS.Diagnosis, r.Why)
	}
}
