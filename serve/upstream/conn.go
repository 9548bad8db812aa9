package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http/httptrace"
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

// connWatch knows how far a request has come. Its flags are set by the goroutines of
// the transport, which may outlive the request.
type connWatch struct {
	accepted atomic.Bool // somebody has accepted a connection
	waiting  atomic.Bool // the request is sent, the answer has not begun
	reach    *time.Timer // nil if there is no limit
}

func (w *connWatch) stop() {
	if w.reach != nil {
		w.reach.Stop()
	}
}

// watchConn returns a context for one request. If the context has a reach, the
// request is cancelled when that is over and there is no connection yet. The caller
// stops the watch when the request is over.
func watchConn(ctx context.Context, cancel context.CancelCauseFunc) (context.Context, *connWatch) {
	watch := new(connWatch)
	if until, ok := ctx.Value(reachKey{}).(time.Time); ok {
		watch.reach = time.AfterFunc(time.Until(until), func() {
			if !watch.accepted.Load() {
				cancel(errReach)
			}
		})
	}
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn:              func(string) { watch.waiting.Store(false) }, // again after a redirect
		GotConn:              func(httptrace.GotConnInfo) { watch.accepted.Store(true) },
		TLSHandshakeStart:    func() { watch.accepted.Store(true) }, // a certificate we refuse is no dead link
		WroteRequest:         func(httptrace.WroteRequestInfo) { watch.waiting.Store(true) },
		GotFirstResponseByte: func() { watch.waiting.Store(false) },
	}), watch
}
