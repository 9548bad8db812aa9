package doctortest

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
)

// Proxy is an HTTP proxy into the lab's network, on a real address.
type Proxy struct {
	URL string

	lab *Lab

	mu       sync.Mutex
	refusal  int             // guarded by mu; status of every answer, 0 for none
	header   http.Header     // guarded by mu; of the refusal
	barred   map[string]bool // guarded by mu; hosts that it answers 403 for
	requests []string        // guarded by mu
}

// Proxy opens one. It connects to the hosts of the lab whatever their own ports do,
// as a machine elsewhere in the network would.
func (l *Lab) Proxy() *Proxy {
	l.tb.Helper()
	p := &Proxy{lab: l, barred: make(map[string]bool)}
	srv := httptest.NewServer(http.HandlerFunc(p.serve))
	l.tb.Cleanup(srv.Close)
	p.URL = srv.URL
	return p
}

// Refuse makes every answer this status; 0 ends that. A 407 asks for scheme, such as
// "Basic" or "NTLM".
func (p *Proxy) Refuse(status int, scheme string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refusal, p.header = status, http.Header{}
	if scheme != "" {
		p.header.Set("Proxy-Authenticate", scheme)
	}
}

// Bar makes it refuse one host.
func (p *Proxy) Bar(host string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.barred[host] = true
}

// Requests returns what it was asked, "METHOD host:port".
func (p *Proxy) Requests() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.requests...)
}

func (p *Proxy) serve(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.requests = append(p.requests, r.Method+" "+r.Host)
	status, header := p.refusal, p.header
	host, port, err := net.SplitHostPort(r.Host)
	if err != nil {
		host, port = r.Host, "80"
	}
	if p.barred[host] && status == 0 {
		status = http.StatusForbidden
	}
	p.mu.Unlock()
	p.lab.mu.Lock()
	far := p.lab.hosts[host]
	p.lab.mu.Unlock()
	if status == 0 && far == nil {
		status = http.StatusBadGateway
	}
	if status != 0 {
		for name, values := range header {
			w.Header()[name] = values
		}
		http.Error(w, "not through here", status)
		return
	}
	if r.Method != http.MethodConnect {
		far.ServeHTTP(w, r)
		return
	}
	addr := far.over
	if port == "80" {
		addr = far.plain
	}
	connect(w, addr)
}

// connect joins a client with the real address of a host.
func connect(w http.ResponseWriter, addr string) {
	far, err := net.Dial("tcp", addr)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer far.Close()
	near, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer near.Close()
	io.WriteString(near, "HTTP/1.1 200 Connection established\r\n\r\n")
	var halves sync.WaitGroup
	// Each half ends with what it reads from, and then ends the other.
	halves.Go(func() { io.Copy(far, buffered); far.Close() })
	halves.Go(func() { io.Copy(near, far); near.Close() })
	halves.Wait()
}
