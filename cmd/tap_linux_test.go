package cmd

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"sync"
)

// tap is the wire between browser and gomirror. Where the page comes from a rebound
// name it is that name's first address, too.
type tap struct {
	lab    *browserLab
	behind string

	mu    sync.Mutex
	conns []*tapped
}

// tapped is what went over one connection.
type tapped struct{ asked, answered syncBytes }

// syncBytes is a buffer that is read while it still grows.
type syncBytes struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBytes) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBytes) bytes() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return bytes.Clone(s.b.Bytes())
}

func (t *tap) run(ctx context.Context, l net.Listener) {
	var open sync.WaitGroup
	context.AfterFunc(ctx, func() { l.Close() })
	for {
		c, err := l.Accept()
		if err != nil {
			open.Wait()
			return
		}
		context.AfterFunc(ctx, func() { c.Close() })
		open.Go(func() { t.pass(ctx, c) }) // ends when either side closes, and with ctx
	}
}

// pass decides by the first bytes: a connection that the browser opened ahead of the
// page's begin is used after it.
func (t *tap) pass(ctx context.Context, c net.Conn) {
	defer c.Close()
	in := bufio.NewReader(c)
	if _, err := in.Peek(1); err != nil {
		return
	}
	t.lab.mu.Lock()
	begun, page := t.lab.begun, t.lab.page
	t.lab.mu.Unlock()
	if !begun && t.lab.rebind {
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(page), page)
		return
	}
	var d net.Dialer
	out, err := d.DialContext(ctx, "tcp", t.behind)
	if err != nil {
		return
	}
	defer out.Close()
	record := new(tapped)
	t.mu.Lock()
	t.conns = append(t.conns, record)
	t.mu.Unlock()
	go func() { // ends when the browser closes, or with ctx
		io.Copy(out, io.TeeReader(in, &record.asked))
		out.(*net.TCPConn).CloseWrite()
	}()
	io.Copy(c, io.TeeReader(out, &record.answered))
}

// exchange is one answer that reached the browser.
type exchange struct {
	status int
	body   []byte
}

var tryForm = regexp.MustCompile(`[?&]try=([a-z-]+)`)

// exchanges returns the answers by the name of the try that asked.
func (t *tap) exchanges() map[string][]exchange {
	t.mu.Lock()
	defer t.mu.Unlock()
	found := map[string][]exchange{}
	for _, c := range t.conns {
		asked, answered := bufio.NewReader(bytes.NewReader(c.asked.bytes())), bufio.NewReader(bytes.NewReader(c.answered.bytes()))
		for {
			r, err := http.ReadRequest(asked)
			if err != nil {
				break
			}
			io.Copy(io.Discard, r.Body)
			answer, err := http.ReadResponse(answered, r)
			if err != nil {
				break
			}
			body, _ := io.ReadAll(answer.Body) // a cut one counts for what it has
			if m := tryForm.FindStringSubmatch(r.RequestURI); m != nil {
				found[m[1]] = append(found[m[1]], exchange{answer.StatusCode, body})
			}
		}
	}
	return found
}

// sent returns all bytes that went to the browser.
func (t *tap) sent() []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []byte
	for _, c := range t.conns {
		all = append(all, c.answered.bytes()...)
	}
	return all
}
