// Package doctortest is a network for tests in which everything can be wrong: a
// resolver that lies, a port that swallows, an HTTP proxy that wants a password, a
// certificate of yesterday, a page where a module should be.
//
// A [Lab] is a world of hosts with made-up public addresses. Its sockets are real:
// [Lab.Dial] leads the made-up addresses to servers on the loopback interface, and
// [Lab.Resolvers] are DNS servers there. All is well until a test says otherwise, and
// may be mended while it runs, so that a test can show that a cure cures.
package doctortest

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gomirror/gomirror/serve/proxytest"
)

// Lab is one such network.
type Lab struct {
	// Authority signs the certificates of healthy hosts. Roots trusts it alone.
	Authority *Authority

	// HostsFile stands for /etc/hosts. It is empty at first.
	HostsFile string

	tb     testing.TB
	closed string // a real address where nobody listens

	holeMu sync.Mutex // not mu: to open it takes a while
	hole   string     // guarded by holeMu; a real address that swallows; "" until it is needed

	mu        sync.Mutex
	hosts     map[string]*Host
	byAddr    map[netip.Addr]*Host
	resolvers []*Resolver
}

// New opens a network with one resolver and no hosts, which closes with the test.
func New(tb testing.TB) *Lab {
	tb.Helper()
	l := &Lab{
		Authority: NewAuthority(tb, "doctortest authority"),
		HostsFile: filepath.Join(tb.TempDir(), "hosts"),
		tb:        tb,
		closed:    proxytest.ClosedPort(tb),
		hosts:     make(map[string]*Host),
		byAddr:    make(map[netip.Addr]*Host),
	}
	if err := os.WriteFile(l.HostsFile, nil, 0o600); err != nil {
		tb.Fatal(err)
	}
	l.Resolver()
	return l
}

// Closed returns a real address that refuses connections.
func (l *Lab) Closed() string { return l.closed }

// Hole returns a real address that takes no connection and refuses none. Unix only.
func (l *Lab) Hole() string {
	l.tb.Helper()
	l.holeMu.Lock()
	defer l.holeMu.Unlock()
	if l.hole == "" {
		addr, closeHole, err := proxytest.BlackHole()
		if err != nil {
			l.tb.Fatalf("open a port that swallows: %v", err)
		}
		l.tb.Cleanup(closeHole)
		l.hole = addr
	}
	return l.hole
}

// Roots are the certificate authorities that this network's machines trust.
func (l *Lab) Roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(l.Authority.Cert)
	return pool
}

// Dial connects to an address of the lab. Ports 80 and 443 are the lab's at whatever
// address, so that a lie of a resolver leads nowhere; all others are real.
func (l *Lab) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if _, err := netip.ParseAddrPort(addr); err != nil {
		return l.dialName(ctx, network, addr)
	}
	real, err := l.Where(addr)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: os.NewSyscallError("connect", err)}
	}
	return (&net.Dialer{}).DialContext(ctx, "tcp", real)
}

// Where returns the real address that stands for one of the lab, ENETUNREACH if there is
// no route to it. Another process can dial it.
func (l *Lab) Where(addr string) (real string, err error) {
	at, err := netip.ParseAddrPort(addr)
	if err != nil || at.Port() != 80 && at.Port() != 443 {
		return addr, nil
	}
	l.mu.Lock()
	h := l.byAddr[at.Addr().Unmap()]
	l.mu.Unlock()
	if h == nil {
		return l.closed, nil
	}
	switch h.port(at.Addr()) {
	case Closed:
		return l.closed, nil
	case Swallows:
		return l.Hole(), nil
	case NoRoute:
		return "", syscall.ENETUNREACH
	}
	return h.listener(at.Port()), nil
}

// dialName is for who has the name looked up by the dialer, as net/http has.
func (l *Lab) dialName(ctx context.Context, network, addr string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	addrs, err := l.Lookup(ctx, host)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	for _, ip := range addrs {
		var conn net.Conn
		if conn, err = l.Dial(ctx, network, net.JoinHostPort(ip.String(), port)); err == nil {
			return conn, nil
		}
	}
	return nil, err
}

// Mend makes all well again, but for what hosts serve: one resolver that tells the truth,
// and hosts that can be reached and prove themselves.
func (l *Lab) Mend() {
	l.mu.Lock()
	l.resolvers = l.resolvers[:1]
	first, hosts := l.resolvers[0], slices.Collect(maps.Values(l.hosts))
	l.mu.Unlock()
	first.mu.Lock()
	first.all = Truth
	clear(first.answer)
	first.mu.Unlock()
	for _, h := range hosts {
		h.mu.Lock()
		h.v4, h.v6, h.only, h.tls, h.leaf, h.clock = Open, Open, 0, Sound, nil, 0
		h.mu.Unlock()
	}
	if err := os.Truncate(l.HostsFile, 0); err != nil {
		l.tb.Error(err)
	}
}

// Lookup is the system's resolver: the hosts file, then one DNS server after the
// other as glibc does it, but with less patience.
func (l *Lab) Lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	if ip, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{ip}, nil
	}
	if addrs := l.fromFile(host); len(addrs) > 0 {
		return addrs, nil
	}
	l.mu.Lock()
	resolvers := l.resolvers
	l.mu.Unlock()
	last := &net.DNSError{Err: "no resolver", Name: host}
	for _, r := range resolvers {
		addrs, err := r.ask(ctx, host, 900*time.Millisecond)
		if err == nil || errors.As(err, &last) && last.IsNotFound {
			return addrs, err
		}
	}
	return nil, last
}

// fromFile looks a host up in the hosts file.
func (l *Lab) fromFile(host string) (addrs []netip.Addr) {
	text, err := os.ReadFile(l.HostsFile)
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) < 2 || fields[1] != host {
			continue
		}
		if ip, err := netip.ParseAddr(fields[0]); err == nil {
			addrs = append(addrs, ip)
		}
	}
	return addrs
}

// Pin adds a line to the hosts file.
func (l *Lab) Pin(host, addr string) {
	l.tb.Helper()
	f, err := os.OpenFile(l.HostsFile, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		l.tb.Fatal(err)
	}
	defer f.Close()
	if _, err := fmt.Fprintf(f, "%s %s\n", addr, host); err != nil {
		l.tb.Fatal(err)
	}
}

// Reroute returns a dialer that is [Lab.Dial] but for one address, which leads to a
// host: for addresses that a made-up host can't have, as those inside a network.
func (l *Lab) Reroute(addr, host string) func(ctx context.Context, network, addr string) (net.Conn, error) {
	l.mu.Lock()
	to := l.hosts[host].IPv4.String()
	l.mu.Unlock()
	return func(ctx context.Context, network, at string) (net.Conn, error) {
		if name, port, err := net.SplitHostPort(at); err == nil && name == addr {
			at = net.JoinHostPort(to, port)
		}
		return l.Dial(ctx, network, at)
	}
}
