package config

import (
	"crypto/x509"
	"net"

	"faultline/alert/notify"
)

// Email is what a channel of that kind needs.
type Email struct {
	Host     string
	TLS      notify.EmailTLS
	From     string
	To       []string
	Username string
	Password string         // a secret
	Roots    *x509.CertPool // nil = the system's
}

func (r *reader) email(t *table) *Email {
	e := &Email{
		Host: t.str("host", ""), From: t.str("from", ""), To: t.strs("to", "[]"), Username: t.str("username", ""), Password: t.secret("password"),
		TLS:   notify.EmailTLS(t.oneOf("tls", string(notify.EmailStartTLS), string(notify.EmailStartTLS), string(notify.EmailImplicit), string(notify.EmailPlain))),
		Roots: r.roots(t),
	}
	r.mailHost(t, e)
	r.mailAddresses(t, e)
	switch {
	case e.Username == "" && e.Password != "":
		t.problem("password", "there is no username; write both, or none where the server asks for none")
	case e.Username != "" && e.Password == "":
		t.problem("username", "there is no password; write password_file = \"…\", or no username where the server asks for none")
	}
	return e
}

func (r *reader) mailHost(t *table, e *Email) {
	host, port, err := net.SplitHostPort(e.Host)
	switch {
	case e.Host == "":
		r.problem(t.path, "it has no host; write host = \"smtp.example.org:587\"")
	case err != nil || host == "" || port == "":
		t.problem("host", "%q is no address; write host:port, as in \"smtp.example.org:587\"", clip(e.Host))
	case e.TLS != notify.EmailPlain || isLoopback(host):
	case e.Username != "":
		t.problem("tls", "without TLS whoever is on the way can read the password; write \"starttls\" or \"implicit\"")
	default:
		r.warn(t.at("tls"), "without TLS whoever is on the way can read and forge pages; \"starttls\" or \"implicit\" would be right")
	}
}

func (r *reader) mailAddresses(t *table, e *Email) {
	if e.From == "" {
		r.problem(t.path, "it has no from; write from = \"Faultline <faultline@example.org>\"")
	} else if _, err := notify.ParseAddress(e.From); err != nil {
		t.problem("from", "%v; write one as in \"faultline@example.org\"", err)
	}
	if len(e.To) == 0 {
		r.problem(t.path, "it has no to; write to = [\"oncall@example.org\"]")
	}
	for _, to := range e.To {
		if _, err := notify.ParseAddress(to); err != nil {
			t.problem("to", "%v; write one as in \"oncall@example.org\"", err)
		}
	}
}

// roots are the certificates by which a server is known, in place of the system's.
func (r *reader) roots(t *table) *x509.CertPool {
	file := r.path(t.str("ca_file", ""))
	if file == "" {
		return nil
	}
	b, err := readFile(file)
	if err != nil {
		t.problem("ca_file", "%v; write the path of a file of certificates", err)
		return nil
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(b) {
		t.problem("ca_file", "%s holds no certificate; write the path of a file of certificates in PEM form", clip(file))
	}
	return pool
}
