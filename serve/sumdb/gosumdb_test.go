package sumdb

import (
	"crypto/rand"
	"net/http"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
)

func TestParseGOSUMDB(t *testing.T) {
	key := func(name string) string {
		_, vkey, err := note.GenerateKey(rand.Reader, name)
		if err != nil {
			t.Fatal(err)
		}
		return vkey
	}
	std := defaultSource()
	own, slashed := key("sum.example.com"), key("sum.example.com/team/db")
	for _, tc := range []struct {
		name, gosumdb string
		db, key       string   // "" and "" are off
		remotes       []string // in order
		err           string
	}{
		{"unset", "", defaultName, std.key, []string{"https://sum.golang.org"}, ""},
		{"known name", "sum.golang.org", defaultName, std.key, []string{"https://sum.golang.org"}, ""},
		{"key of the known name", std.key, defaultName, std.key, []string{"https://sum.golang.org"}, ""},
		{"alias for China", "sum.golang.google.cn", defaultName, std.key, []string{"https://sum.golang.google.cn", "https://sum.golang.org"}, ""},
		{"off", "off", "", "", nil, ""},
		{"key", own, "sum.example.com", own, []string{"https://sum.example.com"}, ""},
		{"key and URL", own + " http://127.0.0.1:1/db/", "sum.example.com", own, []string{"http://127.0.0.1:1/db", "https://sum.example.com"}, ""},
		{"known name and URL", "sum.golang.org https://sum.example.com", defaultName, std.key, []string{"https://sum.example.com", "https://sum.golang.org"}, ""},
		{"URL that is the name", own + " https://sum.example.com", "sum.example.com", own, []string{"https://sum.example.com"}, ""},
		{"name with slashes", slashed, "sum.example.com/team/db", slashed, []string{"https://sum.example.com/team/db"}, ""},
		{"unknown name", "sum.example.com", "", "", nil, "want a known name or a key"},
		{"three fields", own + " https://a https://b", "", "", nil, "too many fields"},
		{"no URL", own + " sum.example.com", "", "", nil, "must be a URL"},
		{"name with a query", key("sum.example.com?x"), "", "", nil, "must be a host"},
		{"name with a user", key("me@sum.example.com"), "", "", nil, "must be a host"},
		{"name that ends in a slash", key("sum.example.com/"), "", "", nil, "must be a host"},
		{"name that climbs", key("../x"), "", "", nil, "must be a host"},
		{"damaged key", own[:len(own)-4], "", "", nil, "want a known name or a key"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			src, err := parseGOSUMDB(tc.gosumdb, std)
			if (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
				t.Fatalf("got error %v, want %q", err, tc.err)
			}
			if src.name != tc.db || src.key != tc.key {
				t.Errorf("got %s with key %s, want %s with %s", src.name, src.key, tc.db, tc.key)
			}
			if src.name == "" {
				return
			}
			var remotes []string
			for _, r := range src.remotes(http.DefaultClient, "") {
				remotes = append(remotes, r.Name())
			}
			if !slices.Equal(remotes, tc.remotes) {
				t.Errorf("got remotes %q, want %q", remotes, tc.remotes)
			}
			if strings.ContainsAny(src.folder(), `/\:`) {
				t.Errorf("got folder %q", src.folder())
			}
		})
	}
}

// TestDefaultKey is the only test of the real database's key.
func TestDefaultKey(t *testing.T) {
	v, err := note.NewVerifier(defaultKey)
	if err != nil || v.Name() != defaultName {
		t.Errorf("got %v, %v", v, err)
	}
}
