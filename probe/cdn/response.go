package cdn

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"faultline/probe"
)

const (
	maxBody       = 64 << 10 // of a response that is kept
	maxHeadBytes  = 64 << 10 // of a saved response's status line and headers
	maxInterim    = 5        // interim (1xx) responses before the one that counts
	hexDigitsMost = 8        // of a chunk's size
)

// ParseResponse reads a saved response: status line, headers, blank line, body; lines end with LF or CRLF. Interim
// responses are skipped. The body is what follows, at most 64 KiB of it, whatever Content-Length says; chunks and gzip
// are undone where they are really there. An error says that raw does not begin as a response does.
func ParseResponse(raw []byte) (*probe.Response, error) {
	for range maxInterim {
		resp, rest, err := parseHead(raw)
		if err != nil {
			return nil, err
		}
		if resp.Status < 200 && bytes.HasPrefix(rest, []byte("HTTP/")) {
			raw = rest
			continue
		}
		resp.Body = decoded(resp, rest)
		return resp, nil
	}
	return nil, errors.New("reading response: too many interim responses; a final one should follow them")
}

// Saved is the evidence that a saved response gives: the response, or that it is none, or that its body was cut short.
func Saved(raw []byte) *probe.Evidence {
	resp, err := ParseResponse(raw)
	if err != nil {
		return &probe.Evidence{Class: probe.ClassHTTPMalformed, Detail: err.Error()}
	}
	e := &probe.Evidence{Class: probe.ClassOK, Response: resp}
	// A body of a line or two less is how editors save files, and an empty one is what a HEAD request gets.
	want, err := strconv.Atoi(strings.TrimSpace(resp.Get("Content-Length")))
	got := len(resp.Body)
	if err == nil && got > 0 && got < maxBody && want > got+bytes.Count(resp.Body, []byte("\n"))+2 && resp.Get("Content-Encoding") == "" {
		e.Class, e.Detail = probe.ClassHTTPBodyTruncated, fmt.Sprintf("%d of %d bytes", got, want)
	}
	return e
}

func parseHead(raw []byte) (resp *probe.Response, rest []byte, err error) {
	line, rest, _ := cutLine(raw)
	resp, err = parseStatus(line)
	if err != nil {
		return nil, nil, err
	}
	for len(raw)-len(rest) <= maxHeadBytes {
		var ok bool
		line, rest, ok = cutLine(rest)
		if line == "" { // the blank line, or the end of the file
			return resp, rest, nil
		}
		if n := len(resp.Headers); (line[0] == ' ' || line[0] == '\t') && n > 0 { // folded
			resp.Headers[n-1].Value += " " + strings.TrimSpace(line)
		} else if name, value, found := strings.Cut(line, ":"); found && n < maxHeaders {
			resp.Headers = append(resp.Headers, probe.Header{Name: strings.TrimSpace(name), Value: strings.TrimSpace(value)})
		}
		if !ok && len(rest) == 0 {
			return resp, nil, nil
		}
	}
	return nil, nil, fmt.Errorf("reading headers: more than %d bytes; a blank line should end them", maxHeadBytes)
}

func parseStatus(line string) (*probe.Response, error) {
	proto, after, _ := strings.Cut(line, " ")
	code, reason, _ := strings.Cut(strings.TrimLeft(after, " "), " ")
	status, err := strconv.Atoi(code)
	if !strings.HasPrefix(proto, "HTTP/") || err != nil || status < 100 || status > 999 {
		return nil, fmt.Errorf("reading status line: %.60q is none; a response begins with one such as \"HTTP/1.1 200 OK\"", line)
	}
	return &probe.Response{Proto: proto, Status: status, Reason: strings.TrimSpace(reason)}, nil
}

// cutLine cuts a line, at most maxHeadBytes+1 long, off b; ok = it had an end.
func cutLine(b []byte) (line string, rest []byte, ok bool) {
	n := bytes.IndexByte(b[:min(len(b), maxHeadBytes+1)], '\n')
	if n < 0 {
		n = min(len(b), maxHeadBytes+1)
		return strings.TrimSuffix(string(b[:n]), "\r"), b[n:], false
	}
	return strings.TrimSuffix(string(b[:n]), "\r"), b[n+1:], true
}

// decoded is the body as a browser would see it, where its encodings can be undone, else as it is.
func decoded(resp *probe.Response, body []byte) []byte {
	if strings.EqualFold(resp.Get("Transfer-Encoding"), "chunked") {
		if plain, ok := unchunk(body); ok {
			body = plain
		}
	}
	body = probe.DecodeBody(resp.Get("Content-Encoding"), body)
	return bytes.Clone(body[:min(len(body), maxBody)])
}

// unchunk joins the chunks of body; not ok = it is not made of chunks. A last chunk that was cut short is kept.
func unchunk(body []byte) (plain []byte, ok bool) {
	for len(plain) < maxBody && len(body) > 0 {
		line, rest, _ := cutLine(body)
		size, _, _ := strings.Cut(line, ";")
		size = strings.TrimSpace(size)
		n, err := strconv.ParseUint(size, 16, 32)
		if err != nil || len(size) > hexDigitsMost {
			return nil, false
		}
		if n == 0 {
			return plain, true
		}
		n = min(n, uint64(len(rest)))
		plain = append(plain, rest[:min(n, maxBody)]...)
		body = bytes.TrimPrefix(bytes.TrimPrefix(rest[n:], []byte("\r")), []byte("\n"))
	}
	return plain, len(plain) > 0
}
