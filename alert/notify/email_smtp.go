package notify

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/smtp"
	"net/textproto"
	"os"
	"slices"
	"strings"
	"time"
)

// answer is what became of one recipient.
type answer struct {
	to    string
	said  string // why the mail was not taken; "" = it was
	final bool   // and never will be
}

// The limits of a conversation with a mail server, beside that of its ctx.
const (
	maxSMTP     = 1 << 20 // bytes that a server may say
	dialTimeout = 5 * time.Second
	quitTimeout = time.Second // it has taken the mail already
)

// send brings text to the server for some recipients. An error is about all of them.
func (e *Email) send(ctx context.Context, to []string, text []byte) ([]answer, error) {
	conn, err := e.dial(ctx)
	if err != nil {
		return nil, e.broke(ctx, "connecting", err)
	}
	defer conn.Close()
	if at, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(at) // a connection that is closed fails below
	}
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	c, err := e.greet(ctx, conn)
	if err != nil {
		return nil, err
	}
	answers, err := e.mail(ctx, c, to, text)
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(quitTimeout))
	_ = c.Quit() // whatever it says to that, it has the mail
	return answers, nil
}

func (e *Email) dial(ctx context.Context) (net.Conn, error) {
	d := net.Dialer{Timeout: dialTimeout}
	conn, err := d.DialContext(ctx, "tcp", e.c.Host)
	if err != nil {
		return nil, err
	}
	conn = &boundedConn{conn, maxSMTP}
	if e.c.TLS != EmailImplicit {
		return conn, nil
	}
	secure := tls.Client(conn, e.tlsConfig())
	if err := secure.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return secure, nil
}

func (e *Email) tlsConfig() *tls.Config {
	return &tls.Config{ServerName: e.host, RootCAs: e.c.Roots, MinVersion: tls.VersionTLS12}
}

// boundedConn stops a server that never stops talking.
type boundedConn struct {
	net.Conn
	left int
}

func (c *boundedConn) Read(b []byte) (int, error) {
	if c.left <= 0 {
		return 0, errors.New("it says more than a mail server has to say")
	}
	n, err := c.Conn.Read(b[:min(len(b), c.left)])
	c.left -= n
	return n, err
}

// greet goes as far as the server's consent to a mail. What goes wrong until then can be mended.
func (e *Email) greet(ctx context.Context, conn net.Conn) (*smtp.Client, error) {
	c, err := smtp.NewClient(conn, e.host)
	if err != nil {
		return nil, e.broke(ctx, "waiting for its greeting", err)
	}
	if err := c.Hello(helo(conn)); err != nil {
		return nil, e.broke(ctx, "greeting it", err)
	}
	if e.c.TLS == EmailStartTLS {
		if ok, _ := c.Extension("STARTTLS"); !ok {
			return nil, e.failed("it offers no STARTTLS; set tls to \"implicit\" if it speaks TLS from the first byte", false)
		}
		if err := c.StartTLS(e.tlsConfig()); err != nil {
			return nil, e.broke(ctx, "starting TLS", err)
		}
	}
	if e.c.Username == "" {
		return c, nil
	}
	auth, err := e.auth(c)
	if err != nil {
		return nil, e.failed(err.Error(), false)
	}
	if err := c.Auth(auth); err != nil {
		return nil, e.broke(ctx, "authenticating; check username and password", err)
	}
	return c, nil
}

// helo is what we call ourselves: our name if it is a whole one, and else our address.
func helo(conn net.Conn) string {
	name, err := os.Hostname()
	if err == nil && strings.Contains(name, ".") && strings.IndexFunc(name, func(r rune) bool { return r <= ' ' || r > '~' }) < 0 {
		return name
	}
	tcp, ok := conn.LocalAddr().(*net.TCPAddr)
	switch {
	case !ok:
		return "localhost"
	case tcp.IP.To4() != nil:
		return "[" + tcp.IP.String() + "]"
	default:
		return "[IPv6:" + tcp.IP.String() + "]"
	}
}

// auth chooses from what the server offers.
func (e *Email) auth(c *smtp.Client) (smtp.Auth, error) {
	_, offer := c.Extension("AUTH")
	offers := strings.Fields(strings.ToUpper(offer))
	switch {
	case slices.Contains(offers, "PLAIN"):
		return &plainAuth{e.c.Username, e.c.Password}, nil
	case slices.Contains(offers, "LOGIN"):
		return &loginAuth{todo: []string{e.c.Username, e.c.Password}}, nil
	case slices.Contains(offers, "CRAM-MD5"):
		return smtp.CRAMMD5Auth(e.c.Username, e.c.Password), nil
	default:
		return nil, fmt.Errorf("it offers none of PLAIN, LOGIN and CRAM-MD5 (but %q)", offer)
	}
}

// plainAuth is AUTH PLAIN. Unlike net/smtp's it does not look at the connection: NewEmail has.
type plainAuth struct{ username, password string }

func (a *plainAuth) Start(*smtp.ServerInfo) (string, []byte, error) {
	return "PLAIN", []byte("\x00" + a.username + "\x00" + a.password), nil
}

func (a *plainAuth) Next(_ []byte, more bool) ([]byte, error) {
	if more {
		return nil, errors.New("it asks for more than a password")
	}
	return nil, nil
}

// loginAuth is AUTH LOGIN. The server's prompts are in no set words, but always in this order.
type loginAuth struct{ todo []string }

func (a *loginAuth) Start(*smtp.ServerInfo) (string, []byte, error) { return "LOGIN", nil, nil }

func (a *loginAuth) Next(_ []byte, more bool) ([]byte, error) {
	if !more {
		return nil, nil
	}
	if len(a.todo) == 0 {
		return nil, errors.New("it asks for more than name and password")
	}
	next := a.todo[0]
	a.todo = a.todo[1:]
	return []byte(next), nil
}

// mail names sender and recipients, and hands over the text if there is anyone to take it.
func (e *Email) mail(ctx context.Context, c *smtp.Client, to []string, text []byte) ([]answer, error) {
	if err := c.Mail(e.from.Address); err != nil {
		return nil, e.judge(ctx, "naming the sender", err, refusesForGood)
	}
	var answers []answer
	anyone := false
	for _, a := range to {
		err := c.Rcpt(a)
		var said *textproto.Error
		switch {
		case err == nil:
			anyone = true
			answers = append(answers, answer{to: a})
		case errors.As(err, &said):
			answers = append(answers, answer{a, fmt.Sprintf("it answered %v", said), refusesForGood(said)})
		default:
			return nil, e.broke(ctx, "naming the recipients", err)
		}
	}
	if !anyone {
		return answers, nil
	}
	return answers, e.data(ctx, c, text)
}

func (e *Email) data(ctx context.Context, c *smtp.Client, text []byte) error {
	refused := func(said *textproto.Error) bool { return said.Code >= 500 }
	w, err := c.Data()
	if err != nil {
		return e.judge(ctx, "sending the mail", err, refused)
	}
	if _, err := w.Write(text); err != nil {
		return e.broke(ctx, "sending the mail", err)
	}
	if err := w.Close(); err != nil {
		return e.judge(ctx, "sending the mail", err, refused)
	}
	return nil
}

// refusesForGood tells whether an answer to sender or recipient stands. Want of permission, which is someone's mistake, is
// mended.
func refusesForGood(said *textproto.Error) bool {
	if said.Code < 500 || slices.Contains([]int{530, 534, 535, 538}, said.Code) {
		return false
	}
	words := strings.ToLower(said.Msg)
	for _, permission := range []string{"5.7.", "relay", "authenticat"} {
		if strings.Contains(words, permission) {
			return false
		}
	}
	return true
}

// judge is an error about all recipients, for good if the server's answer is.
func (e *Email) judge(ctx context.Context, doing string, err error, final func(*textproto.Error) bool) error {
	var said *textproto.Error
	if errors.As(err, &said) {
		return e.failed(fmt.Sprintf("%s: it answered %v", doing, said), final(said))
	}
	return e.broke(ctx, doing, err)
}

// broke is an error that can be tried again.
func (e *Email) broke(ctx context.Context, doing string, err error) error {
	var said *textproto.Error
	switch {
	case ctx.Err() != nil:
		return e.failed(doing+": no answer in time", false)
	case errors.As(err, &said):
		return e.failed(fmt.Sprintf("%s: it answered %v", doing, said), false)
	default:
		return e.failed(fmt.Sprintf("%s: %v", doing, err), false)
	}
}
