package redact_test

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/gomirror/gomirror/serve/redact"
)

func TestText(t *testing.T) {
	const capability = "0123456789abcdef0123456789ABCDEF"
	tests := []struct{ name, text, want string }{
		{"capability", "GET http://127.0.0.1:20001/t/" + capability + "/x", "GET http://127.0.0.1:20001/t/REDACTED/x"},
		{"classic token", "user ghp_0123456789abcdefghijABCDEFGHIJ012345 is", "user REDACTED is"},
		{"token of an app, glued", "xghs_0123456789abcdefghij.", "xREDACTED."},
		{"fine-grained token", "github_pat_11AAAAAAA0abcdefghijkl_0123456789", "REDACTED"},
		{"a token cut short", "ghu_0123456789abcdef", "REDACTED"},
		{"a prefix in prose", "ghp_... or github_pat_...", "ghp_... or github_pat_..."},
		{"signed address", "https://codeload.example/x?token=AAAB&v=1", "https://codeload.example/x?token=REDACTED&v=1"},
		{"signed address, quoted", `Get "https://codeload.example/x?v=1&token=AAAB": EOF`, `Get "https://codeload.example/x?v=1&token=REDACTED": EOF`},
		{"signed address in JSON", `{"URL":"https://codeload.example/x?v=1\u0026token=AAAB\u0026w=2"}`, `{"URL":"https://codeload.example/x?v=1\u0026token=REDACTED\u0026w=2"}`},
		{"a module path", "github.com/acme/ghs_tools/t/v2@v2.0.1", "github.com/acme/ghs_tools/t/v2@v2.0.1"},
		{"nothing", "", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := redact.Text(test.text); got != test.want {
				t.Errorf("got  %q\nwant %q", got, test.want)
			}
		})
	}
}

// TestSecret has no form of GitHub's, so that only the registration can find it.
func TestSecret(t *testing.T) {
	const secret = `correct+horse/battery"staple~42`
	before := redact.Text("before: " + secret)
	redact.Secret(secret)
	redact.Secret(secret)
	if before != "before: "+secret {
		t.Errorf("before it was registered: %q", before)
	}
	tests := []struct{ name, text, want string }{
		{"raw", "a " + secret + " b", "a REDACTED b"},
		{"twice", secret + secret, "REDACTEDREDACTED"},
		{"quoted", fmt.Sprintf("%q", secret), `"REDACTED"`},
		{"in a query", "https://x.example/?a=" + url.QueryEscape(secret) + "&b=1", "https://x.example/?a=REDACTED&b=1"},
		{"in a path", "https://x.example/" + url.PathEscape(secret) + "/y", "https://x.example/REDACTED/y"},
		{"as a password", "https://u:" + secret + "@x.example/", "https://u:REDACTED@x.example/"},
		{"in a header", "Authorization: Bearer " + secret, "Authorization: Bearer REDACTED"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := redact.Text(test.text); got != test.want {
				t.Errorf("got  %q\nwant %q", got, test.want)
			}
		})
	}
}

// TestBase64 puts random secrets at each place of a longer text: Basic authentication
// has a user name before the token.
func TestBase64(t *testing.T) {
	random := rand.New(rand.NewPCG(4, 22))
	encodings := map[string]*base64.Encoding{
		"std": base64.StdEncoding, "raw": base64.RawStdEncoding, "url": base64.URLEncoding, "raw url": base64.RawURLEncoding,
	}
	for length := redact.MinSecret; length < 44; length++ {
		secret := make([]byte, length)
		for i := range secret {
			secret[i] = byte('!' + random.IntN('~'-'!'+1))
		}
		redact.Secret(string(secret))
		for name, encoding := range encodings {
			for before := range 12 {
				for after := range 4 {
					text := strings.Repeat("u", before) + string(secret) + strings.Repeat("v", after)
					got := redact.Text("Basic " + encoding.EncodeToString([]byte(text)) + " end")
					if got != "Basic REDACTED end" {
						t.Fatalf("%s, %d before, %d after %q: %q", name, before, after, secret, got)
					}
				}
			}
		}
	}
}

func TestShortSecret(t *testing.T) {
	redact.Secret("")
	redact.Secret("a")
	redact.Secret("go.mod")
	if got, want := redact.Text("a go.mod"), "a go.mod"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestConcurrentUse(t *testing.T) {
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for j := range 20 {
				secret := fmt.Sprintf("worker-%d-secret-%d!", i, j)
				redact.Secret(secret)
				if got := redact.Text("a " + secret); got != "a REDACTED" {
					t.Errorf("got %q", got)
				}
			}
		})
	}
	all.Wait()
}

func BenchmarkText(b *testing.B) {
	redact.Secret("a-secret-of-the-usual-length-of-a-token-40")
	line := strings.Repeat("fill done key github.com/acme/x/@v/v1.2.3.zip dur 12ms ", 3)
	b.SetBytes(int64(len(line)))
	for b.Loop() {
		redact.Text(line)
	}
}
