//go:build !linux

package http3

import "net"

// reportICMP does nothing here: ICMP errors stay unseen.
func reportICMP(net.PacketConn) {}
