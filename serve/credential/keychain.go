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
// the Secret Service of Linux. Only Set and Delete, which a user asks for, may open a
// dialogue to unlock it; Get says that it is locked, where that can be told.
func SystemKeychain() Keychain {
	return Keychain{
		Get: func(service, account string) (string, error) {
			if err := ready(false); err != nil {
				return "", err
			}
			return keyring.Get(service, account)
		},
		Set: func(service, account, secret string) error {
			if err := ready(true); err != nil {
				return err
			}
			return keyring.Set(service, account, secret)
		},
		Delete: func(service, account string) error {
			if err := ready(true); err != nil {
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

// KeychainError is a call of the keychain that failed. A function of a [Keychain] may
// return one that has Kind and Err alone.
type KeychainError struct {
	Kind  Kind
	Err   error
	Place Place  // that the call was about
	Verb  string // "read", "store" or "remove"
}

func (e *KeychainError) Error() string {
	return fmt.Sprintf("%s the token of %s: %s (%v)", e.Verb, e.Place, e.Kind, e.Err)
}

func (e *KeychainError) Unwrap() error { return e.Err }

// errLimit is the cause of a context whose time for the keychain is over.
var errLimit = errors.New("no answer in time")

// read gets an item. Who asks for the same while a read goes on waits for that one:
// a keychain that hangs, or has opened a dialogue, is not asked once more.
func (s *Store) read(ctx context.Context, p Place) (Secret, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, s.opts.Limit, errLimit)
	defer cancel()
	answer := s.reads.DoChan(p.String(), func() (any, error) { // ends with the call
		text, err := s.opts.Keychain.Get(service, p.String())
		if err != nil {
			return nil, err
		}
		secret := NewSecret(text)
		return secret, secret.check()
	})
	select {
	case got := <-answer:
		if got.Err != nil {
			return Secret{}, fault("read", p, got.Err)
		}
		return got.Val.(Secret), nil
	case <-ctx.Done():
		return Secret{}, late(ctx, "read", p)
	}
}

// change does a call that stores or removes an item.
func (s *Store) change(ctx context.Context, verb string, p Place, do func(account string) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, s.opts.Limit, errLimit)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- do(p.String()) }() // ends with the call
	select {
	case err := <-done:
		s.reads.Forget(p.String()) // one that has begun may see what was there before
		return fault(verb, p, err)
	case <-ctx.Done():
		return late(ctx, verb, p)
	}
}

// fault makes a KeychainError of what a call returned.
func fault(verb string, p Place, err error) error {
	var known *KeychainError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, keyring.ErrNotFound):
		return none(p)
	case errors.As(err, &known):
		return &KeychainError{Kind: known.Kind, Err: known.Err, Place: p, Verb: verb}
	}
	return &KeychainError{Kind: kindOf(err), Err: err, Place: p, Verb: verb}
}

// late tells the end of our limit from that of the caller.
func late(ctx context.Context, verb string, p Place) error {
	if cause := context.Cause(ctx); errors.Is(cause, errLimit) {
		return &KeychainError{Kind: Hanging, Err: cause, Place: p, Verb: verb}
	}
	return fmt.Errorf("%s the token of %s: %w", verb, p, context.Cause(ctx))
}
