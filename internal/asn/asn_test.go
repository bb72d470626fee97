package asn

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func table(t *testing.T, text string) (*Table, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "asn.csv")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return Load(path)
}

func TestTable(t *testing.T) {
	x, err := table(t, `ip_range_start,ip_range_end,autonomous_system_number,organization
203.0.113.0,203.0.113.255,64502,"Third, Inc."
192.0.2.0,192.0.2.127,AS64500,First
192.0.2.128,192.0.2.255,0,nobody
198.51.100.0/24,64501
2001:db8::,2001:db8:0:ffff:ffff:ffff:ffff:ffff,64503,Six
2001:db8:1::/48,64504
`)
	if err != nil {
		t.Fatal(err)
	}
	for addr, want := range map[string]string{
		"192.0.2.0": "as64500", "192.0.2.127": "as64500", "192.0.2.128": "", "192.0.2.255": "", "192.0.1.255": "", "198.51.100.7": "as64501",
		"203.0.113.255": "as64502", "203.0.114.0": "", "0.0.0.0": "", "255.255.255.255": "", "::ffff:203.0.113.1": "as64502",
		"2001:db8::1": "as64503", "2001:db8:1:ffff::": "as64504", "2001:db8:2::": "", "::1": "",
	} {
		if got := x.Of(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: got %q, want %q", addr, got, want)
		}
	}
	if got := x.Of(netip.Addr{}); got != "" {
		t.Errorf("got %q of no address", got)
	}
	var none *Table
	if got := none.Of(netip.MustParseAddr("192.0.2.1")); got != "" {
		t.Errorf("got %q without a table", got)
	}
}

func TestMistakes(t *testing.T) {
	for text, want := range map[string]string{
		"":                                "no range",
		"a,b,c\n":                         "no range",
		"192.0.2.0/24,64500\nx,y,z\n":     ":2: ",
		"192.0.2.0/24,64500\n192.0.2.9\n": "a line is FIRST,LAST,ASN",
		"192.0.2.0/24,64500\n192.0.2.9,192.0.2.1,5\n":  "is no range",
		"192.0.2.0/24,64500\n192.0.2.9,2001:db8::,5\n": "is no range",
		"192.0.2.0/24,64500\n192.0.2.0/24,moon\n":      `"MOON" is no number`,
	} {
		if _, err := table(t, text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
	dir := t.TempDir()
	if _, err := Load(filepath.Join(dir, "none.csv")); err == nil {
		t.Error("a file that is not there is read")
	}
	bad := filepath.Join(dir, "x.mmdb")
	if err := os.WriteFile(bad, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(bad); err == nil || !strings.Contains(err.Error(), "no MaxMind database") {
		t.Errorf("got %v", err)
	}
}

// Team Cymru is asked once for a neighbourhood, and again when it did not answer; nobody waits for it.
func TestCymru(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var asked []string
		fail := true
		c := newCymru(ctx, func(_ context.Context, name string) ([]string, error) {
			asked = append(asked, name)
			if fail {
				return nil, errors.New("no answer")
			}
			return []string{"13335 209242 | 104.16.0.0/12 | US | arin | 2014-03-28"}, nil
		})
		of := func(addr string) string { return c.Of(netip.MustParseAddr(addr)) }
		for _, local := range []string{"127.0.0.1", "10.0.0.1", "::1", "fe80::1"} {
			if got := of(local); got != "" {
				t.Errorf("%s: got %q", local, got)
			}
		}
		if got := of("104.16.0.1"); got != "" {
			t.Errorf("got %q at once", got)
		}
		synctest.Wait()
		fail = false
		if got := of("104.16.0.9"); got != "" || len(asked) != 1 {
			t.Errorf("got %q after %v", got, asked)
		}
		time.Sleep(retryAfter + time.Second)
		of("104.16.0.9")
		synctest.Wait()
		if got := of("104.16.0.200"); got != "as13335" || len(asked) != 2 || asked[1] != "0.0.16.104.origin.asn.cymru.com." {
			t.Errorf("got %q after %v", got, asked)
		}
		of("2606:4700::1111")
		synctest.Wait()
		if want := strings.Repeat("0.", 24) + "0.0.7.4.6.0.6.2.origin6.asn.cymru.com."; asked[2] != want {
			t.Errorf("asked %s, want %s", asked[2], want)
		}
		cancel()
		synctest.Wait()
	})
}

func BenchmarkOf(b *testing.B) {
	x := &Table{}
	for i := range uint32(500000) {
		x.four = append(x.four, span4{i << 12, i<<12 + 4095, i + 1})
	}
	a := netip.MustParseAddr("104.16.0.1")
	b.ReportAllocs()
	for b.Loop() {
		x.Of(a)
	}
}
