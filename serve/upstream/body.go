package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// StallError is an attempt that ended because an upstream kept silent.
type StallError struct {
	Upstream string        // name of the upstream
	Limit    time.Duration // how long it was silent
	Got      int64         // bytes of the body that had come; -1 if there was no answer yet
}

func (e *StallError) Error() string {
	if e.Got < 0 {
		return fmt.Sprintf("%s gives no answer in %v", e.Upstream, e.Limit)
	}
	return fmt.Sprintf("%s stands still for %v after %d bytes", e.Upstream, e.Limit, e.Got)
}

// Timeout makes it a time-out in the sense of package net.
func (e *StallError) Timeout() bool { return true }

// cutError is a body that did not come whole, for whatever reason: it is short, its
// connection broke, it stood still, its gzip stream is damaged.
type cutError struct {
	host string // who sent it
	got  int64
	err  error
}

func (e *cutError) Error() string {
	if stall := (*StallError)(nil); errors.As(e.err, &stall) {
		return stall.Error()
	}
	return fmt.Sprintf("body from %s cut after %d bytes: %v", e.host, e.got, e.err)
}
func (e *cutError) Unwrap() error { return e.err }

// Is makes each of them an unexpected EOF, which the HTTP/2 of net/http does not.
func (e *cutError) Is(target error) bool { return target == io.ErrUnexpectedEOF }

// body is the body of an answer. A Read that waits longer than stallLimit fails; the
// time between two reads, when the disk works, does not count.
type body struct {
	name   string // of the upstream
	host   string // that sends it, after redirects
	r      io.Reader
	ctx    context.Context // of the attempt
	cancel context.CancelCauseFunc
	want   int64 // what Content-Length says, -1 for nothing
	got    int64
	err    error // first error of r other than io.EOF, a *cutError
}

func newBody(ctx context.Context, cancel context.CancelCauseFunc, name string, resp *http.Response) *body {
	b := &body{name: name, host: resp.Request.URL.Host, r: resp.Body, ctx: ctx, cancel: cancel, want: -1}
	if b.host == "" {
		b.host = name // a file
	}
	// The transport for file URLs does not hold a body to its length.
	if n, err := strconv.ParseInt(resp.Header.Get("Content-Length"), 10, 64); err == nil && !resp.Uncompressed {
		b.want = n
	}
	return b
}

func (b *body) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	stall := time.AfterFunc(stallLimit, func() {
		b.cancel(&StallError{Upstream: b.name, Limit: stallLimit, Got: b.got})
	})
	n, err := b.r.Read(p)
	stall.Stop()
	b.got += int64(n)
	if err == io.EOF && b.got < b.want {
		err = io.ErrUnexpectedEOF
	}
	if err != nil && err != io.EOF {
		// The transport says "context canceled"; the cause says what stood still.
		if cause := context.Cause(b.ctx); cause != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			err = cause
		}
		b.err = &cutError{b.host, b.got, err}
		return n, b.err
	}
	return n, err
}
