package config

import (
	"bufio"
	"bytes"
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// host is what a config takes from the machine it is read on.
type host struct {
	env        func(string) string
	resolvConf string // path
}

func systemHost() host { return host{os.Getenv, "/etc/resolv.conf"} }

// stateDir is where state is kept when the config does not say: systemd's, else the user's own.
func (h host) stateDir() string {
	if dir, _, _ := strings.Cut(h.env("STATE_DIRECTORY"), ":"); dir != "" {
		return dir
	}
	return filepath.Join(cmp.Or(h.env("XDG_STATE_HOME"), filepath.Join(h.env("HOME"), ".local", "state")), "faultline")
}

// controlSocket is where the control socket is when the config does not say.
func (h host) controlSocket() string {
	if dir, _, _ := strings.Cut(h.env("RUNTIME_DIRECTORY"), ":"); dir != "" {
		return filepath.Join(dir, "control.sock")
	}
	if dir := h.env("XDG_RUNTIME_DIR"); dir != "" {
		return filepath.Join(dir, "faultline", "control.sock")
	}
	return filepath.Join(h.stateDir(), "control.sock")
}

const maxResolvers = 8

// systemResolvers are the name servers of resolv.conf.
func (h host) systemResolvers() ([]netip.AddrPort, error) {
	text, err := readFile(h.resolvConf)
	if err != nil {
		return nil, err
	}
	var out []netip.AddrPort
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		f := strings.Fields(lines.Text())
		if len(f) < 2 || f[0] != "nameserver" || len(out) == maxResolvers {
			continue
		}
		if a, err := netip.ParseAddr(f[1]); err == nil {
			out = append(out, netip.AddrPortFrom(a, 53))
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s names no server", h.resolvConf)
	}
	return out, nil
}

func splitHostPort(s string) (string, uint16, error) {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return "", 0, err
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return host, uint16(n), err
}

// isName tells whether s can be part of a key, a metric's label and a file's name.
func isName(s string) bool {
	return s != "" && len(s) <= 100 && !strings.ContainsFunc(s, func(r rune) bool {
		return r != '-' && r != '_' && r != '.' && !unicode.IsLetter(r) && !unicode.IsDigit(r)
	})
}

func hasControl(s string) bool { return strings.ContainsFunc(s, unicode.IsControl) }

// addresses takes a list of addresses and networks.
func (t *table) addresses(key string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range t.strs(key, "[]") {
		p, err := netip.ParsePrefix(s)
		if a, aerr := netip.ParseAddr(s); aerr == nil {
			p, err = netip.PrefixFrom(a, a.BitLen()), nil
		}
		if err != nil {
			t.problem(key, "%q is no address; write one as in \"192.0.2.1\", or a network as in \"192.0.2.0/24\"", clip(s))
			continue
		}
		out = append(out, p.Masked())
	}
	return out
}

// sorted gives the mistakes in the order of the file.
func (r *reader) sorted() Errors {
	slices.SortStableFunc(r.problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	return r.problems
}
