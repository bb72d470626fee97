package notify

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/textproto"
	"strings"
	"time"

	"faultline/alert"
)

//go:embed email.html
var mailHTML string

var mailPage = template.Must(template.New("email").Parse(mailHTML))

// mailIDs are what a message is known by in mail.
type mailIDs struct{ message, thread string }

// identify gives repeats of one message the same IDs, and all that is said of one incident the same thread.
func (e *Email) identify(m *Message) mailIDs {
	_, domain, _ := strings.Cut(e.from.Address, "@")
	id := func(what string) string {
		sum := sha256.Sum256([]byte(what))
		return "<" + hex.EncodeToString(sum[:16]) + "@" + domain + ">"
	}
	ids := mailIDs{message: id("message/" + string(m.Event()) + "/" + m.ID())}
	ids.thread = ids.message
	if m.Incident != nil {
		ids.thread = id("thread/" + m.Incident.Key + "/" + m.Incident.ID)
	}
	return ids
}

// compose writes the whole mail.
func (e *Email) compose(m *Message, ids mailIDs, now time.Time) ([]byte, error) {
	var b bytes.Buffer
	parts := multipart.NewWriter(&b)
	e.head(&b, m, ids, now)
	header(&b, "MIME-Version", "1.0")
	header(&b, "Content-Type", mime.FormatMediaType("multipart/alternative", map[string]string{"boundary": parts.Boundary()}))
	b.WriteString("\r\n")
	page, err := mailBody(m)
	if err != nil {
		return nil, fmt.Errorf("composing mail: %w", err)
	}
	for _, part := range []struct{ kind, text string }{{"text/plain", m.Title() + "\n\n" + m.Text()}, {"text/html", page}} {
		if err := addPart(parts, part.kind, part.text); err != nil {
			return nil, fmt.Errorf("composing mail: %w", err)
		}
	}
	if err := parts.Close(); err != nil {
		return nil, fmt.Errorf("composing mail: %w", err)
	}
	return b.Bytes(), nil
}

func (e *Email) head(b *bytes.Buffer, m *Message, ids mailIDs, now time.Time) {
	var to []string
	for n, a := range e.to {
		comma := ","
		if n == len(e.to)-1 {
			comma = ""
		}
		to = append(to, a.String()+comma)
	}
	header(b, "From", e.from.String())
	header(b, "To", to...)
	header(b, "Subject", words(m.Title())...)
	header(b, "Date", now.Format(time.RFC1123Z))
	header(b, "Message-ID", ids.message)
	if ids.thread != ids.message {
		header(b, "In-Reply-To", ids.thread)
		header(b, "References", ids.thread)
	}
	header(b, "Auto-Submitted", "auto-generated")
	header(b, "X-Auto-Response-Suppress", "All") // Exchange heeds this, and not the one above
	header(b, "X-Faultline-Event", string(m.Event()))
	header(b, "X-Faultline-Key", words(m.Key())...)
	if event := m.Event(); event == EventPage || event == EventReminder {
		header(b, "Importance", "high")
	}
}

// header writes one header, each of its words on a line of its own. None can begin another header.
func header(b *bytes.Buffer, name string, words ...string) {
	for n, w := range words {
		words[n] = strings.Map(func(r rune) rune {
			if r < ' ' || r == 0x7f {
				return -1
			}
			return r
		}, w)
	}
	fmt.Fprintf(b, "%s: %s\r\n", name, strings.Join(words, "\r\n "))
}

// words is a text as a header can hold it: as it is, or encoded, in words short enough for a line.
func words(s string) []string {
	s = strings.ReplaceAll(s, "=?", "= ?") // else it would be read as an encoded word
	encoded := mime.QEncoding.Encode("utf-8", s)
	if encoded == s {
		return []string{s}
	}
	return strings.Fields(encoded)
}

func addPart(parts *multipart.Writer, kind, text string) error {
	w, err := parts.CreatePart(textproto.MIMEHeader{
		"Content-Type": {kind + "; charset=utf-8"}, "Content-Transfer-Encoding": {"quoted-printable"},
	})
	if err != nil {
		return err
	}
	q := quotedprintable.NewWriter(w)
	if _, err := q.Write([]byte(text)); err != nil {
		return err
	}
	return q.Close()
}

// The colours of a message, which is read at a glance.
const (
	red   template.CSS = "#b3261e"
	amber template.CSS = "#a15c00"
	green template.CSS = "#1b6e3a"
)

func mailBody(m *Message) (string, error) {
	colour := amber
	switch {
	case m.Incident != nil && m.Incident.State != alert.StateOpen:
		colour = green
	case m.Severity() == alert.SeverityPage:
		colour = red
	}
	var b strings.Builder
	err := mailPage.Execute(&b, struct {
		Title, Key string
		Event      Event
		Colour     template.CSS
		Lines      []alert.Line
	}{m.Title(), m.Key(), m.Event(), colour, m.Lines()})
	return b.String(), err
}
