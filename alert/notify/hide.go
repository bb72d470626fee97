package notify

import (
	"slices"
	"strings"
)

// Hide takes secrets out of words that are to be shown, and bounds them. What has fewer than three bytes is no secret.
func Hide(words string, secrets []string) string {
	longest := slices.SortedFunc(slices.Values(secrets), func(a, b string) int { return len(b) - len(a) })
	for _, s := range longest {
		if len(s) > 2 {
			words = strings.ReplaceAll(words, s, "…")
		}
	}
	return clip(words, maxErrorLen)
}
