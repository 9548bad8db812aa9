package doctor

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestTakenFlags asks the real go, and wants it to write nothing.
func TestTakenFlags(t *testing.T) {
	t.Parallel()
	path, err := exec.LookPath("go")
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	o := &Options{
		Environ: func() []string {
			return []string{"HOME=" + home, "USERPROFILE=" + home, "PATH=" + os.Getenv("PATH"), "SYSTEMROOT=" + os.Getenv("SYSTEMROOT")}
		},
		Exec: func(ctx context.Context, dir string, environ []string, name string, args ...string) ([]byte, error) {
			c := exec.CommandContext(ctx, name, args...)
			c.Dir, c.Env = dir, environ
			out, err := c.CombinedOutput()
			if err != nil {
				err = said(out)
			}
			return out, err
		},
	}
	tests := []struct {
		flags string
		kept  []string
		ok    bool
	}{
		{"", nil, true},
		{"-modcacherw", []string{"-modcacherw"}, true},
		{"-mod=mod", []string{"-mod=mod"}, true},
		{"-mod=readonly", []string{"-mod=readonly"}, true},
		{"-mod=vendor -insecure", []string{"-mod=vendor", "-insecure"}, true},
		{"'-ldflags=-s -w' -tags=a,b", []string{"'-ldflags=-s -w'", "-tags=a,b"}, true},
		{"-modfile=/none/go.mod", []string{"-modfile=/none/go.mod"}, true}, // it may be right where there is a module
		{"-mod=bogus", []string{}, false},
		{"--mod=bogus -modcacherw", []string{"-modcacherw"}, false},
		{"-mod bogus -modcacherw", []string{"-modcacherw"}, false},
		{"-modcacherw=maybe -mod=mod", []string{"-mod=mod"}, false},
		{"-buildvcs=x -bogus=3 -x '-ldflags=-s -w'", []string{"-x", "'-ldflags=-s -w'"}, false},
		{"-bogus", []string{}, false},
	}
	for _, test := range tests {
		kept, err := o.takenFlags(t.Context(), Go{Path: path, Now: GoEnv{GOFLAGS: test.flags}})
		if !slices.Equal(kept, test.kept) || (err == nil) != test.ok {
			t.Errorf("%s: got %q, %v; want %q", test.flags, kept, err, test.kept)
		}
	}
	left, err := filepath.Glob(filepath.Join(home, "*"))
	if hidden, _ := filepath.Glob(filepath.Join(home, ".*")); err != nil || len(left)+len(hidden) > 0 {
		t.Errorf("go left %q %q, %v", left, hidden, err)
	}
}

type said string

func (s said) Error() string { return string(s) }

func TestSplitFlags(t *testing.T) {
	t.Parallel()
	for list, want := range map[string][]string{
		"": nil, "  ": nil, " -a  -b=c\t-d ": {"-a", "-b=c", "-d"}, `"-a=b c" '-d="e f"' -g`: {`"-a=b c"`, `'-d="e f"'`, "-g"}, `'-a b`: {`'-a b`},
	} {
		if diff := cmp.Diff(want, splitFlags(list)); diff != "" {
			t.Errorf("%q:\n%s", list, diff)
		}
	}
}
