package serve

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
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

// deadlineStep is how stale a deadline may get: moving it sets a timer, which costs
// more than a look at the clock.
const deadlineStep = time.Second

// push calls send until it says something else than that its time is over, for as
// long as the client takes anything. The system calls a connection writable only
// when a third of its buffer is free; so the second wait begins with a try, which
// finds out whether a slow client has taken less than that.
func (c *conn) push(send func() (n int64, err error)) error {
	waits := 2
	if runtime.GOOS == "windows" {
		waits = 1 // a cancelled write does not tell there what it has sent
	}
	wait := c.stall / time.Duration(waits)
	for left := waits; ; {
		if now := time.Now(); now.Sub(c.moved) > min(deadlineStep, wait/4) {
			c.moved = now
			if err := c.SetWriteDeadline(now.Add(wait)); err != nil {
				return err
			}
		}
		n, err := send()
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		if left--; n > 0 && waits > 1 {
			left = waits
		}
		if left == 0 {
			return err
		}
	}
}

func (c *conn) Write(p []byte) (int, error) {
	sent := 0
	err := c.push(func() (int64, error) {
		n, err := c.Conn.Write(p[sent:])
		sent += n
		return int64(n), err
	})
	return sent, err
}

// sendfileStep is how much of a file one deadline covers where push tries once.
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
	for more := true; more && limited.N > 0; {
		err := c.push(func() (int64, error) {
			want := min(limited.N, sendfileStep)
			n, err := to.ReadFrom(&io.LimitedReader{R: limited.R, N: want})
			sent += n
			limited.N -= n
			more = n == want // else the file is at its end
			return n, err
		})
		if err != nil {
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
