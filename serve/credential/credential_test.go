package credential_test

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zalando/go-keyring"

	"github.com/gomirror/gomirror/serve/credential"
)

// canary is a token that must not turn up anywhere.
const canary = "ghp_CANARYqwxzkvCANARYqwxzkvCANARYqwxzkvXY"

var (
	acme   = credential.Place{Host: "github.com", Owner: "acme"}
	allOf  = credential.Place{Host: "github.com"}
	office = credential.Place{Host: "git.office.example"}
)

// chain is a keychain that does what a test wants.
type chain struct {
	mu    sync.Mutex
	items map[string]string // guarded by mu
	reads int               // guarded by mu

	// before is called before each call, and may fail it or wait; nil for neither.
	before func(verb, account string) error
}

func newChain() *chain { return &chain{items: map[string]string{}} }

func (c *chain) enter(verb, service, account string) error {
	if service != "gomirror" {
		return fmt.Errorf("the service is %q", service)
	}
	if c.before == nil {
		return nil
	}
	return c.before(verb, account)
}

func (c *chain) keychain() credential.Keychain {
	return credential.Keychain{
		Get: func(service, account string) (string, error) {
			c.mu.Lock()
			c.reads++
			c.mu.Unlock()
			if err := c.enter("get", service, account); err != nil {
				return "", err
			}
			c.mu.Lock()
			defer c.mu.Unlock()
			text, ok := c.items[account]
			if !ok {
				return "", keyring.ErrNotFound
			}
			return text, nil
		},
		Set: func(service, account, secret string) error {
			if err := c.enter("set", service, account); err != nil {
				return err
			}
			c.mu.Lock()
			defer c.mu.Unlock()
			c.items[account] = secret
			return nil
		},
		Delete: func(service, account string) error {
			if err := c.enter("delete", service, account); err != nil {
				return err
			}
			c.mu.Lock()
			defer c.mu.Unlock()
			if _, ok := c.items[account]; !ok {
				return keyring.ErrNotFound
			}
			delete(c.items, account)
			return nil
		},
	}
}

// put stores a token that has the name of its place in it.
func put(t *testing.T, store *credential.Store, place credential.Place, insecure bool) {
	t.Helper()
	if err := store.Put(t.Context(), place, "octocat", tokenOf(place), insecure); err != nil {
		t.Fatalf("put the token of %s: %v", place, err)
	}
}

func tokenOf(place credential.Place) credential.Secret {
	return credential.NewSecret("ghp_of_" + strings.ReplaceAll(place.String(), "/", "_") + "_0123456789")
}

func TestToken(t *testing.T) {
	environment := credential.NewSecret("ghs_environment_0123456789")
	piped := credential.NewSecret(" ghs_environment_0123456789\r\n")
	inFile := credential.Place{Host: "git.file.example", Owner: "acme"}
	tests := []struct {
		name        string
		environment credential.Secret
		host, owner string
		place       credential.Place // the zero Place for none
		source      string
	}{
		{"the owner's own", credential.Secret{}, "github.com", "acme", acme, "keychain"},
		{"the owner's in another case", credential.Secret{}, "GitHub.com", "ACME", acme, "keychain"},
		{"another owner: the host's", credential.Secret{}, "github.com", "golang", allOf, "keychain"},
		{"no owner: the host's", credential.Secret{}, "github.com", "", allOf, "keychain"},
		{"a longer owner: the host's", credential.Secret{}, "github.com", "acme-labs", allOf, "keychain"},
		{"another host", credential.Secret{}, "git.office.example", "acme", office, "keychain"},
		{"the file", credential.Secret{}, "git.file.example", "acme", inFile, "file"},
		{"the file, another owner", credential.Secret{}, "git.file.example", "other", credential.Place{}, ""},
		{"environment over the owner's", environment, "github.com", "acme", allOf, "GOMIRROR_GITHUB_TOKEN"},
		{"environment with a line break", piped, "github.com", "acme", allOf, "GOMIRROR_GITHUB_TOKEN"},
		{"environment for no other host", environment, "git.office.example", "acme", office, "keychain"},
		{"environment for no sub-domain", environment, "api.github.com", "acme", credential.Place{}, ""},
		{"a host that ends alike", environment, "github.com.evil.example", "acme", credential.Place{}, ""},
		{"a trailing dot", environment, "github.com.", "acme", credential.Place{}, ""},
		{"a port", environment, "github.com:8443", "acme", credential.Place{}, ""},
		{"a line break", environment, "github.com\nhost=evil.example", "acme", credential.Place{}, ""},
		{"an escape", environment, "github.com%0ahost=evil.example", "acme", credential.Place{}, ""},
		{"a line break in the owner", environment, "github.com", "acme\r\nx", credential.Place{}, ""},
		{"a path for an owner", credential.Secret{}, "github.com", "acme/../golang", credential.Place{}, ""},
		{"no host", environment, "", "acme", credential.Place{}, ""},
	}
	chain, state := newChain(), t.TempDir()
	for _, place := range []credential.Place{acme, allOf, office, inFile} {
		put(t, credential.New(credential.Options{StateDir: state, Keychain: chain.keychain()}), place, place == inFile)
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			store := credential.New(credential.Options{StateDir: state, Keychain: chain.keychain(), Environment: test.environment})
			token, err := store.Token(t.Context(), test.host, test.owner)
			if (err == nil) != (test.source != "") || token.Place != test.place || token.Source != test.source {
				t.Fatalf("got %s from %q, %v, want %s from %q", token.Place, token.Source, err, test.place, test.source)
			}
			want := tokenOf(test.place)
			if test.source == "GOMIRROR_GITHUB_TOKEN" {
				want = environment
			}
			if err == nil && token.Secret != want {
				t.Errorf("got the token of another place")
			}
		})
	}
}

// TestNoTokenAsksNoKeychain is for who never logs in.
func TestNoTokenAsksNoKeychain(t *testing.T) {
	chain, state := newChain(), filepath.Join(t.TempDir(), "none")
	store := credential.New(credential.Options{StateDir: state, Keychain: chain.keychain()})
	_, err := store.Token(t.Context(), "git.office.example", "acme")
	var hinted interface{ Hint() string }
	if !errors.Is(err, credential.ErrNone) || !errors.As(err, &hinted) || hinted.Hint() != "gomirror auth login --hostname git.office.example --owner acme" {
		t.Errorf("got %v, want none and how to log in", err)
	}
	if got, want := fmt.Sprint(err), "no token is stored for git.office.example/acme"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if _, err := os.Lstat(state); chain.reads != 0 || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%d calls of the keychain, state folder: %v", chain.reads, err)
	}
}

func TestPlaces(t *testing.T) {
	chain, state := newChain(), t.TempDir()
	now := time.Date(2026, 11, 2, 3, 4, 5, 6, time.FixedZone("x", 3600))
	store := credential.New(credential.Options{StateDir: state, Keychain: chain.keychain(), Now: func() time.Time { return now }})
	put(t, store, credential.Place{Host: "GitHub.com", Owner: "Acme"}, false)
	put(t, store, office, true)
	put(t, store, allOf, false)
	put(t, store, acme, false) // again: no second line
	got, err := store.Places()
	want := []credential.Entry{
		{Place: office, Login: "octocat", Storage: "file", Added: now.UTC()},
		{Place: allOf, Login: "octocat", Storage: "keychain", Added: now.UTC()},
		{Place: acme, Login: "octocat", Storage: "keychain", Added: now.UTC()},
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %+v, %v\nwant %+v", got, err, want)
	}
	accounts := slices.Sorted(maps.Keys(chain.items))
	if want := []string{"github.com", "github.com/acme"}; !slices.Equal(accounts, want) {
		t.Errorf("accounts in the keychain: got %q, want %q", accounts, want)
	}
}

func TestRemove(t *testing.T) {
	for _, insecure := range []bool{false, true} {
		t.Run(fmt.Sprintf("insecure %t", insecure), func(t *testing.T) {
			chain := newChain()
			store := credential.New(credential.Options{StateDir: t.TempDir(), Keychain: chain.keychain(), Remember: time.Hour})
			put(t, store, acme, insecure)
			put(t, store, office, insecure)
			if _, err := store.Token(t.Context(), "github.com", "acme"); err != nil {
				t.Fatal(err)
			}
			if err := store.Remove(t.Context(), credential.Place{Host: "github.com", Owner: "ACME"}); err != nil {
				t.Fatal(err)
			}
			if _, err := store.Token(t.Context(), "github.com", "acme"); !errors.Is(err, credential.ErrNone) {
				t.Errorf("after it: got %v, want none", err)
			}
			if err := store.Remove(t.Context(), acme); !errors.Is(err, credential.ErrNone) {
				t.Errorf("once more: got %v, want none", err)
			}
			if token, err := store.Token(t.Context(), office.Host, ""); err != nil || token.Secret != tokenOf(office) {
				t.Errorf("the other's: got %v", err)
			}
		})
	}
}

// TestRemoveGoneItem logs out of a place whose item the user has deleted by hand.
func TestRemoveGoneItem(t *testing.T) {
	chain := newChain()
	store := credential.New(credential.Options{StateDir: t.TempDir(), Keychain: chain.keychain()})
	put(t, store, acme, false)
	delete(chain.items, acme.String())
	if _, err := store.Token(t.Context(), "github.com", "acme"); !errors.Is(err, credential.ErrNone) {
		t.Errorf("token: got %v, want none", err)
	}
	if err := store.Remove(t.Context(), acme); err != nil {
		t.Errorf("remove: %v", err)
	}
	if list, err := store.Places(); err != nil || len(list) != 0 {
		t.Errorf("places: got %v, %v", list, err)
	}
}

// TestTwoLogins has many stores write the index at the same time, as processes do.
func TestTwoLogins(t *testing.T) {
	chain, state := newChain(), t.TempDir()
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			store := credential.New(credential.Options{StateDir: state, Keychain: chain.keychain()})
			place := credential.Place{Host: "github.com", Owner: fmt.Sprintf("owner%d", i)}
			if err := store.Put(t.Context(), place, "octocat", tokenOf(place), i%2 == 0); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	list, err := credential.New(credential.Options{StateDir: state}).Places()
	if err != nil || len(list) != 16 {
		t.Errorf("got %d places, %v, want 16", len(list), err)
	}
}

func TestSecretsInFile(t *testing.T) {
	chain, state := newChain(), t.TempDir()
	store := credential.New(credential.Options{StateDir: state, Keychain: chain.keychain()})
	secret := credential.NewSecret(canary)
	if err := store.Put(t.Context(), acme, "octocat", secret, false); err != nil {
		t.Fatal(err)
	}
	if got := filesWith(t, state, canary); len(got) != 0 {
		t.Errorf("in the keychain: the token is also in %q", got)
	}
	if err := store.Put(t.Context(), acme, "octocat", secret, true); err != nil {
		t.Fatal(err)
	}
	if got := filesWith(t, state, canary); len(got) != 1 || len(chain.items) != 0 {
		t.Errorf("in a file: the token is in %q and %d items of the keychain", got, len(chain.items))
	}
	if err := store.Put(t.Context(), acme, "octocat", secret, false); err != nil {
		t.Fatal(err)
	}
	if got := filesWith(t, state, canary); len(got) != 0 {
		t.Errorf("in the keychain again: the token is also in %q", got)
	}
}
