package notify

import (
	"crypto/sha256"
	"encoding/hex"
	"net/url"
	"strings"
)

// fold is s as long as it has at most n bytes, and else its beginning with a hash of the whole: equal for equal s only,
// today and tomorrow. n is at least 65.
func fold(s string, n int) string {
	valid := strings.ToValidUTF8(s, "\uFFFD")
	if len(valid) <= n && valid == s {
		return s
	}
	sum := sha256.Sum256([]byte(s))
	hash := "#" + hex.EncodeToString(sum[:])
	return cut(valid, n-len(hash)) + hash
}

// cut is valid text of s with at most n bytes.
func cut(s string, n int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "")
}

// webLink is link if it can be followed, and "" else: a receiver that checks it would refuse the whole message for it.
func webLink(link string) string {
	u, err := url.Parse(link)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return ""
	}
	return link
}
