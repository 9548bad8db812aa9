package mirror

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"runtime/debug"
	"sync"
	"time"

	"github.com/gomirror/gomirror/cache"
	"github.com/gomirror/gomirror/serve/upstream"
)

// flightKey names what is being filled: the same key may be on its way into both
// trees while a pattern changes.
type flightKey struct {
	tree cache.Tree
	key  cache.Key
}

// landing is how a fill ended well.
type landing struct {
	state   string                       // Miss or Revalidated
	open    func() (*cache.Entry, error) // called once a waiter
	discard func()                       // called when every waiter has opened; may be nil
}

// fillFunc fills one key; ctx is cancelled when nobody waits any more. It may call answer
// before it returns, if that is not nil: those who wait go on then, while it puts away
// what it has.
type fillFunc func(ctx context.Context, id flightKey, answer func(landing)) (landing, error)

// flights lets one fill a key run at a time. singleflight would do but for one
// thing: a fill must outlive the client that began it and end with the last one.
type flights struct {
	log     *slog.Logger
	aloft   sync.WaitGroup // flights that have not landed; no Add after closed
	mu      sync.Mutex
	closed  bool                  // guarded by mu
	current map[flightKey]*flight // guarded by mu
	moved   time.Time             // guarded by mu; when a body that a client waits for last came on
}

type flight struct {
	waiters int             // guarded by flights.mu
	reads   int             // guarded by flights.mu; pieces of a body that have come
	stood   time.Duration   // guarded by flights.mu; how long it has stood back
	urgent  chan struct{}   // closed once a client waits
	ctx     context.Context // of the fill: outlives the client that began it
	cancel  context.CancelFunc

	brought landing // what fill returned, known to its own goroutine alone
	fault   error   // the same

	answered sync.Once
	done     chan struct{} // closed after the fields below are set
	landing
	err error
}

// answer gives those who wait what they wait for. The first one counts.
func (fl *flight) answer(l landing, err error) {
	fl.answered.Do(func() {
		fl.landing, fl.err = l, err
		close(fl.done)
	})
}

func (fl *flight) isAnswered() bool {
	select {
	case <-fl.done:
		return true
	default:
		return false
	}
}

// do runs fill for id, or joins the one that runs, and opens what came of it. It
// returns early when ctx ends.
func (f *flights) do(ctx context.Context, id flightKey, fill fillFunc) (*cache.Entry, string, error) {
	since := time.Now()
	fl, first := f.join(ctx, id)
	if fl == nil {
		return nil, "", errClosed
	}
	defer f.leave(id, fl)
	if first {
		go func() { // ends with fill, which fl.ctx ends
			defer f.land(id, fl)
			fl.brought, fl.fault = fill(fl.ctx, id, func(l landing) { fl.answer(l, nil) })
		}()
	}
	late := !first && fl.isAnswered() // it only puts away what it has brought
	select {
	case <-fl.done:
	case <-ctx.Done():
		return nil, "", ctx.Err()
	}
	if !first && upstream.Forgone(fl.err) && !background(ctx) {
		// It was begun for no client and so has not done all it can. The next flight is a
		// client's own, and has the time that is left of the one that a reason may take.
		return f.do(upstream.WithSince(ctx, since), id, fill)
	}
	if fl.err != nil {
		return nil, "", fl.err
	}
	entry, err := fl.open()
	if errors.Is(err, fs.ErrNotExist) {
		// The cache was removed meanwhile. Nobody has said that there is no such module.
		err = fmt.Errorf("open what has come for %s: %v", id.key, err)
	}
	if late {
		return entry, Hit, err
	}
	return entry, fl.state, err
}

// onceKept has a fill answer when what it brought is in the cache and no sooner, for who
// looks there next.
func onceKept(fill fillFunc) fillFunc {
	return func(ctx context.Context, id flightKey, _ func(landing)) (landing, error) {
		return fill(ctx, id, nil)
	}
}

// join counts one more waiter for id. The first has to start the fill. After close there
// is no flight to join.
func (f *flights) join(ctx context.Context, id flightKey) (fl *flight, first bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, false
	}
	awaited := !background(ctx)
	if fl = f.current[id]; fl != nil {
		fl.waiters++
		if awaited {
			fl.hurry()
		}
		return fl, false
	}
	fl = &flight{waiters: 1, urgent: make(chan struct{}), done: make(chan struct{})}
	if awaited {
		fl.hurry()
	}
	ctx = upstream.WithAwaited(ctx, fl.urgent)
	ctx = context.WithoutCancel(ctx)
	if takesTurns(id.key) {
		ctx = upstream.WithTurn(ctx, func(ctx context.Context) { f.turn(ctx, fl) })
	}
	fl.ctx, fl.cancel = context.WithCancel(ctx)
	if f.current == nil {
		f.current = make(map[flightKey]*flight)
	}
	f.current[id] = fl
	f.aloft.Add(1) // land is Done
	return fl, true
}

// errClosed is for who still asks when gomirror stops.
var errClosed = errors.New("gomirror is stopping")

// close ends all flights and returns when they have landed, but waits for limit at most:
// a file system that is stuck must not keep gomirror from stopping.
func (f *flights) close(limit time.Duration) error {
	f.mu.Lock()
	f.closed = true
	for _, fl := range f.current {
		fl.cancel()
	}
	f.mu.Unlock()
	landed := make(chan struct{})
	go func() { // ends with the last flight
		f.aloft.Wait()
		close(landed)
	}()
	late := time.NewTimer(limit)
	defer late.Stop()
	select {
	case <-landed:
		return nil
	case <-late.C:
		return fmt.Errorf("stop fills: some still run after %v", limit)
	}
}

// forget has nobody join the flights that match any more. Who is aboard stays.
func (f *flights) forget(match func(flightKey) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	maps.DeleteFunc(f.current, func(id flightKey, _ *flight) bool { return match(id) })
}

// leave lets go of a flight; the last waiter to leave ends it, but for one that has its
// answer and puts it away: who comes now finds it there.
func (f *flights) leave(id flightKey, fl *flight) {
	f.mu.Lock()
	fl.waiters--
	last, answered := fl.waiters == 0, fl.isAnswered()
	if last && !answered && f.current[id] == fl {
		// Who comes now must not join a fill that is being cancelled.
		delete(f.current, id)
	}
	f.mu.Unlock()
	switch {
	case last && !answered: // deserted on its way: land discards
		fl.cancel()
	case last && fl.discard != nil:
		fl.discard()
	}
}

// land ends a flight, deferred by its fill. With nobody left to open what it
// brought, it throws that away.
func (f *flights) land(id flightKey, fl *flight) {
	defer f.aloft.Done()
	// A panic here is outside of net/http's recovery and would end the daemon.
	if p := recover(); p != nil {
		said := p
		if id.tree == cache.Private {
			said = fmt.Sprintf("%T", p) // its text may name what is private
		}
		f.log.Error("fill panicked", "fault", said, "stack", string(debug.Stack()))
		fl.fault = fmt.Errorf("fill %s: gomirror has a bug, its log has the stack: panic: %v", id.key, p)
	}
	fl.cancel()
	f.mu.Lock()
	if f.current[id] == fl {
		delete(f.current, id)
	}
	deserted := fl.waiters == 0
	fl.answer(fl.brought, fl.fault)
	f.mu.Unlock()
	if deserted && fl.discard != nil {
		fl.discard()
	}
}

// announce lets the checksum look-up for a version's files begin beside the download.
func (m *Mirror) announce(ctx context.Context, key cache.Key) {
	if m.opts.Announce != nil && key.Immutable() {
		go m.opts.Announce(ctx, key.Module()) // ends with the look-up, which has limits of its own
	}
}
