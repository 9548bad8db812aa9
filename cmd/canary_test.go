package cmd

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// canaryCommands look for a secret where it must not be.
//
//	[!] canary TEXT PATH…       TEXT is in no file below PATH, nor in a file's name, in
//	                            any form that it takes on its way; with ! it is in one
//	redirect-lab TOKEN          see redirectLab
func canaryCommands() map[string]func(*testscript.TestScript, bool, []string) {
	return map[string]func(*testscript.TestScript, bool, []string){
		"canary":       canary,
		"redirect-lab": redirectLab,
	}
}

func canary(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: [!] canary TEXT PATH…")
	}
	needles := forms(args[0])
	files, size := 0, 0
	var hits []string
	for _, path := range args[1:] {
		ts.Check(filepath.WalkDir(ts.MkAbs(path), func(name string, d fs.DirEntry, err error) error {
			// What a program that ends takes away can tell nobody anything.
			gone := func(err error) bool { return errors.Is(err, fs.ErrNotExist) && name != ts.MkAbs(path) }
			if gone(err) {
				return nil
			} else if err != nil {
				return err
			}
			text := []byte(name)
			if d.Type().IsRegular() {
				content, err := os.ReadFile(name)
				if err != nil && !gone(err) {
					return err
				}
				text = append(append(text, '\n'), content...)
			}
			files, size = files+1, size+len(text)
			if i := slices.IndexFunc(needles, func(n string) bool { return bytes.Contains(text, []byte(n)) }); i >= 0 {
				hits = append(hits, fmt.Sprintf("%s (form %d)", name, i))
			}
			return nil
		}))
	}
	fmt.Fprintf(ts.Stdout(), "%d files, %d bytes, %d hits\n%s\n", files, size, len(hits), strings.Join(hits, "\n"))
	if (len(hits) > 0) != neg {
		ts.Fatalf("the canary is in %d of %d files: %q", len(hits), files, hits)
	}
}

// forms returns the shapes of a secret: as it is, as in a URL, in hex, and what base64
// makes of it, whatever stands before: a user name and a colon do in Basic auth.
func forms(secret string) []string {
	all := []string{secret, url.QueryEscape(secret), url.PathEscape(secret), hex.EncodeToString([]byte(secret))}
	for before := range 3 {
		for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			text := encoding.EncodeToString([]byte(strings.Repeat("x", before) + secret))
			// Of the first and the last group some bits are of the neighbours'.
			all = append(all, text[(before*8+5)/6:len(text)-2])
		}
	}
	return all
}

// TestForms hides a secret as programs do. A search that finds nothing because it
// looks for the wrong text would pass every test.
func TestForms(t *testing.T) {
	const secret = "ghp_CANARY/CANARY+canary0123456789abcdef"
	for _, tc := range []struct{ name, text string }{
		{"as it is", "token " + secret},
		{"in a query", "https://x.example/?token=" + url.QueryEscape(secret)},
		{"in a path", "https://x.example/" + url.PathEscape(secret) + "/y"},
		{"in hex", "dump " + hex.EncodeToString([]byte(secret))},
		{"alone in base64", base64.StdEncoding.EncodeToString([]byte(secret))},
		{"with a user", "Basic " + base64.StdEncoding.EncodeToString([]byte("x-access-token:"+secret))},
		{"with another user", "Basic " + base64.StdEncoding.EncodeToString([]byte("octo:"+secret))},
		{"with a third user", "Basic " + base64.StdEncoding.EncodeToString([]byte("me:"+secret+"\n"))},
		{"in a document", base64.URLEncoding.EncodeToString([]byte(`{"token":"` + secret + `","x":1}`))},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if !slices.ContainsFunc(forms(secret), func(f string) bool { return strings.Contains(tc.text, f) }) {
				t.Errorf("not found in %q", tc.text)
			}
		})
	}
	for _, f := range forms(secret) {
		if len(f) < 20 {
			t.Errorf("%q is found by chance", f)
		}
	}
}
