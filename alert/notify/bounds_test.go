package notify

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestFold(t *testing.T) {
	for _, same := range []string{"", "faultline/main/cdn/cloudflare", strings.Repeat("k", 255), strings.Repeat("界", 85)} {
		if got := fold(same, 255); got != same {
			t.Errorf("got %q, want %q as it is", got, same)
		}
	}
	seen := map[string]string{}
	for _, long := range []string{
		strings.Repeat("k", 256), strings.Repeat("k", 257), strings.Repeat("界", 86), "x" + strings.Repeat("界", 86), "a\xff", "a\xfe", "a\uFFFD",
	} {
		got := fold(long, 255)
		if len(got) > 255 || !utf8.ValidString(got) || got != fold(long, 255) {
			t.Errorf("got %q, %d bytes", got, len(got))
		}
		if other, ok := seen[got]; ok {
			t.Errorf("%q and %q become one", long, other)
		}
		seen[got] = long
	}
}

func TestCut(t *testing.T) {
	f := func(s string, n int, want string) {
		t.Helper()
		if got := cut(s, n); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	f("two\nlines", 100, "two\nlines")
	f("界界", 6, "界界")
	f("界界", 5, "界")
	f("界", 2, "")
	f("a\xffb", 100, "a\uFFFDb")
}

func TestWebLink(t *testing.T) {
	f := func(link, want string) {
		t.Helper()
		if got := webLink(link); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	f("https://watch.example/incidents/1", "https://watch.example/incidents/1")
	f("", "")
	f("watch.example/incidents/1", "")
	f("javascript:alert(1)", "")
	f("https://watch example/", "")
}
