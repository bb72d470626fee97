package notify

import (
	"bytes"
	"context"
	"encoding/base64"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"faultline/alert"
)

func email(t *testing.T, s *mailServer, change func(*EmailConfig)) *Email {
	t.Helper()
	c := EmailConfig{
		Host: s.addr, TLS: EmailStartTLS, From: "Faultline <faultline@example.org>", To: []string{"a@example.org", "Bérénice <b@example.org>"}, Roots: s.roots,
	}
	if s.implicit {
		c.TLS = EmailImplicit
	}
	if s.auth != "" {
		c.Username, c.Password = mailUser, mailPassword
	}
	if change != nil {
		change(&c)
	}
	e, err := NewEmail(c, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// kindOf is how an attempt ended, in a word.
func kindOf(err error) string {
	return map[Outcome]string{OutcomeAccepted: "taken", OutcomeFailed: "later", OutcomeRefused: "never"}[outcomeOf(err)]
}

func TestEmailArrives(t *testing.T) {
	f := func(change func(*mailServer)) {
		t.Helper()
		s := newMailServer(t, change)
		i := founding()
		if err := email(t, s, nil).Deliver(t.Context(), Message{Incident: &i, First: true}); err != nil {
			t.Error(err)
			return
		}
		got := s.taken()
		if len(got) != 1 || cmp.Diff(got[0].to, []string{"a@example.org", "b@example.org"}) != "" || !strings.Contains(got[0].from, "<faultline@example.org>") {
			t.Errorf("got %+v", got)
		}
	}
	f(nil)
	f(func(s *mailServer) { s.implicit = true })
	f(func(s *mailServer) { s.auth = "PLAIN LOGIN" })
	f(func(s *mailServer) { s.auth = "login" })
	f(func(s *mailServer) { s.auth = "XOAUTH2 CRAM-MD5" })
	f(func(s *mailServer) { s.hang = "QUIT" })
}

type part struct{ kind, text string }

// open takes a mail apart as a mail program does.
func open(t *testing.T, text string) (*mail.Message, []part) {
	t.Helper()
	m, err := mail.ReadMessage(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/alternative" {
		t.Fatalf("got %q, error %v", kind, err)
	}
	r := multipart.NewReader(m.Body, params["boundary"])
	var parts []part
	for {
		p, err := r.NextRawPart()
		if err == io.EOF {
			return m, parts
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(quotedprintable.NewReader(p))
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, part{p.Header.Get("Content-Type"), strings.ReplaceAll(string(b), "\r\n", "\n")})
	}
}

func TestEmailText(t *testing.T) {
	s := newMailServer(t, nil)
	e := email(t, s, nil)
	i := founding()
	i.Why = []string{"<script>alert(1)</script> & more"}
	m := Message{Incident: &i, First: true, Link: "https://faultline.example/incidents/1?a=b&c=d"}
	end := over(i)
	for _, m := range []Message{m, m, {Incident: &end}} {
		if err := e.Deliver(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	got := s.taken()
	first, parts := open(t, got[0].text)
	for k, want := range map[string]string{
		"Auto-Submitted": "auto-generated", "X-Faultline-Key": "faultline/main/cdn/cloudflare", "X-Faultline-Event": "page", "MIME-Version": "1.0", "Importance": "high",
		"From": `"Faultline" <faultline@example.org>`,
	} {
		if got := first.Header.Get(k); got != want {
			t.Errorf("got %s %q, want %q", k, got, want)
		}
	}
	if subject := first.Header.Get("Subject"); subject != m.Title() {
		t.Errorf("got the subject %q, want %q", subject, m.Title())
	}
	if at, err := first.Header.Date(); err != nil || time.Since(at) > time.Minute {
		t.Errorf("got the date %v, error %v", at, err)
	}
	if to, err := first.Header.AddressList("To"); err != nil || len(to) != 2 || to[1].Name != "Bérénice" {
		t.Errorf("got the recipients %v, error %v", to, err)
	}
	again, _ := open(t, got[1].text)
	last, _ := open(t, got[2].text)
	if id := first.Header.Get("Message-Id"); id == "" || again.Header.Get("Message-Id") != id || last.Header.Get("Message-Id") == id {
		t.Error("Message-ID does not tell a repeat from an update")
	}
	if ref := first.Header.Get("References"); ref == "" || last.Header.Get("References") != ref || last.Header.Get("In-Reply-To") != ref {
		t.Error("an incident's mails are no thread")
	}
	if len(parts) != 2 || parts[0].kind != "text/plain; charset=utf-8" || parts[1].kind != "text/html; charset=utf-8" {
		t.Fatalf("got the parts %+v", parts)
	}
	if want := m.Title() + "\n\n" + m.Text(); parts[0].text != want {
		t.Errorf("got the text %q, want %q", parts[0].text, want)
	}
	html := parts[1].text
	if strings.Contains(html, "<script") || !strings.Contains(html, "&lt;script&gt;") || !strings.Contains(html, `href="https://faultline.example/incidents/1?a=b&amp;c=d"`) {
		t.Errorf("got the page\n%s", html)
	}
	if strings.Contains(html, "ZgotmplZ") || strings.Contains(html, "http://") || len(html) > 20<<10 {
		t.Errorf("the page is not light, or needs something from outside:\n%s", html)
	}
}

// What names and answers hold cannot make another header.
func TestEmailHeadersCannotBeForged(t *testing.T) {
	s := newMailServer(t, nil)
	e := email(t, s, nil)
	f := func(text, key string) {
		t.Helper()
		n := alert.Notice{ID: "1", Kind: alert.NoticeSite, Key: key, Text: text}
		var b bytes.Buffer
		m := Message{Notices: []alert.Notice{n}}
		raw, err := e.compose(&m, e.identify(&m), time.Now())
		if err != nil {
			t.Fatal(err)
		}
		b.Write(raw)
		got, _ := open(t, b.String())
		for k := range got.Header {
			if strings.Contains(strings.ToLower(k), "bcc") {
				t.Errorf("%q, %q: got the header %s", text, key, k)
			}
		}
		subject, err := new(mime.WordDecoder).DecodeHeader(got.Header.Get("Subject"))
		if want := strings.ReplaceAll(m.Title(), "=?", "= ?"); err != nil || subject != want {
			t.Errorf("got the subject %q, error %v, want %q", subject, err, want)
		}
		for line := range strings.Lines(b.String()) {
			if len(line) > 998 {
				t.Errorf("a line has %d bytes", len(line))
			}
		}
	}
	f("a\r\nBcc: x@example.org", "site/x\r\nBcc: y@example.org")
	f(strings.Repeat("界", 200), "site/"+strings.Repeat("ü", 300))
	f("=?utf-8?q?=0ABcc:_x?=", "k")
	f("\x00\x1b[31m", "k\x00")
}

func TestEmailOutcomes(t *testing.T) {
	f := func(command, reply, want string) {
		t.Helper()
		s := newMailServer(t, func(s *mailServer) {
			s.auth = "PLAIN"
			s.replies[command] = reply
		})
		i := founding()
		err := email(t, s, nil).Deliver(t.Context(), Message{Incident: &i, First: true})
		if kindOf(err) != want {
			t.Errorf("%s: got %s (%v), want %s", reply, kindOf(err), err, want)
		}
		if err != nil && !strings.HasPrefix(err.Error(), "mailing by "+s.addr+": ") {
			t.Errorf("got %v, want that it says where", err)
		}
	}
	f("greeting", "421 too busy", "later")
	f("greeting", "554 no service", "later")
	f("EHLO", "502 no", "later")
	f("STARTTLS", "454 not now", "later")
	f("AUTH", "535 5.7.8 wrong", "later")
	f("AUTH", "454 4.7.0 not now", "later")
	f("MAIL", "451 4.3.0 later", "later")
	f("MAIL", "530 5.7.0 authenticate first", "later")
	f("MAIL", "553 5.1.8 no such sender", "never")
	f("RCPT", "450 4.2.0 greylisted", "later")
	f("RCPT", "550 5.1.1 no such user", "never")
	f("RCPT", "554 5.7.1 Relay access denied", "later")
	f("RCPT", "550 relay not permitted", "later")
	f("DATA", "451 4.3.0 no space", "later")
	f("mail", "452 4.3.1 no space", "later")
	f("mail", "552 5.3.4 too large", "never")
	f("mail", "554 5.7.1 spam", "never")
	f("greeting", "hello", "later")
	f("EHLO", strings.Repeat("250-x\r\n", 300000)+"250 x", "later")
}

func TestEmailNeedsTLS(t *testing.T) {
	f := func(server func(*mailServer), change func(*EmailConfig), want string) {
		t.Helper()
		s := newMailServer(t, server)
		i := founding()
		err := email(t, s, change).Deliver(t.Context(), Message{Incident: &i, First: true})
		if kindOf(err) != "later" || !strings.Contains(err.Error(), want) || s.commands("MAIL") > 0 {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	f(func(s *mailServer) { s.offerTLS = false }, nil, "offers no STARTTLS")
	f(nil, func(c *EmailConfig) { c.Roots = nil }, "certificate")
	f(nil, func(c *EmailConfig) { c.Host = strings.Replace(c.Host, "127.0.0.1", "localhost", 1) }, "certificate")
	f(nil, func(c *EmailConfig) { c.Username, c.Password = "u", "p" }, "PLAIN")
	s := newMailServer(t, nil)
	i := founding()
	if err := email(t, s, func(c *EmailConfig) { c.TLS = EmailPlain }).Deliver(t.Context(), Message{Incident: &i}); err != nil {
		t.Errorf("without TLS on loopback: %v", err)
	}
	_, err := NewEmail(EmailConfig{Host: "mail.example:25", TLS: EmailPlain, From: "a@example.org", To: []string{"b@example.org"}, Username: "u", Password: "p"}, zerolog.Nop())
	if err == nil {
		t.Error("a password was to be sent in the clear")
	}
}

func TestEmailHangs(t *testing.T) {
	for _, step := range []string{"greeting", "EHLO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "mail"} {
		s := newMailServer(t, func(s *mailServer) {
			s.auth, s.hang = "PLAIN", step
		})
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		i := founding()
		began := time.Now()
		err := email(t, s, nil).Deliver(ctx, Message{Incident: &i})
		cancel()
		if kindOf(err) != "later" || time.Since(began) > 5*time.Second {
			t.Errorf("%s: got %v after %v", step, err, time.Since(began))
		}
	}
}

// Who has taken a mail does not get it again because others have not.
func TestEmailRecipientsApart(t *testing.T) {
	s := newMailServer(t, func(s *mailServer) {
		s.replies["RCPT TO:<b@"] = "450 4.2.0 greylisted"
		s.replies["RCPT TO:<c@"] = "550 5.1.1 no such user"
	})
	var log bytes.Buffer
	e := email(t, s, func(c *EmailConfig) { c.To = []string{"a@example.org", "b@example.org", "c@example.org"} })
	e.log = zerolog.New(&log)
	i := founding()
	m := Message{Incident: &i, First: true}
	if err := e.Deliver(t.Context(), m); kindOf(err) != "later" || !strings.Contains(err.Error(), "b@example.org") {
		t.Errorf("got %v, want that b is asked again", err)
	}
	if !strings.Contains(log.String(), "c@example.org") {
		t.Errorf("got the log %q, want that c is refused", log.String())
	}
	s.relent("RCPT TO:<b@")
	if err := e.Deliver(t.Context(), m); err != nil {
		t.Error(err)
	}
	var to [][]string
	for _, r := range s.taken() {
		to = append(to, r.to)
	}
	if d := cmp.Diff(to, [][]string{{"a@example.org"}, {"b@example.org"}}); d != "" {
		t.Errorf("-got +want:\n%s", d)
	}
	if n := s.commands("RCPT TO:<c@"); n != 1 {
		t.Errorf("c was asked for %d times", n)
	}
	i.Rev++
	if err := e.Deliver(t.Context(), m); err != nil {
		t.Error(err)
	}
	if got := s.taken(); len(got) != 3 || len(got[2].to) != 2 {
		t.Errorf("got %+v, want the next revision for all who take it", got[2:])
	}
}

func TestEmailErrorsHideSecrets(t *testing.T) {
	for _, mechanism := range []string{"PLAIN", "LOGIN"} {
		s := newMailServer(t, func(s *mailServer) { s.auth = mechanism })
		i := founding()
		const password = "wr0ngpassw0rd"
		err := email(t, s, func(c *EmailConfig) { c.Password = password }).Deliver(t.Context(), Message{Incident: &i})
		if err == nil || !strings.Contains(err.Error(), "535") {
			t.Fatalf("got %v", err)
		}
		code := base64.StdEncoding.EncodeToString([]byte("\x00" + mailUser + "\x00" + password)) // the server echoes it
		if strings.Contains(err.Error(), password) || strings.Contains(err.Error(), code) {
			t.Errorf("%q shows the password", err)
		}
	}
}

func TestEmailNobodyThere(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &mailServer{addr: l.Addr().String()}
	l.Close()
	i := founding()
	if err := email(t, s, nil).Deliver(t.Context(), Message{Incident: &i}); kindOf(err) != "later" {
		t.Errorf("got %v", err)
	}
}
