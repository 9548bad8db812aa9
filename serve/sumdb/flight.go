package sumdb

import (
	"context"

	"github.com/gomirror/gomirror/serve/upstream"
	"golang.org/x/mod/module"
)

// errand is a lookup and the ids of the gomirrors that it came through. Two gomirrors
// that ask each other the same would wait for ever if that did not part them.
type errand struct {
	mod  module.Version
	hops string
}

type hopsKey struct{}

// withHops returns a context for what came through other gomirrors.
func withHops(ctx context.Context, hops string) context.Context {
	return context.WithValue(upstream.WithHops(ctx, hops), hopsKey{}, hops)
}

func hopsOf(ctx context.Context) string {
	hops, _ := ctx.Value(hopsKey{}).(string)
	return hops
}

// detached returns a context for work that goes on when those who wait for it leave.
func (c *client) detached(hops string) context.Context { return withHops(c.reach.ctx, hops) }

// flight is a lookup that runs.
type flight struct {
	done chan struct{} // closed after rec and err are set
	rec  record
	err  error
}

// lookupCtx waits for the lookup of a version, which it shares with all who ask for
// the same. The lookup itself goes on when ctx ends, so that the next to ask finds it
// done. If idle is not set, no lookup is begun that has little hope.
func (c *client) lookupCtx(ctx context.Context, mod module.Version, idle bool) (record, error) {
	if rec, ok := c.remembered(mod); ok {
		return rec, nil
	}
	e := errand{mod, hopsOf(ctx)}
	c.mu.Lock()
	f := c.flights[e]
	c.mu.Unlock()
	if f == nil {
		if idle && c.reach.down() && !c.holds(mod) {
			c.reach.knock()
			return record{}, &reachError{db: c.name, texts: []string{"no remote answered of late"}}
		}
		f = c.start(e)
	}
	select {
	case <-f.done:
		return f.rec, f.err
	case <-ctx.Done():
		return record{}, context.Cause(ctx)
	}
}

// start joins or begins the flight of an errand.
func (c *client) start(e errand) *flight {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f := c.flights[e]; f != nil {
		return f
	}
	f := &flight{done: make(chan struct{})}
	c.flights[e] = f
	go func() { // ends with the time limits of reach, or when the Database is closed
		ctx := c.detached(e.hops)
		f.rec, f.err = c.lookup(ctx, e)
		c.mu.Lock()
		delete(c.flights, e)
		quiet := len(c.flights) == 0
		c.mu.Unlock()
		close(f.done)
		if quiet && f.err == nil {
			c.audit(ctx) // nobody waits for it
		}
	}()
	return f
}
