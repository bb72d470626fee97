// Package http3 makes requests over HTTP/3 for probes.
package http3

import _ "github.com/quic-go/quic-go/http3"
