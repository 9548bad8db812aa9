//go:build unix

package cache

import (
	"io/fs"
	"path/filepath"
	"syscall"
	"testing"
)

func clearUmask() { syscall.Umask(0) }

func TestModesWhateverTheUmask(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "cache")
	// The last thing it does is refused: that leaves a file in quarantine.
	if err := second(t, "fill", dir).Run(); err == nil {
		t.Error("a contradiction was taken")
	}
	seen := 0
	err := filepath.WalkDir(filepath.Dir(dir), func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		seen++
		want := fileMode
		if entry.IsDir() {
			want = folderMode
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has mode %o, want %o", name, got, want)
		}
		return nil
	})
	if err != nil || seen < 20 {
		t.Errorf("walked %d files, %v", seen, err)
	}
}
