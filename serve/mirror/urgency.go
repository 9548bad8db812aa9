package mirror

import (
	"context"
	"time"

	"github.com/gomirror/gomirror/cache"
	"github.com/gomirror/gomirror/serve/upstream"
)

const (
	// standBack is how long a body that nobody waits for yet lets one go first that a
	// client waits for, each time that this one comes on. It is longer than the gaps
	// between the pieces of a body on a link that is busy with it.
	standBack = 20 * time.Millisecond

	// standLimit is how long it does so in all. What clients wait for may trickle in for
	// hours, and while one of go's downloads takes seconds the other goes on to what is
	// fetched ahead here.
	standLimit = time.Second

	// smallReads is up to how many pieces a body takes no room: it need not stand back,
	// and none need stand back for it.
	smallReads = 3
)

// Background returns a context for a Get on nobody's behalf: it counts as no request,
// and its download stands back for those that clients wait for until one of them asks
// for the same.
func Background(ctx context.Context) context.Context { return upstream.Background(ctx) }

func background(ctx context.Context) bool { return upstream.IsBackground(ctx) }

// hurry notes that a client waits. flights.mu is held.
func (fl *flight) hurry() {
	select {
	case <-fl.urgent:
	default:
		close(fl.urgent)
	}
}

// takesTurns reports whether a body is large enough to stand in another's way. A .mod or
// .info is one piece: to hold it back would spare the link nothing, and lose the time of
// a round trip that go waits out for each.
func takesTurns(key cache.Key) bool { return key.Kind() == cache.Zip }

// turn is called before each piece of a zip. A flight that no client waits
// for stands back while the body of another comes on that one does wait for: both
// share the user's link. It does not stand back while that other merely waits for its
// upstream, for the link is idle then.
func (f *flights) turn(ctx context.Context, fl *flight) {
	for {
		select {
		case <-fl.urgent:
			f.move(fl)
			return
		default:
		}
		rest := f.standsBack(fl)
		if rest <= 0 {
			return
		}
		wait := time.NewTimer(rest)
		select {
		case <-wait.C:
		case <-fl.urgent:
		case <-ctx.Done():
		}
		wait.Stop()
		if ctx.Err() != nil {
			return
		}
	}
}

// standsBack returns how long a flight is to let others go first, 0 for not at all.
func (f *flights) standsBack(fl *flight) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	if fl.reads < smallReads {
		fl.reads++
		return 0
	}
	rest := standBack - time.Since(f.moved)
	if rest <= 0 || fl.stood >= standLimit {
		return 0
	}
	fl.stood += rest
	return rest
}

// move notes that a body which a client waits for has come on.
func (f *flights) move(fl *flight) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if fl.reads++; fl.reads > smallReads {
		f.moved = time.Now()
	}
}
