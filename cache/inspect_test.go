package cache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/module"
)

// listing is what lies in a folder, with times.
func listing(t testing.TB, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		fmt.Fprintln(&b, name, info.Size(), info.Mode(), info.ModTime())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestInspect(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	for i := range 40 {
		for _, tree := range []Tree{Public, Private} {
			v := module.Version{Path: fmt.Sprintf("example.com/%s%d", tree, i), Version: "v1.0.0"}
			if err := fillAll(s, tree, v, Verified); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	before := listing(t, dir)
	for _, test := range []struct{ sample, want int }{{0, 0}, {50, 50}, {1000, 240}} {
		found, err := Inspect(t.Context(), dir, test.sample)
		if err != nil || found.Checked != test.want || len(found.Wrong)+len(found.Quarantined) > 0 || found.LeftBytes > 0 {
			t.Errorf("sample of %d: got %+v, %v; want %d checked", test.sample, found, err, test.want)
		}
	}
	if after := listing(t, dir); after != before {
		t.Errorf("it changed the cache:\n%s\nwas\n%s", after, before)
	}
	// Each file alone, in both trees, is found when all are looked at.
	for _, name := range []string{"download/example.com/download3/@v/v1.0.0.zip", "private/example.com/private7/@v/v1.0.0.mod", "private/example.com/private7/@v/v1.0.0.info"} {
		path := filepath.Join(dir, filepath.FromSlash(name))
		good, err := os.ReadFile(path)
		if err == nil {
			err = os.WriteFile(path, good[1:], 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		found, err := Inspect(t.Context(), dir, 1000)
		if err != nil || len(found.Wrong) != 1 || found.Wrong[0].Path != path || found.Wrong[0].Reason == "" {
			t.Errorf("%s: got %+v, %v", name, found, err)
		}
		if err := os.WriteFile(path, good, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestInspectWithoutNotes has nothing to compare with but what is beside a zip.
func TestInspectWithoutNotes(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	v := module.Version{Path: "example.com/m", Version: "v1.0.0"}
	if err := fillAll(s, Public, v, Verified); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "meta")); err != nil {
		t.Fatal(err)
	}
	if found, err := Inspect(t.Context(), dir, 9); err != nil || found.Checked != 3 || len(found.Wrong) > 0 {
		t.Errorf("without a ledger: got %+v, %v", found, err)
	}
	zip := filepath.Join(dir, "download", "example.com", "m", "@v", "v1.0.0.zip")
	if err := os.WriteFile(zip, moduleZip(t, v, map[string]string{"go.mod": "module other\n"}), 0o600); err != nil {
		t.Fatal(err)
	}
	if found, err := Inspect(t.Context(), dir, 9); err != nil || len(found.Wrong) != 1 || found.Wrong[0].Path != zip {
		t.Errorf("another zip: got %+v, %v", found, err)
	}
	if err := os.Remove(zip + "hash"); err != nil {
		t.Fatal(err)
	}
	if found, err := Inspect(t.Context(), dir, 9); err != nil || len(found.Wrong) > 0 {
		t.Errorf("with nothing to compare with: got %+v, %v", found, err)
	}
	if _, err := os.Stat(zip + "hash"); err == nil {
		t.Error("it wrote a hash")
	}
}

func TestInspectOfNothing(t *testing.T) {
	dir := t.TempDir()
	if found, err := Inspect(t.Context(), dir, 9); err != nil || found.Checked > 0 {
		t.Errorf("an empty folder: got %+v, %v", found, err)
	}
	if _, err := Inspect(t.Context(), filepath.Join(dir, "none"), 9); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no folder: got %v", err)
	}
	s := open(t, dir)
	if err := fillAll(s, Public, module.Version{Path: "example.com/m", Version: "v1.0.0"}, Verified); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if found, err := Inspect(ctx, dir, 9); err != nil || found.Checked > 0 {
		t.Errorf("without time: got %+v, %v", found, err)
	}
}

// TestInspectInUse sees the folders of drafts of this process, and of none.
func TestInspectInUse(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	home, err := s.disk.settle()
	if err != nil {
		t.Fatal(err)
	}
	draft := filepath.Join(dir, filepath.FromSlash(home), "1")
	if err := os.WriteFile(draft, make([]byte, 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	old := s.now().Add(-2 * draftAge)
	if err := os.Chtimes(filepath.Dir(draft), old, old); err != nil {
		t.Fatal(err)
	}
	if found, err := Inspect(t.Context(), dir, 9); err != nil || found.LeftBytes > 0 {
		t.Errorf("in use: got %+v, %v", found, err)
	}
	unlockFile(s.disk.live)
	if found, err := Inspect(t.Context(), dir, 9); err != nil || found.LeftBytes != 1000 {
		t.Errorf("left: got %+v, %v; want 1000 bytes", found, err)
	}
}
