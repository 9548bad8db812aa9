package doctortest

import (
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// Port is what becomes of a connection to a host.
type Port int

// The ports.
const (
	Open     Port = iota
	Closed        // refused at once
	Swallows      // nothing comes back
	NoRoute       // there is no way from here
)

// TLS is what is wrong with a host's TLS.
type TLS int

// The ways of TLS.
const (
	Sound         TLS = iota
	Expired           // since an hour
	NotYet            // valid from tomorrow on
	WrongName         // for another host
	UnknownIssuer     // by [Host.Issuer], or by an authority that nobody knows
	OldVersion        // nothing better than TLS 1.0
	NoTLS             // the port speaks plain HTTP
	Mute              // takes the connection and says nothing
)

// certificateLife is that of a sound certificate, as the usual authorities give it.
const certificateLife = 90 * 24 * time.Hour

// Host is one host of a lab, on port 80 and port 443.
type Host struct {
	Name string
	IPv4 netip.Addr // made up
	IPv6 netip.Addr // made up

	lab         *Lab
	plain, over string // the real listeners

	mu       sync.Mutex
	v4, v6   Port             // guarded by mu
	only     int              // guarded by mu; 4 or 6: the one family it has an address of; 0 for both
	tls      TLS              // guarded by mu
	issuer   *Authority       // guarded by mu; of UnknownIssuer
	leaf     *tls.Certificate // guarded by mu; nil until it is asked for
	handler  http.Handler     // guarded by mu
	clock    time.Duration    // guarded by mu; how far ahead its clock is
	requests []string         // guarded by mu
}

// Host adds a healthy host: it answers as a module proxy that relays a checksum
// database does.
func (l *Lab) Host(name string) *Host {
	l.tb.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(l.hosts) + 1
	h := &Host{
		Name: name, lab: l, handler: http.HandlerFunc(serveModules),
		IPv4: netip.MustParseAddr(fmt.Sprintf("198.51.100.%d", n)), // RFC 5737, for documentation
		IPv6: netip.MustParseAddr(fmt.Sprintf("2001:db8::%d", n)),  // RFC 3849, likewise
	}
	l.hosts[name], l.byAddr[h.IPv4], l.byAddr[h.IPv6] = h, h, h
	h.plain = h.listen(func(ln net.Listener) net.Listener { return ln })
	h.over = h.listen(func(ln net.Listener) net.Listener { return &tlsListener{ln, h} })
	return h
}

// listen opens one port of the host.
func (h *Host) listen(wrap func(net.Listener) net.Listener) string {
	h.lab.tb.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		h.lab.tb.Fatal(err)
	}
	srv := &http.Server{Handler: h, ErrorLog: log.New(io.Discard, "", 0)}
	go func() { _ = srv.Serve(wrap(ln)) }() // ends with Close
	h.lab.tb.Cleanup(func() { srv.Close() })
	return ln.Addr().String()
}

// tlsListener decides for each connection what the host's TLS is just now.
type tlsListener struct {
	net.Listener
	host *Host
}

func (l *tlsListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		l.host.mu.Lock()
		way := l.host.tls
		l.host.mu.Unlock()
		switch way {
		case NoTLS:
			return conn, nil
		case Mute:
			l.host.lab.tb.Cleanup(func() { conn.Close() })
			continue
		}
		config := &tls.Config{GetCertificate: l.host.certificate, MinVersion: tls.VersionTLS12}
		if way == OldVersion {
			config.MinVersion, config.MaxVersion = tls.VersionTLS10, tls.VersionTLS10
		}
		return tls.Server(conn, config), nil
	}
}

// certificate is [tls.Config.GetCertificate].
func (h *Host) certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.leaf != nil {
		return h.leaf, nil
	}
	now := time.Now().Add(h.clock)
	name, by, from := h.Name, h.lab.Authority, now.AddDate(0, 0, -1)
	until := from.Add(certificateLife)
	switch h.tls {
	case Expired:
		from, until = now.AddDate(0, -3, 0), now.Add(-time.Hour)
	case NotYet:
		from = now.AddDate(0, 0, 1)
	case WrongName:
		name = "other.example.net"
	case UnknownIssuer:
		by = h.issuer
	}
	leaf, err := by.Leaf(name, from, until)
	h.leaf = leaf
	return leaf, err
}

// Port sets what becomes of connections to the host, on both families.
func (h *Host) Port(p Port) { h.PortOf(p, p) }

// PortOf sets it for IPv4 and IPv6 each.
func (h *Host) PortOf(v4, v6 Port) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.v4, h.v6 = v4, v6
}

// Only leaves the host addresses of one family, 4 or 6.
func (h *Host) Only(family int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.only = family
}

// TLS sets how the host speaks TLS. The issuer is of UnknownIssuer; it may be nil.
func (h *Host) TLS(way TLS, issuer *Authority) {
	h.lab.tb.Helper()
	if way == UnknownIssuer && issuer == nil {
		issuer = NewAuthority(h.lab.tb, "Nobody Knows Me CA")
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tls, h.issuer, h.leaf = way, issuer, nil
}

// Ahead sets how far the host's clock is ahead of ours.
func (h *Host) Ahead(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.clock, h.leaf = d, nil
}

// Serve makes the host answer otherwise; nil means as it did at first.
func (h *Host) Serve(handler http.HandlerFunc) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if handler == nil {
		handler = serveModules
	}
	h.handler = handler
}

// Addrs returns the addresses that the host has.
func (h *Host) Addrs() []netip.Addr {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch h.only {
	case 4:
		return []netip.Addr{h.IPv4}
	case 6:
		return []netip.Addr{h.IPv6}
	}
	return []netip.Addr{h.IPv4, h.IPv6}
}

// Requests returns what the host was asked, "METHOD /path", and with them the
// credentials if there were any.
func (h *Host) Requests() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]string(nil), h.requests...)
}

// ServeHTTP implements [http.Handler].
func (h *Host) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	seen := r.Method + " " + r.URL.Path
	if user, password, ok := r.BasicAuth(); ok {
		seen += " " + user + ":" + password
	} else if auth := r.Header.Get("Authorization"); auth != "" {
		seen += " " + auth
	}
	h.requests = append(h.requests, seen)
	handler, ahead := h.handler, h.clock
	h.mu.Unlock()
	w.Header().Set("Date", time.Now().Add(ahead).UTC().Format(http.TimeFormat))
	handler.ServeHTTP(w, r)
}

// serveModules has every version of every module, and a database that it relays.
func serveModules(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	modPath, file, ok := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/@v/")
	switch {
	case ok && strings.HasSuffix(file, ".mod"):
		fmt.Fprintf(w, "module %s\n", modPath)
	case ok && strings.HasSuffix(file, ".zip"):
		w.Header().Set("Content-Type", "application/zip")
	case strings.HasPrefix(r.URL.Path, "/sumdb/"), r.URL.Path == "/", strings.HasPrefix(r.URL.Path, "/latest"):
	default:
		http.Error(w, "not found", http.StatusNotFound)
	}
}

func (h *Host) port(ip netip.Addr) Port {
	h.mu.Lock()
	defer h.mu.Unlock()
	if ip.Unmap().Is4() {
		return h.v4
	}
	return h.v6
}

func (h *Host) listener(port uint16) string {
	if port == 80 {
		return h.plain
	}
	return h.over
}
