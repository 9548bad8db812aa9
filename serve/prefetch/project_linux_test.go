package prefetch

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/module"
)

// TestRunning has a real process that is named go work in a project.
func TestRunning(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module example.com/m\n\nrequire example.com/a v1.2.3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cat, err := exec.LookPath("cat")
	if err != nil {
		t.Fatal(err)
	}
	// It reads its input until we close it, whatever its name. -u is one of its flags
	// and says nothing to wantsZips.
	named := filepath.Join(t.TempDir(), "go")
	if err := os.Symlink(cat, named); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(named, "-u")
	cmd.Dir = dir
	cmd.Env = []string{"GOPROXY=http://127.0.0.1:1/t/ours,direct", "GONOPROXY=corp.example"}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); cmd.Wait() })
	want := module.Version{Path: "example.com/a", Version: "v1.2.3"}
	for _, through := range []bool{true, false} {
		running := Running(func(goproxy string) bool { return through && strings.Contains(goproxy, "/t/ours") })
		found := slices.ContainsFunc(running, func(p Project) bool {
			return slices.Contains(p.Requires, want) && !p.Zips && slices.Contains(p.Private, "corp.example")
		})
		if found != through {
			t.Errorf("the project of a go command that asks us is %v: found is %v", through, found)
		}
	}
}
