package notify

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/md5" //nolint:gosec // CRAM-MD5
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math/big"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// mailServer speaks SMTP as a submission server does: no mail before TLS and authentication, if it wants those.
type mailServer struct {
	t        *testing.T
	listener net.Listener
	addr     string
	roots    *x509.CertPool
	cert     tls.Certificate

	offerTLS bool
	implicit bool
	auth     string            // mechanisms, "" = none wanted
	replies  map[string]string // guarded by mu; by the beginning of a command, "greeting" or "mail": what it answers in place of yes
	hang     string            // it says nothing from this command on

	mu    sync.Mutex
	mails []received // guarded by mu
	heard []string   // likewise: commands
}

type received struct {
	from string
	to   []string
	text string
}

func newMailServer(t *testing.T, change func(*mailServer)) *mailServer {
	t.Helper()
	s := &mailServer{t: t, offerTLS: true, replies: map[string]string{}}
	s.cert, s.roots = mailCertificate(t)
	if change != nil {
		change(s)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = l.Addr().String()
	s.listener = l
	if s.implicit {
		s.listener = tls.NewListener(l, s.tls())
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := s.listener.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { (&mailTalk{s: s}).serve(c) })
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return s
}

func mailCertificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots
}

func (s *mailServer) tls() *tls.Config { return &tls.Config{Certificates: []tls.Certificate{s.cert}} }

// taken are the mails so far.
func (s *mailServer) taken() []received {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.mails)
}

// commands are those that began with a word, or all.
func (s *mailServer) commands(with string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, c := range s.heard {
		if strings.HasPrefix(c, with) {
			n++
		}
	}
	return n
}

// relent says yes again to a command.
func (s *mailServer) relent(command string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.replies, command)
}

// mailTalk is one connection.
type mailTalk struct {
	s      *mailServer
	c      net.Conn
	r      *bufio.Reader
	secure bool
	known  bool
	mail   received
}

func (k *mailTalk) serve(c net.Conn) {
	k.c, k.r, k.secure = c, bufio.NewReader(c), k.s.implicit
	defer func() { k.c.Close() }()
	if !k.say("greeting", "220 mail.test ESMTP") {
		return
	}
	for {
		line, err := k.r.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		k.s.mu.Lock()
		k.s.heard = append(k.s.heard, line)
		k.s.mu.Unlock()
		if !k.command(line) {
			return
		}
	}
}

// say answers a command as the test wants it, or else with yes.
func (k *mailTalk) say(command, yes string) bool {
	if k.s.hang != "" && strings.HasPrefix(command, k.s.hang) {
		_, _ = k.r.ReadByte() // until the client hangs up
		return false
	}
	k.s.mu.Lock()
	for with, reply := range k.s.replies {
		if strings.HasPrefix(command, with) {
			yes = reply
		}
	}
	k.s.mu.Unlock()
	_, err := fmt.Fprintf(k.c, "%s\r\n", yes)
	return err == nil && yes[0] < '4'
}

func (k *mailTalk) command(line string) bool {
	verb, _, _ := strings.Cut(line, " ")
	switch strings.ToUpper(verb) {
	case "EHLO":
		return k.say("EHLO", "250-mail.test\r\n"+k.extensions()+"250 8BITMIME")
	case "STARTTLS":
		if !k.say("STARTTLS", "220 go ahead") {
			return false
		}
		secure := tls.Server(k.c, k.s.tls())
		k.c, k.r, k.secure = secure, bufio.NewReader(secure), true
	case "AUTH":
		k.known = k.authenticate(strings.Fields(line))
	case "MAIL":
		k.mail = received{from: line}
		if k.s.auth != "" && !k.known {
			fmt.Fprint(k.c, "530 5.7.0 Authentication required\r\n")
			return true
		}
		k.say(line, "250 2.1.0 ok")
	case "RCPT":
		if k.say(line, "250 2.1.5 ok") {
			k.mail.to = append(k.mail.to, line[len("RCPT TO:<"):len(line)-1])
		}
	case "DATA":
		if k.say("DATA", "354 go on") {
			k.data()
		}
	case "QUIT":
		k.say("QUIT", "221 bye")
		return false
	default:
		fmt.Fprint(k.c, "500 5.5.1 what?\r\n")
	}
	return true
}

func (k *mailTalk) extensions() string {
	out := ""
	if k.s.offerTLS && !k.secure {
		out = "250-STARTTLS\r\n"
	}
	if k.s.auth != "" && k.secure {
		out += "250-AUTH " + k.s.auth + "\r\n"
	}
	return out
}

func (k *mailTalk) data() {
	var b strings.Builder
	for {
		line, err := k.r.ReadString('\n')
		if err != nil {
			return
		}
		if line == ".\r\n" {
			break
		}
		b.WriteString(strings.TrimPrefix(line, "."))
	}
	if k.say("mail", "250 2.0.0 taken") {
		k.mail.text = b.String()
		k.s.mu.Lock()
		k.s.mails = append(k.s.mails, k.mail)
		k.s.mu.Unlock()
	}
}

const mailUser, mailPassword = "us3r", "passw0rd"

func (k *mailTalk) authenticate(words []string) bool {
	ask := func(prompt string) string {
		fmt.Fprintf(k.c, "334 %s\r\n", base64.StdEncoding.EncodeToString([]byte(prompt)))
		line, _ := k.r.ReadString('\n')
		b, _ := base64.StdEncoding.DecodeString(strings.TrimSpace(line))
		return string(b)
	}
	good := false
	switch words[1] {
	case "PLAIN":
		b, _ := base64.StdEncoding.DecodeString(words[2])
		good = string(b) == "\x00"+mailUser+"\x00"+mailPassword
	case "LOGIN":
		user, password := ask("User Name"), ask("Password")
		good = user == mailUser && password == mailPassword
	case "CRAM-MD5":
		const challenge = "<1@mail.test>"
		mac := hmac.New(md5.New, []byte(mailPassword))
		mac.Write([]byte(challenge))
		good = ask(challenge) == mailUser+" "+hex.EncodeToString(mac.Sum(nil))
	}
	if !good {
		return k.say("bad "+words[1], "535 5.7.8 bad credentials "+strings.Join(words[2:], ""))
	}
	return k.say("AUTH", "235 2.7.0 welcome")
}
