package credential_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/zalando/go-keyring"

	"github.com/gomirror/gomirror/serve/credential"
	"github.com/gomirror/gomirror/serve/credential/keychaintest"
)

// The tests of the real keychain run this program again, in a process that finds the
// Secret Service of the test and no other: go-keyring takes the address of the bus
// from the environment, and keeps its connection for as long as the process runs.
const roleVariable = "CREDENTIAL_TEST_ROLE"

func TestMain(m *testing.M) {
	if role := os.Getenv(roleVariable); role != "" {
		play(role, os.Args[1:])
		return
	}
	os.Exit(m.Run())
}

// The limits of real processes on a busy machine: for those who wait for nothing, which is
// well below one limit of the keychain's, and for those who wait for one, below two.
const (
	atOnce  = 3 * time.Second
	oneWait = 10 * time.Second
)

// outcome is what a process did to the Store, told without the token.
type outcome struct {
	Same   bool // Token gave what Put was given
	Source string
	Place  string
	None   bool
	Kind   string
	Hint   string
	Error  string
	Took   time.Duration
}

// play does one thing with the system's keychain and prints its outcome.
func play(role string, args []string) {
	ctx := context.Background()
	store := credential.New(credential.Options{StateDir: args[0]})
	place := credential.Place{Host: "github.com", Owner: args[1]}
	var o outcome
	var err error
	start := time.Now()
	switch role {
	case "put":
		err = store.Put(ctx, place, "octocat", credential.NewSecret(canary), false)
	case "token":
		var token credential.Token
		token, err = store.Token(ctx, place.Host, place.Owner)
		o.Same, o.Source, o.Place = token.Reveal() == canary, token.Source, token.Place.String()
	case "remove":
		err = store.Remove(ctx, place)
	case "spoil":
		err = keyring.Set("gomirror", place.String(), "not a token\r\n")
	}
	o.Took = time.Since(start)
	var fault *credential.KeychainError
	if errors.As(err, &fault) {
		o.Kind, o.Hint = fault.Kind.String(), fault.Hint()
	}
	o.None = errors.Is(err, credential.ErrNone)
	if err != nil {
		o.Error = fmt.Sprintf("%v %+v", err, err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(o); err != nil {
		panic(err)
	}
}

// in runs a role in the session and returns its outcome.
func in(t *testing.T, environ []string, role, stateDir, owner string) outcome {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, stateDir, owner)
	cmd.Env = append([]string{roleVariable + "=" + role, "PATH=" + os.Getenv("PATH")}, environ...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v", role, err)
	}
	var o outcome
	if err := json.Unmarshal(out, &o); err != nil {
		t.Fatalf("%s printed %q: %v", role, out, err)
	}
	if strings.Contains(string(out), canary) {
		t.Errorf("%s printed the token: %s", role, out)
	}
	return o
}

func TestSecretService(t *testing.T) {
	t.Parallel()
	session := keychaintest.Start(t, keychaintest.Options{})
	state := t.TempDir()

	if o := in(t, session.Environ, "token", state, "acme"); !o.None || o.Kind != "" {
		t.Errorf("before the login: %+v, want none", o)
	}
	if o := in(t, session.Environ, "put", state, "acme"); o.Error != "" {
		t.Fatalf("put: %s", o.Error)
	}
	want := outcome{Same: true, Source: "keychain", Place: "github.com/acme"}
	o := in(t, session.Environ, "token", state, "acme")
	if o.Took = 0; o != want {
		t.Errorf("another process: got %+v, want %+v", o, want)
	}
	if o := in(t, session.Environ, "token", state, "other"); !o.None {
		t.Errorf("another owner: got %+v, want none", o)
	}
	for _, dir := range []string{state, session.Home} {
		if files := filesWith(t, dir, canary); len(files) > 0 {
			t.Errorf("the token is in the files %q", files)
		}
	}
	session.Lock()
	o = in(t, session.Environ, "token", state, "acme")
	if o.Kind != credential.Locked.String() || o.Took > faultLimit {
		t.Errorf("locked: got %+v", o)
	}
	session.Unlock()
	if o := in(t, session.Environ, "remove", state, "acme"); o.Error != "" {
		t.Errorf("remove: %s", o.Error)
	}
	if o := in(t, session.Environ, "token", state, "acme"); !o.None {
		t.Errorf("after the logout: got %+v, want none", o)
	}
}

// TestSecretServiceFaults has each fault that a Secret Service can be brought to, and
// asks for its name within the limit.
func TestSecretServiceFaults(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		opts  keychaintest.Options
		spoil func(s *keychaintest.Session, t *testing.T, state string)
		want  credential.Kind
		slow  bool
	}{
		{"locked", keychaintest.Options{}, func(s *keychaintest.Session, _ *testing.T, _ string) { s.Lock() }, credential.Locked, false},
		{"hanging", keychaintest.Options{}, func(s *keychaintest.Session, t *testing.T, _ string) {
			s.Pause()
			t.Cleanup(s.Resume)
		}, credential.Hanging, true},
		{"garbage", keychaintest.Options{}, func(s *keychaintest.Session, t *testing.T, state string) {
			if o := in(t, s.Environ, "spoil", state, "acme"); o.Error != "" {
				t.Fatalf("spoil: %s", o.Error)
			}
		}, credential.Garbage, false},
		{"no service", keychaintest.Options{NoService: true}, nil, credential.Absent, false},
		{"denied", keychaintest.Options{Deny: true}, nil, credential.Denied, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			session := keychaintest.Start(t, test.opts)
			state := t.TempDir()
			if test.spoil == nil { // the login itself meets it
				o := in(t, session.Environ, "put", state, "acme")
				t.Logf("told after %s", o.Took)
				if o.Kind != test.want.String() || o.Took > faultLimit {
					t.Errorf("put: got %+v, want the kind %q", o, test.want)
				}
				if files := filesWith(t, state, canary); len(files) > 0 {
					t.Errorf("the token is in the files %q", files)
				}
				return
			}
			if o := in(t, session.Environ, "put", state, "acme"); o.Error != "" {
				t.Fatalf("put: %s", o.Error)
			}
			test.spoil(session, t, state)
			o := in(t, session.Environ, "token", state, "acme")
			t.Logf("told after %s", o.Took)
			limit := faultLimit
			if test.slow {
				limit = oneWait
			}
			if o.Kind != test.want.String() || o.Took > limit || o.Hint == "" {
				t.Errorf("token: got %+v, want the kind %q", o, test.want)
			}
		})
	}
	t.Run("no bus", func(t *testing.T) {
		o := in(t, []string{"DBUS_SESSION_BUS_ADDRESS=unix:path=" + filepath.Join(t.TempDir(), "none")}, "put", t.TempDir(), "acme")
		if o.Kind != credential.Absent.String() || o.Took > faultLimit {
			t.Errorf("put: got %+v, want the kind %q", o, credential.Absent)
		}
	})
}

// TestDialogue has the keyring open a dialogue that nobody answers. Only who logs in
// waits for it.
func TestDialogue(t *testing.T) {
	t.Parallel()
	session := keychaintest.Start(t, keychaintest.Options{})
	state := t.TempDir()
	if o := in(t, session.Environ, "put", state, "acme"); o.Error != "" {
		t.Fatalf("put: %s", o.Error)
	}
	session.Lock()
	if o := in(t, session.Environ, "put", state, "acme"); o.Kind != credential.Locked.String() || o.Took > atOnce {
		t.Errorf("put without a screen: got %+v, want it locked", o)
	}
	session.OpenDialogue()
	if o := in(t, session.Environ, "token", state, "acme"); o.Kind != credential.Locked.String() || o.Took > atOnce {
		t.Errorf("token: got %+v, want it locked", o)
	}
	if o := in(t, session.Environ, "put", state, "acme"); o.Kind != credential.Hanging.String() || o.Took > oneWait {
		t.Errorf("put: got %+v, want it to wait and end", o)
	}
}

// TestUnlockCommand runs the command that a locked keychain's error names.
func TestUnlockCommand(t *testing.T) {
	t.Parallel()
	session := keychaintest.Start(t, keychaintest.Options{})
	state := t.TempDir()
	if o := in(t, session.Environ, "put", state, "acme"); o.Error != "" {
		t.Fatalf("put: %s", o.Error)
	}
	session.Lock()
	locked := in(t, session.Environ, "token", state, "acme")
	if locked.Kind != credential.Locked.String() {
		t.Fatalf("got %+v, want it locked", locked)
	}
	session.Run(locked.Hint)
	if o := in(t, session.Environ, "token", state, "acme"); !o.Same {
		t.Errorf("after %q: got %+v, want the token", locked.Hint, o)
	}
}
