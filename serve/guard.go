package serve

import (
	"context"
	"crypto/subtle"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
)

// refusal is a request that the guard lets no further.
type refusal struct {
	status int
	text   string
	hint   string
}

func (e *refusal) Error() string { return e.text }

// Hint tells the one thing to do, "" if there is none.
func (e *refusal) Hint() string { return e.hint }

// acceptedHosts returns the exact values of the Host header that the guard accepts.
// Nothing is matched by suffix or by address range: a page of evil.example that
// rebinds its name to 127.0.0.1 sends its own name, which is all that tells it apart.
func acceptedHosts(port int, allowed []string) (map[string]bool, error) {
	p := strconv.Itoa(port)
	hosts := map[string]bool{"127.0.0.1:" + p: true, "localhost:" + p: true, "[::1]:" + p: true}
	for _, h := range allowed {
		if h == "" || strings.ContainsAny(h, "/*@ \t") {
			return nil, fmt.Errorf("allow host %q: want HOST or HOST:PORT", h)
		}
		if addr, err := netip.ParseAddr(strings.Trim(h, "[]")); err == nil {
			h = net.JoinHostPort(addr.String(), p)
		} else if !strings.Contains(h, ":") {
			h += ":" + p
		}
		hosts[h] = true
	}
	return hosts, nil
}

// guard decides, before anything else looks at the request, whether it may come from
// the go command of this user.
func (s *Server) guard(r *http.Request) error {
	// An absolute request URI would replace the Host header in r.Host.
	if !s.hosts[r.Host] || r.URL.Host != "" {
		s.counters.host.Add(1)
		return &refusal{http.StatusMisdirectedRequest, fmt.Sprintf("this proxy does not go by the name of %q", r.Host),
			"if that name is yours: gomirror serve --allow-host HOST"}
	}
	if what := browserMark(r); what != "" {
		s.counters.header.Add(1)
		return &refusal{http.StatusForbidden,
			"this proxy answers the go command and refuses browsers: the request has " + what,
			"ask with GET and without that, as curl does"}
	}
	if uid, ok := s.stranger(r.Context()); ok {
		s.counters.user.Add(1)
		return &refusal{http.StatusForbidden, fmt.Sprintf("this proxy belongs to another user than uid %d", uid),
			"start your own: gomirror serve --background"}
	}
	return nil
}

// browserMark names what in r the go command never sends and a browser, or Node's
// fetch, does. The go command sends User-Agent and Accept-Encoding.
func browserMark(r *http.Request) string {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return "the method " + r.Method
	}
	for name := range r.Header {
		switch name {
		case "Origin", "Referer", "Cookie", "Upgrade":
			return "the header " + name
		}
		if strings.HasPrefix(name, "Sec-") || strings.HasPrefix(name, "Access-Control-Request-") {
			return "the header " + name
		}
	}
	if r.ContentLength != 0 {
		return "a body"
	}
	return ""
}

// peerCheck finds out whose process is at the other end of a connection.
type peerCheck func(client, server netip.AddrPort) peer

// uids are those that the log has named: who may connect could fill the disk else.
type uids struct {
	mu   sync.Mutex
	seen map[int]bool
}

// uidLimit is how many users are named. A user can have many uids in containers.
const uidLimit = 64

// first reports whether uid is new and there is room for it.
func (u *uids) first(uid int) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.seen[uid] || len(u.seen) >= uidLimit {
		return false
	}
	if u.seen == nil {
		u.seen = map[int]bool{}
	}
	u.seen[uid] = true
	return true
}

// peer is what a peerCheck found.
type peer struct {
	uid   int
	known bool
	ours  bool // by uid: this user's, or root's
}

// stranger reports the uid of the connection's other end if that is known and is not
// this user. It looks once a connection.
func (s *Server) stranger(ctx context.Context) (uid int, ok bool) {
	c, _ := ctx.Value(connKey{}).(*conn)
	if s.peer == nil || c == nil {
		return 0, false
	}
	c.peerOnce.Do(func() {
		client, server := addrPort(c.RemoteAddr()), addrPort(c.LocalAddr())
		if client.IsValid() && server.IsValid() {
			c.peer = s.peer(client, server)
		}
		// Connections relayed into a container or a WSL guest have no local row.
		if !c.peer.known {
			s.counters.unknownUser.Add(1)
		}
		if c.peer.known && !c.peer.ours && s.strangers.first(c.peer.uid) {
			s.opts.Log.Warn("connection of another user refused; more of them are counted only", "uid", c.peer.uid)
		}
	})
	return c.peer.uid, c.peer.known && !c.peer.ours
}

func addrPort(a net.Addr) netip.AddrPort {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := tcp.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// capable takes the capability off a path like /t/CAPABILITY/rest. The comparison
// takes as long for a wrong one as for the right one.
func (s *Server) capable(path string) (rest string, ok bool) {
	after, ok := strings.CutPrefix(path, "/t/")
	if n := len(s.opts.Capability); ok && len(after) > n && after[n] == '/' {
		return after[n+1:], subtle.ConstantTimeCompare([]byte(after[:n]), []byte(s.opts.Capability)) == 1
	}
	return "", false
}
