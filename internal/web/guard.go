package web

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	toolkit "github.com/prometheus/exporter-toolkit/web"
	"github.com/rs/zerolog"
	"go.yaml.in/yaml/v3"
	"golang.org/x/crypto/bcrypt"
	"golang.org/x/time/rate"
)

// Guard is what the web config file of the Prometheus ecosystem asks for: TLS, client certificates, users and headers. The file is
// read again when it changes; one that has become wrong is logged, and the last good one holds.
type Guard struct {
	path string
	log  zerolog.Logger

	mu      sync.Mutex // guards what follows
	now     *guardFile
	stamp   fileStamp
	looked  time.Time
	known   map[[sha256.Size]byte]bool // pairs of user and password that were right, with the hash they were held against
	checks  *rate.Limiter              // of passwords that are not known
	serving bool                       // with TLS
}

// guardFile is a web config file with what was made of it.
type guardFile struct {
	toolkit.Config
	tls   *tls.Config   // nil = none
	limit *rate.Limiter // of all requests; nil = none
}

type fileStamp struct {
	size    int64
	changed time.Time
}

const (
	lookAgain   = time.Second // least time between two looks whether the file has changed
	checksEvery = 500 * time.Millisecond
	checksBurst = 10 // checks of a password at once; each takes a core for some 50 ms
	maxKnown    = 1000
)

// NewGuard reads a web config file.
func NewGuard(path string, log zerolog.Logger) (*Guard, error) {
	f, err := readGuard(path)
	if err != nil {
		return nil, err
	}
	stamp, err := stampOf(path)
	if err != nil {
		return nil, fmt.Errorf("reading the web config file: %w", err)
	}
	return &Guard{
		path: path, log: log, now: f, stamp: stamp, known: map[[sha256.Size]byte]bool{},
		checks: rate.NewLimiter(rate.Every(checksEvery), checksBurst), serving: f.tls != nil,
	}, nil
}

// CheckGuard says what is wrong with a web config file; nil = nothing.
func CheckGuard(path string) error {
	_, err := readGuard(path)
	return err
}

func readGuard(path string) (*guardFile, error) {
	if err := toolkit.Validate(path); err != nil {
		return nil, fmt.Errorf("reading the web config file %s: %w", path, err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the web config file: %w", err)
	}
	f := &guardFile{Config: toolkit.Config{
		TLSConfig: toolkit.TLSConfig{MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS13}, HTTPConfig: toolkit.HTTPConfig{HTTP2: true},
	}}
	if err := yaml.NewDecoder(bytes.NewReader(b)).Decode(&f.Config); err != nil && !errors.Is(err, io.EOF) { // EOF: it is empty
		return nil, fmt.Errorf("reading the web config file %s: %w", path, err)
	}
	if every := f.RateLimiterConfig.Interval; every > 0 {
		f.limit = rate.NewLimiter(rate.Every(every), f.RateLimiterConfig.Burst)
	}
	f.TLSConfig.SetDirectory(filepath.Dir(path))
	if !f.TLSConfig.IsEnabled() {
		return f, nil
	}
	if f.tls, err = toolkit.ConfigToTLSConfig(&f.TLSConfig); err != nil {
		return nil, fmt.Errorf("reading the web config file %s: %w", path, err)
	}
	f.tls.NextProtos = []string{"http/1.1"}
	if f.HTTPConfig.HTTP2 {
		f.tls.NextProtos = []string{"h2", "http/1.1"}
	}
	return f, nil
}

func stampOf(path string) (fileStamp, error) {
	info, err := os.Stat(path)
	if err != nil {
		return fileStamp{}, err
	}
	return fileStamp{info.Size(), info.ModTime()}, nil
}

// file is the web config as it is now.
func (g *Guard) file() *guardFile {
	g.mu.Lock()
	defer g.mu.Unlock()
	if time.Since(g.looked) < lookAgain {
		return g.now
	}
	g.looked = time.Now()
	stamp, err := stampOf(g.path)
	if err == nil && stamp == g.stamp {
		return g.now
	}
	f, err := readGuard(g.path)
	if err == nil && (f.tls != nil) != g.serving {
		err = errors.New("TLS was put in or taken out, which takes a restart")
	}
	g.stamp = stamp
	if err != nil {
		g.log.Error().Err(err).Msg("the web config file is not taken; the last good one holds")
		return g.now
	}
	g.log.Info().Str("file", g.path).Msg("the web config file was read anew")
	g.now = f
	clear(g.known)
	return f
}

// TLS is the server's part of TLS; nil = it is served without.
func (g *Guard) TLS() *tls.Config {
	if g == nil || !g.serving {
		return nil
	}
	c := g.file().tls.Clone()
	c.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return g.file().tls, nil }
	return c
}

// Wrap lets only those through whom the file names, if it names any, and tells next who they are.
func (g *Guard) Wrap(next http.Handler) http.Handler {
	if g == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f := g.file()
		for name, value := range f.HTTPConfig.Header {
			w.Header().Set(name, value)
		}
		if f.limit != nil && !f.limit.Allow() {
			w.Header().Set("Retry-After", "1")
			http.Error(w, "too many requests", http.StatusTooManyRequests)
			return
		}
		if len(f.Users) == 0 {
			next.ServeHTTP(w, r)
			return
		}
		user, password, given := r.BasicAuth()
		if given {
			switch g.knows(f, user, password) {
			case passed:
				next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), userKey{}, user)))
				return
			case busy:
				w.Header().Set("Retry-After", "5")
				http.Error(w, "too many passwords were tried", http.StatusTooManyRequests)
				return
			}
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="Faultline", charset="UTF-8"`)
		http.Error(w, "this needs a user and a password of the web config file", http.StatusUnauthorized)
	})
}

type userKey struct{}

// user is who has shown the right password; "" = nobody was asked.
func user(r *http.Request) string {
	name, _ := r.Context().Value(userKey{}).(string)
	return name
}

type login int

const (
	failed login = iota
	passed
	busy
)

// unknownUser is the hash of a password that nobody has, so that a name that is not there takes as long as one that is.
const unknownUser = "$2a$10$7EqJtq98hPqEX7fNZaFWoOhi5dSwzqKxUCq9b3LOrDqjCFeC0IhUO"

// knows holds a password against its hash, which takes long and is so bounded for all who ask together.
func (g *Guard) knows(f *guardFile, user, password string) login {
	hash, there := string(f.Users[user]), true
	if hash == "" {
		hash, there = unknownUser, false
	}
	key := sha256.Sum256(fmt.Appendf(nil, "%q %q %q", user, password, hash))
	g.mu.Lock()
	known := g.known[key]
	g.mu.Unlock()
	if known {
		return passed
	}
	if !g.checks.Allow() {
		return busy
	}
	if bcrypt.CompareHashAndPassword([]byte(hash), []byte(password)) != nil || !there {
		return failed
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.known) >= maxKnown {
		clear(g.known)
	}
	g.known[key] = true
	return passed
}
