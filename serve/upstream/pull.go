package upstream

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/gomirror/gomirror/cache"
)

// pull brings one file from one upstream, with as many requests as that takes. Each
// of them asks for the file anew, by the URL of the upstream: an address that it
// redirects to holds a signature which ends.
type pull struct {
	proxy   *Proxy
	path    string
	header  http.Header    // of each request
	ifNew   http.Header    // of requests for the whole: its validators
	partial *cache.Partial // may be nil
	held    bool           // the caller has something to fall back on

	limit  int // on idle
	quick  bool
	delay  backoff.ExponentialBackOff
	tries  int       // in all
	idle   int       // since the last new byte
	far    int64     // how much of the file has been seen
	fault  error     // what ended the last try
	starts int       // bodies that could not be continued and began anew
	whole  bool      // nothing is put together any more
	until  time.Time // limit on the search for a connection; zero while there is one
	barred time.Time // limit on waiting for the upstream's breaker; zero for none
}

// newPull starts a pull of path.
func (p *Proxy) newPull(ctx context.Context, path string) *pull {
	q := &pull{
		proxy: p, path: path, header: make(http.Header), ifNew: make(http.Header),
		limit: fullTries, quick: quick(ctx), until: reachOf(ctx), delay: p.delay,
	}
	switch {
	case p.base.Scheme == "file":
		q.limit = 1 // a disk says the same again
	case q.quick:
		q.limit = quickTries
	}
	return q
}

// after returns the answer to begin again with, from the start, if what was read of b
// can't be continued; else nil, and how the pull ended. err is what the reader made of b.
func (q *pull) after(ctx context.Context, b *body, err error) (*answer, error) {
	b.from.close()
	switch {
	case b.fresh != nil:
		return b.fresh, nil
	case b.err != nil:
		return nil, b.err // the reason, not what the reader made of it
	case b.spliced && wrong(err):
		// Perhaps the upstream gives one mark to two files. Nothing is spliced from
		// here on, so that the next verdict stands.
		q.whole, q.fault = true, nil
		return q.next(ctx, nil)
	}
	return nil, err
}

// wrong reports whether a sink did not believe a whole body.
func wrong(err error) bool {
	return errors.As(err, new(*cache.InvalidError)) || errors.As(err, new(*cache.ContradictionError))
}

// next returns the answer to go on with: the rest that was asked for, or one from the
// start. It tries until there is one, or an error that another try would not change. The
// answer is nil with an error.
func (q *pull) next(ctx context.Context, missing *rest) (*answer, error) {
	for {
		if err := q.pause(ctx); err != nil {
			return nil, err
		}
		if err := q.admit(ctx); err != nil {
			return nil, err
		}
		from, err := q.ask(ctx, missing)
		q.tries, q.idle = q.tries+1, q.idle+1
		q.tell(ctx, err)
		if !Unreachable(err) {
			q.until = time.Time{}
		}
		switch {
		case err == nil:
			return from, nil
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case errors.Is(err, errNoRest):
			missing, q.fault = nil, nil
		case errors.Is(err, errReach):
			q.fault = cmp.Or(q.fault, err) // which tells more
		default:
			q.fault = err
		}
	}
}

// pause waits as long as the last fault asks for, or ends the pull with it.
func (q *pull) pause(ctx context.Context) error {
	if q.fault == nil {
		return context.Cause(ctx)
	}
	delay := q.delay.NextBackOff()
	limit, quick, longest := q.limit, q.quick, maxRetryAfter
	if unawaited(ctx) {
		limit, quick = min(limit, quickTries), true
	}
	if quick {
		longest = maxBackoff
	}
	var busy *busyError
	if errors.As(q.fault, &busy) {
		if busy.after > longest {
			return q.end(q.fault)
		}
		delay += busy.after
	}
	switch {
	case !transient(q.fault), q.idle >= limit, q.tries >= maxTries,
		quick && q.idle > 0 && timedOut(q.fault), // that was long enough
		!q.until.IsZero() && !time.Now().Add(delay).Before(q.until):
		return q.end(q.fault)
	}
	return sleep(ctx, delay)
}

// admit waits until the upstream is thought to be worth a try. Who holds something,
// or has somebody else to ask, does not wait.
func (q *pull) admit(ctx context.Context) error {
	if q.until.IsZero() {
		q.until = time.Now().Add(reachLimit)
	}
	for {
		err := q.proxy.health.allow()
		if err == nil {
			return nil
		}
		at := time.Now().Add(time.Second)
		if due, ok := errors.AsType[interface {
			error
			RetryAt() time.Time
		}](err); ok {
			at = due.RetryAt()
		}
		if q.barred.IsZero() {
			q.barred = time.Now().Add(reachLimit)
		}
		if q.held || q.quick || unawaited(ctx) || !waitable(err) && !at.Before(q.barred) {
			return q.end(cmp.Or(q.fault, err))
		}
		if err := sleep(ctx, time.Until(at)); err != nil {
			return err
		}
	}
}

// tell lets the upstream's health know how a try ended. That nobody waits any more is
// no fault of it.
func (q *pull) tell(ctx context.Context, err error) {
	switch {
	case ctx.Err() != nil:
		err = context.Canceled
	case errors.Is(err, ErrNotModified), errors.Is(err, errNoRest):
		err = nil
	}
	q.proxy.health.outcome(err)
}

// cut notes that a body broke off. With new bytes in it the count of tries begins
// anew: while there is progress there is no end.
func (q *pull) cut(ctx context.Context, fault error, got int64) {
	if got > q.far {
		q.far, q.idle, q.barred = got, 0, time.Time{}
		q.delay.Reset()
	}
	q.fault = fault
	q.tell(ctx, fault)
}

// end makes the error of a pull. An answer that stands does so after any number of
// tries.
func (q *pull) end(err error) error {
	if q.tries > 1 && transient(err) {
		return &triedError{err, q.tries}
	}
	return err
}
