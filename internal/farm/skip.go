// Package farm runs real programs for tests: servers, proxies, resolvers from Debian. Nothing but tests may import it.
package farm

import (
	"os"
	"testing"
)

// Skip skips a test that lacks something, but not in CI, where nothing may be lacking.
func Skip(t testing.TB, why string) {
	t.Helper()
	if os.Getenv("FAULTLINE_CI") != "" {
		t.Fatal(why)
	}
	t.Skip(why)
}
