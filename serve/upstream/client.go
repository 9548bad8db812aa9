package upstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"time"
)

// Silence ends an attempt, slowness does not: there is a limit on each wait and none
// on the whole.
const (
	// dialLimit is for the name look-up and all addresses of one host. Three lost SYNs
	// take 7 s; a link that needs longer than 10 s carries no pull.
	dialLimit = 10 * time.Second

	// tlsLimit is the net/http default: two round trips and a slow signature.
	tlsLimit = 10 * time.Second

	// firstByteLimit is long, for a mirror that has never seen a module clones it
	// before it answers; about 60 s were seen (golang/go#73403).
	firstByteLimit = 90 * time.Second

	// stallLimit is how long a body may stand still. TCP on a link with losses comes
	// back within a few seconds or not at all.
	stallLimit = 20 * time.Second

	// pingAfter and pingLimit find an HTTP/2 connection that died in sleep or with a
	// change of network, which would cost each request on it firstByteLimit.
	pingAfter = 15 * time.Second
	pingLimit = 10 * time.Second

	// idleLimit is below the 2 minutes after which load balancers drop a connection
	// without a word.
	idleLimit = 100 * time.Second

	// redirectLimit is that of the go command.
	redirectLimit = 10
)

// ClientOptions are the ways in which a network may differ from a plain one.
type ClientOptions struct {
	Dial      func(ctx context.Context, network, addr string) (net.Conn, error) // nil means net.Dialer
	CAFile    string                                                            // PEM file added to the system's roots; "" for none
	ProxyFunc func(*http.Request) (*url.URL, error)                             // HTTP proxy to use; nil means none

	// Trusted and Lookup are as in TunnelOptions, for the hosts of redirects.
	Trusted func(host string) bool
	Lookup  func(ctx context.Context, host string) ([]netip.Addr, error)
}

// NewClient returns the client that all requests to upstreams share.
func NewClient(opts ClientOptions) (*http.Client, error) {
	roots, err := rootPool(opts.CAFile)
	if err != nil {
		return nil, err
	}
	dial := opts.Dial
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	conns := limitConns(hostConns)
	// A body that stands back, see [WithTurn], is not read and comes on for a while all the
	// same: up to 4 MiB of an HTTP/2 stream lie here unread. With less, by
	// HTTP2Config.MaxReceiveBufferPerStream, it would be slow once a client waits for it:
	// that is all that comes in a round trip, and 12.5 MB/s at 300 ms are 3.75 MB.
	configured := &http.Transport{
		Proxy:                  opts.ProxyFunc,
		OnProxyConnectResponse: checkConnect,
		DialContext:            conns.wrap(limitDial(dial)),
		TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    tlsLimit,
		ResponseHeaderTimeout:  firstByteLimit,
		ForceAttemptHTTP2:      true, // a custom dialer turns it off otherwise
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingLimit},
		MaxConnsPerHost:        hostConns - spareConns,
		MaxIdleConnsPerHost:    hostConns - spareConns,
		IdleConnTimeout:        idleLimit,
		MaxResponseHeaderBytes: 64 << 10, // an upstream sends well below 4 KiB
	}
	again := configured.Clone()
	again.MaxConnsPerHost, again.MaxIdleConnsPerHost = spareConns, spareConns
	both := &pair{newRedirects(configured, opts, dial, conns), newRedirects(again, opts, dial, conns)}
	conns.idle = both.CloseIdleConnections
	return &http.Client{CheckRedirect: checkRedirect, Transport: limitHosts(both, opts.ProxyFunc)}, nil
}

// limitDial ends a dial after dialLimit. Its errors are always a *net.OpError of
// "dial", whatever the dialer returns, so that [Unreachable] knows them.
func limitDial(dial func(context.Context, string, string) (net.Conn, error)) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, dialLimit)
		defer cancel()
		conn, err := dial(ctx, network, addr)
		var op *net.OpError
		if err == nil || errors.As(err, &op) && op.Op == "dial" {
			return conn, err
		}
		if ctx.Err() == context.DeadlineExceeded {
			err = os.ErrDeadlineExceeded
		}
		return nil, &net.OpError{Op: "dial", Net: network, Err: fmt.Errorf("%s: %w", addr, err)}
	}
}

// rootPool returns the system's roots and those in file; nil for the system's alone.
func rootPool(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, &caError{fmt.Errorf("read CA file: %w", err)}
	}
	// Without system roots (a bare container) the file is all there is.
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, &caError{fmt.Errorf("read CA file %s: no certificate in PEM form", file)}
	}
	return pool, nil
}

// caError is a CA file that can't be used, or the want of one.
type caError struct{ err error }

func (e *caError) Error() string { return e.err.Error() }
func (e *caError) Unwrap() error { return e.err }

// Hint tells the one thing to do.
func (e *caError) Hint() string { return "gomirror config set network.ca_file FILE" }

// bareURL returns u without credentials, query and fragment.
func bareURL(u *url.URL) string {
	bare := *u
	bare.User, bare.RawQuery, bare.Fragment, bare.RawFragment = nil, "", "", ""
	bare.ForceQuery = false
	return bare.String()
}
