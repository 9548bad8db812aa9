package upstream

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

// reachLimit is how long a chain looks for an upstream that accepts a connection. It
// is the only limit on a whole request, and is over with the first connection: a
// developer whose cable is out wants to be told, not to wait for each entry in turn.
const reachLimit = 30 * time.Second

// errReach ends the attempt that is under way when reachLimit is over.
var errReach = fmt.Errorf("no connection within %v", reachLimit)

// noConnection is an attempt for which no connection came about.
type noConnection struct{ err error }

func (e *noConnection) Error() string { return e.err.Error() }
func (e *noConnection) Unwrap() error { return e.err }

// Unreachable reports whether err says that no connection came about: the name did
// not resolve, nothing accepted the dial, or an HTTP proxy would not pass it on.
func Unreachable(err error) bool {
	var none *noConnection
	var dns *net.DNSError
	var op *net.OpError
	if errors.As(err, new(*refusedError)) {
		return false // there is somebody, whom we do not dial
	}
	return errors.As(err, &none) || errors.As(err, &dns) ||
		errors.As(err, &op) && (op.Op == "dial" || op.Op == "proxyconnect")
}

// reachKey carries the time at which an attempt without a connection ends.
type reachKey struct{}

func withReach(ctx context.Context, until time.Time) context.Context {
	return context.WithValue(ctx, reachKey{}, until)
}

// reachOf returns the time that withReach has set, or zero.
func reachOf(ctx context.Context) time.Time {
	until, _ := ctx.Value(reachKey{}).(time.Time)
	return until
}

// pulse is when an upstream was last seen to be there: a request that waits for one
// of its connections, all of them busy, does not wait in vain.
type pulse struct{ last atomic.Pointer[time.Time] }

func (p *pulse) beat() {
	now := time.Now()
	p.last.Store(&now)
}

// since returns how long ago that was.
func (p *pulse) since() time.Duration {
	if last := p.last.Load(); last != nil {
		return time.Since(*last)
	}
	return math.MaxInt64
}

// connWatch knows how far a request has come. Its flags are set by the goroutines of
// the transport, which may outlive the request.
type connWatch struct {
	accepted atomic.Bool   // somebody has accepted a connection
	waiting  atomic.Bool   // the request is sent, the answer has not begun
	written  chan struct{} // closed when the request is sent for the first time
	sent     time.Time     // when that was; to be read once written is closed
	reach    *time.Timer
}

func (w *connWatch) stop() { w.reach.Stop() }

// took returns how long ago the request was sent. A file is not sent for.
func (w *connWatch) took() (time.Duration, bool) {
	select {
	case <-w.written:
		return time.Since(w.sent), true
	default:
		return 0, false
	}
}

// watchConn returns a context for one request, which is cancelled if there is no
// connection at the time until, and the upstream has no pulse. The caller stops the
// watch when the request is over.
func watchConn(ctx context.Context, cancel context.CancelCauseFunc, p *pulse, until time.Time) (context.Context, *connWatch) {
	watch := &connWatch{written: make(chan struct{})}
	watch.reach = time.AfterFunc(math.MaxInt64, func() {
		silence := p.since()
		switch {
		case watch.accepted.Load() || ctx.Err() != nil:
		case silence < reachLimit:
			watch.reach.Reset(reachLimit - silence)
		default:
			cancel(errReach)
		}
	})
	watch.reach.Reset(time.Until(until))
	accepted := func() {
		watch.accepted.Store(true)
		p.beat()
	}
	sent := sync.OnceFunc(func() {
		watch.sent = time.Now()
		close(watch.written)
	})
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn:           func(string) { watch.waiting.Store(false) }, // again after a redirect
		GotConn:           func(httptrace.GotConnInfo) { accepted() },
		TLSHandshakeStart: accepted, // a certificate we refuse is no dead link
		WroteRequest: func(httptrace.WroteRequestInfo) {
			watch.waiting.Store(true)
			sent()
		},
		GotFirstResponseByte: func() { watch.waiting.Store(false) },
	}), watch
}

// connectError is an HTTP proxy that does not connect us to an upstream.
type connectError struct {
	proxy string // its host
	code  int
}

func (e *connectError) Error() string {
	return fmt.Sprintf("connect through HTTP proxy %s: it answers %d %s", e.proxy, e.code, http.StatusText(e.code))
}

// checkConnect is [http.Transport.OnProxyConnectResponse]. Without it an error would
// be a mere text.
func checkConnect(_ context.Context, proxy *url.URL, _ *http.Request, resp *http.Response) error {
	if resp.StatusCode == http.StatusOK {
		return nil
	}
	return &connectError{proxy.Host, resp.StatusCode}
}
