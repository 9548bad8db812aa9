package credential

import (
	"context"
	"errors"
	"time"
)

// After a fault the keychain is left alone for a while, and for twice as long after
// each further one: a build asks for hundreds of modules, and each would wait for the
// whole limit.
const (
	firstPause = 5 * time.Second
	lastPause  = 2 * time.Minute
)

// memory is what the keychain last said about a line of the index.
type memory struct {
	entry  Entry // a later login makes another line, so it is not remembered for
	secret Secret
	err    error
	pause  time.Duration // of the fault err
	until  time.Time
}

// remembered returns the token that entry tells of, from memory if it is fresh there.
func (s *Store) remembered(ctx context.Context, entry Entry) (Token, error) {
	m, fresh := s.recall(entry)
	if !fresh {
		secret, err := s.read(ctx, entry.Place)
		m = s.keep(memory{entry: entry, secret: secret, err: err, pause: m.pause})
	}
	if m.err != nil {
		return Token{}, m.err
	}
	return Token{m.secret, entry.Place, inKeychain}, nil
}

func (s *Store) recall(entry Entry) (m memory, fresh bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m, ok := s.memory[entry.Place]
	if !ok || m.entry != entry {
		return memory{}, false
	}
	return m, s.opts.Now().Before(m.until)
}

// keep remembers a token, and a fault for a while. That an item is gone is asked
// again: somebody is at work on it.
func (s *Store) keep(m memory) memory {
	var fault *KeychainError
	switch {
	case m.err == nil:
		m.pause, m.until = 0, s.opts.Now().Add(s.opts.Remember)
	case errors.As(m.err, &fault):
		m.pause = min(max(2*m.pause, firstPause), lastPause)
		m.until = s.opts.Now().Add(m.pause)
	default:
		return m
	}
	if s.opts.Remember > 0 {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.memory[m.entry.Place] = m
	}
	return m
}
