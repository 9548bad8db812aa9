package cache

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/mod/module"
)

// A cache that is removed while it is in use is empty, and no more than that.
func TestFolderGone(t *testing.T) {
	aside := func(dir string) error { return os.Rename(dir, dir+".aside") }
	remade := func(do func(string) error) func(string) error {
		return func(dir string) error { return errors.Join(do(dir), os.Mkdir(dir, folderMode)) }
	}
	for name, do := range map[string]func(dir string) error{
		"removed": os.RemoveAll, "removed and made anew": remade(os.RemoveAll),
		"moved": aside, "moved and made anew": remade(aside),
	} {
		t.Run(name, func(t *testing.T) {
			if keptFolders == 0 {
				t.Skip("what is open can't be removed")
			}
			dir := filepath.Join(t.TempDir(), "cache")
			s := open(t, dir)
			fillVersion(t, s, Public, quoteV1, Info, Mod, Zip)
			if err := do(dir); err != nil {
				t.Fatal(err)
			}
			errs := make([]error, 8)
			var all sync.WaitGroup
			for i := range errs {
				all.Go(func() {
					v := module.Version{Path: fmt.Sprintf("example.com/m%d", i), Version: "v1.0.0"}
					errs[i] = errors.Join(s.Negative(Public, Key{v.Path, "", Latest}, Meta{Status: 404}), fillAll(s, Public, v, Verified), readAll(s, v))
				})
			}
			all.Wait()
			if err := errors.Join(errs...); err != nil {
				t.Fatal(err)
			}
			wantMiss(t, s, Public, kindKey(t, quoteV1, Zip))
			fillVersion(t, s, Public, quoteV1, Info, Mod, Zip)
			wantWhole(t, s, Public)
			wantNoDrafts(t, s)
			if _, err := os.Stat(filepath.Join(dir, filepath.FromSlash(fileName(Public, kindKey(t, quoteV1, Zip))))); err != nil {
				t.Errorf("not kept where the path leads: %v", err)
			}
		})
	}
}

// Who only reads sees it too when a cache that was removed is put back.
func TestFolderPutBack(t *testing.T) {
	if keptFolders == 0 {
		t.Skip("what is open can't be removed")
	}
	dir := filepath.Join(t.TempDir(), "cache")
	s := open(t, dir)
	files := fillVersion(t, s, Public, quoteV1, Info, Mod, Zip)
	err := errors.Join(os.CopyFS(dir+".copy", os.DirFS(dir)), os.Chmod(dir+".copy", folderMode), os.RemoveAll(dir))
	if err != nil {
		t.Fatal(err)
	}
	wantMiss(t, s, Public, kindKey(t, quoteV1, Zip))
	if err := os.Rename(dir+".copy", dir); err != nil {
		t.Fatal(err)
	}
	for kind, want := range files {
		if got, _ := read(t, s, Public, kindKey(t, quoteV1, kind)); !bytes.Equal(got, want) {
			t.Errorf("kind %d: got %d bytes, want %d", kind, len(got), len(want))
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// A stop that comes first finds the cache that was put back too.
func TestCloseAfterFolderPutBack(t *testing.T) {
	if keptFolders == 0 {
		t.Skip("what is open can't be removed")
	}
	dir := filepath.Join(t.TempDir(), "cache")
	s := open(t, dir)
	begin(t, s, Public, strong, sent(1<<20))
	err := errors.Join(os.CopyFS(dir+".copy", os.DirFS(dir)), os.Chmod(dir+".copy", folderMode), os.RemoveAll(dir), os.Rename(dir+".copy", dir))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	wantPartial(t, open(t, dir), Public, strong, sent(1<<20)).Close()
}

// Where the folder can't be made again it is our own disk that is at fault.
func TestFolderCannotBeMadeAgain(t *testing.T) {
	if keptFolders == 0 {
		t.Skip("what is open can't be removed")
	}
	dir := filepath.Join(t.TempDir(), "cache")
	s := open(t, dir)
	err := errors.Join(os.RemoveAll(dir), os.WriteFile(dir, nil, fileMode))
	if err != nil {
		t.Fatal(err)
	}
	k := kindKey(t, quoteV1, Mod)
	full := (*FullError)(nil)
	if err := fill(s, Public, k, bodies(t, quoteV1)[Mod], Verified); !errors.As(err, &full) || full.Dir != dir || full.Hint() == (&FullError{}).Hint() || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("fill: %v, want a FullError of %s", err, dir)
	}
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	fillVersion(t, s, Public, quoteV1, Info, Mod, Zip)
	if err := errors.Join(s.Close(), os.RemoveAll(dir)); err != nil {
		t.Fatal(err)
	}
	if err := fill(s, Public, k, bodies(t, quoteV1)[Mod], Verified); err == nil {
		t.Error("a closed store is filled")
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("a closed store makes its folder again")
	}
}

func TestReadOnly(t *testing.T) {
	s := open(t, t.TempDir())
	fault := syscall.EROFS
	if runtime.GOOS == "windows" {
		fault = 19 // ERROR_WRITE_PROTECT
	}
	s.disk.fault = func() error { return &fs.PathError{Op: "open", Path: "x", Err: fault} }
	err := fill(s, Public, kindKey(t, quoteV1, Zip), bodies(t, quoteV1)[Zip], Verified)
	full := (*FullError)(nil)
	if !errors.As(err, &full) || !strings.HasSuffix(err.Error(), s.Dir()+": it is on a file system that is mounted read-only") {
		t.Fatalf("got %v", err)
	}
	if got := full.Hint(); !strings.HasPrefix(got, "move the cache: gomirror config set cache.dir DIR; ") {
		t.Errorf("got the hint %q", got)
	}
}
