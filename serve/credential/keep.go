package credential

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/zalando/go-keyring"
)

// Put stores a token for a place, whose it is and when. It goes into the keychain,
// and only if insecure says so into a file that its owner alone can read: never the
// one for want of the other.
func (s *Store) Put(ctx context.Context, place Place, login string, secret Secret, insecure bool) error {
	place, err := place.clean()
	if err != nil {
		return err
	}
	if err := secret.check(); err != nil {
		return &KeychainError{Kind: kindOf(err), Err: err, Place: place, Verb: "store"}
	}
	unlock, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	defer s.Forget()
	entry := Entry{place, login, inKeychain, s.opts.Now().UTC().Truncate(time.Second)}
	if insecure {
		entry.Storage = inFile
		err = s.putPlain(place, secret)
	} else {
		err = s.putKeychain(ctx, place, secret)
	}
	if err != nil {
		return err
	}
	if err := s.record(entry); err != nil {
		return err
	}
	if insecure {
		// An older token in the keychain would be found by nobody; that the keychain
		// fails is the usual reason for a file, and no reason to fail now.
		s.removeKeychain(ctx, place)
		return nil
	}
	return s.removePlain(place)
}

// putKeychain reads the item again: macOS' security command does not tell each
// failure in its exit status.
func (s *Store) putKeychain(ctx context.Context, place Place, secret Secret) error {
	err := s.call(ctx, "store", place, func(account string) error {
		return s.opts.Keychain.Set(service, account, secret.Reveal())
	})
	if err != nil {
		return err
	}
	again, err := s.getKeychain(ctx, place)
	if errors.Is(err, ErrNone) || err == nil && again != secret {
		err = errors.New("it did not keep what was stored")
		return &KeychainError{Kind: Denied, Err: err, Place: place, Verb: "store"}
	}
	return err
}

func (s *Store) getKeychain(ctx context.Context, place Place) (Secret, error) {
	var secret Secret
	err := s.call(ctx, "read", place, func(account string) error {
		text, err := s.opts.Keychain.Get(service, account)
		if err != nil {
			return err
		}
		secret = NewSecret(text)
		return secret.check()
	})
	if errors.Is(err, keyring.ErrNotFound) {
		return Secret{}, ErrNone
	}
	if err != nil {
		return Secret{}, err
	}
	return secret, nil
}

func (s *Store) removeKeychain(ctx context.Context, place Place) error {
	err := s.call(ctx, "remove", place, func(account string) error {
		return s.opts.Keychain.Delete(service, account)
	})
	if errors.Is(err, keyring.ErrNotFound) {
		return nil
	}
	return err
}

// Remove takes the token of a place away from where it is stored. ErrNone says that
// there was none.
func (s *Store) Remove(ctx context.Context, place Place) error {
	place, err := place.clean()
	if err != nil {
		return err
	}
	unlock, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	defer s.Forget()
	entry, err := s.entry(place)
	if err != nil {
		return err
	}
	if err := s.removePlain(place); err != nil {
		return err
	}
	if entry.Storage == inKeychain {
		if err := s.removeKeychain(ctx, place); err != nil {
			return err
		}
	}
	return s.strike(place)
}

// held returns the token of exactly this place.
func (s *Store) held(ctx context.Context, place Place) (Token, error) {
	entry, err := s.entry(place)
	if err != nil {
		return Token{}, err
	}
	var secret Secret
	switch entry.Storage {
	case inKeychain:
		secret, err = s.getKeychain(ctx, place)
	case inFile:
		secret, err = s.getPlain(place)
	default:
		err = fmt.Errorf("find the token of %s: unknown storage %q", place, entry.Storage)
	}
	if err != nil {
		return Token{}, err
	}
	return Token{secret, place, entry.Storage}, nil
}

// memory is what was found for a place.
type memory struct{}
