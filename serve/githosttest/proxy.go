package githosttest

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
)

// Proxy opens an HTTP proxy that connects to the host by [Host.Dial] and returns its
// URL: with it in HTTPS_PROXY, a whole process lives in this host's world. A CONNECT
// to any other name is refused and recorded as a request with that method.
func (h *Host) Proxy(t testing.TB) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(h.connect))
	t.Cleanup(server.Close)
	return server.URL
}

func (h *Host) connect(w http.ResponseWriter, r *http.Request) {
	far, err := h.Dial(r.Context(), "tcp", r.Host)
	if r.Method != http.MethodConnect || err != nil {
		h.mu.Lock()
		h.requests = append(h.requests, Request{Method: r.Method, Host: r.Host, Path: r.URL.Path, Header: r.Header.Clone()})
		h.mu.Unlock()
		http.Error(w, "no host of this test", http.StatusBadGateway)
		return
	}
	defer far.Close()
	near, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer near.Close()
	io.WriteString(near, "HTTP/1.1 200 Connection established\r\n\r\n")
	// Each half ends with what it reads from.
	var halves sync.WaitGroup
	halves.Go(func() { pass(far, buffered) })
	halves.Go(func() { pass(near, far) })
	halves.Wait()
}

// pass copies from a connection until it ends and tells the other end so.
func pass(to net.Conn, from io.Reader) {
	io.Copy(to, from)
	if half, ok := to.(interface{ CloseWrite() error }); ok {
		half.CloseWrite()
	}
}
