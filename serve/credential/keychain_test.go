package credential_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zalando/go-keyring"

	"github.com/gomirror/gomirror/serve/credential"
)

// faultLimit is how long a fault of a keychain may take to be told.
const faultLimit = 6 * time.Second

// mode is a way that a keychain behaves.
type mode struct {
	name   string
	before func(verb, account string) error // as of chain
	item   string                           // what it gives out, if not what was stored
	want   credential.Kind
	works  bool
	hint   string
}

// modes are the seven of THREATS B21. What the system's own keychain says in each is
// tested with the real one.
func modes(end <-chan struct{}) []mode {
	return []mode{
		{name: "hang", before: func(string, string) error { <-end; return errors.New("ended") }, want: credential.Hanging},
		{name: "locked", before: func(string, string) error {
			return &credential.KeychainError{Kind: credential.Locked, Err: errors.New("says the fake")}
		}, want: credential.Locked},
		{name: "absent", before: func(string, string) error { return keyring.ErrUnsupportedPlatform }, want: credential.Absent,
			hint: "gomirror auth login --owner acme --insecure-storage"},
		{name: "too big", before: func(string, string) error { return keyring.ErrSetDataTooBig }, want: credential.TooBig,
			hint: "gomirror auth login --owner acme"},
		{name: "garbage", item: "\x00\x01 not a token", want: credential.Garbage, hint: "gomirror auth login --owner acme"},
		{name: "slow 4 s", before: func(string, string) error { time.Sleep(4 * time.Second); return nil }, works: true},
		{name: "denied", before: func(string, string) error { return errors.New("access denied by policy") }, want: credential.Denied,
			hint: "gomirror auth login --owner acme"},
	}
}

// each runs do in a bubble for each mode, with a store that was put a token before.
func each(t *testing.T, do func(t *testing.T, m mode, c *chain, store *credential.Store)) {
	for i, m := range modes(nil) {
		t.Run(m.name, func(t *testing.T) {
			state := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				end := make(chan struct{})
				defer close(end) // lets go of the call that hangs
				m := modes(end)[i]
				c := newChain()
				store := credential.New(credential.Options{StateDir: state, Keychain: c.keychain()})
				put(t, store, acme, false)
				c.before = m.before
				if m.item != "" {
					c.items[acme.String()] = m.item
				}
				do(t, m, c, store)
				if files := filesWith(t, state, "ghp_"); len(files) != 0 {
					t.Errorf("the token is in the files %q", files)
				}
			})
		})
	}
}

// verdict checks the verdict on a call that began at start.
func (m mode) verdict(t *testing.T, err error, start time.Time) {
	t.Helper()
	if took := time.Since(start); took > faultLimit {
		t.Errorf("it took %s", took)
	}
	if m.works {
		if err != nil {
			t.Errorf("got %v, want no error", err)
		}
		return
	}
	var fault *credential.KeychainError
	if !errors.As(err, &fault) || fault.Kind != m.want || errors.Is(err, credential.ErrNone) || leaks(err.Error()) {
		t.Fatalf("got %v, want the kind %q", err, m.want)
	}
	if hint := fault.Hint(); hint == "" || m.hint != "" && hint != m.hint {
		t.Errorf("hint: got %q, want %q", hint, m.hint)
	}
}

func TestTokenInModes(t *testing.T) {
	each(t, func(t *testing.T, m mode, c *chain, store *credential.Store) {
		start := time.Now()
		token, err := store.Token(t.Context(), "github.com", "acme")
		m.verdict(t, err, start)
		if m.works && token.Secret != tokenOf(acme) {
			t.Errorf("got another token")
		}
	})
}

func TestPutInModes(t *testing.T) {
	each(t, func(t *testing.T, m mode, c *chain, store *credential.Store) {
		if m.item != "" { // it keeps something else than it is given
			c.before = func(verb, account string) error {
				if verb == "get" {
					c.mu.Lock()
					defer c.mu.Unlock()
					c.items[account] = m.item
				}
				return nil
			}
		}
		start := time.Now()
		err := store.Put(t.Context(), acme, "octocat", credential.NewSecret(canary), false)
		if m.works {
			start = start.Add(4 * time.Second) // two calls, with a limit each: it stores, and reads again
		}
		m.verdict(t, err, start)
	})
}

func TestRemoveInModes(t *testing.T) {
	each(t, func(t *testing.T, m mode, c *chain, store *credential.Store) {
		start := time.Now()
		err := store.Remove(t.Context(), acme)
		m.works = m.works || m.item != "" // what is no token can be removed like one
		m.verdict(t, err, start)
		list, err := store.Places()
		if left := len(list) > 0; err != nil || left == m.works {
			t.Errorf("still in the index: %t, %v", left, err)
		}
	})
}

// TestInsecureInModes is the way out: a file needs no keychain that works.
func TestInsecureInModes(t *testing.T) {
	for _, m := range modes(nil) {
		t.Run(m.name, func(t *testing.T) {
			state := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				end := make(chan struct{})
				defer close(end)
				c := newChain()
				for _, again := range modes(end) {
					if again.name == m.name {
						c.before = again.before
					}
				}
				store := credential.New(credential.Options{StateDir: state, Keychain: c.keychain()})
				start := time.Now()
				put(t, store, acme, true)
				token, err := store.Token(t.Context(), "github.com", "acme")
				if took := time.Since(start); err != nil || token.Secret != tokenOf(acme) || token.Source != "file" || took > faultLimit {
					t.Errorf("got %v from %q after %s", err, token.Source, took)
				}
			})
		})
	}
}

// TestCallerGivesUp has the context of the caller end before the limit.
func TestCallerGivesUp(t *testing.T) {
	state := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		c, end := newChain(), make(chan struct{})
		defer close(end)
		store := credential.New(credential.Options{StateDir: state, Keychain: c.keychain()})
		put(t, store, acme, false)
		c.before = func(string, string) error { <-end; return nil }
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		_, err := store.Token(ctx, "github.com", "acme")
		if !errors.Is(err, context.DeadlineExceeded) || errors.As(err, new(*credential.KeychainError)) || time.Since(start) != time.Second {
			t.Errorf("got %v after %s, want the caller's own end", err, time.Since(start))
		}
	})
}

// filesWith returns the files below dir that have text in them.
func filesWith(t *testing.T, dir, text string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		if strings.Contains(string(content), text) {
			found = append(found, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestKeychainThatKeepsNothing has one that says yes and does otherwise, as macOS'
// security command may when it reads its commands from standard input.
func TestKeychainThatKeepsNothing(t *testing.T) {
	tests := []struct {
		name  string
		after func(items map[string]string, account string)
	}{
		{"nothing", func(items map[string]string, account string) { delete(items, account) }},
		{"the old token", func(items map[string]string, account string) { items[account] = tokenOf(acme).Reveal() }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := newChain()
			store := credential.New(credential.Options{StateDir: t.TempDir(), Keychain: c.keychain()})
			c.before = func(verb, account string) error {
				if verb == "get" {
					c.mu.Lock()
					defer c.mu.Unlock()
					test.after(c.items, account)
				}
				return nil
			}
			start := time.Now()
			err := store.Put(t.Context(), acme, "octocat", credential.NewSecret(canary), false)
			mode{want: credential.Denied, hint: "gomirror auth login --owner acme"}.verdict(t, err, start)
			if list, err := store.Places(); err != nil || len(list) != 0 {
				t.Errorf("the index has %v, %v", list, err)
			}
		})
	}
}
