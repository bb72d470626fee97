package report

import (
	"strings"
	"testing"
	"time"
)

func TestPlain(t *testing.T) {
	f := func(in, want string) {
		t.Helper()
		if got := plain(in, 10); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
	f("lihkg", "lihkg")
	f("香港高登討論區的名字很長", "香港高登討論區的名…")
	f("a\r\n\x1bb\x7f", `a\r\n\x1b…`)
	f("\u202eab", `\u202eab`)
	f("a\xff", "a\uFFFD")
	f("  \n a  ", "a")
	f(strings.Repeat("é", 1<<20), "ééééééééé…")
}

func TestEnds(t *testing.T) {
	f := func(in, want string) {
		t.Helper()
		if got := ends(in, 9); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
	f("hkg-1", "hkg-1")
	f("tokyo-west-02", "toky…t-02")
}

func TestBlock(t *testing.T) {
	f := func(in string, n int, want string) {
		t.Helper()
		if got := block(in, n); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
	f("a\r\n\tb\n\x00", 99, "a\n\tb\n\\x00")
	f("aé", 2, "a")
	f("\xff\xff", 99, "\uFFFD")
}

func TestLengths(t *testing.T) {
	f := func(d time.Duration, long, since string) {
		t.Helper()
		if got, after := length(d), offset(d); got != long || after != since {
			t.Errorf("%v: got %q and %q, want %q and %q", d, got, after, long, since)
		}
	}
	f(0, "0 s", "+0.0 s")
	f(3210*time.Millisecond, "3 s", "+3.2 s")
	f(59700*time.Millisecond, "1 min", "+59.7 s")
	f(27*time.Minute+12*time.Second, "27 min 12 s", "+27 min 12 s")
	f(30*time.Hour, "30 h", "+30 h")
	f(30*time.Hour+5*time.Minute+9*time.Second, "30 h 5 min", "+30 h 5 min")
	f(-4*time.Second, "0 s", "−4.0 s")
	f(-4*time.Minute, "0 s", "−4 min")
}

func TestProse(t *testing.T) {
	f := func(in, want string) {
		t.Helper()
		if got := prose(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
	f("4 of 4 failing owners get answers that name cloudflare itself", "4 of 4 failing owners get answers that name cloudflare itself")
	f("cdn:cloudflare (http_edge_error, fault edge), 香港", "cdn:cloudflare (http_edge_error, fault edge), 香港")
	f("see https://x.example/, now", "see `https://x.example/`, now")
	f("hey @all of <b>you</b> there", "hey `@all` of `<b>you</b>` there")
	f("a|b", "`a|b`")
	f("``x`` y", "``` ``x`` ``` y")
	f("- 1. x", "`-` 1. x")
	f("seen [first: x from y]", "seen [first: x from y]")
	f("", "")
}

func TestSample(t *testing.T) {
	f := func(n, keep int, want ...int) {
		t.Helper()
		got := sample(n, 4, keep)
		for k := range want {
			if len(got) != len(want) || got[k] != want[k] {
				t.Fatalf("of %d with %d: got %v, want %v", n, keep, got, want)
			}
		}
	}
	f(3, 1, 0, 1, 2)
	f(10, 0, 0, 3, 6, 9)
	f(10, 1, 0, 1, 6, 9)
	f(10, 8, 0, 3, 8, 9)
	f(10, 9, 0, 3, 6, 9)
}
