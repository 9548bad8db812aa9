package upstream

import (
	"io"
	"net/http"
	"sync"
	"sync/atomic"
)

const (
	// hostLimit is how many requests are in flight to one host: what HTTP/2 servers
	// take at least is 100, but the HTTP proxy of a company may be a small machine.
	hostLimit = 64

	// hostBackground leaves room for clients beside what nobody waits for yet. That
	// may pause in its body until the clients are served: it must not hold all places.
	hostBackground = 48

	// hostConns is how many connections there are to a host, or to an HTTP proxy for
	// its sake. HTTP/2 needs one. A body that stands still keeps one of HTTP/1.1 until it
	// is given up, so that a few would not do.
	hostConns = 12

	// hostBackgroundConns is hostBackground where each request needs a connection.
	hostBackgroundConns = 8
)

// hostLimits bounds the requests in flight per host. A request is in flight until the
// body of its answer is closed.
type hostLimits struct {
	next  http.RoundTripper
	mu    sync.Mutex
	hosts map[string]*hostGate // guarded by mu
}

// hostGate is one host with requests in flight, or waiting to be.
type hostGate struct {
	users      int // guarded by hostLimits.mu
	all        chan struct{}
	background chan struct{}
	few        chan struct{} // background of an HTTP/1.1 host
	plain      atomic.Bool   // its last answer came by HTTP/1.1
}

func limitHosts(next http.RoundTripper) *hostLimits {
	return &hostLimits{next: next, hosts: make(map[string]*hostGate)}
}

// RoundTrip implements [http.RoundTripper].
func (l *hostLimits) RoundTrip(req *http.Request) (*http.Response, error) {
	host := req.URL.Host
	gate := l.enter(host)
	var held []chan struct{}
	leave := sync.OnceFunc(func() {
		for _, place := range held {
			<-place
		}
		l.leave(host, gate)
	})
	places := []chan struct{}{gate.all}
	if IsBackground(req.Context()) {
		places = []chan struct{}{gate.background, gate.all}
		if gate.plain.Load() {
			places[0] = gate.few
		}
	}
	for _, place := range places {
		var hurry <-chan struct{}
		if place != gate.all {
			hurry = awaited(req.Context())
		}
		select {
		case place <- struct{}{}:
			held = append(held, place)
		case <-hurry: // those places are not for what a client waits for
		case <-req.Context().Done():
			leave()
			return nil, req.Context().Err()
		}
	}
	resp, err := l.next.RoundTrip(req)
	if err == nil {
		gate.plain.Store(resp.ProtoMajor < 2)
	}
	if err != nil || resp.Body == nil {
		leave()
		return resp, err
	}
	resp.Body = &countedBody{resp.Body, leave}
	return resp, nil
}

// enter returns the gate of a host; each caller leaves it once.
func (l *hostLimits) enter(host string) *hostGate {
	l.mu.Lock()
	defer l.mu.Unlock()
	gate := l.hosts[host]
	if gate == nil {
		gate = &hostGate{
			all:        make(chan struct{}, hostLimit),
			background: make(chan struct{}, hostBackground),
			few:        make(chan struct{}, hostBackgroundConns),
		}
		l.hosts[host] = gate
	}
	gate.users++
	return gate
}

// leave forgets a gate that nobody uses: redirects name new hosts without end.
func (l *hostLimits) leave(host string, gate *hostGate) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if gate.users--; gate.users == 0 {
		delete(l.hosts, host)
	}
}

// CloseIdleConnections serves [http.Client.CloseIdleConnections].
func (l *hostLimits) CloseIdleConnections() {
	if c, ok := l.next.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// countedBody gives the place back with its end.
type countedBody struct {
	io.ReadCloser
	leave func()
}

func (b *countedBody) Close() error {
	defer b.leave()
	return b.ReadCloser.Close()
}
