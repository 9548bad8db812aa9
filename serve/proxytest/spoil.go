package proxytest

import (
	"bytes"
	"fmt"
	"maps"
	"net"
	"net/http"
	"strconv"
	"time"
)

// serveBody answers with a body that is not the healthy one.
func (f *hit) serveBody(u *Upstream, w http.ResponseWriter, r *http.Request) {
	source := r.URL.Path
	if f.Kind == Swap {
		source = f.Arg
	}
	plain := r.Clone(r.Context())
	plain.URL.Path = source
	plain.Header = http.Header{} // no Range, no validators: the fault is in the whole body
	rec := record(u, plain)
	if rec.code != http.StatusOK {
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
	case Length:
		b, end = append(b, "0123456789"...), func() { panic(http.ErrAbortHandler) }
	}
	w.Header().Set("Content-Type", rec.header.Get("Content-Type"))
	w.Header().Set("Content-Length", fmt.Sprint(len(b)))
	w.Write(b[:send])
	http.NewResponseController(w).Flush()
	end()
}

// serveOnTheWay answers as it should and then breaks off, or is slow.
func (f *hit) serveOnTheWay(u *Upstream, w http.ResponseWriter, r *http.Request) {
	rec := record(u, r)
	b := rec.body.Bytes()
	send := f.place(len(b))
	sound := rec.code != http.StatusOK && rec.code != http.StatusPartialContent || len(b) <= f.Over
	if sound || f.Kind == GoAway && f.Arg == "" || f.Kind == Trickle {
		send = len(b)
	}
	if !sound {
		u.trips.spoiled(f.Kind)
	}
	if f.Kind == GoAway && !sound {
		rec.header.Set("Connection", "close") // the http2 server makes a GOAWAY of it
	}
	rec.begin(w)
	if f.Kind == Trickle && !sound {
		f.trickle(w, r, b)
		return
	}
	w.Write(b[:send])
	if send == len(b) {
		return
	}
	http.NewResponseController(w).Flush()
	switch f.Kind {
	case Stall:
		<-r.Context().Done() // the client has left, or Stop
	case Break:
		reset(w)
	}
	panic(http.ErrAbortHandler)
}

// trickle sends ten pieces a second.
func (f *hit) trickle(w http.ResponseWriter, r *http.Request, b []byte) {
	rate, err := strconv.Atoi(f.Arg)
	if err != nil || rate <= 0 {
		rate = 512
	}
	for len(b) > 0 {
		n := min(max(rate/10, 1), len(b))
		if !pause(r.Context(), time.Second*time.Duration(n)/time.Duration(rate)) {
			panic(http.ErrAbortHandler)
		}
		w.Write(b[:n])
		http.NewResponseController(w).Flush()
		b = b[n:]
	}
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

// record asks the healthy upstream.
func record(u *Upstream, r *http.Request) *recorder {
	rec := &recorder{header: make(http.Header), code: http.StatusOK}
	u.serve(rec, r)
	return rec
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) WriteHeader(code int)        { r.code = code }
func (r *recorder) Write(p []byte) (int, error) { return r.body.Write(p) }

// begin sends the answer up to its body.
func (r *recorder) begin(w http.ResponseWriter) {
	maps.Copy(w.Header(), r.header)
	if r.code != http.StatusNotModified {
		w.Header().Set("Content-Length", fmt.Sprint(r.body.Len()))
	}
	w.WriteHeader(r.code)
}
