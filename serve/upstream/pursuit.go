package upstream

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"time"

	"github.com/gomirror/gomirror/cache"
)

// pursuit is one request on its way through a chain.
type pursuit struct {
	c       *Chain
	req     Request
	sink    Sink
	held    bool      // an earlier answer can be served: who waits need not
	until   time.Time // when to give up if nothing accepts a connection
	failed  tally
	full    map[int]bool // steps that were given all their tries
	stopped bool         // an answer stands that ends the chain

	local atomic.Bool  // the sink failed, or nobody is interested any more
	moved atomic.Int64 // when the last byte of a body came, in ns since 1970
}

func newPursuit(ctx context.Context, c *Chain, req Request, sink Sink) *pursuit {
	until := sinceOf(ctx).Add(reachLimit)
	if least := time.Now().Add(dialLimit); until.Before(least) {
		until = least // to be told of nobody asked helps nobody
	}
	return &pursuit{
		c: c, req: req, sink: sink, held: req.Meta.Upstream != "",
		until:  until,
		failed: tally{key: req.Key},
		full:   make(map[int]bool),
	}
}

// over reports whether err is the end of the request, for good or bad.
func (p *pursuit) over(ctx context.Context, err error) bool {
	return err == nil || errors.Is(err, ErrNotModified) || p.local.Load() || ctx.Err() != nil
}

// result is the end of a request that nobody has answered.
func (p *pursuit) result(ctx context.Context) error {
	err := p.failed.result()
	if errors.Is(err, errBackground) || unawaited(ctx) {
		return &forgoneError{err}
	}
	return err
}

// late reports whether it is too late to ask anybody else.
func (p *pursuit) late() bool { return p.failed.unreachable() && !time.Now().Before(p.until) }

// prepare returns the context of an attempt at s.
func (p *pursuit) prepare(ctx context.Context, s step, quick bool) context.Context {
	if p.failed.unreachable() {
		ctx = withReach(ctx, p.until)
	}
	if !quick {
		p.full[s.index] = true
		return ctx
	}
	return withQuick(ctx)
}

// request is what s is asked for.
func (p *pursuit) request(s step) Request {
	req := p.req
	if req.Meta.Upstream != s.name {
		// Another's validators mean nothing here; that something is held does.
		req.Meta = cache.Meta{Upstream: req.Meta.Upstream}
	}
	return req
}

// blocked returns why s is not worth a request now, or nil. Who asks nobody else waits.
func (p *pursuit) blocked(ctx context.Context, s step, quick bool) error {
	if !quick && !p.held {
		return nil
	}
	err := s.health.blocked()
	if err == nil && p.held {
		if err = s.health.due(); err != nil {
			p.probe(ctx, s)
		}
	}
	return err
}

// probe finds out whether s is back, beside the request: that has an answer to serve, and
// would wait dialLimit for one that accepts no connection.
func (p *pursuit) probe(ctx context.Context, s step) {
	ctx, cancel := context.WithTimeout(withQuick(context.WithoutCancel(ctx)), probeLimit)
	req := p.request(s)
	go func() { // ends with probeLimit
		defer cancel()
		err := s.source.Fetch(ctx, req, func(_ cache.Key, _ cache.Meta, body io.Reader) error {
			_, err := io.Copy(io.Discard, body)
			return err
		})
		p.c.log.DebugContext(ctx, "upstream probed", "upstream", s.name, "err", err)
	}()
}

// note takes down what s said, and whether that is the last word.
func (p *pursuit) note(ctx context.Context, s step, err error) {
	p.failed.add(s, err)
	p.stopped = p.c.stands(p.req.Key, err)
	p.c.log.DebugContext(ctx, "upstream passed over", "key", p.req.Key.String(), "upstream", s.name, "err", err)
}

// passes reports whether the next group is asked. As in the go command it is the last
// entry before a comma that says so, in the user's order whatever ours was.
func (p *pursuit) passes(g choice) bool {
	last := g.steps[len(g.steps)-1]
	err := p.failed.of(last)
	return !p.stopped && (err == nil || p.c.passes(last, err)) // nil: there was no time to ask it
}

// watch returns the sink with an eye on what it and the body do.
func (p *pursuit) watch(ctx context.Context, s step) Sink {
	return func(key cache.Key, meta cache.Meta, body io.Reader) error {
		if b, ok := body.(interface{ length() int64 }); ok && b.length() > 0 {
			if err := RoomFor(ctx, b.length()); err != nil {
				p.local.Store(true)
				return err
			}
		}
		err := p.sink(key, meta, &pulseReader{body, p, s.health})
		// A fault of our own disk, or the end of all interest, is no reason to go on. Not
		// by the error: a dial that timed out is a context.DeadlineExceeded as well.
		var full *cache.FullError
		if errors.As(err, &full) || ctx.Err() != nil {
			p.local.Store(true)
		}
		return err
	}
}

// pulseReader tells of each sign of life.
type pulseReader struct {
	io.Reader
	p      *pursuit
	health *health
}

func (r *pulseReader) Read(b []byte) (int, error) {
	n, err := r.Reader.Read(b)
	if n > 0 {
		r.health.pulse()
		r.p.moved.Store(time.Now().UnixNano())
	}
	return n, err
}
