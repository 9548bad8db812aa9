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
	said  chan struct{} // closed after claim is set
	claim record        // what was answered first; proven by nothing yet
	done  chan struct{} // closed after rec and err are set
	rec   record
	err   error
}

// say notes what a remote answers. The first word counts.
func (f *flight) say(rec record) {
	select {
	case <-f.said:
	default:
		f.claim = rec
		close(f.said)
	}
}

// wait returns the proven record.
func (f *flight) wait(ctx context.Context) (record, error) {
	select {
	case <-f.done:
		return f.rec, f.err
	case <-ctx.Done():
		return record{}, context.Cause(ctx)
	}
}

// lookupCtx waits for the lookup of a version, which it shares with all who ask for
// the same. The lookup itself goes on when ctx ends, so that the next to ask finds it
// done. If idle is set, no lookup is begun that has little hope.
func (c *client) lookupCtx(ctx context.Context, mod module.Version, idle bool) (record, error) {
	f, err := c.flight(ctx, mod, idle)
	if err != nil {
		return record{}, err
	}
	return f.wait(ctx)
}

// flight returns the lookup of a version, which may have ended long ago.
func (c *client) flight(ctx context.Context, mod module.Version, idle bool) (*flight, error) {
	if rec, ok := c.remembered(mod); ok {
		return landed(rec), nil
	}
	e := errand{mod, hopsOf(ctx)}
	c.mu.Lock()
	f := c.flights[e]
	c.mu.Unlock()
	if f == nil {
		if idle && c.reach.down() && !c.holds(mod) {
			c.reach.knock()
			return nil, &reachError{db: c.name, texts: []string{"no remote answered of late"}}
		}
		f = c.start(e)
	}
	return f, nil
}

// landed is the flight of a record that is proven.
func landed(rec record) *flight {
	f := &flight{said: make(chan struct{}), done: make(chan struct{}), rec: rec}
	close(f.done)
	return f
}

// start joins or begins the flight of an errand.
func (c *client) start(e errand) *flight {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f := c.flights[e]; f != nil {
		return f
	}
	f := &flight{said: make(chan struct{}), done: make(chan struct{})}
	c.flights[e] = f
	go func() { // ends with the time limits of reach, or when the Database is closed
		ctx := c.detached(e.hops)
		f.rec, f.err = c.lookup(ctx, e, f.say)
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
