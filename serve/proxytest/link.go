package proxytest

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"
)

// Link is how far away an upstream seems to be. The zero value is next door.
type Link struct {
	RTT       time.Duration // paid once a request, once a connection, once more for TLS
	Bandwidth float64       // bytes a second, shared by all connections; 0 means unlimited
}

// chunk is how much of a body crosses the link before another connection has its
// turn: a few TCP segments.
const chunk = 16 << 10

// clock shares a link between connections.
type clock struct {
	mu   sync.Mutex
	link Link      // guarded by mu
	free time.Time // guarded by mu; when the link has carried all that was sent so far
}

// SetLink changes the link while the upstream serves.
func (u *Upstream) SetLink(l Link) {
	u.link.mu.Lock()
	defer u.link.mu.Unlock()
	u.link.link = l
}

// travel waits for a round trip and reports whether the client is still there.
func (c *clock) travel(ctx context.Context) bool {
	c.mu.Lock()
	d := c.link.RTT
	c.mu.Unlock()
	return pause(ctx, d)
}

// lateness is how much later than its turn a body may go on without losing it: what a
// timer of a busy machine is late, and a kernel's buffers would hide.
const lateness = 20 * time.Millisecond

// carry waits until n more bytes have crossed the link, and returns when that was to
// be. turn is what it returned for the bytes before.
func (c *clock) carry(ctx context.Context, n int, turn time.Time) (time.Time, bool) {
	c.mu.Lock()
	if c.link.Bandwidth <= 0 {
		c.mu.Unlock()
		return turn, true
	}
	if now := time.Now(); now.Sub(turn) > lateness {
		turn = now
	}
	if c.free.Before(turn) {
		c.free = turn
	}
	c.free = c.free.Add(time.Duration(float64(n) / c.link.Bandwidth * float64(time.Second)))
	turn = c.free
	c.mu.Unlock()
	return turn, pause(ctx, time.Until(turn))
}

func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// pacedWriter sends a body no faster than the link carries it.
type pacedWriter struct {
	http.ResponseWriter
	link *clock
	ctx  context.Context
	turn time.Time // when the link has carried what was written so far
}

func (w *pacedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *pacedWriter) Write(p []byte) (int, error) {
	total := 0
	for len(p) > 0 {
		n := min(len(p), chunk)
		var ok bool
		if w.turn, ok = w.link.carry(w.ctx, n, w.turn); !ok {
			return total, w.ctx.Err()
		}
		m, err := w.ResponseWriter.Write(p[:n])
		total += m
		if err != nil {
			return total, err
		}
		p = p[n:]
	}
	return total, nil
}

// farListener makes connections that are as slow to open as the link says.
type farListener struct {
	net.Listener
	link *clock
	tls  bool
}

func (l farListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &farConn{Conn: c, link: l.link, tls: l.tls}, nil
}

// farConn pays for the handshakes at its first read.
type farConn struct {
	net.Conn
	link *clock
	tls  bool
	once sync.Once
}

func (c *farConn) Read(p []byte) (int, error) {
	c.once.Do(func() {
		c.link.travel(context.Background())
		if c.tls {
			c.link.travel(context.Background())
		}
	})
	return c.Conn.Read(p)
}
