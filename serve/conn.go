package serve

import (
	"context"
	"io"
	"net"
	"sync"
	"syscall"
	"time"
)

// listener hands out connections that end when their client stalls.
type listener struct {
	net.Listener
	stall time.Duration
}

func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &conn{Conn: c, stall: l.stall}, nil
}

// conn is a connection whose write deadline moves with every write, so that it
// measures silence and not size: net/http's WriteTimeout is for the whole answer and
// would cut a large zip on a slow client.
type conn struct {
	net.Conn
	stall time.Duration
	moved time.Time // when the deadline was last moved; written by the one goroutine that writes

	peerOnce sync.Once
	peer     peer // valid after peerOnce
}

// deadlineStep is how stale a deadline may get: moving it costs a system-wide timer,
// which a look at the clock does not.
const deadlineStep = time.Second

func (c *conn) move() error {
	now := time.Now()
	if now.Sub(c.moved) < min(deadlineStep, c.stall/4) {
		return nil
	}
	c.moved = now
	return c.SetWriteDeadline(now.Add(c.stall))
}

func (c *conn) Write(p []byte) (int, error) {
	if err := c.move(); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// sendfileStep is how much of a file one deadline covers: within 60 s, the slowest
// client that is let go on takes 4 KiB a second.
const sendfileStep = 256 << 10

// ReadFrom sends a file without copying it through this process. net/http calls it
// with an *io.LimitedReader of what the reply was given.
func (c *conn) ReadFrom(r io.Reader) (int64, error) {
	limited, ok := r.(*io.LimitedReader)
	to, canSend := c.Conn.(io.ReaderFrom)
	if ok && canSend {
		_, canSend = limited.R.(syscall.Conn)
	}
	if !ok || !canSend {
		return io.Copy(struct{ io.Writer }{c}, r)
	}
	var sent int64
	for limited.N > 0 {
		if err := c.move(); err != nil {
			return sent, err
		}
		want := min(limited.N, sendfileStep)
		n, err := to.ReadFrom(&io.LimitedReader{R: limited.R, N: want})
		sent += n
		limited.N -= n
		if err != nil || n < want {
			return sent, err
		}
	}
	return sent, nil
}

type connKey struct{}

// withConn lets a request find its connection.
func withConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}
