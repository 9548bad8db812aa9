package proxytest

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"path"
	"strconv"
	"strings"
)

// FaultKind names what goes wrong with an answer.
type FaultKind string

// The faults. Arg in [Fault] is what the comment calls ARG.
const (
	Status   FaultKind = "status"   // ARG "CODE text": that status, text as text/plain
	HTML     FaultKind = "html"     // 200 with a login page
	Body     FaultKind = "body"     // 200 with ARG for a body
	Swap     FaultKind = "swap"     // 200 with the body of the path ARG
	Append   FaultKind = "append"   // the body and then ARG
	Flip     FaultKind = "flip"     // one byte in the middle of the body differs
	Short    FaultKind = "short"    // half of the body, well framed
	Cut      FaultKind = "cut"      // half of the body, then the connection closes
	Length   FaultKind = "length"   // Content-Length tells ten bytes more than come
	Stall    FaultKind = "stall"    // half of the body, then silence
	Hang     FaultKind = "hang"     // no answer at all
	Reset    FaultKind = "reset"    // the connection is reset
	Redirect FaultKind = "redirect" // 302 to ARG
	Loop     FaultKind = "loop"     // 302 to itself, for ever
)

// Fault is one way to answer wrongly.
type Fault struct {
	Kind  FaultKind
	Arg   string
	Times int // how many requests get it; 0 means all
}

type activeFault struct {
	Fault
	match string
	left  int // guarded by Upstream.mu; < 0 means for ever
}

// Fault makes requests whose path matches go wrong from now on. match is a pattern
// as path.Match has it for the last element of the path ("*.zip", "v1.5.2.*",
// "list"), or, when it starts with a slash, a prefix of the whole path. The fault
// added last wins.
func (u *Upstream) Fault(match string, f Fault) {
	u.mu.Lock()
	defer u.mu.Unlock()
	left := f.Times
	if left == 0 {
		left = -1
	}
	u.faults = append(u.faults, &activeFault{Fault: f, match: match, left: left})
}

// Mend ends all faults.
func (u *Upstream) Mend() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.faults = nil
}

func (u *Upstream) faultFor(urlPath string) *Fault {
	u.mu.Lock()
	defer u.mu.Unlock()
	for i := len(u.faults) - 1; i >= 0; i-- {
		f := u.faults[i]
		matched := strings.HasPrefix(f.match, "/") && strings.HasPrefix(urlPath, f.match)
		if ok, _ := path.Match(f.match, path.Base(urlPath)); ok {
			matched = true
		}
		if !matched || f.left == 0 {
			continue
		}
		if f.left > 0 {
			f.left--
		}
		return &f.Fault
	}
	return nil
}

// serve answers a request with the fault.
func (f *Fault) serve(u *Upstream, w http.ResponseWriter, r *http.Request) {
	switch f.Kind {
	case Status:
		code, text, _ := strings.Cut(f.Arg, " ")
		n, err := strconv.Atoi(code)
		if err != nil {
			n = http.StatusInternalServerError
		}
		http.Error(w, text, n)
	case HTML:
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		io.WriteString(w, "<!DOCTYPE html>\n<html><body><h1>Please log in</h1></body></html>\n")
	case Hang:
		<-r.Context().Done() // the client has left, or Stop
	case Reset:
		reset(w)
	case Redirect:
		http.Redirect(w, r, f.Arg, http.StatusFound)
	case Loop:
		http.Redirect(w, r, r.URL.Path, http.StatusFound)
	default:
		f.serveBody(u, w, r)
	}
}

// serveBody answers with a body that is not the healthy one.
func (f *Fault) serveBody(u *Upstream, w http.ResponseWriter, r *http.Request) {
	source := r.URL.Path
	if f.Kind == Swap {
		source = f.Arg
	}
	rec := &recorder{header: make(http.Header)}
	plain := r.Clone(r.Context())
	plain.URL.Path = source
	plain.Header = http.Header{} // no Range, no validators: the fault is in the whole body
	u.serve(rec, plain)
	if rec.code != 0 && rec.code != http.StatusOK {
		http.Error(w, rec.body.String(), rec.code)
		return
	}
	b, send, end := rec.body.Bytes(), rec.body.Len(), func() {}
	switch f.Kind {
	case Body:
		b = []byte(f.Arg)
		send = len(b)
	case Append:
		b = append(b, f.Arg...)
		send = len(b)
	case Flip:
		b[len(b)/2] ^= 0x20
	case Short:
		b = b[:len(b)/2]
		send = len(b)
	case Cut:
		send, end = len(b)/2, func() { panic(http.ErrAbortHandler) }
	case Length:
		b, end = append(b, "0123456789"...), func() { panic(http.ErrAbortHandler) }
	case Stall:
		send, end = len(b)/2, func() { <-r.Context().Done() }
	}
	w.Header().Set("Content-Type", rec.header.Get("Content-Type"))
	w.Header().Set("Content-Length", fmt.Sprint(len(b)))
	w.Write(b[:send])
	http.NewResponseController(w).Flush()
	end()
}

// reset ends the connection with RST, or the stream where there is no connection
// of its own to end.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if far, ok := conn.(*farConn); ok {
		conn = far.Conn
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	conn.Close()
}

// recorder keeps an answer instead of sending it.
type recorder struct {
	header http.Header
	code   int
	body   bytes.Buffer
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) WriteHeader(code int)        { r.code = code }
func (r *recorder) Write(p []byte) (int, error) { return r.body.Write(p) }
