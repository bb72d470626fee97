package probe

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// descriptorTest is set for a child that probes with a full table of file descriptors.
const descriptorTest = "FAULTLINE_TEST_WITHOUT_DESCRIPTORS"

func TestNoDescriptorsLeft(t *testing.T) {
	g := newRig(t)
	at := g.serve(says(good))
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), descriptorTest+"="+at.String())
	out, err := cmd.CombinedOutput()
	want := "while full: local_resource local, afterwards: ok\nwhile full: local_resource local, afterwards: ok\n"
	if err != nil || !strings.HasSuffix(string(out), want) {
		t.Errorf("got %q, %v, want %q", out, err, want)
	}
	happened.Store(ClassLocalResource, t.Name())
}

// probeWithoutDescriptors fills its table of descriptors, probes, frees it and probes again: first an address, then a name.
func probeWithoutDescriptors() int {
	site := &Site{Name: "site", Method: "GET", URL: mustURL("http://" + os.Getenv(descriptorTest) + "/")}
	p := NewProber(Config{Judge: judgeByStatus, Memory: NewMemory(), Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	v := &Vantage{Name: "here", Resolvers: []Resolver{{Addr: netip.MustParseAddrPort("127.0.0.1:9")}}}
	t := Task{Site: site, Vantage: v, Timeout: 2 * time.Second}
	p.Probe(noCancel, t, nil) // whatever the runtime opens once is open now
	for range 2 {
		full := fill()
		r := p.Probe(noCancel, t, nil)
		for _, fd := range full {
			_ = syscall.Close(fd)
		}
		site.URL = mustURL("http://" + os.Getenv(descriptorTest) + "/")
		after := p.Probe(noCancel, t, nil)
		fmt.Printf("while full: %v %v, afterwards: %v\n", r.Class, r.Fault, after.Class)
		site.URL = mustURL("http://site.example/")
	}
	return 0
}

// fill opens descriptors until there is no more.
func fill() (fds []int) {
	_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 64, Max: 64})
	for {
		fd, err := syscall.Open("/dev/null", syscall.O_RDONLY, 0)
		if err != nil {
			return fds
		}
		fds = append(fds, fd)
	}
}
