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

// noConnection is an attempt for which no connection came about.
type noConnection struct{ err error }

func (e *noConnection) Error() string { return e.err.Error() }
func (e *noConnection) Unwrap() error { return e.err }

// errReach ends the attempt that is under way when reachLimit is over.
var errReach = fmt.Errorf("no connection within %v", reachLimit)

// Unreachable reports whether err says that no connection came about: the name did
// not resolve, or nothing accepted the dial, or an HTTP proxy would not pass it on.
func Unreachable(err error) bool {
	var none *noConnection
	var dns *net.DNSError
	var op *net.OpError
	return errors.As(err, &none) || errors.As(err, &dns) ||
		errors.As(err, &op) && (op.Op == "dial" || op.Op == "proxyconnect")
}

// reachKey carries the time at which an attempt without a connection ends.
type reachKey struct{}

func withReach(ctx context.Context, until time.Time) context.Context {
	return context.WithValue(ctx, reachKey{}, until)
}

// connWatch knows whether a request has got a connection.
type connWatch struct{ made atomic.Bool }

// watchConn returns a context for one request. If the context has a reach, the
// request is cancelled when that is over and there is no connection yet.
func watchConn(ctx context.Context, cancel context.CancelCauseFunc) (context.Context, *connWatch) {
	watch := new(connWatch)
	reached := func() { watch.made.Store(true) }
	if until, ok := ctx.Value(reachKey{}).(time.Time); ok {
		timer := time.AfterFunc(time.Until(until), func() {
			if !watch.made.Load() {
				cancel(errReach)
			}
		})
		context.AfterFunc(ctx, func() { timer.Stop() }) // no timer outlives its request
	}
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn:           func(httptrace.GotConnInfo) { reached() },
		TLSHandshakeStart: func() { reached() }, // who refuses our TLS did accept the connection
	}), watch
}
