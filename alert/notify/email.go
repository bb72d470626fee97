package notify

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/mail"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// Email is the channel that mails each message to some people, as plain text and HTML, over SMTP.
//
// Mail cannot be folded: whoever is sent a message twice sees two, unless his server knows them by their Message-ID, which
// is the same for both. All mails of one incident refer to the same mail, which was never sent, so that they are shown
// together.
//
// A message counts as delivered when no recipient is left who could take it. The next attempt asks those alone who have
// not taken it yet; after a restart it asks all. Recipients that are refused for good while others take it are logged.
//
// What the server refuses with 4xx, and whatever keeps it from answering, is tried again. So is all that goes wrong before
// the sender is named, and what it refuses for want of permission (530, 534, 535, 538, 5.7.x, relaying): those are
// mistakes that people mend while the outage lasts. What else it refuses with 5xx is refused for good.
type Email struct {
	c    EmailConfig
	host string // the server's name
	from *mail.Address
	to   []*mail.Address
	log  zerolog.Logger

	mu    sync.Mutex // guards what follows
	asked map[string]asked
}

// EmailConfig is what an Email channel works with.
type EmailConfig struct {
	Host     string // host:port of the server
	TLS      EmailTLS
	From     string
	To       []string
	Username string // "" = no authentication
	Password string
	Roots    *x509.CertPool // nil = the system's
}

// EmailTLS is how the connection to a mail server is made safe.
type EmailTLS string

// The ways to make it safe.
const (
	EmailStartTLS EmailTLS = "starttls" // the server must offer it
	EmailImplicit EmailTLS = "implicit" // from the first byte
	EmailPlain    EmailTLS = "none"     // not at all
)

// asked is what became of one message of several recipients.
type asked struct {
	id   string          // its Message-ID
	done map[string]bool // by address: true = taken, false = refused for good
}

// EmailTimeout is how long a mail may take: servers look at mails for spam before they take them, for which RFC 5321 grants
// them minutes.
const EmailTimeout = 90 * time.Second

const maxAsked = 1000

// NewEmail makes a channel. log is told of recipients who are refused.
func NewEmail(c EmailConfig, log zerolog.Logger) (*Email, error) {
	host, port, err := net.SplitHostPort(c.Host)
	if err != nil || host == "" || port == "" {
		return nil, fmt.Errorf("mail server %q has no port; write host:port, as in smtp.example.org:587", c.Host)
	}
	if c.Username != "" && c.TLS == EmailPlain && !isLoopback(host) {
		return nil, errors.New("a password is not sent without TLS")
	}
	from, err := ParseAddress(c.From)
	if err != nil {
		return nil, fmt.Errorf("sender: %w", err)
	}
	e := &Email{c: c, host: host, from: from, log: log, asked: map[string]asked{}}
	for _, s := range c.To {
		to, err := ParseAddress(s)
		if err != nil {
			return nil, fmt.Errorf("recipient: %w", err)
		}
		e.to = append(e.to, to)
	}
	if len(e.to) == 0 {
		return nil, errors.New("there is no recipient")
	}
	return e, nil
}

// ParseAddress reads a mail address, with or without a name before it.
func ParseAddress(s string) (*mail.Address, error) {
	a, err := mail.ParseAddress(s)
	if err != nil {
		return nil, fmt.Errorf("%q is no mail address", s)
	}
	if strings.IndexFunc(a.Address, func(r rune) bool { return r <= ' ' || r > '~' }) >= 0 {
		return nil, fmt.Errorf("%q has signs in its address that not every server takes", s)
	}
	return a, nil
}

func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

// Folds is false: a person sees every mail.
func (e *Email) Folds() bool { return false }

// Deliver mails m.
func (e *Email) Deliver(ctx context.Context, m Message) error {
	ctx, cancel := context.WithTimeout(ctx, EmailTimeout)
	defer cancel()
	ids := e.identify(&m)
	text, err := e.compose(&m, ids, time.Now())
	if err != nil {
		return Permanent(err)
	}
	answers, err := e.send(ctx, e.left(ids), text)
	if err != nil {
		return err
	}
	return e.settle(ids, answers)
}

// left are the recipients who have not decided on a message yet.
func (e *Email) left(ids mailIDs) []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	before := e.asked[ids.thread]
	var out []string
	for _, a := range e.to {
		if _, done := before.done[a.Address]; !done || before.id != ids.message {
			out = append(out, a.Address)
		}
	}
	return out
}

// settle notes who has taken a message, and says whether it is delivered.
func (e *Email) settle(ids mailIDs, answers []answer) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.asked[ids.thread]
	if now.id != ids.message {
		now = asked{ids.message, map[string]bool{}}
	}
	var later, never []string
	for _, a := range answers {
		switch {
		case a.said == "":
			now.done[a.to] = true
		case a.final:
			now.done[a.to] = false
			never = append(never, a.to+": "+a.said)
			e.log.Warn().Str("recipient", a.to).Str("said", a.said).Msg("mail server refuses a recipient for good")
		default:
			later = append(later, a.to+": "+a.said)
		}
	}
	if len(later) > 0 {
		e.remember(ids.thread, now)
		return e.failed("not taken for "+strings.Join(append(later, never...), "; "), false)
	}
	delete(e.asked, ids.thread)
	if taken := slices.Contains(slices.Collect(maps.Values(now.done)), true); !taken {
		return e.failed("refused for every recipient: "+strings.Join(never, "; "), true)
	}
	return nil
}

// remember keeps what became of a message that is not delivered yet. Forgetting it costs some people a second mail.
func (e *Email) remember(thread string, a asked) {
	if len(e.asked) >= maxAsked {
		clear(e.asked)
	}
	e.asked[thread] = a
}

// failed is an error that says where, and shows no secret.
func (e *Email) failed(what string, final bool) error {
	err := fmt.Errorf("mailing by %s: %s", e.c.Host, Hide(what, e.secrets()))
	if final {
		return Permanent(err)
	}
	return err
}

// secrets are the password, and the forms in which a server can echo it.
func (e *Email) secrets() []string {
	if e.c.Username == "" {
		return nil
	}
	code := base64.StdEncoding.EncodeToString
	return []string{e.c.Password, code([]byte(e.c.Password)), code([]byte("\x00" + e.c.Username + "\x00" + e.c.Password))}
}
