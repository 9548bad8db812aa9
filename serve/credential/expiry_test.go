package credential_test

import (
	"errors"
	"testing"
	"time"

	"github.com/gomirror/gomirror/serve/credential"
)

func TestExpiry(t *testing.T) {
	t.Parallel()
	store := credential.New(credential.Options{StateDir: t.TempDir(), Environment: credential.NewSecret("ghp_environment")})
	place, ends := credential.Place{Host: "git.corp.example", Owner: "Team"}, time.Date(2026, 3, 4, 5, 6, 7, 0, time.FixedZone("", 3600))
	if err := store.SetExpiry(t.Context(), place, ends); !errors.Is(err, credential.ErrNone) {
		t.Errorf("set for no token: got %v, want %v", err, credential.ErrNone)
	}
	if err := store.Put(t.Context(), place, "cora", credential.NewSecret("ghp_corpcorpcorp"), true); err != nil {
		t.Fatal(err)
	}
	token, err := store.Token(t.Context(), place.Host, place.Owner)
	if err != nil {
		t.Fatal(err)
	}
	if got := store.Expiry(token); !got.IsZero() {
		t.Errorf("expires %v before that is noted, want never", got)
	}
	if err := store.SetExpiry(t.Context(), place, ends); err != nil {
		t.Fatal(err)
	}
	if got := store.Expiry(token); !got.Equal(ends) {
		t.Errorf("expires %v, want %v", got, ends)
	}
	if err := store.SetExpiry(t.Context(), place, time.Time{}); err != nil {
		t.Fatal(err)
	}
	if got := store.Expiry(token); !got.IsZero() {
		t.Errorf("expires %v, want never", got)
	}
	other, err := store.Token(t.Context(), "github.com", "")
	if err != nil {
		t.Fatal(err)
	}
	if got := store.Expiry(other); !got.IsZero() {
		t.Errorf("the environment's token expires %v, want never", got)
	}
}
