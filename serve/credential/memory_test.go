package credential_test

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gomirror/gomirror/serve/credential"
)

// TestHangIsAskedOnce has many ask for the same token of a keychain that hangs, again
// and again: each is told in time, and one call is on its way.
func TestHangIsAskedOnce(t *testing.T) {
	state := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		c, end := newChain(), make(chan struct{})
		store := credential.New(credential.Options{StateDir: state, Keychain: c.keychain(), Remember: 15 * time.Minute})
		put(t, store, acme, false)
		c.reads, c.before = 0, func(string, string) error { <-end; return nil }
		for range 20 {
			start := time.Now()
			var all sync.WaitGroup
			for range 50 {
				all.Go(func() {
					_, err := store.Token(t.Context(), "github.com", "acme")
					mode{want: credential.Hanging}.verdict(t, err, start)
				})
			}
			all.Wait()
		}
		if c.reads != 1 {
			t.Errorf("got %d reads, want 1", c.reads)
		}
		close(end) // the keychain is back
		time.Sleep(3 * time.Minute)
		if _, err := store.Token(t.Context(), "github.com", "acme"); err != nil {
			t.Errorf("when it is back: %v", err)
		}
	})
}

// TestRemember counts the calls of the keychain.
func TestRemember(t *testing.T) {
	state := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		c := newChain()
		store := credential.New(credential.Options{StateDir: state, Keychain: c.keychain(), Remember: 15 * time.Minute})
		put(t, store, acme, false)
		other := credential.New(credential.Options{StateDir: state, Keychain: c.keychain()})
		asks := func(when string, reads int, want error) {
			t.Helper()
			before := c.reads
			_, err := store.Token(t.Context(), "github.com", "acme")
			if !errors.Is(err, want) || c.reads-before != reads {
				t.Errorf("%s: got %v after %d reads, want %v after %d", when, err, c.reads-before, want, reads)
			}
		}
		asks("at first", 1, nil)
		asks("again", 0, nil)
		time.Sleep(15*time.Minute - time.Second)
		asks("after less than 15 minutes", 0, nil)
		time.Sleep(time.Second)
		asks("after 15 minutes", 1, nil)
		store.Forget()
		asks("after Forget", 1, nil)
		time.Sleep(time.Second)
		put(t, other, acme, false)
		asks("after a login in another process", 1, nil)

		locked := errors.New("locked")
		c.before = func(string, string) error { return locked }
		asks("locked, but remembered", 0, nil)
		time.Sleep(15 * time.Minute)
		asks("locked", 1, locked)
		asks("locked, at once again", 0, locked)
		time.Sleep(5 * time.Second)
		asks("locked, 5 s on", 1, locked)
		time.Sleep(5 * time.Second)
		asks("locked, 10 s on", 0, locked)
		time.Sleep(5 * time.Second)
		asks("locked, 15 s on", 1, locked)
		c.before = nil
		time.Sleep(20 * time.Second)
		asks("unlocked", 1, nil)

		if err := other.Remove(t.Context(), acme); err != nil {
			t.Fatal(err)
		}
		asks("after a logout in another process", 0, credential.ErrNone)
	})
}
