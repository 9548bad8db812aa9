package upstream

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"golang.org/x/net/proxy"
)

// parent returns the user's own proxy for addr, or nil.
func (t *Tunnel) parent(addr string) (*url.URL, error) {
	if t.opts.ProxyFunc == nil {
		return nil, nil
	}
	u := &url.URL{Scheme: "https", Host: addr}
	parent, err := t.opts.ProxyFunc(&http.Request{Method: http.MethodConnect, URL: u, Host: addr})
	if err != nil {
		return nil, fmt.Errorf("read the proxy setting for %s: %w", addr, err)
	}
	return parent, nil
}

// dialParent connects to addr through the user's proxy.
func (t *Tunnel) dialParent(ctx context.Context, parent *url.URL, addr string) (net.Conn, error) {
	// As for a dial: the proxy itself dials, then answers.
	ctx, cancel := context.WithTimeout(ctx, 2*tunnelDial)
	defer cancel()
	var conn net.Conn
	var err error
	switch parent.Scheme {
	case "http", "https":
		conn, err = t.connectParent(ctx, parent, addr)
	case "socks5", "socks5h":
		var dialer proxy.Dialer
		if dialer, err = proxy.FromURL(parent, contextDial(t.opts.Dial)); err == nil {
			conn, err = dialer.(proxy.ContextDialer).DialContext(ctx, "tcp", addr)
		}
	default:
		err = fmt.Errorf("unknown scheme %q", parent.Scheme)
	}
	if err != nil {
		return nil, fmt.Errorf("connect to %s through the proxy %s: %w", addr, parent.Redacted(), err)
	}
	return conn, nil
}

// parentPort is the port of a proxy, also of a URL that names none.
func parentPort(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case u.Scheme == "https":
		return "443"
	}
	return "80"
}

// connectParent sends CONNECT to an http or https proxy.
func (t *Tunnel) connectParent(ctx context.Context, parent *url.URL, addr string) (net.Conn, error) {
	conn, err := t.opts.Dial(ctx, "tcp", net.JoinHostPort(parent.Hostname(), parentPort(parent)))
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) }) // past: reads and writes return
	defer stop()
	if parent.Scheme == "https" {
		conn = tls.Client(conn, &tls.Config{ServerName: parent.Hostname(), MinVersion: tls.VersionTLS12})
	}
	request := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: addr}, Host: addr, Header: make(http.Header)}
	if user := parent.User; user != nil {
		password, _ := user.Password()
		basic := base64.StdEncoding.EncodeToString([]byte(user.Username() + ":" + password))
		request.Header.Set("Proxy-Authorization", "Basic "+basic)
	}
	if err := request.Write(conn); err != nil {
		conn.Close()
		return nil, err
	}
	// A server speaks first in no protocol we carry, so that nothing after the
	// answer's header is lost in this reader.
	response, err := http.ReadResponse(bufio.NewReader(conn), request)
	if err != nil {
		conn.Close()
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		conn.Close()
		return nil, fmt.Errorf("it answers %s", response.Status)
	}
	return conn, nil
}

// contextDial is a dial function as the socks package wants it.
type contextDial func(ctx context.Context, network, addr string) (net.Conn, error)

func (d contextDial) Dial(network, addr string) (net.Conn, error) {
	return d(context.Background(), network, addr)
}

func (d contextDial) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	return d(ctx, network, addr)
}
