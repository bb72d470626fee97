package probe

import (
	"context"
	"net"
	"net/netip"
	"syscall"
)

// dial connects from the vantage's own address and through its interface. A proxy is not gone through.
func dial(ctx context.Context, v *Vantage, network string, to netip.AddrPort) (net.Conn, error) {
	d := net.Dialer{KeepAlive: -1, Control: v.control()}
	if src := v.Source; src.IsValid() && src.Is4() == to.Addr().Unmap().Is4() {
		if network == "tcp" {
			d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(src, 0))
		} else {
			d.LocalAddr = net.UDPAddrFromAddrPort(netip.AddrPortFrom(src, 0))
		}
	}
	return d.DialContext(ctx, network, to.String())
}

// listenUDP makes an unconnected socket that can reach `to`.
func listenUDP(ctx context.Context, v *Vantage, to netip.Addr) (net.PacketConn, error) {
	network, local := "udp6", netip.AddrPortFrom(netip.IPv6Unspecified(), 0)
	if to.Is4() {
		network, local = "udp4", netip.AddrPortFrom(netip.IPv4Unspecified(), 0)
	}
	if src := v.Source; src.IsValid() && src.Is4() == to.Is4() {
		local = netip.AddrPortFrom(src, 0)
	}
	lc := net.ListenConfig{Control: v.control()}
	return lc.ListenPacket(ctx, network, local.String())
}

// control binds sockets to the vantage's interface; nil = it has none.
func (v *Vantage) control() func(network, address string, c syscall.RawConn) error {
	if v.Interface == "" {
		return nil
	}
	return func(_, _ string, c syscall.RawConn) error {
		var bound error
		if err := c.Control(func(fd uintptr) { bound = bindToDevice(int(fd), v.Interface) }); err != nil {
			return err
		}
		return bound
	}
}

// dialTCP connects to an address, through the vantage's proxy if it has one.
func dialTCP(ctx context.Context, v *Vantage, to netip.AddrPort) (net.Conn, error) {
	if v.Proxy != nil {
		return v.throughProxy(ctx, to.String())
	}
	return dial(ctx, v, "tcp", to)
}
