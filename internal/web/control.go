package web

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// maxSocketPath is what fits into a Unix socket's address, less its closing zero.
const maxSocketPath = 107

// ListenControl opens the control socket at path, mode 0660, in a directory that is made (0750) when missing. A socket
// file that nobody answers on is replaced; anything else there is an error. Closing the listener removes the file.
func ListenControl(path string) (net.Listener, error) {
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("control socket %q: the path is longer than the %d bytes the system takes; choose a shorter one",
			path, maxSocketPath)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return nil, fmt.Errorf("making the control socket's directory: %w", err)
	}
	if err := removeDead(path); err != nil {
		return nil, err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("opening the control socket: %w", err)
	}
	if err := os.Chmod(path, 0o660); err != nil {
		return nil, errors.Join(fmt.Errorf("setting the control socket's mode: %w", err), l.Close())
	}
	return l, nil
}

func removeDead(path string) error {
	fi, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("looking for an old control socket: %w", err)
	case fi.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("control socket %q: something that is no socket is there; move it away or choose another path", path)
	}
	c, err := net.DialTimeout("unix", path, time.Second)
	switch {
	case err == nil:
		_ = c.Close() // it only had to answer
		return fmt.Errorf("control socket %q: another process answers on it; stop it, or give this one its own path", path)
	case !errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("asking whether control socket %q is in use: %w", path, err)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("removing the dead control socket: %w", err)
	}
	return nil
}
