package credential

import (
	"fmt"
	"io"
	"log/slog"
	"unique"

	"github.com/gomirror/gomirror/serve/redact"
)

const (
	redacted = "REDACTED"

	minSecret = redact.MinSecret // a shorter one could not be redacted

	// maxSecret is what Windows' Credential Manager takes for a password; the other
	// keychains take more. GitHub's longest tokens have some 500 bytes.
	maxSecret = 2560
)

// Secret is a token. However it is printed, logged or encoded, it says REDACTED;
// [Secret.Reveal] alone gives it away. Equal secrets are equal by ==.
//
// It holds a handle and not a string because fmt, which calls no methods of
// unexported fields, would print the string of a Secret deep in a struct.
type Secret struct{ text unique.Handle[string] }

// NewSecret returns the Secret of a text, "" for none. From then on the text is
// redacted wherever gomirror prints.
func NewSecret(text string) Secret {
	if text == "" {
		return Secret{}
	}
	redact.Secret(text)
	return Secret{unique.Make(text)}
}

// Reveal returns the text: for an Authorization header and git's askpass.
func (s Secret) Reveal() string {
	if s.Empty() {
		return ""
	}
	return s.text.Value()
}

// Empty reports whether there is no text.
func (s Secret) Empty() bool { return s == Secret{} }

func (s Secret) String() string               { return redacted }
func (s Secret) GoString() string             { return redacted }
func (s Secret) LogValue() slog.Value         { return slog.StringValue(redacted) }
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// Format serves the verbs that don't ask for String, such as %d and %x.
func (s Secret) Format(f fmt.State, _ rune) { io.WriteString(f, redacted) }

// errGarbage and errTooBig say what is wrong with a text without telling any of it.
var (
	errGarbage = fmt.Errorf("want %d or more visible ASCII characters without spaces", minSecret)
	errTooBig  = fmt.Errorf("want %d bytes at most", maxSecret)
)

// check tells texts that can't be a token from others. It goes into a header and into
// the line-wise protocols of git and of macOS' security command, so a line break in
// it would be an injection.
func (s Secret) check() error {
	text := s.Reveal()
	if len(text) > maxSecret {
		return errTooBig
	}
	if len(text) < minSecret {
		return errGarbage
	}
	for i := range len(text) {
		if text[i] <= ' ' || text[i] > '~' {
			return errGarbage
		}
	}
	return nil
}
