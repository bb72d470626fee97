package simnet

import (
	"bytes"
	"embed"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

//go:embed pages
var pageFiles embed.FS

// Header is one line of an answer's head.
type Header struct{ Name, Value string }

// Answer is an HTTP answer as a probe gets it.
type Answer struct {
	Status  int
	Reason  string
	Headers []Header
	Body    []byte
}

// AppendWire appends the answer to b in the form of HTTP/1.1, as the last one on its connection.
func (a *Answer) AppendWire(b []byte) []byte {
	b = fmt.Appendf(b, "HTTP/1.1 %d %s\r\n", a.Status, a.Reason)
	for _, h := range a.Headers {
		b = append(append(append(append(b, h.Name...), ": "...), h.Value...), "\r\n"...)
	}
	b = fmt.Appendf(b, "Connection: close\r\nContent-Length: %d\r\n\r\n", len(a.Body))
	return append(b, a.Body...)
}

// Answer is what the edge before a site, or the site itself, answers to a request from a vantage (-1: from nowhere in
// particular) that meets class c. The number id makes its request identifiers. Classes that never become an HTTP
// answer give the good one.
func (w *World) Answer(site, vantage int, c Class, at time.Time, id uint64) Answer {
	if a, ok := w.own(site, vantage, c, at, id); ok {
		return a
	}
	return w.passOn(site, vantage, w.fromOrigin(site, c, at), at, id)
}

var reasons = map[int]string{500: "Internal Server Error", 502: "Bad Gateway", 503: "Service Unavailable"}

// own is the edge's own answer; false where the origin's is passed on.
func (w *World) own(site, vantage int, c Class, at time.Time, id uint64) (Answer, bool) {
	s := &w.Sites[site]
	page, status := "", 0
	switch c {
	case ClassBlocked:
		page = "blocked"
	case ClassEdge500, ClassEdge502, ClassEdge503:
		page, status = "edge", [...]int{500, 502, 503}[c-ClassEdge500]
	case ClassCF522:
		page = "origin"
		if s.CDN == "cloudflare" {
			page = "cf_522"
		}
	case ClassOrigin5xx:
		page = "origin"
		if s.CDN != "" && w.passesErrorsOn(site) {
			return Answer{}, false
		}
	default:
		return Answer{}, false
	}
	text, err := pageFiles.ReadFile("pages/" + pagesOf(s.CDN) + "/" + page + ".http")
	if err != nil { // such a CDN names no origin
		return Answer{}, false
	}
	return parseAnswer(w.fill(site, vantage, string(text), status, at, id)), true
}

// passesErrorsOn tells whether the CDN of a site whose origin fails shows the origin's own page: one site in two, by its
// place, so that each CDN's sites are of both kinds.
func (w *World) passesErrorsOn(site int) bool { return site/3%2 == 1 }

// pagesOf is the folder of a CDN's pages.
func pagesOf(cdn string) string {
	if cdn == "" {
		return "nginx"
	}
	if _, ok := octets[cdn]; ok {
		return cdn
	}
	return "other"
}

// fromOrigin is what the site's own server says.
func (w *World) fromOrigin(site int, c Class, at time.Time) Answer {
	a := Answer{Status: http.StatusOK, Reason: "OK", Headers: []Header{
		{"Date", at.UTC().Format(http.TimeFormat)}, {"Content-Type", "text/html; charset=utf-8"}, {"Server", "Apache"},
	}}
	if c == ClassOrigin5xx || c == ClassCF522 {
		a.Status, a.Reason = http.StatusServiceUnavailable, "Service Unavailable"
		a.Body = []byte("<html><body><h1>Down for maintenance</h1><p>Back soon.</p></body></html>\n")
		return a
	}
	name := w.Sites[site].Name
	a.Body = fmt.Appendf(nil, "<!DOCTYPE html>\n<html><head><title>%s</title></head><body><h1>%s</h1><p>All is well.</p></body></html>\n", name, name)
	return a
}

// passOn is an origin's answer as it leaves the edge: the edge's headers join it, and take the place of those of the
// same name.
func (w *World) passOn(site, vantage int, a Answer, at time.Time, id uint64) Answer {
	text, err := pageFiles.ReadFile("pages/" + pagesOf(w.Sites[site].CDN) + "/pass.http")
	if err != nil {
		return a
	}
	var out []Header
	own := parseHeaders(w.fill(site, vantage, string(text), a.Status, at, id))
	for _, h := range a.Headers {
		replaced := false
		for _, o := range own {
			replaced = replaced || strings.EqualFold(o.Name, h.Name)
		}
		if !replaced {
			out = append(out, h)
		}
	}
	a.Headers = append(out, own...)
	return a
}

// fill puts what is particular to one answer into a page.
func (w *World) fill(site, vantage int, text string, status int, at time.Time, id uint64) string {
	s := &w.Sites[site]
	pop := popOf("")
	if vantage >= 0 {
		pop = popOf(w.Vantages[vantage].Region)
	}
	reason := reasons[status]
	if status == http.StatusServiceUnavailable && s.CDN == "cloudflare" || s.CDN == "" && status == http.StatusServiceUnavailable {
		reason = "Service Temporarily Unavailable" // as nginx says it
	}
	id = mix(id, uint64(site))
	hex := fmt.Sprintf("%016x", id)
	return strings.NewReplacer(
		"{status}", strconv.Itoa(status), "{reason}", reason, "{host}", s.Host, "{cdn}", s.CDN,
		"{pop}", pop, "{pop3}", strings.ToLower(pop), "{date}", at.UTC().Format(http.TimeFormat),
		"{unix}", strconv.FormatInt(at.Unix(), 10), "{az}", at.UTC().Format("20060102T150405"),
		"{ray}", hex, "{hex}", hex[:8], "{id}", hex+hex, "{dec}", strconv.FormatUint(id>>20, 10), "{num}", strconv.Itoa(int(id%8000)+1000),
	).Replace(text)
}

// parseAnswer reads a page: status line, headers, an empty line, body. The pages are ours and well-formed.
func parseAnswer(text string) Answer {
	head, body, _ := strings.Cut(text, "\n\n")
	line, headers, _ := strings.Cut(head, "\n")
	line = strings.TrimPrefix(line, "HTTP/1.1 ")
	code, reason, _ := strings.Cut(line, " ")
	status, _ := strconv.Atoi(code)
	return Answer{Status: status, Reason: reason, Headers: parseHeaders(headers), Body: []byte(body)}
}

func parseHeaders(text string) []Header {
	var out []Header
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ": "); ok {
			out = append(out, Header{name, value})
		}
	}
	return out
}

// answerOf is a response that came from an origin as an Answer.
func answerOf(resp *http.Response, body *bytes.Buffer) Answer {
	a := Answer{Status: resp.StatusCode, Reason: http.StatusText(resp.StatusCode), Body: body.Bytes()}
	for _, name := range []string{"Date", "Content-Type", "Server"} {
		if v := resp.Header.Get(name); v != "" {
			a.Headers = append(a.Headers, Header{name, v})
		}
	}
	return a
}
