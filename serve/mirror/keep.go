package mirror

import (
	"context"
	"errors"
	"io"
	"sync"

	"github.com/gomirror/gomirror/cache"
	"github.com/gomirror/gomirror/serve/upstream"
)

// sieve takes what a source delivers during one fill. A body that was put together from
// two answers and is contradicted comes again, whole: so the alarm waits for the last
// word of an upstream.
type sieve struct {
	mirror *Mirror
	tree   cache.Tree
	key    cache.Key          // what is waited for
	answer func(*cache.Draft) // told of it once it may be served; nil to have it kept first

	mu      sync.Mutex
	refused []refusal   // guarded by mu
	judged  []cache.Key // guarded by mu
}

// refusal is an answer that must not be served.
type refusal struct {
	draft         *cache.Draft
	meta          cache.Meta
	contradiction *cache.ContradictionError
}

func (s *sieve) refuse(r refusal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refused = append(s.refused, r)
}

// drop forgets what an upstream has said of key: it begins anew.
func (s *sieve) drop(key cache.Key, upstream string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := s.refused[:0]
	for _, r := range s.refused {
		if r.draft.Key() == key && r.meta.Upstream == upstream {
			r.draft.Discard()
			continue
		}
		kept = append(kept, r)
	}
	s.refused = kept
}

// close raises the alarms that stand.
func (s *sieve) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.refused {
		r.draft.Quarantine(r.meta, r.contradiction)
	}
	s.refused = nil
}

// judge notes that there may be a verdict to settle.
func (s *sieve) judge(key cache.Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.judged = append(s.judged, key)
}

// settle has the verdicts follow that were put off.
func (s *sieve) settle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, key := range s.judged {
		if s.mirror.opts.Settle != nil {
			s.mirror.opts.Settle(key)
		}
	}
}

// keep takes one answer through draft, check, verification and commit: this order is
// the promise that nothing is ever read back that Verify has refused. If just the disk
// could not take the answer, it returns the draft to serve from.
func (s *sieve) keep(ctx context.Context, key cache.Key, meta cache.Meta, body io.Reader) (*cache.Draft, error) {
	m := s.mirror
	s.drop(key, meta.Upstream)
	draft, err := m.opts.Store.Draft(s.tree, key)
	if err != nil {
		return nil, err
	}
	draft.Begin(meta)
	n, err := draft.ReadFrom(body)
	m.stats.fetched.Add(n)
	if err != nil {
		draft.Suspend() // what has come is where the next try goes on
		return nil, err
	}
	err = draft.CheckContext(ctx)
	whole := err == nil
	if err == nil && key.Kind() == cache.List && !anew(ctx) {
		err = m.merge(s.tree, key, draft)
	}
	if err == nil && m.opts.Verify != nil {
		err = m.opts.Verify(ctx, key, draft)
		s.judge(key)
	}
	served := false
	if err == nil {
		if s.answer != nil && key == s.key {
			draft.OnSound(func() { served = true; s.answer(draft) })
		}
		err = draft.Commit(meta)
	}
	if contradiction := (*cache.ContradictionError)(nil); errors.As(err, &contradiction) {
		s.refuse(refusal{draft, meta, contradiction})
		return nil, err
	}
	if full := (*cache.FullError)(nil); whole && errors.As(err, &full) {
		m.warn(full.Want()+": served, not kept", key, err)
		return draft, nil
	}
	if served && err != nil {
		m.warn("served, not kept", key, err)
		return draft, nil // nobody else is to be asked for what is answered
	}
	draft.Discard()
	return nil, err
}

// negative remembers for a minute that no public upstream has key, so that the
// prefix probes of a go get -u ask once.
func (m *Mirror) negative(key cache.Key, err error) {
	meta := cache.Meta{Status: 404, Fetched: m.opts.Now()}
	if status := (*upstream.StatusError)(nil); errors.As(err, &status) {
		meta.Status, meta.Upstream = status.Code, status.Upstream
	}
	if err := m.opts.Store.Negative(cache.Public, key, meta); err != nil {
		m.warn("not found, and that not kept", key, err)
	}
}
