package upstream

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"io"
	"math"
	"net"
	"net/url"
	"strings"
	"sync"
	"time"
)

// pass lets one child through the tunnel and watches it.
type pass struct {
	tunnel     *Tunnel
	id, secret string

	mu    sync.Mutex
	conns map[net.Conn]bool // both ends of what is open; nil once hung up
	bytes int64             // moved in either direction
	at    time.Time         // of the last sign of life
	byGo  bool              // it was a byte on a connection of the go command's own, not git's
	err   error             // the first failure to connect, what the child's own text leaves out
}

// open makes a pass. hangUp ends it.
func (t *Tunnel) open() *pass {
	p := &pass{tunnel: t, id: rand.Text(), secret: rand.Text(), conns: make(map[net.Conn]bool), at: time.Now()}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.passes != nil { // else closed: the pass opens nothing
		t.passes[p.id] = p
	}
	return p
}

// proxyURL is the HTTPS_PROXY of the child.
func (p *pass) proxyURL() string {
	u := url.URL{Scheme: "http", User: url.UserPassword(p.id, p.secret), Host: p.tunnel.listener.Addr().String()}
	return u.String()
}

// admit returns the pass that a Proxy-Authorization header shows, or nil.
func (t *Tunnel) admit(header string) *pass {
	basic, ok := strings.CutPrefix(header, "Basic ")
	if !ok {
		return nil
	}
	plain, err := base64.StdEncoding.DecodeString(basic)
	if err != nil {
		return nil
	}
	id, secret, _ := strings.Cut(string(plain), ":")
	t.mu.Lock()
	p := t.passes[id]
	t.mu.Unlock()
	if p == nil || subtle.ConstantTimeCompare([]byte(secret), []byte(p.secret)) != 1 {
		return nil
	}
	return p
}

// hangUp ends the pass and all its connections.
func (p *pass) hangUp() {
	p.tunnel.mu.Lock()
	delete(p.tunnel.passes, p.id)
	p.tunnel.mu.Unlock()
	p.mu.Lock()
	conns := p.conns
	p.conns = nil
	p.mu.Unlock()
	for conn := range conns {
		_ = conn.Close()
	}
}

// hold notes open connections, unless the pass has ended.
func (p *pass) hold(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conns == nil {
		return false
	}
	for _, conn := range conns {
		p.conns[conn] = true
	}
	return true
}

func (p *pass) release(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, conn := range conns {
		delete(p.conns, conn)
	}
}

// fail notes why a connection did not come about.
func (p *pass) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.err = err
	}
}

// failure returns the first failure to connect, or nil.
func (p *pass) failure() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// moved notes progress.
func (p *pass) moved(n int, byGo bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.bytes += int64(n)
	p.at, p.byGo = time.Now(), byGo
}

// printed notes that the child has written something: it is at work.
func (p *pass) printed() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.at, p.byGo = time.Now(), false
}

// progress returns when the last sign of life was, and whether it was a byte on a
// connection of the go command's own rather than git's.
func (p *pass) progress() (at time.Time, byGo bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.at, p.byGo
}

// moves returns how many bytes moved in either direction.
func (p *pass) moves() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.bytes
}

// reach ends a child that has no connection at the time by which a chain wants one: go
// and git ask one host after the other, and each dial takes its time.
func (p *pass) reach(ctx context.Context, cancel context.CancelCauseFunc) *time.Timer {
	until := reachOf(ctx)
	if until.IsZero() {
		return time.NewTimer(math.MaxInt64)
	}
	return time.AfterFunc(time.Until(until), func() {
		if p.moves() == 0 {
			cancel(&noConnection{cmp.Or(p.failure(), errReach)})
		}
	})
}

// redact takes the pass out of a text.
func (p *pass) redact(text string) string {
	return strings.NewReplacer(p.secret, "REDACTED", p.id, "REDACTED").Replace(text)
}

// pipe copies both ways until both sides have ended, or one has failed.
func (p *pass) pipe(near net.Conn, early io.Reader, far net.Conn, byGo bool) {
	done := make(chan struct{})
	go func() { // ends when far ends or is closed by pipe's caller or hangUp
		defer close(done)
		_, _ = io.Copy(counted{near, p, byGo}, far)
		closeWrite(near)
	}()
	_, _ = io.Copy(counted{far, p, byGo}, early)
	closeWrite(far)
	<-done
}

// closeWrite says that no more comes, so that the other side may still answer.
func closeWrite(conn net.Conn) {
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
		return
	}
	_ = conn.Close()
}

// counted is a writer that tells the pass of each write.
type counted struct {
	w    io.Writer
	pass *pass
	byGo bool
}

func (c counted) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.pass.moved(n, c.byGo)
	return n, err
}
