package upstream

import (
	"context"
	"net"
	"sync"
	"time"
)

const (
	// hostConns is how many connections there are to a host, or to an HTTP proxy. HTTP/2
	// needs one. A body that stands still keeps one of HTTP/1.1 until it is given up, so
	// that a few would not do.
	hostConns = 12

	// spareConns are those of them that the spare half of a [pair] has.
	spareConns = 3

	// idlePause is how often connections that have come to be idle make room for one that
	// is waited for.
	idlePause = 50 * time.Millisecond
)

// connLimits bounds the connections to each address that is dialled. A transport bounds
// those to each target, and through one HTTP proxy there are several.
type connLimits struct {
	idle  func()                // ends connections that nobody uses
	addrs *gates[chan struct{}] // a place each connection, or dial
}

func limitConns(most int) *connLimits {
	return &connLimits{addrs: newGates(func() chan struct{} { return make(chan struct{}, most) })}
}

// wrap returns dial with the limit. To wait for a place is no part of a dial's time.
func (l *connLimits) wrap(dial dialFunc) dialFunc {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		places, leave := l.addrs.enter(addr)
		if err := l.wait(ctx, places); err != nil {
			leave()
			return nil, &net.OpError{Op: "dial", Net: network, Err: err}
		}
		end := sync.OnceFunc(func() {
			<-places
			leave()
		})
		conn, err := dial(ctx, network, addr)
		if err != nil {
			end()
			return nil, err
		}
		return &countedConn{conn, end}, nil
	}
}

// wait takes a place.
func (l *connLimits) wait(ctx context.Context, places chan struct{}) error {
	for {
		select {
		case places <- struct{}{}:
			return nil
		default:
			l.idle()
		}
		pause := time.NewTimer(idlePause)
		select {
		case places <- struct{}{}:
			pause.Stop()
			return nil
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return ctx.Err()
		}
	}
}

// countedConn gives its place back with its end.
type countedConn struct {
	net.Conn
	leave func()
}

func (c *countedConn) Close() error {
	defer c.leave()
	return c.Conn.Close()
}
