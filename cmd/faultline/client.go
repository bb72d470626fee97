package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// maxAnswer bounds what is read from a daemon.
const maxAnswer = 64 << 20

func serverFlag(cmd *cobra.Command, server *string) {
	cmd.Flags().StringVar(server, "server", "", "the daemon's `URL`, or unix:/path of its control socket, in place of the usual socket on this host")
}

// ask sends a JSON document, or none, to the running daemon, and takes one from it.
func ask(ctx context.Context, server, method, path string, body, into any) error {
	client := http.DefaultClient
	socket, isSocket := strings.CutPrefix(server, "unix:")
	switch {
	case isSocket:
		server = "http://faultline"
		client = overSocket(socket)
	case server == "":
		server = "http://faultline"
		client = &http.Client{Transport: &http.Transport{DialContext: dialControl}}
	}
	return askWith(ctx, client, method, strings.TrimSuffix(server, "/")+path, body, into)
}

func askWith(ctx context.Context, client *http.Client, method, url string, body, into any) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := jsonRequest(ctx, method, url, body)
	if err != nil {
		return fmt.Errorf("asking the daemon: %w", err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("asking the daemon: %w; is it running, and may this user use its control socket (group faultline)?", err)
	}
	defer resp.Body.Close()
	answer := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer))
	if resp.StatusCode != http.StatusOK {
		var problem struct {
			Detail string `json:"detail"`
		}
		_ = answer.Decode(&problem) // what is no problem document has no detail
		return &statusError{resp.StatusCode, cmp.Or(problem.Detail, "asking the daemon: it answered "+resp.Status)}
	}
	if err := answer.Decode(into); err != nil {
		return fmt.Errorf("reading the daemon's answer: %w", err)
	}
	return nil
}

// statusError is a daemon's answer that is none.
type statusError struct {
	code int
	text string
}

func (e *statusError) Error() string { return e.text }

func jsonRequest(ctx context.Context, method, url string, body any) (*http.Request, error) {
	if body == nil {
		return http.NewRequestWithContext(ctx, method, url, http.NoBody)
	}
	b, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(b))
	if err == nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return req, err
}

// overSocket speaks HTTP over a Unix socket.
func overSocket(path string) *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}}
}

// dialControl connects to the control socket of the daemon on this host: the service's, else this user's own.
func dialControl(ctx context.Context, _, _ string) (net.Conn, error) {
	var d net.Dialer
	var first error
	for _, path := range controlSockets() {
		conn, err := d.DialContext(ctx, "unix", path)
		if err == nil {
			return conn, nil
		}
		if first == nil {
			first = err
		}
	}
	return nil, first
}

func controlSockets() []string {
	paths := []string{"/run/faultline/control.sock"}
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		paths = append(paths, filepath.Join(dir, "faultline", "control.sock"))
	}
	if dir := os.Getenv("XDG_STATE_HOME"); dir != "" {
		paths = append(paths, filepath.Join(dir, "faultline", "control.sock"))
	} else if home, err := os.UserHomeDir(); err == nil {
		paths = append(paths, filepath.Join(home, ".local", "state", "faultline", "control.sock"))
	}
	return paths
}
