package upstream

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
)

const (
	// hostLimit is how many requests are in flight to one host: what HTTP/2 servers
	// take at least is 100, but the HTTP proxy of a company may be a small machine.
	hostLimit = 64

	// hostFirst leaves room for the spare ones of a [pair]: when a connection dies with
	// all the requests on it, these are asked again.
	hostFirst = 52

	// hostBackground leaves room for clients beside what nobody waits for yet. That
	// may pause in its body until the clients are served: it must not hold all places.
	hostBackground = 40

	// hostBackgroundConns is hostBackground where each request needs a connection.
	hostBackgroundConns = 6
)

// hostLimits bounds the requests in flight per host, or per HTTP proxy where one is
// used: that is whose connections they take. A request is in flight until the body of
// its answer is closed.
type hostLimits struct {
	next  http.RoundTripper
	proxy func(*http.Request) (*url.URL, error) // nil means none
	hosts *gates[*hostGate]
}

// hostGate is one host with requests in flight, or waiting to be.
type hostGate struct {
	all        chan struct{}
	first      chan struct{} // of all, those that are no spare ones
	background chan struct{} // of first
	few        chan struct{} // background of an HTTP/1.1 host
	plain      atomic.Bool   // its last answer came by HTTP/1.1
}

func newHostGate() *hostGate {
	return &hostGate{
		all:        make(chan struct{}, hostLimit),
		first:      make(chan struct{}, hostFirst),
		background: make(chan struct{}, hostBackground),
		few:        make(chan struct{}, hostBackgroundConns),
	}
}

func limitHosts(next http.RoundTripper, proxy func(*http.Request) (*url.URL, error)) *hostLimits {
	return &hostLimits{next: next, proxy: proxy, hosts: newGates(newHostGate)}
}

// RoundTrip implements [http.RoundTripper].
func (l *hostLimits) RoundTrip(req *http.Request) (*http.Response, error) {
	gate, leave := l.hosts.enter(l.hostOf(req))
	var held []chan struct{}
	end := sync.OnceFunc(func() {
		for _, place := range held {
			<-place
		}
		leave()
	})
	for _, place := range gate.places(req.Context()) {
		var hurry <-chan struct{}
		if place == gate.background || place == gate.few {
			hurry = Awaited(req.Context())
		}
		select {
		case place <- struct{}{}:
			held = append(held, place)
		case <-hurry: // those places are not for what a client waits for
		case <-req.Context().Done():
			end()
			return nil, req.Context().Err()
		}
	}
	resp, err := l.next.RoundTrip(req)
	if err == nil {
		gate.plain.Store(resp.ProtoMajor < 2)
	}
	if err != nil || resp.Body == nil {
		end()
		return resp, err
	}
	resp.Body = &countedBody{resp.Body, end}
	return resp, nil
}

// hostOf returns whom a request takes a place at. What fails here fails again below.
func (l *hostLimits) hostOf(req *http.Request) string {
	if l.proxy != nil {
		if proxy, err := l.proxy(req); err == nil && proxy != nil {
			return proxy.Host
		}
	}
	return req.URL.Host
}

// places returns those that a request takes, the narrowest first.
func (g *hostGate) places(ctx context.Context) []chan struct{} {
	switch {
	case ctx.Value(spareKey{}) != nil:
		return []chan struct{}{g.all}
	case !IsBackground(ctx):
		return []chan struct{}{g.first, g.all}
	case g.plain.Load():
		return []chan struct{}{g.few, g.first, g.all}
	}
	return []chan struct{}{g.background, g.first, g.all}
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
