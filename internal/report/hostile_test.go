package report

import (
	"encoding/xml"
	"errors"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	nethtml "golang.org/x/net/html"

	"faultline/alert"
	"faultline/alert/notify"
	"faultline/probe"
)

// Every word of it means something to some reader.
const evil = "<script>EVIL</script> <img/src=//EVIL> [EVIL](https://EVIL) @EVIL #EVIL |EVIL| `EVIL` ```EVIL ~~~EVIL **EVIL** &lt;EVIL \x1b[31mEVIL \u202eEVIL\r\n# EVIL#\n- *EVIL- \xff\xfe<EVIL --><!--EVIL \"onload=<EVIL www.EVIL.example _EVIL_ https://EVIL.example/{{EVIL}} \x00<EVIL $EVIL$ \\EVIL"

func hostileReport(t *testing.T) *Report {
	r := founding(t)
	r.Version = evil
	i := &r.Incident
	i.ID, i.Key, i.Domain.Name, i.Or = evil, evil, evil, []alert.Domain{{Kind: evil, Name: evil}}
	i.Why, i.Fine, i.Regions = []string{evil}, []string{evil}, []string{evil}
	i.Ack = &alert.Ack{At: i.PagedAt, By: evil, Comment: evil}
	i.Members = []alert.Member{{Site: evil, Owner: evil, Since: i.Onset, Vantages: []string{evil}, Class: evil}}
	for n := range i.Course {
		i.Course[n].Vantages = map[string]int{evil: 50 * n, "v": -3}
	}
	e := &i.Evidence[0]
	e.Site, e.Vantage, e.URL, e.Why, e.Final, e.Proto, e.CDN = evil, evil, evil, evil, evil, evil, evil
	e.DNS = probe.DNSInfo{Resolver: evil, Rcode: evil, CNAME: []string{evil}}
	e.TLS.Version, e.TLS.Issuer = evil, evil
	r.Captures = append(r.Captures[1:], &probe.Capture{
		Site: evil, Vantage: evil, URL: evil, Seq: e.Seq, Status: evil, Headers: []probe.Header{{Name: evil, Value: evil}},
		Body: []byte(evil + "````````"), DNS: []string{evil}, Chain: []string{evil, evil},
	})
	r.Deliveries = []notify.Told{{At: i.PagedAt, Channel: evil, Event: evil, Outcome: evil, Error: evil}}
	return r
}

// tags gives every element of a page with its attributes.
func tagsOf(t *testing.T, page string) map[string]bool {
	t.Helper()
	out := map[string]bool{}
	z := nethtml.NewTokenizer(strings.NewReader(page))
	for {
		switch z.Next() {
		case nethtml.ErrorToken:
			if !errors.Is(z.Err(), io.EOF) {
				t.Fatal(z.Err())
			}
			return out
		case nethtml.CommentToken:
			t.Errorf("a comment: %s", z.Token())
		case nethtml.StartTagToken, nethtml.SelfClosingTagToken:
			token := z.Token()
			for _, a := range token.Attr {
				out[token.Data+" "+a.Key] = true
			}
			out[token.Data] = true
		}
	}
}

func TestHostileHTMLIsText(t *testing.T) {
	got, honest := html(t, hostileReport(t)), tagsOf(t, html(t, founding(t)))
	for tag := range tagsOf(t, got) {
		if !honest[tag] {
			t.Errorf("the page has %q", tag)
		}
	}
	if !utf8.ValidString(got) || strings.ContainsAny(got, "\x00\x1b\u202e\r") {
		t.Error("what controls a terminal or the order of letters is not shown as such")
	}
	for _, want := range []string{"&lt;script&gt;EVIL", `\x1b[31mEVIL`, `\u202eEVIL`} {
		if !strings.Contains(got, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
}

func TestHTMLNeedsNothingElse(t *testing.T) {
	page := html(t, founding(t))
	for tag := range tagsOf(t, page) {
		element, attr, _ := strings.Cut(tag, " ")
		if slices.Contains([]string{"script", "img", "link", "a", "iframe", "object", "form", "use", "image"}, element) ||
			slices.Contains([]string{"href", "src", "srcset", "style", "action"}, attr) || strings.HasPrefix(attr, "on") {
			t.Errorf("the page has %q", tag)
		}
	}
	if strings.Contains(style, "url(") || strings.Contains(style, "@import") {
		t.Error("the style asks for something")
	}
	z, meta, inPage := nethtml.NewTokenizer(strings.NewReader(page)), "", ""
	for z.Next() != nethtml.ErrorToken {
		token := z.Token()
		if token.Data == "meta" && token.Attr[0].Key == "http-equiv" {
			meta = token.Attr[1].Val
		}
		if token.Data == "style" && token.Type == nethtml.StartTagToken {
			z.Next()
			inPage = string(z.Raw())
		}
	}
	if meta != policy || !strings.Contains(meta, "default-src 'none'") || inPage != style {
		t.Errorf("the policy is %q, and the style is %d bytes of %d", meta, len(inPage), len(style))
	}
}

var svg = regexp.MustCompile(`(?s)<svg.*?</svg>`)

func TestChartsAreWellFormed(t *testing.T) {
	f := func(r *Report) {
		t.Helper()
		charts := svg.FindAllString(html(t, r), -1)
		if len(charts) != 2 {
			t.Fatalf("got %d charts", len(charts))
		}
		for _, c := range charts {
			d := xml.NewDecoder(strings.NewReader(c))
			for {
				if _, err := d.Token(); errors.Is(err, io.EOF) {
					break
				} else if err != nil {
					t.Fatalf("%v in %s", err, c)
				}
			}
			if strings.Contains(c, "NaN") || strings.Contains(c, "Inf") {
				t.Error("a chart has no number where one is needed")
			}
		}
	}
	f(founding(t))
	f(hostileReport(t))
	one := founding(t)
	one.Incident.Course = one.Incident.Course[:1]
	f(one)
	mad := founding(t)
	mad.Incident.Course[3] = alert.Point{At: mad.Incident.Onset.AddDate(290, 0, 0), Failing: 7, Of: 0}
	f(mad)
}

var (
	inCode = []*regexp.Regexp{regexp.MustCompile("````[^\n]*?[^`]````"), regexp.MustCompile("``[^\n]*?[^`]``"), regexp.MustCompile("`[^`\n]+`")}
	opens  = regexp.MustCompile("^(`{3,})text$")
)

// bare is Markdown without what is code.
func bare(t *testing.T, s string) string {
	t.Helper()
	var out []string
	fence := ""
	for _, line := range strings.Split(s, "\n") {
		switch m := opens.FindStringSubmatch(line); {
		case fence != "":
			if ticks := strings.TrimSpace(line); strings.Trim(ticks, "`") == "" && len(ticks) >= len(fence) {
				fence = ""
			}
		case m != nil:
			fence = m[1]
		default:
			for _, re := range inCode {
				line = re.ReplaceAllString(line, "CODE")
			}
			out = append(out, line)
		}
	}
	if fence != "" {
		t.Error("a fence is not closed")
	}
	return strings.Join(out, "\n")
}

func TestHostileMarkdownIsText(t *testing.T) {
	got := md(t, hostileReport(t))
	if !utf8.ValidString(got) || strings.ContainsAny(got, "\x00\x1b\u202e\r") {
		t.Error("what controls a terminal or the order of letters is not shown as such")
	}
	plainly := bare(t, got)
	for _, line := range strings.Split(plainly, "\n") {
		if strings.Contains(line, "EVIL") || strings.Contains(line, "`") {
			t.Errorf("not in code: %s", line)
		}
	}
	columns := 0
	for _, line := range strings.Split(plainly, "\n") {
		n := strings.Count(line, "|")
		if n > 0 && columns > 0 && n != columns {
			t.Errorf("a row of %d columns in a table of %d: %s", n-1, columns-1, line)
		}
		columns = n
	}
}

func FuzzProse(f *testing.F) {
	for _, s := range append(strings.Fields(evil), evil, "", "`", "4 of 4 answer", "- a", "1. a", "a_b _c_ d_", "x (y)", "= =", "[a]: b") {
		f.Add(s)
	}
	special := regexp.MustCompile("(?i)[<>@`|#*~&$!\\\\{}\\x00-\\x1f]|://|www\\.|\\]\\(|\\]\\[|^ *[-+=] |^ *[0-9]+[.)] |^\\[")
	f.Fuzz(func(t *testing.T, s string) {
		got := prose(plain(s, 500))
		if rest := bareLine(got); special.MatchString(rest) {
			t.Errorf("%q is set as %q, which leaves %q", s, got, rest)
		}
	})
}

// bareLine is a line without its spans of code: each ends at the next run of as many backticks.
func bareLine(s string) string {
	var out strings.Builder
	for s != "" {
		if s[0] != '`' {
			out.WriteByte(s[0])
			s = s[1:]
			continue
		}
		n := len(s) - len(strings.TrimLeft(s, "`"))
		end := closing(s[n:], n)
		if end < 0 {
			return out.String() + s
		}
		out.WriteString("CODE")
		s = s[n+end+n:]
	}
	return out.String()
}

func closing(s string, n int) int {
	for at := 0; at < len(s); {
		if s[at] != '`' {
			at++
			continue
		}
		run := len(s[at:]) - len(strings.TrimLeft(s[at:], "`"))
		if run == n {
			return at
		}
		at += run
	}
	return -1
}
