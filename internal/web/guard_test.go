package web

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/crypto/bcrypt"
)

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func hashOf(t *testing.T, password string) string {
	t.Helper()
	b, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func guard(t *testing.T, text string) (*Guard, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "web.yml")
	write(t, path, text)
	g, err := NewGuard(path, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	return g, path
}

func guarded(g *Guard) http.Handler {
	c := writable()
	c.Writes, c.Guard = false, g
	return New(c)
}

type asked struct {
	method, target, user, password string
	header                         map[string]string
}

func (a asked) of(t *testing.T, h http.Handler) (status int, body string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), a.method, "http://faultline.example"+a.target, strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	if a.user != "" {
		r.SetBasicAuth(a.user, a.password)
	}
	r.Header.Set("Content-Type", "application/json")
	for k, v := range a.header {
		r.Header.Set(k, v)
	}
	w := &asking{header: http.Header{}, status: http.StatusOK}
	h.ServeHTTP(w, r)
	return w.status, w.body.String()
}

type asking struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (r *asking) Header() http.Header         { return r.header }
func (r *asking) WriteHeader(status int)      { r.status = status }
func (r *asking) Write(b []byte) (int, error) { return r.body.Write(b) }

func TestGuardUsers(t *testing.T) {
	g, path := guard(t, "basic_auth_users:\n  anna: "+hashOf(t, "secret")+"\nhttp_server_config:\n  headers:\n    X-Frame-Options: sameorigin\n")
	h := guarded(g)
	const ack = "/api/v1/incidents/x/ack"
	f := func(a asked, want int) {
		t.Helper()
		if got, body := a.of(t, h); got != want {
			t.Errorf("%+v: got %d %s, want %d", a, got, body, want)
		}
	}
	f(asked{method: "GET", target: "/"}, 401)
	f(asked{method: "GET", target: "/metrics", user: "anna", password: "wrong"}, 401)
	f(asked{method: "GET", target: "/metrics", user: "nobody", password: "secret"}, 401)
	f(asked{method: "GET", target: "/metrics", user: "anna", password: "secret"}, 200)
	f(asked{method: "POST", target: ack, user: "anna", password: "secret"}, 200)
	f(asked{method: "POST", target: ack}, 401)

	// A page elsewhere cannot make the browser, which has the password, change anything.
	right := asked{method: "POST", target: ack, user: "anna", password: "secret"}
	for _, header := range []map[string]string{
		{"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "https://evil.example"}, {"Origin": "null"},
	} {
		right.header = header
		f(right, 403)
	}
	for _, header := range []map[string]string{{"Sec-Fetch-Site": "same-origin"}, {"Origin": "http://faultline.example"}} {
		right.header = header
		f(right, 200)
	}

	// Users that are taken out may not write any more, and nobody may then; a file that is wrong changes nothing.
	change := func(text string) {
		write(t, path, text)
		g.mu.Lock()
		g.looked = time.Time{}
		g.mu.Unlock()
	}
	change("basic_auth_users:\n  anna: no hash\n")
	right.header = nil
	f(right, 200)
	change("# nobody is named any more\n")
	f(right, 403)
	f(asked{method: "GET", target: "/metrics"}, 200)
	change("basic_auth_users:\n  ben: " + hashOf(t, "other") + "\n")
	f(right, 401)
	f(asked{method: "POST", target: ack, user: "ben", password: "other"}, 200)
}

// Whoever tries passwords gets to try a few, and the right ones that were seen before go on working.
func TestGuardBoundsGuessing(t *testing.T) {
	g, _ := guard(t, "basic_auth_users:\n  anna: "+hashOf(t, "secret")+"\n")
	h := guarded(g)
	right := asked{method: "GET", target: "/metrics", user: "anna", password: "secret"}
	if got, _ := right.of(t, h); got != 200 {
		t.Fatalf("got %d", got)
	}
	answers := map[int]int{}
	for range 100 {
		got, _ := asked{method: "GET", target: "/metrics", user: "anna", password: "guess"}.of(t, h)
		answers[got]++
	}
	if answers[401] == 0 || answers[401] > 2*checksBurst || answers[429] < 100-2*checksBurst {
		t.Errorf("got %v", answers)
	}
	if got, _ := right.of(t, h); got != 200 {
		t.Errorf("got %d for the right password", got)
	}
}

func TestGuardRateLimit(t *testing.T) {
	g, _ := guard(t, "rate_limit:\n  interval: 1h\n  burst: 2\n")
	h := guarded(g)
	var got []int
	for range 3 {
		status, _ := asked{method: "GET", target: "/metrics"}.of(t, h)
		got = append(got, status)
	}
	if got[0] != 200 || got[1] != 200 || got[2] != 429 {
		t.Errorf("got %v", got)
	}
}

func TestGuardMistakes(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		path := filepath.Join(t.TempDir(), "web.yml")
		write(t, path, text)
		if err := CheckGuard(path); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%q: got %v, want an error with %q", text, err, want)
		}
	}
	f("basic_auth_users:\n  anna: plain\n", "bcrypt")
	f("basic_auth_user:\n  anna: plain\n", "basic_auth_user")
	f("tls_server_config:\n  cert_file: nowhere.pem\n  key_file: nowhere.key\n", "nowhere.pem")
	f("]", "yaml")
	if err := CheckGuard(filepath.Join(t.TempDir(), "none.yml")); err == nil {
		t.Error("a file that is not there is taken")
	}
	empty := filepath.Join(t.TempDir(), "web.yml")
	write(t, empty, "")
	if err := CheckGuard(empty); err != nil {
		t.Errorf("an empty file: %v", err)
	}
}

// certificate makes one for 127.0.0.1 in dir.
func certificate(t *testing.T, dir string, serial int64) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "cert.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	write(t, filepath.Join(dir, "key.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER})))
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func TestGuardTLS(t *testing.T) {
	for _, http2 := range []bool{true, false} {
		dir := t.TempDir()
		cert := certificate(t, dir, 1)
		text := "tls_server_config:\n  cert_file: cert.pem\n  key_file: key.pem\n"
		if !http2 {
			text += "http_server_config:\n  http2: false\n"
		}
		write(t, filepath.Join(dir, "web.yml"), text)
		g, err := NewGuard(filepath.Join(dir, "web.yml"), zerolog.Nop())
		if err != nil {
			t.Fatal(err)
		}
		l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		var serving sync.WaitGroup
		serving.Go(func() {
			if err := Serve(ctx, l, guarded(g), g.TLS(), zerolog.Nop()); err != nil {
				t.Error(err)
			}
		})
		get := func(trusted *x509.Certificate) (*http.Response, error) {
			pool := x509.NewCertPool()
			pool.AddCert(trusted)
			client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
				TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true, DisableKeepAlives: true,
			}}
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+l.Addr().String()+"/-/healthy", http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			return client.Do(req)
		}
		resp, err := get(cert)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if want := map[bool]int{true: 2, false: 1}[http2]; resp.StatusCode != 200 || resp.ProtoMajor != want {
			t.Errorf("http2 %v: got %d over HTTP/%d", http2, resp.StatusCode, resp.ProtoMajor)
		}
		renewed := certificate(t, dir, 2) // in force without a restart
		if resp, err = get(renewed); err != nil {
			t.Errorf("the renewed certificate is not served: %v", err)
		} else {
			_ = resp.Body.Close()
		}
		stop()
		serving.Wait()
	}
}
