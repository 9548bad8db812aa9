package sumdb

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"time"

	"github.com/gomirror/gomirror/serve/upstream"
	"golang.org/x/sync/singleflight"
)

// askRelay asks a proxy that may relay the database. A good answer says that it does, so
// that a cold pull does not wait for two. Only when it is not known and the answer is a
// no, or none comes, is it asked for that: is it the record that is not there, or the
// relay?
func (r *reach) askRelay(ctx context.Context, c candidate, path string) ([]byte, error) {
	r.mu.Lock()
	known, relays := r.now().Before(c.relaysUntil), c.relays
	r.mu.Unlock()
	switch {
	case known && relays:
		return c.Get(ctx, path)
	case known:
		return nil, errNotRelay
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the question if the proxy does not relay
	answer := make(chan result, 1)
	go func() { // ends with ctx
		data, err := c.Get(ctx, path)
		answer <- result{data: data, err: err}
	}()
	late := time.NewTimer(hedgeAfter)
	defer late.Stop()
	var probe <-chan singleflight.Result
	var no error
	for {
		select {
		case res := <-answer:
			if !refused(res.err) {
				return res.data, res.err
			}
			no, probe = res.err, r.probe(ctx, c)
		case <-late.C:
			if probe == nil {
				probe = r.probe(ctx, c)
			}
		case res := <-probe:
			var silence *silenceError
			if no != nil || errors.Is(res.Err, errNotRelay) || errors.As(res.Err, &silence) {
				return nil, cmpErr(res.Err, no)
			}
			probe = nil
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// probe asks whether a proxy relays this database: errNotRelay is a no. Many lookups
// start at once: one of them asks. A fault says nothing and is not remembered.
func (r *reach) probe(ctx context.Context, c candidate) <-chan singleflight.Result {
	return r.probes.DoChan(c.Name(), func() (any, error) { // ends with its time limit
		// Keeps the hops of the first who asks, and not who that is.
		const limit = probeLimit - hedgeAfter
		ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), limit, &silenceError{probeLimit})
		defer cancel()
		defer context.AfterFunc(r.ctx, cancel)()
		_, err := c.Get(ctx, "sumdb/"+r.name+"/supported")
		switch {
		case err == nil:
			r.noteRelay(c, true)
		case refused(err):
			r.noteRelay(c, false)
			err = errNotRelay
		}
		return nil, err
	})
}

// refused reports whether an error is the proxy's no.
func refused(err error) bool {
	if errors.Is(err, fs.ErrNotExist) {
		return true
	}
	var status *upstream.StatusError
	if !errors.As(err, &status) {
		return false
	}
	switch status.Code {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusMethodNotAllowed, http.StatusUnavailableForLegalReasons, http.StatusNotImplemented:
		return true
	}
	return false
}

// noteRelay remembers whether a proxy relays. A good answer outweighs a no.
func (r *reach) noteRelay(c candidate, relays bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := r.now(); relays || !c.relays || !now.Before(c.relaysUntil) {
		c.relays, c.relaysUntil = relays, now.Add(relaysFor)
	}
}
