package cache

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestListFaultsNameNothing has folders of a private module that can't be read: what
// lists them is logged without -v, and a path is a name.
func TestListFaultsNameNothing(t *testing.T) {
	t.Parallel()
	s, err := Open(Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, dir := range []string{movedDir, markerDir} {
		private := filepath.Join(s.Dir(), filepath.FromSlash(dir), "github.com", "acme")
		if err := os.MkdirAll(private, 0o755); err != nil {
			t.Fatal(err)
		}
		for folder := filepath.Dir(private); folder != filepath.Dir(s.Dir()); folder = filepath.Dir(folder) {
			if err := os.Chmod(folder, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chmod(private, 0); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.Chmod(private, 0o700) })
	}
	listed := make(chan [2]error)
	go func() { // ends with its thread, which is not root any more
		runtime.LockOSThread()
		if os.Getuid() == 0 {
			if err := unix.Setfsuid(65534); err != nil {
				t.Error(err)
			}
		}
		_, moves := s.Moves()
		_, unverified := s.Unverified()
		listed <- [2]error{moves, unverified}
	}()
	for _, err := range <-listed {
		if err == nil || strings.Contains(err.Error(), "acme") {
			t.Errorf("got %v, want a fault without the name", err)
		}
	}
}
