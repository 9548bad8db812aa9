package upstream

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gomirror/gomirror/serve/githosttest"
)

func TestRootsFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	system, extra := githosttest.New(t).CAFile, githosttest.New(t).CAFile
	junk := filepath.Join(dir, "junk.pem")
	if err := os.WriteFile(junk, []byte("not a certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	read := func(name string) []byte {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return bytes.TrimSpace(text)
	}
	tests := []struct {
		name, extra, system string
		want                []string // files whose text the roots hold
		err                 string
	}{
		{"system alone", "", system, []string{system}, ""},
		{"system and extra", extra, system, []string{system, extra}, ""},
		{"extra without a certificate", junk, system, nil, "has no PEM certificate"},
		{"extra missing", filepath.Join(dir, "none.pem"), system, nil, "none.pem"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out := t.TempDir()
			got, err := RootsFile(tt.extra, out, tt.system)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("got %q and %v, want an error with %q", got, err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			text := read(got)
			for _, name := range tt.want {
				if !bytes.Contains(text, read(name)) {
					t.Errorf("%s is not in it", name)
				}
			}
			if n := certificates(text); n != len(tt.want) {
				t.Errorf("it has %d certificates, want %d", n, len(tt.want))
			}
			info, err := os.Stat(got)
			if err != nil || info.Mode().Perm()&0o077 != 0 {
				t.Errorf("mode is %v (%v), want 0600", info.Mode(), err)
			}
			if left, _ := os.ReadDir(out); len(left) != 1 {
				t.Errorf("folder holds %v, want the roots alone", left)
			}
		})
	}
}
