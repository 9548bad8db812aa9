package cache

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/module"
)

const (
	firstCommit  = "1111111111111111111111111111111111111111"
	secondCommit = "2222222222222222222222222222222222222222"
)

// madeFrom are the files of a version that was made from a commit.
func madeFrom(t testing.TB, v module.Version, commit string) map[Kind][]byte {
	files := bodies(t, v)
	files[Info] = fmt.Appendf(nil, `{"Version":%q,"Time":"2024-05-06T07:08:09Z","Origin":{"VCS":"git","Hash":%q}}`, v.Version, commit)
	files[Zip] = moduleZip(t, v, map[string]string{"go.mod": "module " + v.Path + "\n", "a.go": "package a // " + commit + "\n"})
	return files
}

// fillFrom fills files of a private version as a source that knows its commit does.
func fillFrom(t testing.TB, s *Store, v module.Version, commit string, kinds ...Kind) error {
	t.Helper()
	files := madeFrom(t, v, commit)
	var errs []error
	for _, kind := range kinds {
		errs = append(errs, put(s, Private, kindKey(t, v, kind), files[kind], Meta{Upstream: "direct", OriginHash: commit}))
	}
	return errors.Join(errs...)
}

// put drafts, checks and commits one answer with a meta of its own.
func put(s *Store, tree Tree, k Key, body []byte, m Meta) error {
	d, err := s.Draft(tree, k)
	if err != nil {
		return err
	}
	defer d.Discard()
	if _, err := d.ReadFrom(bytes.NewReader(body)); err != nil {
		return err
	}
	if err := d.Check(); err != nil {
		return err
	}
	d.Judge(Exempt)
	return d.Commit(m)
}

func wantMoves(t testing.TB, s *Store, want ...string) {
	t.Helper()
	moves, err := s.Moves()
	var got []string
	for _, m := range moves {
		got = append(got, m.String()+" "+m.Was[:1]+">"+m.Now[:1])
		if m.At.IsZero() {
			t.Errorf("%s: no time", m)
		}
	}
	if slices.Sort(got); err != nil || !slices.Equal(got, want) {
		t.Errorf("Moves() = %q, %v; want %q", got, err, want)
	}
}

func TestTagged(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	version := func(v string) module.Version { return module.Version{Path: quoteV1.Path, Version: v} }
	pseudo := version("v0.0.0-20240506070809-111111111111")
	for _, v := range []module.Version{version("v1.0.0"), version("v1.1.0"), version("v2.0.0+incompatible"), pseudo} {
		if err := fillFrom(t, s, v, firstCommit, Info, Mod, Zip); err != nil {
			t.Fatal(err)
		}
	}
	if err := put(s, Private, kindKey(t, version("v1.2.0"), Info), bodies(t, version("v1.2.0"))[Info], Meta{}); err != nil {
		t.Fatal(err) // of no known commit
	}
	steps := []struct {
		name    string
		commits map[string]string
		news    int
		want    []string
	}{
		{"nothing moved", map[string]string{"v1.0.0": firstCommit, "v1.1.0": firstCommit, "v2.0.0": firstCommit}, 0, nil},
		{"moved and gone", map[string]string{"v1.0.0": secondCommit, "v2.0.0+incompatible": firstCommit}, 2,
			[]string{"example.com/Quote@v1.0.0 1>2", "example.com/Quote@v1.1.0 1>d"}},
		{"no news", map[string]string{"v1.0.0": secondCommit, "v2.0.0+incompatible": firstCommit}, 0,
			[]string{"example.com/Quote@v1.0.0 1>2", "example.com/Quote@v1.1.0 1>d"}},
		{"moved on", map[string]string{"v1.0.0": "3333", "v1.1.0": firstCommit, "v2.0.0": secondCommit}, 2,
			[]string{"example.com/Quote@v1.0.0 1>3", "example.com/Quote@v2.0.0+incompatible 1>2"}},
		{"back again", map[string]string{"v1.0.0": firstCommit, "v1.1.0": firstCommit, "v2.0.0": firstCommit, "v9.0.0": secondCommit}, 0, nil},
	}
	for _, step := range steps {
		news, err := s.Tagged(quoteV1.Path, step.commits)
		if err != nil || len(news) != step.news {
			t.Errorf("%s: news %v, %v; want %d", step.name, news, err, step.news)
		}
		wantMoves(t, s, step.want...)
		wantMoves(t, open(t, dir), step.want...) // as the next start finds it
	}
	if names := tree(t, filepath.Join(dir, movedDir)); len(names) != 0 {
		t.Errorf("markers left: %v", names)
	}
	if news, err := s.Tagged("example.com/never-seen", map[string]string{"v1.0.0": firstCommit}); err != nil || len(news) != 0 {
		t.Errorf("of a module that is not held: %v, %v", news, err)
	}
}

// Files of the second commit never come to stand beside those of the first.
func TestFrozen(t *testing.T) {
	tests := []struct {
		name    string
		held    []Kind // of the first commit
		told    bool   // the tags were listed meanwhile
		comes   Kind   // of the second one
		refused bool
	}{
		{"an .info that is held", []Kind{Info, Mod, Zip}, false, Info, false},
		{"a zip that is held", []Kind{Info, Mod, Zip}, false, Zip, false},
		{"a zip that is not", []Kind{Info, Mod}, false, Zip, true},
		{"a .mod that is not", []Kind{Info}, false, Mod, true},
		{"an .info that is not", []Kind{Mod, Zip}, false, Info, true},
		{"a zip after a list", []Kind{Info, Mod}, true, Zip, true},
		{"a held zip after a list", []Kind{Info, Mod, Zip}, true, Zip, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := open(t, t.TempDir())
			if err := fillFrom(t, s, quoteV1, firstCommit, tt.held...); err != nil {
				t.Fatal(err)
			}
			if tt.told {
				if _, err := s.Tagged(quoteV1.Path, map[string]string{"v1.0.0": secondCommit}); err != nil {
					t.Fatal(err)
				}
			}
			err := fillFrom(t, s, quoteV1, secondCommit, tt.comes)
			var moved *MovedError
			if errors.As(err, &moved) != tt.refused || err != nil && !tt.refused {
				t.Fatalf("got %v, want refused: %t", err, tt.refused)
			}
			if tt.refused && (moved.Was != firstCommit || moved.Now != secondCommit || moved.Hint() != "gomirror refresh example.com/Quote@v1.0.0 --accept-moved") {
				t.Errorf("got %+v, hint %q", moved.Move, moved.Hint())
			}
			old := madeFrom(t, quoteV1, firstCommit)
			for _, kind := range tt.held {
				if got, _ := read(t, s, Private, kindKey(t, quoteV1, kind)); !bytes.Equal(got, old[kind]) {
					t.Errorf("kind %d: the first bytes are gone", kind)
				}
			}
			if !slices.Contains(tt.held, tt.comes) {
				wantMiss(t, s, Private, kindKey(t, quoteV1, tt.comes))
			}
			wantMoves(t, s, "example.com/Quote@v1.0.0 1>2")
			if notes, err := s.Quarantined(); err != nil || len(notes) != 0 {
				t.Errorf("quarantined: %+v, %v; one alarm is enough", notes, err)
			}
		})
	}
}

// What is proven to be of the first commit is welcome, wherever the tag is now.
func TestFrozenComesAgain(t *testing.T) {
	for _, now := range []string{secondCommit, Deleted} {
		s := open(t, t.TempDir())
		if err := fillFrom(t, s, quoteV1, firstCommit, Info, Mod, Zip); err != nil {
			t.Fatal(err)
		}
		commits := map[string]string{"v1.0.0": now}
		if now == Deleted {
			commits = nil
		}
		if _, err := s.Tagged(quoteV1.Path, commits); err != nil {
			t.Fatal(err)
		}
		if err := os.RemoveAll(filepath.Join(s.Dir(), "private")); err != nil {
			t.Fatal(err)
		}
		if err := fillFrom(t, s, quoteV1, firstCommit, Info, Mod, Zip); err != nil {
			t.Errorf("tag %s: %v", now, err)
		}
		wantMoves(t, s, "example.com/Quote@v1.0.0 1>"+now[:1])
	}
}

// The public tree goes by hashes alone: mirrors differ in what they say of an origin.
func TestPublicIsNotFrozenByCommit(t *testing.T) {
	s := open(t, t.TempDir())
	files := madeFrom(t, quoteV1, firstCommit)
	for _, kind := range []Kind{Info, Mod, Zip} {
		for _, commit := range []string{firstCommit, secondCommit} {
			if err := put(s, Public, kindKey(t, quoteV1, kind), files[kind], Meta{Upstream: "test", OriginHash: commit}); err != nil {
				t.Errorf("kind %d from commit %s: %v", kind, commit, err)
			}
		}
	}
	wantMoves(t, s)
}

func TestQueryOfAMovedTag(t *testing.T) {
	s := open(t, t.TempDir())
	if err := fillFrom(t, s, quoteV1, firstCommit, Info); err != nil {
		t.Fatal(err)
	}
	body := madeFrom(t, quoteV1, secondCommit)[Info]
	branch, latest := key(t, "example.com/!quote/@v/main.info"), key(t, "example.com/!quote/@latest")
	if err := put(s, Private, branch, body, Meta{}); !errors.As(err, new(*MovedError)) {
		t.Errorf("branch: got %v, want a MovedError", err)
	}
	wantMiss(t, s, Private, branch)
	wantMoves(t, s, "example.com/Quote@v1.0.0 1>2")
	if err := put(s, Private, latest, body, Meta{}); err != nil {
		t.Errorf("@latest: %v", err)
	}
	if err := put(s, Private, branch, madeFrom(t, quoteV1, firstCommit)[Info], Meta{}); err != nil {
		t.Errorf("branch at the first commit: %v", err)
	}
}

func TestUnfreeze(t *testing.T) {
	s := open(t, t.TempDir())
	next := module.Version{Path: quoteV1.Path, Version: "v1.1.0"}
	for _, v := range []module.Version{quoteV1, next} {
		if err := fillFrom(t, s, v, firstCommit, Info, Mod, Zip); err != nil {
			t.Fatal(err)
		}
	}
	for _, kind := range []Kind{Info, Mod, Zip} { // as when it was public
		if err := put(s, Public, kindKey(t, quoteV1, kind), madeFrom(t, quoteV1, firstCommit)[kind], Meta{}); err != nil {
			t.Fatal(err)
		}
		read(t, s, Private, kindKey(t, quoteV1, kind)) // in memory
	}
	if _, err := s.Tagged(quoteV1.Path, map[string]string{"v1.0.0": secondCommit, "v1.1.0": firstCommit}); err != nil {
		t.Fatal(err)
	}
	other := moduleZip(t, quoteV1, map[string]string{"go.mod": "module example.com/Quote\n", "a.go": "package other\n"})
	if err := fill(s, Public, kindKey(t, quoteV1, Zip), other, ""); !errors.As(err, new(*ContradictionError)) {
		t.Fatalf("other bytes: %v", err)
	}
	if err := s.Unfreeze(quoteV1); err != nil {
		t.Fatal(err)
	}
	if notes, err := s.Quarantined(); err != nil || len(notes) != 0 {
		t.Errorf("Quarantined() = %+v, %v; want the alarm ended", notes, err)
	}
	for _, kind := range []Kind{Info, Mod, Zip} {
		wantMiss(t, s, Private, kindKey(t, quoteV1, kind))
		wantMiss(t, s, Public, kindKey(t, quoteV1, kind))
	}
	for _, name := range []string{"private", "download"} {
		if diff := cmp.Diff(tree(t, filepath.Join(s.Dir(), name))["example.com/!quote/@v/list"], map[string]string{"private": "v1.1.0\n"}[name]); diff != "" {
			t.Errorf("list of %s:\n%s", name, diff)
		}
	}
	if m, err := s.VersionMeta(quoteV1); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("VersionMeta = %+v, %v; want it forgotten", m, err)
	}
	wantMoves(t, s)
	if err := fillFrom(t, s, quoteV1, secondCommit, Info, Mod, Zip); err != nil {
		t.Errorf("the second commit: %v", err)
	}
	if m, err := s.VersionMeta(quoteV1); err != nil || m.OriginHash != secondCommit || m.Moved != "" {
		t.Errorf("VersionMeta = %+v, %v", m, err)
	}
	if err := s.Unfreeze(module.Version{Path: quoteV1.Path, Version: "v1.9.0"}); err != nil {
		t.Errorf("Unfreeze of what is not held: %v", err)
	}
}

// The commit is known again after the ledger was lost.
func TestLedgerFindsTheCommit(t *testing.T) {
	s := open(t, t.TempDir())
	if err := fillFrom(t, s, quoteV1, firstCommit, Info, Mod, Zip); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(s.Dir(), filepath.FromSlash(ledgerDir))); err != nil {
		t.Fatal(err)
	}
	if m, err := s.VersionMeta(quoteV1); err != nil || m.OriginHash != firstCommit {
		t.Errorf("VersionMeta = %+v, %v; want commit %s", m, err, firstCommit)
	}
}

// tear leaves of a version's ledger what a loss of power may.
func tear(t testing.TB, s *Store, v module.Version) {
	t.Helper()
	if err := os.Truncate(filepath.Join(s.Dir(), filepath.FromSlash(ledgerName(kindKey(t, v, Info)))), 0); err != nil {
		t.Fatal(err)
	}
}

// A torn ledger hides no move of a tag, and does not make a private version one that the
// database is to be asked about.
func TestMovedUnderATornLedger(t *testing.T) {
	s := open(t, t.TempDir())
	if err := fillFrom(t, s, quoteV1, firstCommit, Info); err != nil {
		t.Fatal(err)
	}
	tear(t, s, quoteV1)
	if err := fillFrom(t, s, quoteV1, secondCommit, Mod); !errors.As(err, new(*MovedError)) {
		t.Errorf("a .mod of another commit: got %v, want a MovedError", err)
	}

	s = open(t, t.TempDir())
	if err := fillFrom(t, s, quoteV1, firstCommit, Info, Mod, Zip); err != nil {
		t.Fatal(err)
	}
	tear(t, s, quoteV1)
	news, err := s.Tagged(quoteV1.Path, map[string]string{"v1.0.0": secondCommit})
	if err != nil || len(news) != 1 {
		t.Errorf("Tagged = %v, %v; want one move", news, err)
	}
	wantMoves(t, s, "example.com/Quote@v1.0.0 1>2")
	if m, err := s.VersionMeta(quoteV1); err != nil || m.Verdict != Exempt {
		t.Errorf("VersionMeta = %+v, %v; want it exempt", m, err)
	}
	if got, err := s.Unverified(); err != nil || len(got) != 0 {
		t.Errorf("Unverified = %v, %v; want none", got, err)
	}
	if err := put(s, Public, kindKey(t, quoteV1, Info), madeFrom(t, quoteV1, firstCommit)[Info], Meta{}); err != nil {
		t.Fatal(err)
	}
	tear(t, s, quoteV1)
	if m, err := s.VersionMeta(quoteV1); err != nil || m.Verdict != Unverified {
		t.Errorf("with a public file: VersionMeta = %+v, %v; want it unverified", m, err)
	}
}

func TestTaggedOnAFullDisk(t *testing.T) {
	s := open(t, t.TempDir())
	if err := fillFrom(t, s, quoteV1, firstCommit, Info, Mod, Zip); err != nil {
		t.Fatal(err)
	}
	s.disk.fault = func() error { return syscall.ENOSPC }
	if _, err := s.Tagged(quoteV1.Path, nil); !errors.As(err, new(*FullError)) {
		t.Errorf("got %v, want a FullError", err)
	}
	s.disk.fault = nil
	if news, err := s.Tagged(quoteV1.Path, nil); err != nil || len(news) != 1 {
		t.Errorf("later: %v, %v; want it noticed then", news, err)
	}
}

func TestForget(t *testing.T) {
	s := open(t, t.TempDir())
	names := []string{"example.com/!quote/@v/list", "example.com/!quote/@latest", "example.com/!quote/@v/main.info"}
	for i, body := range []string{"v1.0.0\n", `{"Version":"v1.0.0"}`, `{"Version":"v1.0.0"}`} {
		if err := fill(s, Public, key(t, names[i]), []byte(body), ""); err != nil {
			t.Fatal(err)
		}
	}
	missing := kindKey(t, module.Version{Path: quoteV1.Path, Version: "v1.9.0"}, Zip)
	if err := s.Negative(Public, missing, Meta{}); err != nil {
		t.Fatal(err)
	}
	fillVersion(t, s, Public, quoteV1, Info)
	keys, err := s.Answers(Public, quoteV1.Path)
	var got []string
	for _, k := range keys {
		got = append(got, k.String())
	}
	slices.Sort(got)
	want := append(names, missing.String())
	slices.Sort(want)
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("Answers = %q, %v; want %q", got, err, want)
	}
	for _, k := range keys {
		read(t, s, Public, k) // in memory
		if err := s.Forget(Public, k); err != nil {
			t.Error(err)
		}
		wantMiss(t, s, Public, k)
		if err := s.Forget(Public, k); err != nil {
			t.Errorf("again: %v", err)
		}
	}
	if err := s.Forget(Public, kindKey(t, quoteV1, Info)); err != nil {
		t.Error(err)
	}
	read(t, s, Public, kindKey(t, quoteV1, Info)) // a file stays
	if keys, err := s.Answers(Private, "example.com/none"); err != nil || len(keys) != 0 {
		t.Errorf("Answers of an unknown module = %v, %v", keys, err)
	}
}

// Nothing private is remembered as missing: a token may open it.
func TestNoPrivateNegative(t *testing.T) {
	s := open(t, t.TempDir())
	for _, name := range []string{"example.com/!quote/@v/list", "example.com/!quote/@latest", "example.com/!quote/@v/main.info", "example.com/!quote/@v/v1.0.0.zip"} {
		if err := s.Negative(Private, key(t, name), Meta{Status: 404}); err != nil {
			t.Error(err)
		}
		wantMiss(t, s, Private, key(t, name))
	}
	if _, err := os.Stat(filepath.Join(s.Dir(), filepath.FromSlash(recordDir))); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("something was written: %v", err)
	}
}
