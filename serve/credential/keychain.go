package credential

import (
	"context"
	"errors"
	"fmt"

	"github.com/zalando/go-keyring"
)

// service is the name of our items in the keychain.
const service = "gomirror"

// Keychain is a place that the system keeps secrets in. Get and Delete return
// go-keyring's ErrNotFound for an item that is not there. The functions may block:
// the Store gives them a limit.
type Keychain struct {
	Get    func(service, account string) (string, error)
	Set    func(service, account, secret string) error
	Delete func(service, account string) error
}

// SystemKeychain returns the Keychain of macOS, the Credential Manager of Windows or
// the Secret Service of Linux. To read never opens a dialogue where that can be told
// beforehand: a daemon may have no screen.
func SystemKeychain() Keychain {
	return Keychain{
		Get: func(service, account string) (string, error) {
			if err := ready(); err != nil {
				return "", err
			}
			return keyring.Get(service, account)
		},
		Set: func(service, account, secret string) error {
			if err := ready(); err != nil {
				return err
			}
			return keyring.Set(service, account, secret)
		},
		Delete: func(service, account string) error {
			if err := ready(); err != nil {
				return err
			}
			return keyring.Delete(service, account)
		},
	}
}

// Kind tells the faults of a keychain apart, for each has its own way out.
type Kind int

const (
	Locked  Kind = iota // the user has to unlock it
	Absent              // the system has none, or this session can't reach it
	Denied              // it does not give the item to us
	TooBig              // it does not take so long a secret
	Hanging             // it did not answer in time
	Garbage             // what it holds is no token
)

// KeychainError is a call of the keychain that failed.
type KeychainError struct {
	Kind  Kind
	Err   error
	Place Place // that the call was about
	Verb  string
}

func (e *KeychainError) Error() string {
	return fmt.Sprintf("%s the token of %s: %s (%v)", e.Verb, e.Place, e.Kind, e.Err)
}

func (e *KeychainError) Unwrap() error { return e.Err }

// errLimit is the cause of a context whose time for the keychain is over.
var errLimit = errors.New("no answer in time")

// call does one call of the keychain, unless another that hangs holds the place.
// The goroutine ends with the call: there is one at most, however often we ask.
func (s *Store) call(ctx context.Context, verb string, p Place, do func(account string) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, s.opts.Limit, errLimit)
	defer cancel()
	select {
	case s.calls <- struct{}{}:
	case <-ctx.Done():
		return late(ctx, verb, p)
	}
	done := make(chan error, 1)
	go func() {
		defer func() { <-s.calls }()
		done <- do(p.String())
	}()
	select {
	case err := <-done:
		if err == nil || errors.Is(err, keyring.ErrNotFound) {
			return err
		}
		return &KeychainError{Kind: kindOf(err), Err: err, Place: p, Verb: verb}
	case <-ctx.Done():
		return late(ctx, verb, p)
	}
}

// late tells the end of our limit from that of the caller.
func late(ctx context.Context, verb string, p Place) error {
	if cause := context.Cause(ctx); errors.Is(cause, errLimit) {
		return &KeychainError{Kind: Hanging, Err: cause, Place: p, Verb: verb}
	}
	return fmt.Errorf("%s the token of %s: %w", verb, p, context.Cause(ctx))
}
