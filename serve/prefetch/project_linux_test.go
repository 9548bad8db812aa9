package prefetch

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); cmd.Wait() })
	want := module.Version{Path: "example.com/a", Version: "v1.2.3"}
	found := slices.ContainsFunc(Running(), func(p Project) bool { return slices.Contains(p.Requires, want) && !p.Zips })
	if !found {
		t.Errorf("the project of a running go command was not found")
	}
}
