package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
)

const (
	// maxChildren is how many children run at once. A clone is bound by the link
	// and by one core of index-pack; more would only share them.
	maxChildren = 4

	// tunnelDial is how long one address may take to accept a connection, the
	// dial limit of every upstream. Without it a black-holed host holds a child
	// for the kernel's two minutes.
	tunnelDial = 10 * time.Second

	// tunnelHeader is how long a child may take to send its CONNECT line: it is on
	// this machine and has nothing to think about.
	tunnelHeader = 5 * time.Second
)

// TunnelOptions make a [Tunnel].
type TunnelOptions struct {
	// MaxChildren is how many children may run at once, over all that share the
	// tunnel; 0 means 4. Each clones into memory and disk.
	MaxChildren int

	// Trusted reports the hosts that may be dialled wherever they resolve to,
	// because the user named them or they are GitHub's. nil trusts none.
	Trusted func(host string) bool

	// ProxyFunc names the user's own proxy for a request, as
	// http.ProxyFromEnvironment does; nil means none. The tunnel goes through it.
	ProxyFunc func(*http.Request) (*url.URL, error)

	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)      // nil means the system's resolver
	Dial   func(ctx context.Context, network, addr string) (net.Conn, error) // nil means net.Dialer
	Log    *slog.Logger                                                      // nil discards
}

// Tunnel is an HTTP CONNECT proxy on loopback, the only way out for the children of
// [Direct]. It is where addresses learned from content (an import page, a redirect)
// are checked, where a child's progress is seen, and what lets a test stand in for a
// host. Each child has a user name and password of its own.
type Tunnel struct {
	opts     TunnelOptions
	listener net.Listener
	server   *http.Server
	served   chan struct{}       // closed when the server has returned
	slots    *semaphore.Weighted // one a running child

	mu     sync.Mutex
	passes map[string]*pass // by id
}

// NewTunnel listens on a free port of 127.0.0.1 and serves until Close.
func NewTunnel(opts TunnelOptions) (*Tunnel, error) {
	if opts.MaxChildren == 0 {
		opts.MaxChildren = maxChildren
	}
	if opts.Trusted == nil {
		opts.Trusted = func(string) bool { return false }
	}
	if opts.Lookup == nil {
		opts.Lookup = systemLookup
	}
	if opts.Dial == nil {
		opts.Dial = new(net.Dialer).DialContext
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("open the tunnel for git: %w", err)
	}
	t := &Tunnel{
		opts:     opts,
		listener: listener,
		served:   make(chan struct{}),
		slots:    semaphore.NewWeighted(int64(opts.MaxChildren)),
		passes:   make(map[string]*pass),
	}
	t.server = &http.Server{Handler: t, ReadHeaderTimeout: tunnelHeader, MaxHeaderBytes: 16 << 10}
	go func() { // ends with Close
		defer close(t.served)
		_ = t.server.Serve(listener)
	}()
	return t, nil
}

func (t *Tunnel) port() int { return t.listener.Addr().(*net.TCPAddr).Port }

// Close ends the listener and every connection.
func (t *Tunnel) Close() error {
	err := t.server.Close()
	<-t.served
	t.mu.Lock()
	passes := t.passes
	t.passes = nil
	t.mu.Unlock()
	for _, p := range passes {
		p.hangUp()
	}
	return err
}

// ServeHTTP answers CONNECT requests that show a live pass, and nothing else.
func (t *Tunnel) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p := t.admit(r.Header.Get("Proxy-Authorization"))
	if p == nil {
		// curl asks without a password first, and looks for this header.
		w.Header().Set("Proxy-Authenticate", `Basic realm="gomirror"`)
		http.Error(w, "this tunnel is for gomirror's own children", http.StatusProxyAuthRequired)
		return
	}
	if r.Method != http.MethodConnect {
		p.fail(fmt.Errorf("refuse %s %s: the tunnel takes https only", r.Method, r.URL.Redacted()))
		http.Error(w, "the tunnel takes https only", http.StatusMethodNotAllowed)
		return
	}
	far, err := t.dial(r.Context(), r.Host)
	if err != nil {
		p.fail(err)
		code := http.StatusBadGateway
		if errors.As(err, new(*refusedError)) {
			code = http.StatusForbidden
		}
		http.Error(w, err.Error(), code)
		return
	}
	defer far.Close()
	near, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		p.fail(fmt.Errorf("take over the child's connection: %w", err))
		return
	}
	defer near.Close()
	if !p.hold(near, far) {
		return // the child is gone
	}
	defer p.release(near, far)
	if _, err := io.WriteString(near, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		return
	}
	fromGo := r.UserAgent() == goAgent
	p.pipe(near, buffered.Reader, far, fromGo)
}

// goAgent is what the go command calls itself in CONNECT; git has another name.
const goAgent = "Go-http-client/1.1"

// dial connects to addr, "host:port" as the child asked for it.
func (t *Tunnel) dial(ctx context.Context, addr string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("read the address %q: %w", addr, err)
	}
	parent, err := t.parent(addr)
	if err != nil {
		return nil, err
	}
	if parent != nil {
		// Behind the user's proxy names often don't resolve here at all: it looks
		// them up. Only what is plainly an inner address is ours to refuse.
		if err := refuseLiteral(host); err != nil && !t.opts.Trusted(host) {
			return nil, err
		}
		return t.dialParent(ctx, parent, addr)
	}
	if t.opts.Trusted(host) {
		return t.dialOne(ctx, addr)
	}
	return dialPublic(ctx, t.opts.Lookup, func(ctx context.Context, _, addr string) (net.Conn, error) { return t.dialOne(ctx, addr) }, addr)
}

func (t *Tunnel) dialOne(ctx context.Context, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, tunnelDial)
	defer cancel()
	return t.opts.Dial(ctx, "tcp", addr)
}
