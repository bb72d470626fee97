//go:build linux

package notify

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"faultline/internal/farm"
)

// startExim runs Debian's MTA as a submission server that keeps what it takes.
func startExim(t *testing.T, f *farm.Farm, s *mailServer) {
	t.Helper()
	path := f.Program("exim4")
	port := f.Port()
	cert := f.Certificate("cert.pem", s.cert)
	conf := f.File("exim.conf", fmt.Sprintf(`primary_hostname = mail.test
spool_directory = %[1]s/spool
log_file_path = %[1]s/log-%%s
pid_file_path = %[1]s/exim.pid
daemon_smtp_ports = %[2]d
local_interfaces = 127.0.0.1
tls_advertise_hosts = *
tls_certificate = %[3]s
auth_advertise_hosts = ${if eq{$tls_in_cipher}{}{}{*}}
acl_smtp_rcpt = rcpt
acl_smtp_data = data
queue_only = true
begin acl
rcpt:
  deny message = no such user
       local_parts = nobody
  defer message = greylisted
       local_parts = later
  deny message = relay not permitted
       !authenticated = *
  accept
data:
  deny message = no spam please
       condition = ${if match{$rh_subject:}{spam}}
  accept
begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = ${if and{{eq{$auth2}{%[4]s}}{eq{$auth3}{%[5]s}}}}
  server_set_id = $auth2
login:
  driver = plaintext
  public_name = LOGIN
  server_prompts = Username:: : Password::
  server_condition = ${if and{{eq{$auth1}{%[4]s}}{eq{$auth2}{%[5]s}}}}
  server_set_id = $auth1
`, f.Dir, port, cert, mailUser, mailPassword))
	f.Open(cert, conf)
	f.Start(port, path, "-bdf", "-C", conf)
	s.addr = fmt.Sprintf("127.0.0.1:%d", port)
}

// A real MTA takes our mails, and refuses them, as we think that one does.
func TestEmailRealServer(t *testing.T) {
	s := &mailServer{t: t, auth: "PLAIN"}
	s.cert, s.roots = mailCertificate(t)
	f := farm.New(t)
	startExim(t, f, s)
	i := founding()
	m := Message{Incident: &i, First: true}
	try := func(want, says string, change func(*EmailConfig)) {
		t.Helper()
		err := email(t, s, change).Deliver(t.Context(), m)
		if kindOf(err) != want || err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("got %s (%v), want %s with %q", kindOf(err), err, want, says)
		}
	}
	try("taken", "", nil)
	try("later", "535", func(c *EmailConfig) { c.Password = "wrong" })
	try("later", "relay not permitted", func(c *EmailConfig) { c.Username, c.Password = "", "" })
	try("later", "TLS", func(c *EmailConfig) { c.TLS = EmailImplicit })
	try("later", "greylisted", func(c *EmailConfig) { c.To = []string{"later@example.org"} })
	try("never", "no such user", func(c *EmailConfig) { c.To = []string{"nobody@example.org"} })
	i.Domain.Name = "spam"
	try("never", "no spam", nil)

	bodies, err := filepath.Glob(filepath.Join(f.Dir, "spool", "input", "*-D"))
	if err != nil || len(bodies) != 1 {
		t.Fatalf("it keeps %v, error %v, want the one that it took", bodies, err)
	}
	head, err := os.ReadFile(strings.TrimSuffix(bodies[0], "D") + "H")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"X-Faultline-Key: faultline/main/cdn/cloudflare", "Message-ID: <", "a@example.org", "b@example.org", "-auth_id " + mailUser} {
		if !strings.Contains(string(head), want) {
			t.Errorf("%q is not in\n%s", want, head)
		}
	}
}
