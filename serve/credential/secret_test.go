package credential_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/gomirror/gomirror/serve/credential"
	"github.com/gomirror/gomirror/serve/redact"
)

// holder has a Secret where fmt calls no methods.
type holder struct {
	name   string
	secret credential.Secret
	token  *credential.Token
	list   []credential.Secret
}

func TestSecretNeverPrints(t *testing.T) {
	secret := credential.NewSecret(canary)
	token := credential.Token{Secret: secret, Place: credential.Place{Host: "github.com"}, Source: "keychain"}
	deep := holder{"x", secret, &token, []credential.Secret{secret}}
	values := map[string]any{
		"secret": secret, "pointer": &secret, "token": token, "pointer to a token": &token,
		"deep": deep, "pointer to deep": &deep, "map": map[credential.Secret]holder{secret: deep},
		"options": credential.Options{Environment: secret}, "bound": credential.Bound{Secret: secret},
		"store": credential.New(credential.Options{Environment: secret}),
	}
	for name, value := range values {
		t.Run(name, func(t *testing.T) {
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%c", "%U", "%T", "%10.3s", "%w"} {
				if got := fmt.Sprintf(verb, value); leaks(got) {
					t.Errorf("%s prints %s", verb, got)
				}
			}
			if got := fmt.Sprint(value) + fmt.Sprintln(value) + fmt.Errorf("x: %v", value).Error(); leaks(got) {
				t.Errorf("fmt prints %s", got)
			}
			var log bytes.Buffer
			slog.New(slog.NewTextHandler(&log, nil)).Error("x", "value", value)
			slog.New(slog.NewJSONHandler(&log, nil)).Error("x", "value", value)
			if leaks(log.String()) {
				t.Errorf("slog prints %s", log.String())
			}
			if got, err := json.Marshal(value); leaks(string(got) + fmt.Sprint(err)) {
				t.Errorf("json is %s, %v", got, err)
			}
			if got, err := xml.Marshal(value); leaks(string(got) + fmt.Sprint(err)) {
				t.Errorf("xml is %s, %v", got, err)
			}
		})
	}
}

// leaks reports whether s has the canary, or four bytes of it in hex, decimal or as
// they are.
func leaks(s string) bool {
	for i := range len(canary) - 4 {
		piece := canary[i : i+4]
		for _, format := range []string{"%s", "%x", "%X", "% x", "%d"} {
			form := fmt.Sprintf(format, piece)
			if format == "%d" {
				form = strings.Trim(fmt.Sprint([]byte(piece)), "[]")
			}
			if strings.Contains(s, form) {
				return true
			}
		}
	}
	return false
}

func TestSecretIsComparable(t *testing.T) {
	a, b := credential.NewSecret(canary), credential.NewSecret(canary+"x"[1:])
	if a != b || a.Reveal() != canary {
		t.Errorf("equal texts make other secrets")
	}
	if c := credential.NewSecret("other-" + canary); a == c {
		t.Errorf("other texts make equal secrets")
	}
	if none := credential.NewSecret(""); !none.Empty() || none.Reveal() != "" || none != (credential.Secret{}) {
		t.Errorf("no text makes a secret")
	}
}

func TestSecretIsRedacted(t *testing.T) {
	const text = "an-unusual-form-of-a-token-1"
	credential.NewSecret(text)
	if got := redact.Text("git said: " + text); got != "git said: REDACTED" {
		t.Errorf("got %q", got)
	}
}

// TestSecretThatIsNone tries to store what would break a header, git's line-wise
// protocol or a keychain's command.
func TestSecretThatIsNone(t *testing.T) {
	tests := []struct {
		name, text string
		want       credential.Kind
	}{
		{"empty", "", credential.Garbage},
		{"short", "ghp_123", credential.Garbage},
		{"line break", canary + "\nhost=evil.example", credential.Garbage},
		{"carriage return", canary + "\rx", credential.Garbage},
		{"NUL", canary + "\x00", credential.Garbage},
		{"space", "gho_1234 " + canary, credential.Garbage},
		{"not ASCII", "ghp_ünïcödé0123456789", credential.Garbage},
		{"a file", strings.Repeat("x", 2561), credential.TooBig},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			chain := newChain()
			store := credential.New(credential.Options{StateDir: t.TempDir(), Keychain: chain.keychain()})
			err := store.Put(t.Context(), acme, "octocat", credential.NewSecret(test.text), false)
			var fault *credential.KeychainError
			if !errors.As(err, &fault) || fault.Kind != test.want || fault.Hint() != "gomirror auth login --owner acme" {
				t.Errorf("put: got %v, want the kind %q", err, test.want)
			}
			if leaks(fmt.Sprint(err)) || len(chain.items) > 0 {
				t.Errorf("put: got %v, the keychain has %d items", err, len(chain.items))
			}
			if test.text == "" {
				return
			}
			store = credential.New(credential.Options{Environment: credential.NewSecret(test.text)})
			if _, err := store.Token(t.Context(), "github.com", "acme"); err == nil || leaks(err.Error()) {
				t.Errorf("environment: got %v, want an error", err)
			}
		})
	}
}
