package probe

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// localError is a failure of the vantage itself, wherever it happens.
type localError struct{ error }

func (e *localError) Unwrap() error { return e.error }

// proxyError is what a proxy says about the far end, or what is wrong with the proxy itself (ClassLocalPath).
type proxyError struct {
	class  Class
	text   string
	silent bool // nothing came back to a request: the proxy may be dead, or waiting for the far end
}

func (e *proxyError) Error() string { return e.text }

// maxProxyHeader bounds what a proxy answers to CONNECT, in bytes.
const maxProxyHeader = 16 << 10

// dialProxy connects to the vantage's proxy.
func (v *Vantage) dialProxy(ctx context.Context) (net.Conn, error) {
	conn, err := dial(ctx, v, "tcp", v.Proxy.Addr)
	if err != nil {
		if c := connectClass(ctx, err); c.Fault() == FaultLocal {
			return nil, err
		}
		return nil, &proxyError{ClassLocalPath, fmt.Sprintf("the vantage's proxy %v cannot be reached: %v", v.Proxy, err), false}
	}
	return conn, nil
}

// proxyPatience is how long a proxy has to answer for itself.
const proxyPatience = time.Second

// askProxy finds out, where nothing came back of an HTTP proxy that was asked for something, whether the proxy itself still
// answers, and judges again if not.
func (a *attempt) askProxy(ctx context.Context, was Fronting) {
	defer a.stumble()
	if !a.silent || a.r.Class != ClassHTTPTimeoutHeaders && a.r.Class != ClassConnectTimeout {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, proxyPatience)
	defer cancel()
	if err := a.t.Vantage.proxyLives(ctx); err != nil && ctx.Err() != context.Canceled { //nolint:errorlint // a context's own error is bare
		a.e.Class, a.e.Detail = ClassLocalPath, clip(fmt.Sprintf("the vantage's proxy %v does not answer for itself either: %v", a.t.Vantage.Proxy, err))
		a.judge(was)
	}
}

// proxyLives sends an HTTP proxy a request without a Host, which whoever reads it has to refuse (RFC 9112, section 3.2).
func (v *Vantage) proxyLives(ctx context.Context) error {
	conn, err := v.dialProxy(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := closing(ctx, conn)
	defer stop()
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nConnection: close\r\n\r\n"); err != nil {
		return err
	}
	if _, err := conn.Read(make([]byte, 1)); ctx.Err() != nil {
		return err
	}
	return nil // it answered, or at least hung up
}

// throughProxy connects to a host:port through the vantage's proxy. Where the host is a name, the proxy resolves it.
func (v *Vantage) throughProxy(ctx context.Context, to string) (net.Conn, error) {
	conn, err := v.dialProxy(ctx)
	if err != nil {
		return nil, err
	}
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	ask := v.Proxy.socks
	if v.Proxy.Kind == ProxyHTTP {
		ask = v.Proxy.connect
	}
	if err := ask(conn, to); err != nil {
		_ = conn.Close()
		var said *proxyError
		if errors.As(err, &said) || errors.Is(ctx.Err(), context.Canceled) {
			return nil, err
		}
		return nil, &proxyError{ClassLocalPath, fmt.Sprintf("the vantage's proxy %v: %v", v.Proxy, err), false}
	}
	return conn, nil
}

// socks asks a SOCKS5 proxy for a connection (RFC 1928, passwords by RFC 1929).
func (p *Proxy) socks(conn net.Conn, to string) error {
	if err := p.socksGreet(conn); err != nil {
		return err
	}
	host, portText, err := net.SplitHostPort(to)
	if err != nil {
		return err
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return err
	}
	q := []byte{5, 1, 0}
	switch addr, err := netip.ParseAddr(host); {
	case err != nil && len(host) > 255:
		return fmt.Errorf("%s is too long for a name", clip(host))
	case err != nil:
		q = append(append(q, 3, byte(len(host))), host...)
	case addr.Is4():
		q = append(append(q, 1), addr.AsSlice()...)
	default:
		q = append(append(q, 4), addr.AsSlice()...)
	}
	if _, err := conn.Write(append(q, byte(port>>8), byte(port))); err != nil {
		return err
	}
	err = socksReply(conn)
	if isTimeout(err) { // it has shown that it lives: it is still trying
		return &proxyError{ClassConnectTimeout, fmt.Sprintf("the vantage's proxy %v got no connection in time", p), false}
	}
	return err
}

func (p *Proxy) socksGreet(conn net.Conn) error {
	hello := []byte{5, 1, 0}
	if p.User != "" {
		hello = []byte{5, 2, 0, 2}
	}
	if _, err := conn.Write(hello); err != nil {
		return err
	}
	var b [2]byte
	if _, err := io.ReadFull(conn, b[:]); err != nil {
		return err
	}
	switch {
	case b[0] != 5:
		return errors.New("it does not speak SOCKS5")
	case b[1] == 0:
		return nil
	case b[1] != 2 || p.User == "":
		return errors.New("it wants another way to log in than this one can")
	case len(p.User) > 255 || len(p.Password) > 255:
		return errors.New("user or password is too long for SOCKS5")
	}
	q := append([]byte{1, byte(len(p.User))}, p.User...)
	q = append(append(q, byte(len(p.Password))), p.Password...)
	if _, err := conn.Write(q); err != nil {
		return err
	}
	if _, err := io.ReadFull(conn, b[:]); err != nil {
		return err
	}
	if b[1] != 0 {
		return errors.New("it refuses user and password")
	}
	return nil
}

// socksReplies are the failures that say something about the far end; the others are the proxy's own.
var socksReplies = map[byte]proxyError{
	3: {ClassConnectUnreachable, "network unreachable", false},
	4: {ClassConnectUnreachable, "host unreachable", false},
	5: {ClassConnectRefused, "connection refused", false},
	6: {ClassConnectTimeout, "TTL expired", false},
}

func socksReply(conn net.Conn) error {
	var head [5]byte
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		return err
	}
	if head[0] != 5 {
		return errors.New("its answer is not SOCKS5")
	}
	rest := map[byte]int{1: 4 - 1, 3: int(head[4]), 4: 16 - 1}[head[3]] + 2
	if _, err := io.ReadFull(conn, make([]byte, rest)); err != nil && head[1] == 0 {
		return err
	}
	if head[1] == 0 {
		return nil
	}
	if said, ok := socksReplies[head[1]]; ok {
		return &proxyError{said.class, "the vantage's proxy says: " + said.text, false}
	}
	return fmt.Errorf("it refuses (SOCKS5 reply %d)", head[1])
}

// connect asks an HTTP proxy for a tunnel.
func (p *Proxy) connect(conn net.Conn, to string) error {
	if _, err := io.WriteString(conn, "CONNECT "+to+" HTTP/1.1\r\nHost: "+to+"\r\n"+p.authorization()+"\r\n"); err != nil {
		return err
	}
	br := bufio.NewReader(&io.LimitedReader{R: conn, N: maxProxyHeader})
	resp, err := http.ReadResponse(br, &http.Request{Method: http.MethodConnect})
	if isTimeout(err) {
		return &proxyError{ClassConnectTimeout, fmt.Sprintf("the vantage's proxy %v got no connection in time", p), true}
	}
	if err != nil {
		return err
	}
	switch {
	case resp.StatusCode/100 == 2 && br.Buffered() > 0:
		return errors.New("it speaks before it was spoken to")
	case resp.StatusCode/100 == 2:
		return nil
	}
	class := proxySays(resp.StatusCode, resp.Header.Get)
	if _, token, ok := strings.Cut(resp.Header.Get("Proxy-Status"), "error="); ok && class == ClassOK {
		token, _, _ = strings.Cut(token, ";")
		class = tokenSays[strings.TrimSpace(token)]
	}
	if class != ClassOK && class != ClassUnknown {
		return &proxyError{class, fmt.Sprintf("the vantage's proxy %v answers %s %s", p, clip(resp.Status), clip(resp.Header.Get("X-Squid-Error"))), false}
	}
	return fmt.Errorf("it answers %s to CONNECT", clip(resp.Status))
}

// authorization is the header line that a proxy with a password wants.
func (p *Proxy) authorization() string {
	if p.User == "" {
		return ""
	}
	return "Proxy-Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(p.User+":"+p.Password)) + "\r\n"
}

// What Squid's own error pages (X-Squid-Error: NAME ERRNO, its src/err_type.h) and the tokens of RFC 9209 say about the far end.
// Names that are not here are the proxy's own trouble.
var (
	squidSays = map[string]Class{
		"ERR_CONNECT_FAIL 110": ClassConnectTimeout, "ERR_CONNECT_FAIL 111": ClassConnectRefused,
		"ERR_CONNECT_FAIL 113": ClassConnectUnreachable, "ERR_CONNECT_FAIL 104": ClassConnectReset,
		"ERR_READ_TIMEOUT": ClassHTTPTimeoutHeaders, "ERR_READ_ERROR 104": ClassHTTPReset, "ERR_ZERO_SIZE_OBJECT": ClassHTTPEOF,
		"ERR_INVALID_RESP": ClassHTTPMalformed,
	}
	tokenSays = map[string]Class{
		"connection_refused": ClassConnectRefused, "connection_timeout": ClassConnectTimeout,
		"destination_ip_unroutable": ClassConnectUnreachable, "destination_unavailable": ClassConnectUnreachable,
		"http_response_timeout": ClassHTTPTimeoutHeaders, "connection_read_timeout": ClassHTTPTimeoutHeaders, "connection_terminated": ClassHTTPEOF,
	}
)

// proxySays tells what an answer that the vantage's own HTTP proxy made says; ClassOK = it may not be the proxy's.
func proxySays(status int, header func(string) string) Class {
	if status == http.StatusProxyAuthRequired {
		return ClassLocalPath
	}
	if squid := header("X-Squid-Error"); squid != "" {
		name, _, _ := strings.Cut(squid, " ")
		for _, key := range []string{squid, name} {
			if c, ok := squidSays[key]; ok {
				return c
			}
		}
		return ClassLocalPath
	}
	return ClassOK
}
