//go:build linux

package probe

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"faultline/internal/farm"
)

// inNamespace runs f in a network namespace of its own, set up by `ip` with these arguments, a line each. f must stay on
// its goroutine, as a probe of a literal address does.
func inNamespace(t *testing.T, setup string, f func(t *testing.T)) {
	if os.Geteuid() != 0 {
		farm.Skip(t, "this takes root")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		farm.Skip(t, "this takes the program ip (iproute2)")
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // for good: the thread ends with its goroutine
		if err := syscall.Unshare(syscall.CLONE_NEWNET); err != nil {
			t.Errorf("making a network namespace: %v", err)
			return
		}
		for _, line := range strings.Split(strings.TrimSpace(setup), "\n") {
			if out, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput(); err != nil {
				t.Errorf("ip %s: %v: %s", line, err, out)
				return
			}
		}
		f(t)
	}()
	<-done
}

// What the kernel says of an address that cannot be reached, by the routes to it.
func TestRoutes(t *testing.T) {
	f := func(setup, url string, want Class) {
		t.Helper()
		inNamespace(t, "link set lo up\n"+setup, func(t *testing.T) {
			g := newRig(t)
			g.vantage.Resolvers = []Resolver{{}} // not asked
			g.conf.Allow = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
			g.task.Timeout, g.conf.Recheck = 400*time.Millisecond, 200*time.Millisecond
			g.site.URL = mustURL(url)
			g.wants(want)
		})
	}
	f("", "http://198.51.100.1/", ClassLocalNoNetwork)
	f("", "http://[2001:db8::1]/", ClassLocalNoNetwork)
	f("route add unreachable 198.51.100.0/24", "http://198.51.100.1/", ClassConnectUnreachable)
	f("route add prohibit 198.51.100.0/24", "http://198.51.100.1/", ClassConnectDenied)
	f("route add blackhole 198.51.100.0/24", "http://198.51.100.1/", ClassConnectOther)
	f("link add v0 type veth peer name v1\nlink set v0 up\nroute add 198.51.100.0/24 dev v0", "http://198.51.100.1/", ClassConnectTimeout) // the other end is down
}

func TestNoPortsLeft(t *testing.T) {
	inNamespace(t, "link set lo up", func(t *testing.T) {
		if err := os.WriteFile("/proc/sys/net/ipv4/ip_local_port_range", []byte("40000 40001"), 0); err != nil {
			t.Fatal(err)
		}
		l, err := listenHere("127.0.0.1:9000")
		if err != nil {
			t.Fatal(err)
		}
		defer syscall.Close(l)
		g := newRig(t)
		g.vantage.Resolvers = []Resolver{{}}
		g.site.URL = mustURL("http://127.0.0.1:9000/")
		g.task.Timeout = 300 * time.Millisecond
		for range 2 { // both ports
			fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer syscall.Close(fd)
			if err := syscall.Connect(fd, &syscall.SockaddrInet4{Addr: loopback.As4(), Port: 9000}); err != nil {
				t.Fatal(err)
			}
		}
		g.wants(ClassLocalResource)
	})
}

// listenHere listens from this very thread.
func listenHere(at string) (int, error) {
	a := netip.MustParseAddrPort(at)
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		return 0, err
	}
	return fd, errors.Join(syscall.Bind(fd, &syscall.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}), syscall.Listen(fd, 16))
}

// A far end that answers SYN with what h makes of it, by a TUN device: packets that no kernel would send by itself.
func TestPackets(t *testing.T) {
	f := func(name string, h func(syn []byte) [][]byte, want Class) {
		t.Helper()
		inNamespace(t, "link set lo up", func(t *testing.T) {
			tun, err := openTUN("tun0")
			if err != nil {
				farm.Skip(t, fmt.Sprintf("this takes a TUN device: %v", err))
			}
			for _, line := range []string{"link set tun0 up", "address add 192.0.2.1/24 dev tun0"} {
				if out, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput(); err != nil {
					t.Fatalf("ip %s: %v: %s", line, err, out)
				}
			}
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				answerSYNs(tun, h)
			}()
			g := newRig(t)
			g.conf.Allow = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
			g.vantage.Resolvers = []Resolver{{}}
			g.site.URL = mustURL("http://192.0.2.7:80/")
			g.task.Timeout, g.conf.Recheck = 500*time.Millisecond, 200*time.Millisecond
			// The second of two packets can come after the connection is there, which is another event: then once more.
			r := g.probe()
			for tries := 1; r.Class == ClassHTTPReset && want == ClassConnectReset && tries < 50; tries++ {
				r = g.probe()
			}
			if r.Class != want {
				t.Errorf("%s: got %v (%s), want %v", name, r.Class, r.Why, want)
			}
			happened.Store(r.Class, t.Name())
			_ = tun.Close()
			<-ended
		})
	}
	f("RST", func(syn []byte) [][]byte { return [][]byte{tcpReply(syn, flagRST|flagACK)} }, ClassConnectRefused)
	f("SYN+ACK and RST at once", func(syn []byte) [][]byte {
		rst := tcpReply(syn, flagRST|flagACK)
		binary.BigEndian.PutUint32(rst[24:], 2) // after our SYN
		sum(rst)
		return [][]byte{tcpReply(syn, flagSYN|flagACK), rst}
	}, ClassConnectReset)
	f("ICMP host unreachable", func(syn []byte) [][]byte { return [][]byte{icmpUnreachable(syn, 1)} }, ClassConnectUnreachable)
	f("ICMP administratively prohibited", func(syn []byte) [][]byte { return [][]byte{icmpUnreachable(syn, 13)} }, ClassConnectUnreachable)
	f("silence", func([]byte) [][]byte { return nil }, ClassConnectTimeout)
}

const (
	flagSYN = 2
	flagRST = 4
	flagACK = 16
)

func openTUN(name string) (*os.File, error) {
	fd, err := syscall.Open("/dev/net/tun", syscall.O_RDWR|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	var req [40]byte
	copy(req[:15], name)
	binary.NativeEndian.PutUint16(req[16:], syscall.IFF_TUN|syscall.IFF_NO_PI)
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), syscall.TUNSETIFF, uintptr(unsafe.Pointer(&req))); errno != 0 {
		_ = syscall.Close(fd)
		return nil, errno
	}
	return os.NewFile(uintptr(fd), "tun"), nil
}

// answerSYNs answers until the device is closed.
func answerSYNs(tun *os.File, h func(syn []byte) [][]byte) {
	b := make([]byte, 2048)
	for {
		n, err := tun.Read(b)
		if err != nil {
			return
		}
		p := b[:n]
		if n < 40 || p[0]>>4 != 4 || p[9] != syscall.IPPROTO_TCP || p[33]&(flagSYN|flagACK|flagRST) != flagSYN {
			continue
		}
		for _, reply := range h(p) {
			_, _ = tun.Write(reply)
		}
	}
}

// tcpReply answers an IPv4 SYN with a segment of these flags.
func tcpReply(syn []byte, flags byte) []byte {
	p := make([]byte, 40)
	p[0], p[8], p[9] = 0x45, 64, syscall.IPPROTO_TCP
	binary.BigEndian.PutUint16(p[2:], 40)
	copy(p[12:16], syn[16:20])
	copy(p[16:20], syn[12:16])
	copy(p[20:22], syn[22:24])
	copy(p[22:24], syn[20:22])
	binary.BigEndian.PutUint32(p[24:], 1)
	binary.BigEndian.PutUint32(p[28:], binary.BigEndian.Uint32(syn[24:])+1)
	p[32], p[33] = 0x50, flags
	binary.BigEndian.PutUint16(p[34:], 65535)
	sum(p)
	return p
}

// sum sets the checksums of a segment without data.
func sum(p []byte) {
	p[10], p[11], p[36], p[37] = 0, 0, 0, 0
	binary.BigEndian.PutUint16(p[10:], checksum(p[:20]))
	pseudo := append(append([]byte{}, p[12:20]...), 0, syscall.IPPROTO_TCP, 0, 20)
	binary.BigEndian.PutUint16(p[36:], checksum(append(pseudo, p[20:]...)))
}

func checksum(b []byte) uint16 {
	var s uint32
	for i := 0; i+1 < len(b); i += 2 {
		s += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return ^uint16(s)
}

// icmpUnreachable is a router's answer to a packet.
func icmpUnreachable(about []byte, code byte) []byte {
	p := make([]byte, 28+28)
	p[0], p[8], p[9] = 0x45, 64, syscall.IPPROTO_ICMP
	binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
	copy(p[12:16], about[16:20])
	copy(p[16:20], about[12:16])
	p[20], p[21] = 3, code
	copy(p[28:], about[:28])
	binary.BigEndian.PutUint16(p[22:], checksum(p[20:]))
	binary.BigEndian.PutUint16(p[10:], checksum(p[:20]))
	return p
}
