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
	idle func() // ends connections that nobody uses
	most int

	mu    sync.Mutex
	addrs map[string]*connGate // guarded by mu
}

// connGate is one address with connections, or dials that wait.
type connGate struct {
	users int // guarded by connLimits.mu
	open  chan struct{}
}

// wrap returns dial with the limit. To wait for a place is no part of a dial's time.
func (l *connLimits) wrap(dial dialFunc) dialFunc {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		gate := l.enter(addr)
		if err := l.wait(ctx, gate); err != nil {
			l.leave(addr, gate)
			return nil, &net.OpError{Op: "dial", Net: network, Err: err}
		}
		leave := sync.OnceFunc(func() {
			<-gate.open
			l.leave(addr, gate)
		})
		conn, err := dial(ctx, network, addr)
		if err != nil {
			leave()
			return nil, err
		}
		return &countedConn{conn, leave}, nil
	}
}

// wait takes a place.
func (l *connLimits) wait(ctx context.Context, gate *connGate) error {
	for {
		select {
		case gate.open <- struct{}{}:
			return nil
		default:
			l.idle()
		}
		pause := time.NewTimer(idlePause)
		select {
		case gate.open <- struct{}{}:
			pause.Stop()
			return nil
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return ctx.Err()
		}
	}
}

func (l *connLimits) enter(addr string) *connGate {
	l.mu.Lock()
	defer l.mu.Unlock()
	gate := l.addrs[addr]
	if gate == nil {
		gate = &connGate{open: make(chan struct{}, l.most)}
		l.addrs[addr] = gate
	}
	gate.users++
	return gate
}

// leave forgets an address that nobody is connected to.
func (l *connLimits) leave(addr string, gate *connGate) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if gate.users--; gate.users == 0 {
		delete(l.addrs, addr)
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
