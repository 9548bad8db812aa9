// Package credential knows where the user's tokens are and hands each to one host.
//
// A [Store] answers who holds a token for a [Place], "github.com/acme" or all of
// "github.com". The token is in the system's keychain; an index in the state folder
// names the places that have one, since keychains can't be listed by us. A place that
// the index does not name costs no call of the keychain, so nothing is asked of it,
// and nothing can hang, for who has never logged in.
//
// A [Secret] prints as REDACTED wherever it goes, and what was once read or put is
// redacted from all texts by serve/redact. [Bound] carries it to its host.
package credential

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

const (
	keychainLimit = 5 * time.Second // THREATS B21: an unlock prompt can block for ever
	envSource     = "GOMIRROR_GITHUB_TOKEN"
	envHost       = "github.com"
)

// ErrNone says that no token is held for a place.
var ErrNone = errors.New("no token is stored")

func none(p Place) error {
	return &hinted{fmt.Errorf("%w for %s", ErrNone, p), p.login()}
}

// Options are what a [Store] works with.
type Options struct {
	Environment Secret           // the value of GOMIRROR_GITHUB_TOKEN, for github.com only
	StateDir    string           // absolute; "" means that only Environment is known
	Keychain    Keychain         // the zero Keychain means the system's
	Limit       time.Duration    // of one call of the keychain; 0 means 5 s
	Now         func() time.Time // nil means time.Now

	// Remember is how long a token is kept in memory; 0 means to ask each time.
	Remember time.Duration
}

// Token is a secret, the place that it is for and where it was found.
type Token struct {
	Secret
	Place  Place
	Source string // "GOMIRROR_GITHUB_TOKEN", "keychain" or "file"
}

// Store finds and keeps tokens. Its methods may be called at the same time.
type Store struct {
	opts  Options
	reads singleflight.Group // of the keychain, by place

	mu     sync.Mutex
	memory map[Place]memory // guarded by mu
}

// New returns a Store. It reads nothing yet.
func New(opts Options) *Store {
	opts.Limit = cmp.Or(opts.Limit, keychainLimit)
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Keychain.Get == nil {
		opts.Keychain = SystemKeychain()
	}
	// A line break at the end is what comes of a secret that was pasted or piped.
	opts.Environment = NewSecret(strings.TrimSpace(opts.Environment.Reveal()))
	return &Store{opts: opts, memory: map[Place]memory{}}
}

// Token returns the token for what lies at host/owner: that of the environment, the
// owner's own, or the host's. The error is [ErrNone] if there is none, and a
// [*KeychainError] if the keychain that holds it does not give it.
func (s *Store) Token(ctx context.Context, host, owner string) (Token, error) {
	place, err := Place{host, owner}.clean()
	if err != nil {
		return Token{}, err
	}
	if place.Host == envHost && !s.opts.Environment.Empty() {
		if err := s.opts.Environment.check(); err != nil {
			return Token{}, &hinted{fmt.Errorf("read %s: that is no token: %w", envSource, err), "unset " + envSource}
		}
		return Token{s.opts.Environment, Place{Host: envHost}, envSource}, nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, s.opts.Limit, errLimit)
	defer cancel()
	token, err := s.held(ctx, place)
	if errors.Is(err, ErrNone) && place.Owner != "" {
		all, err := s.held(ctx, Place{Host: place.Host})
		if errors.Is(err, ErrNone) {
			err = none(place)
		}
		return all, err
	}
	return token, err
}

// Forget drops what is remembered: after a login and a logout.
func (s *Store) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for place := range s.memory {
		s.reads.Forget(place.String())
	}
	clear(s.memory)
}

// hinted is an error that knows the next step.
type hinted struct {
	err  error
	hint string
}

func (e *hinted) Error() string { return e.err.Error() }
func (e *hinted) Unwrap() error { return e.err }

// Hint tells the one thing to do.
func (e *hinted) Hint() string { return e.hint }
