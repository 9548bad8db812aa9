package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// slowLimit is the least that a body must bring within stallLimit, 1 KiB/s: the
// request has then met a bad server or way more likely than a slow link.
const slowLimit = 1 << 10 * int64(stallLimit/time.Second)

// errStartOver is what a sink sees when its body can't be continued.
var errStartOver = errors.New("the rest of it is not to be had; it comes again from the start")

// StallError is an attempt that ended because an upstream kept silent, or nearly so.
type StallError struct {
	Upstream string        // name of the upstream
	Limit    time.Duration // how long it was silent
	Got      int64         // bytes of the body that had come; -1 if there was no answer yet
	Slow     int64         // how many of these came within Limit
}

func (e *StallError) Error() string {
	switch {
	case e.Got < 0:
		return fmt.Sprintf("%s gives no answer in %v", e.Upstream, e.Limit)
	case e.Slow > 0:
		return fmt.Sprintf("%s sends %d bytes in %v, %d so far", e.Upstream, e.Slow, e.Limit, e.Got)
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

// body is the whole body of a file, put together from as many answers as it takes:
// when one breaks off, the next Read goes on with the rest from the same upstream. If
// the rest is not to be had, Read fails and fresh is an answer from the start.
//
// A Read that waits longer than stallLimit breaks the answer off; the time between two
// reads, when the disk works, does not count.
type body struct {
	ctx  context.Context
	pull *pull
	from *answer   // what is being read
	r    io.Reader // its body
	held io.Reader // what an earlier process has left, comes before r; nil if nothing
	mark mark      // zero if the body can't be continued
	want int64     // length of the whole, -1 for unknown
	got  int64

	waited  time.Duration // for the bytes of pace
	pace    int64         // bytes since waited was zero
	fault   error         // came together with bytes; the next Read deals with it
	spliced bool
	fresh   *answer
	err     error // why there is no more of it
}

func newBody(ctx context.Context, q *pull, from *answer) *body {
	b := &body{ctx: ctx, pull: q, from: from, r: from.resp.Body, want: -1}
	header := from.resp.Header
	if !q.whole && !encoded(header) && !from.resp.Uncompressed {
		b.mark = markOf(header.Get("ETag"), header.Get("Last-Modified"))
	}
	if strings.EqualFold(header.Get("Content-Encoding"), "gzip") {
		b.r = &gunzip{r: b.r}
	}
	if from.total > 0 {
		b.held, b.want, b.spliced = q.partial.NewReader(), from.total, true
		return b
	}
	// The transport for file URLs does not hold a body to its length.
	if n, err := strconv.ParseInt(header.Get("Content-Length"), 10, 64); err == nil && !encoded(header) && !from.resp.Uncompressed {
		b.want = n
	}
	return b
}

// length is that of the whole, -1 for unknown.
func (b *body) length() int64 { return b.want }

func (b *body) Read(p []byte) (int, error) {
	for b.err == nil {
		n, err := b.read(p)
		if err == io.EOF && b.got < b.want {
			err = io.ErrUnexpectedEOF
		}
		if n > 0 && err != io.EOF {
			b.fault, err = err, nil
		}
		if n > 0 || err == nil || err == io.EOF {
			return n, err
		}
		b.mend(err)
	}
	return 0, b.err
}

// read reads a piece of what is held, or else of the answer.
func (b *body) read(p []byte) (n int, err error) {
	if fault := b.fault; fault != nil {
		b.fault = nil
		return 0, fault
	}
	if b.held != nil {
		n, err = b.held.Read(p)
		b.got += int64(n)
		if err != io.EOF || b.got < b.pull.partial.Size {
			return n, err
		}
		b.held = nil
		if n > 0 {
			return n, nil
		}
	}
	over := b.want >= 0 && b.got >= b.want
	if over {
		p = make([]byte, 1) // the end of the answer frees its connection
	} else if b.want >= 0 {
		p = p[:min(int64(len(p)), b.want-b.got)]
	}
	awaitTurn(b.ctx)
	stall := &StallError{Upstream: b.pull.proxy.name, Limit: stallLimit, Got: b.got, Slow: b.pace}
	start, cancel := time.Now(), b.from.cancel // of this answer, should the timer be late
	timer := time.AfterFunc(stallLimit-b.waited, func() { cancel(stall) })
	n, err = b.r.Read(p)
	timer.Stop()
	if over && n > 0 {
		return 0, io.EOF // what a server sends behind the end of a file is not of the file
	}
	b.got += int64(n)
	b.pace += int64(n)
	b.waited += time.Since(start)
	if n > 0 {
		b.pull.proxy.pulse.beat()
	}
	// A body that can't be continued may be slow: to start over would be no better.
	if b.pace >= slowLimit || n > 0 && b.mark == (mark{}) {
		b.pace, b.waited = 0, 0
	}
	// The transport says "context canceled"; the cause says what stood still.
	if cause := context.Cause(b.from.ctx); err != nil && err != io.EOF && cause != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		err = cause
	}
	return n, err
}

// mend finds the answer that goes on where this one broke off.
func (b *body) mend(fault error) {
	b.from.close()
	cut := &cutError{b.host(), b.got, fault}
	var missing *rest
	if b.mark != (mark{}) && b.got > 0 && b.held == nil {
		missing = &rest{from: b.got, total: b.want, mark: b.mark}
	}
	b.pull.cut(b.ctx, cut, b.got)
	next, err := b.pull.next(b.ctx, missing)
	switch {
	case errors.As(err, &cut):
		b.err = err
	case err != nil:
		b.err = &cutError{b.host(), b.got, err}
	case next.total == 0 && b.pull.starts >= fullTries:
		next.close()
		b.err = cut
	case next.total == 0:
		b.pull.starts++
		b.fresh, b.err = next, errStartOver
	default:
		b.from, b.r, b.want, b.spliced = next, next.resp.Body, next.total, true
		b.pace, b.waited = 0, 0
	}
}

// host is who sends the body, after redirects.
func (b *body) host() string {
	if u := b.from.resp.Request.URL; u.Host != "" {
		return u.Host
	}
	return b.pull.proxy.name // a file
}
