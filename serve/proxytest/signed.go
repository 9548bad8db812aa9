package proxytest

import (
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
)

// signedBody answers at a URL that a [Signed] fault has given out: ARG is the prefix
// of its path.
const signedBody FaultKind = "signed body"

// signedHost is where signed URLs point to: another port of the same server.
type signedHost struct {
	mu     sync.Mutex
	server *http.Server // guarded by mu; whose port it is
	base   string       // guarded by mu
	used   int          // guarded by mu; of a signedBody: requests so far
	sent   int          // guarded by mu; of a signedBody: bytes so far
}

// serveRedirect gives out a URL.
func (f *hit) serveRedirect(u *Upstream, w http.ResponseWriter, r *http.Request) {
	base, err := f.signed.open(u, r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_, serial := u.manners() // never used again, not even after Mend
	prefix := fmt.Sprintf("/signed/%d", serial)
	u.Fault(prefix+"/", Fault{Kind: signedBody, Arg: strings.TrimSpace(prefix + " " + f.Arg)})
	http.Redirect(w, r, base+prefix+r.URL.Path, http.StatusFound)
}

// open returns the URL of the other port.
func (h *signedHost) open(u *Upstream, r *http.Request) (base string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	// The port closes with the server that it belongs to, and a new server has a new one.
	server := r.Context().Value(http.ServerContextKey).(*http.Server)
	if h.server == server {
		return h.base, nil
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	far := farListener{ln, u.link, u.cert != nil}
	h.server = server
	if u.cert != nil {
		h.base = "https://" + ln.Addr().String()
		go server.ServeTLS(far, "", "") // ends by Stop
	} else {
		h.base = "http://" + ln.Addr().String()
		go server.Serve(far) // ends by Stop
	}
	return h.base, nil
}

// serveSigned answers at a URL that was given out, as long as it holds.
func (f *hit) serveSigned(u *Upstream, w http.ResponseWriter, r *http.Request) {
	prefix, limit, limited := strings.Cut(f.Arg, " ")
	left, err := strconv.Atoi(limit)
	if limited && err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	plain := r.Clone(r.Context())
	plain.URL.Path = strings.TrimPrefix(r.URL.Path, prefix)
	rec := record(u, plain)
	b := rec.body.Bytes()
	f.signed.mu.Lock()
	left -= f.signed.sent
	expired := limited && left <= 0 || !limited && f.signed.used > 0
	if !limited {
		left = len(b)
	}
	send := min(max(left, 0), len(b))
	f.signed.used++
	f.signed.sent += send
	f.signed.mu.Unlock()
	if expired {
		http.Error(w, "Request has expired", http.StatusForbidden)
		return
	}
	rec.begin(w)
	w.Write(b[:send])
	if send < len(b) {
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
}
