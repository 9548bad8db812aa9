//go:build unix

package cache

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
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

// A link in the cache, however it came there, leads nowhere outside.
func TestLinksLeadNowhere(t *testing.T) {
	outside, s := t.TempDir(), open(t, t.TempDir())
	files := bodies(t, quoteV1)
	held := filepath.Join(outside, "!quote", "@v")
	if err := errors.Join(os.MkdirAll(held, 0o700), os.WriteFile(filepath.Join(held, "v1.0.0.mod"), files[Mod], 0o600)); err != nil {
		t.Fatal(err)
	}
	before := tree(t, outside)
	for _, name := range []string{"download", "private", "meta/public", "meta/versions"} {
		folder := filepath.Join(s.Dir(), name)
		if err := errors.Join(os.MkdirAll(folder, 0o700), os.Symlink(outside, filepath.Join(folder, "example.com"))); err != nil {
			t.Fatal(err)
		}
	}
	for _, tr := range []Tree{Public, Private} {
		for kind, body := range files {
			k := kindKey(t, quoteV1, kind)
			if e, err := s.Get(tr, k); err == nil || errors.Is(err, fs.ErrNotExist) {
				t.Errorf("Get(%s, %s) = %v, %v; want it refused", tr, k, e, err)
			}
			if err := fill(s, tr, k, body, Verified); err == nil {
				t.Errorf("%s was committed through a link", k)
			}
		}
	}
	if after := tree(t, outside); len(after) != len(before) {
		t.Errorf("written outside: %v", after)
	}
}

// A private zip that is gone is looked for among the public ones, and that may need the
// lock that Commit still holds.
func TestEntryWaitsForNoCommit(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	s := open(t, dir)
	d, err := s.Draft(Private, kindKey(t, quoteV1, Zip))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.ReadFrom(bytes.NewReader(bodies(t, quoteV1)[Zip])); err != nil {
		t.Fatal(err)
	}
	if err := d.Check(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 2)
	d.OnSound(func() {
		if err := os.Rename(dir, dir+".aside"); err != nil {
			t.Error(err)
		}
		go func() { // ends with Commit
			_, err := d.Entry()
			ended <- err
		}()
		time.Sleep(50 * time.Millisecond) // it comes to the lock
	})
	go func() { // ends when nobody holds the draft
		_ = d.Commit(Meta{}) // the cache is gone: what it says of that is no matter
		ended <- nil
	}()
	for range 2 {
		select {
		case err := <-ended:
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("Entry: %v, want a miss", err)
			}
		case <-time.After(5 * time.Second):
			t.Fatal("Commit and Entry wait for each other")
		}
	}
	d.Discard()
}

// cpuTime is the processor time that this process has used.
func cpuTime() time.Duration {
	var use syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &use) // it can't fail for oneself
	return time.Duration(use.Utime.Nano() + use.Stime.Nano())
}

// playStarve commits with no descriptor left, and serves from the drafts.
func playStarve(dir string) error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	limit.Cur = 64
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	s, err := Open(Options{Dir: dir})
	if err != nil {
		return err
	}
	files, drafts := bodies(&testing.B{}, quoteV1), make(map[Kind]*Draft)
	for kind, body := range files {
		d, err := s.Draft(Public, Key{quoteV1.Path, quoteV1.Version, kind})
		if err != nil {
			return err
		}
		if _, err := d.ReadFrom(bytes.NewReader(body)); err != nil {
			return err
		}
		if err := d.Check(); err != nil {
			return err
		}
		drafts[kind] = d
	}
	var taken []*os.File
	for {
		f, err := os.Open(os.DevNull)
		if err != nil {
			break
		}
		taken = append(taken, f)
	}
	for kind, d := range drafts {
		if err := starved(d, files[kind]); err != nil {
			return fmt.Errorf("kind %d without descriptors: %w", kind, err)
		}
	}
	for _, f := range taken {
		f.Close()
	}
	return errors.Join(fillAll(s, Public, quoteV1, Verified), s.Close())
}

func starved(d *Draft, want []byte) error {
	err := d.Commit(Meta{})
	if full := (*FullError)(nil); !errors.As(err, &full) || !outOfFiles(err) {
		return fmt.Errorf("commit: %w", err)
	}
	e, err := d.Entry()
	if err != nil {
		return err
	}
	d.Discard()
	if got, err := io.ReadAll(e); err != nil || !bytes.Equal(got, want) {
		return fmt.Errorf("read %d bytes: %w", len(got), err)
	}
	return e.Close()
}

func TestNoDescriptorsLeft(t *testing.T) {
	dir := t.TempDir()
	if err := second(t, "starve", dir).Run(); err != nil {
		t.Fatal(err)
	}
	s := open(t, dir)
	wantNoDrafts(t, s)
	wantWhole(t, s, Public)
}
