package cmd

import (
	"encoding/base64"
	"strings"
	"testing"
)

// TestOriginals sets up, changes what a case changes, and asks what the user means.
func TestOriginals(t *testing.T) {
	const ours = "http://127.0.0.1:24000/t/0123456789abcdef0123456789abcdef"
	before := []string{"GOPROXY=https://a.example", "GOPRIVATE="}
	tests := []struct {
		name    string
		changed []string // in order, the last counts
		want    map[string]string
	}{
		{"nothing", nil, map[string]string{"GOPROXY": "https://a.example", "GOPRIVATE": ""}},
		{"another proxy", []string{"GOPROXY=off"}, map[string]string{"GOPROXY": "off", "GOPRIVATE": ""}},
		{"ours in another list", []string{"GOPROXY=" + ours}, map[string]string{"GOPROXY": "https://a.example", "GOPRIVATE": ""}},
		{"what was empty", []string{"GOPRIVATE=git.example"}, map[string]string{"GOPROXY": "https://a.example", "GOPRIVATE": "git.example"}},
		{"what was unset", []string{"GOSUMDB="}, map[string]string{"GOPROXY": "https://a.example", "GOPRIVATE": "", "GOSUMDB": ""}},
		{"what we have set", []string{"GONOPROXY=mine"}, map[string]string{"GOPROXY": "https://a.example", "GOPRIVATE": "", "GONOPROXY": "mine"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			environ := before
			env := &Env{Environ: func() []string { return environ }}
			orig, err := env.originals()
			if err != nil {
				t.Fatal(err)
			}
			encoded, err := orig.encode(map[string]string{"GOPROXY": ours + "|direct", "GONOPROXY": "none"})
			if err != nil {
				t.Fatal(err)
			}
			if text, err := base64.RawURLEncoding.DecodeString(encoded); err != nil || strings.Contains(string(text), ours) {
				t.Errorf("got %q (%v), want no address of ours in it", text, err)
			}
			environ = append([]string{"GOPRIVATE=", "GOPROXY=" + ours + "|direct", "GONOPROXY=none", originalsVar + "=" + encoded}, tt.changed...)
			got, err := env.originals()
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range goVars() {
				want, set := tt.want[name]
				if (got[name] != nil) != set || set && *got[name] != want {
					t.Errorf("%s: got %v, want %q, set: %t", name, got[name], want, set)
				}
			}
		})
	}
}
