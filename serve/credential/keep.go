package credential

import (
	"context"
	"errors"
	"fmt"
)

// Put stores a token for a place, and whose it is. It goes into the keychain, and
// only if insecure says so into a file that its owner alone can read: never into the
// one for want of the other.
func (s *Store) Put(ctx context.Context, place Place, login string, secret Secret, insecure bool) error {
	place, err := place.clean()
	if err != nil {
		return err
	}
	if err := secret.check(); err != nil {
		return &KeychainError{Kind: kindOf(err), Err: err, Place: place, Verb: "store"}
	}
	defer s.Forget()
	old, err := s.entry(place)
	if err != nil && !errors.Is(err, ErrNone) {
		return err
	}
	entry := Entry{Place: place, Login: login, Storage: inKeychain, Added: s.opts.Now().UTC()}
	if insecure {
		entry.Storage = inFile
	} else if err := s.putKeychain(ctx, place, secret); err != nil {
		return err
	}
	if err := s.write(ctx, entry, secret); err != nil {
		return err
	}
	if insecure && old.Storage == inKeychain {
		// It would never be found again. That the keychain fails is the usual reason for
		// a file, and no reason to fail now.
		s.removeKeychain(ctx, place)
	}
	return nil
}

// write brings the two files up to date with a token that was stored.
func (s *Store) write(ctx context.Context, entry Entry, secret Secret) error {
	unlock, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if entry.Storage == inFile {
		if err := s.putPlain(entry.Place, secret); err != nil {
			return err
		}
		return s.record(entry)
	}
	return errors.Join(s.record(entry), s.removePlain(entry.Place))
}

// putKeychain reads the item again: macOS' security command does not tell each
// failure by its exit status.
func (s *Store) putKeychain(ctx context.Context, place Place, secret Secret) error {
	err := s.change(ctx, "store", place, func(account string) error {
		return s.opts.Keychain.Set(service, account, secret.Reveal())
	})
	if err != nil {
		return err
	}
	again, err := s.read(ctx, place)
	if err == nil && again == secret {
		return nil
	}
	if err == nil || errors.Is(err, ErrNone) {
		err = &KeychainError{Kind: Denied, Err: errors.New("it did not keep what was stored"), Place: place, Verb: "store"}
	}
	return err
}

// removeKeychain is content if there is no item.
func (s *Store) removeKeychain(ctx context.Context, place Place) error {
	err := s.change(ctx, "remove", place, func(account string) error {
		return s.opts.Keychain.Delete(service, account)
	})
	if errors.Is(err, ErrNone) {
		return nil
	}
	return err
}

// Remove takes the token of a place away from where it is stored. The error is
// [ErrNone] if there was none.
func (s *Store) Remove(ctx context.Context, place Place) error {
	place, err := place.clean()
	if err != nil {
		return err
	}
	defer s.Forget()
	entry, err := s.entry(place)
	if err != nil {
		return err
	}
	if entry.Storage == inKeychain {
		if err := s.removeKeychain(ctx, place); err != nil {
			return err
		}
	}
	unlock, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	return errors.Join(s.removePlain(place), s.strike(place))
}

// held returns the token of exactly this place.
func (s *Store) held(ctx context.Context, place Place) (Token, error) {
	entry, err := s.entry(place)
	if err != nil {
		return Token{}, err
	}
	switch entry.Storage {
	case inKeychain:
		return s.remembered(ctx, entry)
	case inFile:
		secret, err := s.getPlain(place)
		return Token{secret, place, inFile}, err
	}
	return Token{}, &hinted{fmt.Errorf("find the token of %s: unknown storage %q", place, entry.Storage), place.login()}
}
