// Package mirror is gomirror's read-through policy: what is answered from the cache,
// what is asked of an upstream, and what happens when that fails.
//
// [Mirror.Get] is the whole of it and reads from top to bottom. The store keeps, the
// source fetches, Verify judges; none of them knows the others.
package mirror

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"time"

	"golang.org/x/mod/module"

	"github.com/gomirror/gomirror/cache"
	"github.com/gomirror/gomirror/serve/upstream"
)

// Options are the parts that a Mirror puts together.
type Options struct {
	Store   *cache.Store    // required
	Source  upstream.Source // of public modules; required
	Offline bool            // ask nobody
	Online  string          // the command that ends Offline

	// Private reports whether a module path is private: kept apart, and asked of Origin
	// alone. Nil means that none is.
	Private func(modPath string) bool
	Origin  upstream.Source // of private modules; required with Private

	// Verify judges a checked draft before it is kept. It returns a
	// *cache.ContradictionError if the checksum database has other bytes. Nil
	// verifies nothing.
	Verify func(context.Context, cache.Key, *cache.Draft) error

	// Settle is called for each draft that Verify has seen, once it is kept or won't be,
	// in case the verdict was put off. It must not wait. May be nil.
	Settle func(cache.Key)

	// Announce tells of a version whose files will be verified, so that the look-up
	// runs beside the download. It returns when the look-up is done. May be nil.
	Announce func(context.Context, module.Version)

	// Asked is told of each request of a client before it is answered; held says that
	// the cache has the answer. What it returns is called when Get does, with the bytes
	// that had to come from an upstream. It must not wait. May be nil.
	Asked func(key cache.Key, held bool) (answered func(fetched int64))

	Now func() time.Time // nil means time.Now
	Log *slog.Logger     // nil discards
}

// Mirror answers the requests of the module proxy protocol.
type Mirror struct {
	opts    Options
	flights flights
	stats   counters
}

// New returns a Mirror of the given parts.
func New(opts Options) *Mirror {
	if opts.Private == nil {
		opts.Private = func(string) bool { return false }
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	return &Mirror{opts: opts, flights: flights{log: opts.Log}}
}

// closeTime is for fills to put away what has come. They write a note of some hundred
// bytes each, or kill a child.
const closeTime = 5 * time.Second

// Close ends the fills that still run and waits until they have put away what came so
// far, so that the Store may be closed: what has come of a download is then there after
// the next start.
func (m *Mirror) Close() error { return m.flights.close(closeTime) }

// How an answer came about, as the X-Cache header has it.
const (
	Hit         = "hit"         // from the cache
	Miss        = "miss"        // fetched now
	Stale       = "stale"       // from the cache, past its time, since no upstream answers
	Revalidated = "revalidated" // from the cache, an upstream says that it still stands
)

// Answer is what the store holds for a key, with how it came there. The caller
// closes it.
type Answer struct {
	*cache.Entry
	State string        // Hit, Miss, Stale or Revalidated
	Age   time.Duration // since an upstream last vouched for it
	Cause error         // why it is Stale
}

// fetched is how many bytes had to come from an upstream.
func (a *Answer) fetched() int64 {
	if a == nil || a.State != Miss {
		return 0
	}
	return a.Size
}

// Get answers key: from the cache if that is fresh, else from an upstream, else from
// the cache again as far as honesty allows. An error that Is fs.ErrNotExist means
// that there is no such module or version.
func (m *Mirror) Get(ctx context.Context, key cache.Key) (a *Answer, err error) {
	tree := m.tree(key)
	held := m.held(tree, key)
	fresh := freshness(tree, key.Kind(), held, m.opts.Now()) == use
	answered := m.asked(ctx, key, fresh)
	defer func() { answered(a.fetched()) }()
	if fresh {
		return m.answer(ctx, key, held, Hit)
	}
	if err := impossible(key); err != nil {
		return nil, err
	}
	if m.opts.Offline {
		return m.offline(ctx, tree, key, held)
	}
	filled, state, err := m.flights.do(ctx, flightKey{tree, key}, m.fill(m.source(tree)))
	if err == nil {
		closeEntry(held)
		return m.answer(ctx, key, filled, state)
	}
	if state == Revalidated && held != nil { // gone from the disk meanwhile, and it still stands
		held.Meta.Fetched = m.opts.Now()
		return m.answer(ctx, key, held, state)
	}
	m.stats.fault(ctx)
	if stale(tree, held, err, m.opts.Now()) {
		return m.stale(ctx, key, held, err)
	}
	closeEntry(held)
	return m.without(ctx, tree, key, err)
}

// asked tells of a request of a client. What came through another gomirror is that
// one's to look ahead for.
func (m *Mirror) asked(ctx context.Context, key cache.Key, held bool) (answered func(fetched int64)) {
	if m.opts.Asked == nil || background(ctx) || upstream.Hopped(ctx) {
		return func(int64) {}
	}
	return m.opts.Asked(key, held)
}

// answer gives an entry to the client. A remembered "not found" is an error again.
func (m *Mirror) answer(ctx context.Context, key cache.Key, entry *cache.Entry, state string) (*Answer, error) {
	m.stats.count(ctx, state)
	age := max(0, m.opts.Now().Sub(entry.Meta.Fetched))
	if !entry.Meta.Found() {
		entry.Close()
		return nil, &NotFoundError{key, fmt.Sprintf("not found at %s %s ago; asked again after %s",
			cmp.Or(entry.Meta.Upstream, "any upstream"), age.Round(time.Second), publicFresh)}
	}
	return &Answer{Entry: entry, State: state, Age: age}, nil
}

// stale gives an entry past its time, and why.
func (m *Mirror) stale(ctx context.Context, key cache.Key, entry *cache.Entry, cause error) (*Answer, error) {
	answer, err := m.answer(ctx, key, entry, Stale)
	if err == nil {
		answer.Cause = cause
		m.warn("served stale", key, cause)
	}
	return answer, err
}

func closeEntry(entry *cache.Entry) {
	if entry != nil {
		entry.Close()
	}
}

// tree picks the tree by the route at request time.
func (m *Mirror) tree(key cache.Key) cache.Tree {
	if m.opts.Private(key.Module().Path) {
		return cache.Private
	}
	return cache.Public
}

// source is who is asked for what is missing in a tree. It goes by the tree that was
// picked for the request, so that no change of patterns and no error of the origin can
// lead from a private name to the public chain.
func (m *Mirror) source(tree cache.Tree) upstream.Source {
	if tree == cache.Private {
		return m.opts.Origin
	}
	return m.opts.Source
}

// held opens what the store has, nil if that is nothing. A store that can't be read
// is no reason to fail while an upstream answers.
func (m *Mirror) held(tree cache.Tree, key cache.Key) *cache.Entry {
	entry, err := m.opts.Store.Get(tree, key)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		m.warn("cache not readable", key, err)
	}
	if err != nil {
		return nil
	}
	return entry
}

// fill returns what asks source for a key and keeps what it delivers. That runs once a
// key, however many clients wait.
func (m *Mirror) fill(source upstream.Source) fillFunc {
	return func(ctx context.Context, id flightKey, answer func(landing)) (landing, error) {
		tree, key := id.tree, id.key
		kept := landing{state: Miss, open: func() (*cache.Entry, error) { return m.opts.Store.Get(tree, key) }}
		req := upstream.Request{Key: key}
		if held := m.held(tree, key); held != nil {
			held.Close()
			// The flight before this one may have landed since Get looked.
			switch {
			case anew(ctx):
			case freshness(tree, key.Kind(), held, m.opts.Now()) == use:
				return kept, nil
			case held.Meta.Found():
				req.Meta = held.Meta
			}
		}
		if key.Kind() == cache.Zip {
			if partial, err := m.opts.Store.Partial(tree, key); err == nil {
				defer partial.Close()
				req.Partial = partial
			}
		}
		m.announce(ctx, key)
		delivered, sieve := false, &sieve{mirror: m, tree: tree}
		if answer != nil {
			sieve.answer = func(draft *cache.Draft) { answer(landing{state: Miss, open: draft.Entry}) }
			sieve.key = key
		}
		defer sieve.settle()
		defer sieve.close()
		err := source.Fetch(ctx, req, func(k cache.Key, meta cache.Meta, body io.Reader) error {
			unkept, err := sieve.keep(ctx, k, meta, body)
			switch {
			case k == key && err == nil:
				delivered = true
				if unkept != nil {
					kept.open, kept.discard = unkept.Entry, unkept.Discard
				}
			case unkept != nil:
				unkept.Discard()
			}
			return err
		})
		switch {
		case errors.Is(err, upstream.ErrNotModified):
			kept.state = Revalidated
			if err := m.opts.Store.Touch(tree, key, m.opts.Now()); err != nil {
				m.warn("still stands, and that not kept", key, err)
			}
			return kept, nil
		case err == nil && !delivered:
			return landing{}, fmt.Errorf("fetch %s: the upstream delivered something else", key)
		case errors.Is(err, fs.ErrNotExist) && tree == cache.Public && !background(ctx):
			m.negative(key, err)
		}
		return kept, err
	}
}

// warn logs what went wrong with key. Of a private module neither its name nor an
// error, which may hold it, is anybody's business who reads a pasted log: those are
// told on debug level only.
func (m *Mirror) warn(msg string, key cache.Key, err error) {
	if m.opts.Private(key.Module().Path) {
		m.opts.Log.Warn(msg, "key", "private")
		m.opts.Log.Debug(msg, "key", key, "err", err)
		return
	}
	m.opts.Log.Warn(msg, "key", key, "err", err)
}
