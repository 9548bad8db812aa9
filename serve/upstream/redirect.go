package upstream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"time"
)

// redirects sends requests to the hosts that the user has configured by one
// transport and those to hosts that a redirect has named by another, which dials no
// address inside the user's network: an upstream must not aim us at a router or at a
// cloud's metadata service.
type redirects struct {
	configured, learned http.RoundTripper
	proxy               func(*http.Request) (*url.URL, error)
	lookup              lookupFunc
	trusted             func(host string) bool

	mu       sync.Mutex
	insiders map[string]insider // guarded by mu; by configured host
}

// insider is whether a configured host is inside the user's network.
type insider struct {
	inside bool
	until  time.Time // when that is looked up again
}

// insideFor is how long that is taken to be so: each redirected request would look the
// same name up again.
const insideFor = time.Minute

func newRedirects(configured *http.Transport, opts ClientOptions, dial dialFunc, conns *connLimits) *redirects {
	r := &redirects{configured: configured, proxy: opts.ProxyFunc, trusted: opts.Trusted}
	if r.proxy == nil {
		r.proxy = func(*http.Request) (*url.URL, error) { return nil, nil }
	}
	if r.trusted == nil {
		r.trusted = func(string) bool { return false }
	}
	lookup := opts.Lookup
	if lookup == nil {
		lookup = systemLookup
	}
	r.lookup = lookup
	learned := configured.Clone()
	learned.DialContext = conns.wrap(limitDial(func(ctx context.Context, network, addr string) (net.Conn, error) {
		return dialPublic(ctx, lookup, dial, addr)
	}))
	r.learned = learned
	return r
}

// RoundTrip implements [http.RoundTripper].
func (r *redirects) RoundTrip(req *http.Request) (*http.Response, error) {
	first := req
	for first.Response != nil { // the redirect that led to this request
		first = first.Response.Request
	}
	if req.URL.Host == first.URL.Host || r.trusted(req.URL.Hostname()) {
		return r.configured.RoundTrip(req)
	}
	parent, err := r.proxy(req)
	switch {
	case err != nil:
		return nil, err
	case parent == nil && r.inside(req.Context(), first.URL.Hostname()):
		if err := r.refuseLink(req.Context(), req.URL.Hostname()); err != nil {
			return nil, err
		}
		return r.configured.RoundTrip(req)
	case parent == nil:
		return r.learned.RoundTrip(req)
	}
	// The user's proxy looks names up by itself, and its own address is no stranger's.
	if err := refuseLiteral(req.URL.Hostname()); err != nil {
		return nil, err
	}
	return r.configured.RoundTrip(req)
}

// inside reports whether a configured host is in the user's own network: a company's
// mirror that keeps its files on a host beside it.
func (r *redirects) inside(ctx context.Context, host string) bool {
	now := time.Now()
	r.mu.Lock()
	known, ok := r.insiders[host]
	r.mu.Unlock()
	if ok && now.Before(known.until) {
		return known.inside
	}
	ctx, cancel := context.WithTimeout(ctx, dialLimit)
	defer cancel()
	_, err := publicAddrs(ctx, r.lookup, host)
	inside := errors.As(err, new(*refusedError))
	if err != nil && !inside {
		return false // and a resolver that is back a moment later is asked
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.insiders == nil {
		r.insiders = make(map[string]insider)
	}
	r.insiders[host] = insider{inside, now.Add(insideFor)}
	return inside
}

// refuseLink refuses a host at an address of the link: no mirror keeps its files there,
// and a cloud's metadata service does answer.
func (r *redirects) refuseLink(ctx context.Context, host string) error {
	addrs, err := []netip.Addr(nil), error(nil)
	if ip, perr := netip.ParseAddr(host); perr == nil {
		addrs = []netip.Addr{ip}
	} else if addrs, err = r.lookup(ctx, host); err != nil {
		return err
	}
	for _, ip := range addrs {
		if ip.Zone() != "" || ip.Unmap().IsLinkLocalUnicast() || ip == metadataV6 {
			return &refusedError{host, ip.String(), inner(ip)}
		}
	}
	return nil
}

// metadataV6 is a cloud's metadata service on IPv6, in a range that companies use.
var metadataV6 = netip.MustParseAddr("fd00:ec2::254")

// CloseIdleConnections serves [http.Client.CloseIdleConnections].
func (r *redirects) CloseIdleConnections() {
	for _, t := range []http.RoundTripper{r.configured, r.learned} {
		if c, ok := t.(interface{ CloseIdleConnections() }); ok {
			c.CloseIdleConnections()
		}
	}
}

type (
	dialFunc   func(ctx context.Context, network, addr string) (net.Conn, error)
	lookupFunc func(ctx context.Context, host string) ([]netip.Addr, error)
)

func systemLookup(ctx context.Context, host string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}

// dialPublic connects to addr, "host:port", at the addresses that were checked and
// not by name: a second look-up could answer otherwise.
func dialPublic(ctx context.Context, lookup lookupFunc, dial dialFunc, addr string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("read the address %q: %w", addr, err)
	}
	addrs, err := publicAddrs(ctx, lookup, host)
	if err != nil {
		return nil, err
	}
	var first error
	for _, ip := range addrs {
		conn, err := dial(ctx, "tcp", net.JoinHostPort(ip.String(), port))
		if err == nil {
			return conn, nil
		}
		first = cmp.Or(first, fmt.Errorf("connect to %s: %w", host, err))
	}
	return nil, first
}

// publicAddrs returns the addresses of host that a stranger may send us to.
func publicAddrs(ctx context.Context, lookup lookupFunc, host string) ([]netip.Addr, error) {
	if err := refuseLiteral(host); err != nil {
		return nil, err
	}
	addrs, err := []netip.Addr(nil), error(nil)
	if ip, perr := netip.ParseAddr(host); perr == nil {
		addrs = []netip.Addr{ip}
	} else if addrs, err = lookup(ctx, host); err != nil {
		return nil, err
	}
	var allowed []netip.Addr
	var refused error
	for _, ip := range addrs {
		if why := inner(ip); why != "" {
			refused = &refusedError{host, ip.String(), why}
			continue
		}
		allowed = append(allowed, ip.Unmap())
	}
	switch {
	case len(allowed) > 0:
		return allowed, nil
	case refused != nil:
		return nil, refused
	}
	return nil, &net.DNSError{Err: "no addresses", Name: host, IsNotFound: true}
}

// redirectError is a redirect that is not followed. It is a bad answer: nothing was
// wrong with the connection.
type redirectError struct{ reason string }

func (e *redirectError) Error() string { return e.reason }

// checkRedirect is [http.Client.CheckRedirect].
func checkRedirect(req *http.Request, via []*http.Request) error {
	last := via[len(via)-1].URL
	if s := req.URL.Scheme; s != "http" && s != "https" && s != last.Scheme {
		return &redirectError{fmt.Sprintf("redirect to %s refused", bareURL(req.URL))}
	}
	if last.Scheme == "https" && req.URL.Scheme != "https" {
		return &redirectError{fmt.Sprintf("redirect from https to %s refused", bareURL(req.URL))}
	}
	for _, old := range via {
		if old.URL.String() == req.URL.String() {
			return &redirectError{"redirect loop at " + bareURL(req.URL)}
		}
	}
	if len(via) > redirectLimit {
		return &redirectError{fmt.Sprintf("more than %d redirects, the last to %s", redirectLimit, bareURL(req.URL))}
	}
	// net/http keeps the password for sub-domains and tells the target where we came
	// from. A gomirror answers 403 to a Referer, and the path may be a secret.
	if first := via[0].URL; req.URL.Scheme != first.Scheme || req.URL.Host != first.Host {
		req.Header.Del("Authorization")
	}
	req.Header.Del("Referer")
	return nil
}
