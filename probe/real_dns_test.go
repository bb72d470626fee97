//go:build linux

package probe

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// asks gives a rig a resolver.
func asks(r Resolver) func(*rig) {
	return func(g *rig) { g.vantage.Resolvers = append(g.vantage.Resolvers, r) }
}

// named writes a site's name into a rig.
func named(name string) func(*rig) {
	return func(g *rig) { g.site.URL.Host = strings.Replace(g.site.URL.Host, host, name, 1) }
}

// patient leaves a resolver the time to try all it can.
func patient(g *rig) { g.conf.DNSTry, g.task.Timeout = 3*time.Second, 6*time.Second }

// BIND as the vantage's resolver, with zones of its own, over each transport.
func TestBIND(t *testing.T) {
	t.Parallel()
	f := newGround(t)
	path := f.Program("named")
	site := f.origin()
	port, dot, doh := f.Port(), f.Port(), f.Port()
	f.Certificate("dns.pem", pki().leaf(resolverName))
	many := ""
	for i := range 90 {
		many += fmt.Sprintf("many 60 A 127.0.%d.1\n", i+1)
	}
	f.File("site.zone", "$ORIGIN site.example.\n@ 60 SOA ns1.dns.example. a.example. 1 60 60 60 60\n@ 60 NS ns1.dns.example.\n"+
		"www 60 A 127.0.0.1\nempty 60 TXT x\nloop1 60 CNAME loop2\nloop2 60 CNAME loop1\nalias 60 CNAME www\nbogus 60 A 0.0.0.0\n"+many)
	f.File("broken.zone", "this is no zone")
	conf := f.File("named.conf", fmt.Sprintf(`options {
  directory %q; pid-file none; session-keyfile none; listen-on-v6 { none; }; recursion no; allow-transfer { none; };
  listen-on port %d { 127.0.0.1; };
  listen-on port %d tls local { 127.0.0.1; };
  listen-on port %d tls local http local { 127.0.0.1; };
  allow-query { any; }; minimal-responses yes; max-udp-size 1232;
};
tls local { cert-file "dns.pem"; key-file "dns.pem"; };
http local { endpoints { "/dns-query"; }; };
controls { };
zone "site.example" { type primary; file "site.zone"; };
zone "broken.example" { type primary; file "broken.zone"; };
`, f.Dir, port, dot, doh))
	cmd := f.Start(port, path, "-g", "-c", conf, "-n", "1")

	resolvers := map[string]Resolver{
		"UDP": {Addr: at(port)}, "TCP": {Via: ViaTCP, Addr: at(port)}, "DoT": {Via: ViaTLS, Addr: at(dot), Name: resolverName},
		"DoH": {Via: ViaHTTPS, Addr: at(doh), Name: resolverName, Path: "/dns-query"},
	}
	for by, r := range resolvers {
		wants := func(name string, want Class) Result {
			t.Helper()
			return f.wants(by+": "+name, "http", site, "/", want, asks(r), named(name))
		}
		wants(host, ClassOK)
		if got := wants("alias.site.example", ClassOK); len(got.DNS.CNAME) != 1 {
			t.Errorf("%s: got the chain %v", by, got.DNS.CNAME)
		}
		wants("none.site.example", ClassDNSNXDomain)
		wants("empty.site.example", ClassDNSNoData)
		wants("broken.example", ClassDNSServfail)
		wants("elsewhere.test", ClassDNSRefused)
		wants("loop1.site.example", ClassDNSMalformed)
		wants("bogus.site.example", ClassDNSBogusAnswer)
		if got := f.wants(by+": many addresses", "http", site, "/", ClassConnectRefused, asks(r), named("many.site.example")); len(got.DNS.Addrs) != maxAddrs {
			t.Errorf("%s: got %d addresses, want %d of 90, which UDP has no room for", by, len(got.DNS.Addrs), maxAddrs)
		}
	}
	f.Freeze(cmd)
	for by, r := range resolvers {
		f.wants(by+": frozen", "http", site, "/", ClassDNSTimeout, asks(r))
	}
	f.Kill(cmd, port)
	for by, r := range resolvers {
		f.wants(by+": gone", "http", site, "/", ClassDNSUnreachable, asks(r))
	}
}

// Unbound, which validates DNSSEC and says why it fails, before an authority of ours.
func TestUnbound(t *testing.T) {
	t.Parallel()
	f := newGround(t)
	path := f.Program("unbound")
	site := f.origin()
	port, dot, dead := f.Port(), f.Port(), f.Port()
	g := newRig(t)
	authority := g.resolve(func(w dns.ResponseWriter, q *dns.Msg) {
		m := honestly(q)
		if m.Authoritative = true; len(m.Answer) == 0 {
			m.Ns = records(strings.Join(strings.Split(q.Question[0].Name, ".")[1:], ".") + " 60 IN SOA ns1.dns.example. a.example. 1 60 60 60 60")
		}
		_ = w.WriteMsg(m)
	})
	f.Certificate("dns.pem", pki().leaf(resolverName))
	stub := func(zone, addr string) string {
		return fmt.Sprintf("stub-zone:\n  name: %s\n  stub-addr: %s\n  stub-prime: no\n  stub-no-cache: yes\n", zone, strings.Replace(addr, ":", "@", 1))
	}
	conf := f.File("unbound.conf", fmt.Sprintf(`server:
  directory: %[1]q
  username: ""
  chroot: ""
  pidfile: ""
  use-syslog: no
  interface: 127.0.0.1@%[2]d
  interface: 127.0.0.1@%[3]d
  tls-port: %[3]d
  tls-service-key: dns.pem
  tls-service-pem: dns.pem
  do-daemonize: no
  do-ip6: no
  do-not-query-localhost: no
  num-threads: 1
  outbound-msg-retry: 1
  ede: yes
  module-config: "validator iterator"
  local-zone: "refused.example." refuse
  local-zone: "none.example." static
  domain-insecure: "site.example"
  domain-insecure: "dead.example"
  trust-anchor: "bogus.example. DS 12345 13 2 0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF"
remote-control:
  control-enable: no
`, f.Dir, port, dot)+stub("site.example", authority.Addr.String())+stub("bogus.example", authority.Addr.String())+stub("dead.example", fmt.Sprintf("127.0.0.1:%d", dead)))
	cmd := f.Start(port, path, "-d", "-c", conf)

	for by, r := range map[string]Resolver{"UDP": {Addr: at(port)}, "DoT": {Via: ViaTLS, Addr: at(dot), Name: resolverName}} {
		wants := func(name string, want Class) Result {
			t.Helper()
			return f.wants(by+": "+name, "http", site, "/", want, asks(r), named(name), patient)
		}
		wants(host, ClassOK)
		wants("www.none.example", ClassDNSNXDomain)
		wants("www.refused.example", ClassDNSRefused)
		for range 2 { // to the first who asks, Unbound 1.17 does not always say why
			if got := wants("www.bogus.example", ClassDNSServfail); got.DNS.Diagnosis != DiagnosisZone || !strings.Contains(got.Why, "DNSSEC") {
				t.Errorf("%s: got %v (%s), want %v", by, got.DNS.Diagnosis, got.Why, DiagnosisZone)
			}
		}
		if got := wants("www.bogus.example", ClassDNSServfail); !bogus(got.DNS.EDE) {
			t.Errorf("%s: got the extended errors %v, want that DNSSEC fails", by, got.DNS.EDE)
		}
	}
	f.wants("a dead zone", "http", site, "/", ClassDNSServfail, asks(Resolver{Addr: at(port)}), named("www.dead.example"), patient)
	f.Kill(cmd, port)
	f.wants("gone", "http", site, "/", ClassDNSUnreachable, asks(Resolver{Addr: at(port)}))
}

// Knot DNS as a zone's own name server, of which the diagnosis asks what a resolver does not say.
func TestKnotAsTheZonesServer(t *testing.T) {
	t.Parallel()
	f := newGround(t)
	path := f.Program("knotd")
	port := f.Port()
	f.File("site.zone", "$ORIGIN site.example.\n@ 60 SOA ns1.dns.example. a.example. 1 60 60 60 60\n@ 60 NS ns1.dns.example.\nwww 60 A 127.0.0.1\nempty 60 TXT x\n")
	conf := f.File("knot.conf", fmt.Sprintf(`server:
    rundir: %[1]q
    listen: 127.0.0.53@%[2]d
    listen: 127.0.0.1@%[2]d
database:
    storage: %[1]q
log:
  - target: stderr
    any: error
zone:
  - domain: site.example.
    storage: %[1]q
    file: site.zone
    zonefile-load: whole
    journal-content: none
`, f.Dir, port))
	cmd := f.Start(port, path, "-c", conf)

	diagnosed := func(what, name string, bad dns.HandlerFunc, class Class, want Diagnosis) {
		t.Helper()
		z := newZoneRig(t, bad, nil) // its name server at 127.0.0.53 is Knot's, at another port
		z.prober.dnsPort = uint16(port)
		z.site.URL.Host = strings.Replace(z.site.URL.Host, host, name, 1)
		z.vantage.Resolvers = nil
		z.resolve(func(w dns.ResponseWriter, q *dns.Msg) {
			switch asked := strings.ToLower(q.Question[0].Name); {
			case strings.HasSuffix(asked, "."+strings.SplitN(name, ".", 2)[1]+".") && q.Question[0].Qtype != dns.TypeNS:
				bad(w, q)
			case q.Question[0].Qtype == dns.TypeNS && !strings.Contains(asked, "www") && !strings.Contains(asked, "empty"):
				m := new(dns.Msg).SetReply(q)
				m.Answer = records(asked + " 60 IN NS ns1.dns.example.")
				_ = w.WriteMsg(m)
			case asked == "ns1.dns.example." && q.Question[0].Qtype == dns.TypeA:
				m := new(dns.Msg).SetReply(q)
				m.Answer = records("ns1.dns.example. 60 IN A 127.0.0.53")
				_ = w.WriteMsg(m)
			default:
				_ = w.WriteMsg(new(dns.Msg).SetReply(q))
			}
		})
		if r := z.wants(class); r.DNS.Diagnosis != want {
			t.Errorf("%s: got %v (%s), want %v", what, r.DNS.Diagnosis, r.Why, want)
		}
	}
	diagnosed("the resolver fails alone", host, rcoded(dns.RcodeServerFailure), ClassDNSServfail, DiagnosisResolver)
	diagnosed("the resolver denies what is there", host, rcoded(dns.RcodeNameError), ClassDNSNXDomain, DiagnosisLying)
	diagnosed("there is no address", "empty.site.example", with(func(_, m *dns.Msg) { m.Answer = nil }), ClassDNSNoData, DiagnosisZone)
	diagnosed("a lame delegation", "www.lame.example", rcoded(dns.RcodeServerFailure), ClassDNSServfail, DiagnosisZone)
	f.Freeze(cmd)
	diagnosed("frozen", host, rcoded(dns.RcodeServerFailure), ClassDNSServfail, DiagnosisOperator)
	f.Kill(cmd, port)
	diagnosed("gone", host, rcoded(dns.RcodeServerFailure), ClassDNSServfail, DiagnosisOperator)
}
