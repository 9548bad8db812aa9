package cache

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"golang.org/x/mod/module"
)

// The test binary is its own second process: TEST_CACHE_ROLE says what it does to
// the cache in TEST_CACHE_DIR.
func TestMain(m *testing.M) {
	role := os.Getenv("TEST_CACHE_ROLE")
	if role == "" {
		os.Exit(m.Run())
	}
	if err := play(role, os.Getenv("TEST_CACHE_DIR")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// second returns a command that plays a role in another process.
func second(t testing.TB, role, dir string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), "TEST_CACHE_ROLE="+role, "TEST_CACHE_DIR="+dir)
	cmd.Stderr = os.Stderr
	return cmd
}

func play(role, dir string) error {
	role, arg, _ := strings.Cut(role, " ")
	n := 0
	if _, err := fmt.Sscan(arg, &n); err != nil && arg != "" {
		return err
	}
	switch role {
	case "fill":
		return playFill(dir)
	case "hammer":
		return playHammer(dir)
	case "starve":
		return playStarve(dir)
	case "download":
		return playDownload(dir)
	case "die":
		return playDie(dir, n)
	}
	return fmt.Errorf("unknown role %q", role)
}

// playFill fills one version under an umask that hides nothing.
func playFill(dir string) error {
	clearUmask()
	s, err := Open(Options{Dir: dir})
	if err != nil {
		return err
	}
	if err := fillAll(s, Public, quoteV1, Unverified); err != nil {
		return err
	}
	if err := s.Negative(Private, Key{modPath: "example.com/b", kind: Latest}, Meta{}); err != nil {
		return err
	}
	d, err := s.Draft(Public, Key{quoteV1.Path, quoteV1.Version, Zip})
	if err != nil {
		return err
	}
	_, err = d.ReadFrom(strings.NewReader("left as a draft"))
	return errors.Join(err, fill(s, Public, Key{quoteV1.Path, quoteV1.Version, Mod}, []byte("module other\n"), ""))
}

func fillAll(s *Store, tree Tree, v module.Version, verdict Verdict) error {
	files := bodies(&testing.B{}, v)
	for _, kind := range []Kind{Zip, Info, Mod} {
		if err := fill(s, tree, Key{v.Path, v.Version, kind}, files[kind], verdict); err != nil {
			return err
		}
	}
	return nil
}

// playHammer writes, reads, lists and evicts what three others do too.
func playHammer(dir string) error {
	s, err := Open(Options{Dir: dir})
	if err != nil {
		return err
	}
	defer s.Close()
	errs := make([]error, 3)
	var group sync.WaitGroup
	for worker := range errs {
		group.Go(func() {
			for round := range 12 {
				v := module.Version{Path: fmt.Sprintf("example.com/m%d", round%3), Version: fmt.Sprintf("v1.%d.0", (round+worker)%4)}
				errs[worker] = errors.Join(errs[worker], fillAll(s, Public, v, Unverified), readAll(s, v))
				if round%5 == 4 {
					errs[worker] = errors.Join(errs[worker], s.Evict(v, "test"))
				}
				_, err := s.Unverified()
				errs[worker] = errors.Join(errs[worker], err)
			}
		})
	}
	group.Wait()
	return errors.Join(errs...)
}

// readAll wants each file of v right or, as another process may have evicted it, gone.
func readAll(s *Store, v module.Version) error {
	for kind, want := range bodies(&testing.B{}, v) {
		e, err := s.Get(Public, Key{v.Path, v.Version, kind})
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return err
		}
		got, err := io.ReadAll(e)
		if err := errors.Join(err, e.Close()); err != nil {
			return err
		}
		if !bytes.Equal(got, want) {
			return fmt.Errorf("read %d wrong bytes of %s, kind %d", len(got), v, kind)
		}
	}
	return nil
}

// playDie fills and evicts versions and is killed at its n-th change of the disk.
func playDie(dir string, n int) error {
	s, err := Open(Options{Dir: dir})
	if err != nil {
		return err
	}
	changes := 0
	s.disk.fault = func() error {
		if changes++; changes < n {
			return nil
		}
		self, err := os.FindProcess(os.Getpid())
		if err == nil {
			err = self.Kill()
		}
		if err != nil {
			return err
		}
		select {} // until the signal comes
	}
	for i := 0; ; i++ {
		v := module.Version{Path: "example.com/m", Version: fmt.Sprintf("v1.%d.%d", n, i)}
		if err := fillAll(s, Public, v, Unverified); err != nil {
			return err
		}
		if err := s.Evict(v, "test"); i%2 == 0 && err != nil {
			return err
		}
	}
}

func TestKilledAnywhere(t *testing.T) {
	for n := 1; n <= 50; n++ {
		dir := t.TempDir()
		if err := second(t, fmt.Sprintf("die %d", n), dir).Run(); err == nil {
			t.Fatalf("round %d was not killed", n)
		}
		s := open(t, dir)
		wantNoDrafts(t, s)
		wantWhole(t, s, Public)
		if folders, err := fs.ReadDir(s.disk.root().FS(), draftDir); err != nil || len(folders) != 1 {
			t.Errorf("drafts has %v, %v; want our own folder", folders, err)
		}
		for i := range 2 { // fill again what the kill cut short
			v := module.Version{Path: "example.com/m", Version: fmt.Sprintf("v1.%d.%d", n, i)}
			if err := fillAll(s, Public, v, Verified); err != nil {
				t.Error(err)
			}
		}
		wantWhole(t, s, Public)
		s.Close()
		if t.Failed() {
			t.Fatalf("after a kill at change %d", n)
		}
	}
}

func TestManyProcesses(t *testing.T) {
	dir := t.TempDir()
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			if err := second(t, "hammer", dir).Run(); err != nil {
				t.Errorf("one of four processes: %v", err)
			}
		})
	}
	group.Wait()
	s := open(t, dir)
	wantNoDrafts(t, s)
	wantWhole(t, s, Public)
	if notes, err := s.Quarantined(); err != nil || len(notes) == 0 {
		t.Errorf("Quarantined = %d notes, %v; want those of the evictions", len(notes), err)
	}
}
