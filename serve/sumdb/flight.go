package sumdb

import (
	"context"

	"golang.org/x/mod/module"
)

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
	c.mu.Lock()
	f := c.flights[mod]
	c.mu.Unlock()
	if f == nil {
		if idle && c.reach.down() && !c.holds(mod) {
			return record{}, &reachError{db: c.name, texts: []string{"no remote answered of late"}}
		}
		f = c.start(mod)
	}
	select {
	case <-f.done:
		return f.rec, f.err
	case <-ctx.Done():
		return record{}, context.Cause(ctx)
	}
}

// start joins or begins the flight of a version.
func (c *client) start(mod module.Version) *flight {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f := c.flights[mod]; f != nil {
		return f
	}
	f := &flight{done: make(chan struct{})}
	c.flights[mod] = f
	go func() { // ends with the time limits of reach, or when the Database is closed
		f.rec, f.err = c.lookup(mod)
		c.mu.Lock()
		delete(c.flights, mod)
		c.mu.Unlock()
		close(f.done)
	}()
	return f
}
