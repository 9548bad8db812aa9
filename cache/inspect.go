package cache

import (
	"archive/zip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"
)

// Inspection is what [Inspect] found in a cache folder.
type Inspection struct {
	Checked     int          // files that were hashed, out of all that are held
	Wrong       []Wrong      // those of them that are not what came in
	LeftBytes   int64        // in the drafts of processes that are gone
	Quarantined []Quarantine // answers that were set aside
}

// Wrong is a file that does not hold what came in.
type Wrong struct {
	Path   string // absolute
	Reason string
}

// draftAge is how long the folder of drafts of a process may lack its lock: between the
// two steps in which it is made it looks like one that was left.
const draftAge = time.Minute

// Inspect hashes some files of a cache, picked at random, and compares them with what is
// known of them. It makes nothing, not even a lock, so that it may look at a cache in
// use, or one that can't be opened. What it has no time for until ctx ends it leaves out.
func Inspect(ctx context.Context, dir string, sample int) (*Inspection, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("inspect cache %s: %w", dir, cause(err))
	}
	s := &Store{
		disk:   newDisk(dir, root),
		recent: newRecent(), unpacker: newUnpacker(), now: time.Now, log: slog.New(slog.DiscardHandler),
	}
	defer s.disk.close()
	var found Inspection
	if found.Quarantined, err = s.Quarantined(); err != nil {
		return nil, fmt.Errorf("inspect cache %s: %w", dir, cause(err))
	}
	found.LeftBytes = s.disk.left()
	for _, at := range s.pick(ctx, sample) {
		wrong, err := s.wrong(ctx, at)
		if err == nil && len(wrong) > 0 {
			wrong, err = s.wrong(ctx, at) // another process may have replaced it meanwhile
		}
		switch {
		case ctx.Err() != nil:
			return &found, nil
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			wrong = []Wrong{{s.path(fileName(at.tree, at.key)), cause(err).Error()}}
		}
		found.Checked++
		found.Wrong = append(found.Wrong, wrong...)
	}
	return &found, nil
}

// heldAt is one file of a tree.
type heldAt struct {
	tree Tree
	key  Key
}

func (s *Store) path(name string) string {
	return filepath.Join(s.disk.dir, filepath.FromSlash(name))
}

// pick returns files at random. It walks in random order too, so that a cache too large
// to be walked in a third of the time is not looked at in the same place each time.
func (s *Store) pick(ctx context.Context, sample int) (picked []heldAt) {
	if end, ok := ctx.Deadline(); ok {
		walk, cancel := context.WithTimeout(ctx, time.Until(end)/3)
		defer cancel()
		ctx = walk
	}
	seen := 0
	var walk func(t Tree, dir string)
	walk = func(t Tree, dir string) {
		files, err := fs.ReadDir(s.disk.root().FS(), dir)
		if err != nil {
			return // what can't be listed is told by those who look at modes
		}
		rand.Shuffle(len(files), func(i, j int) { files[i], files[j] = files[j], files[i] })
		for _, file := range files {
			name := dir + "/" + file.Name()
			if ctx.Err() != nil {
				return
			}
			if file.IsDir() {
				walk(t, name)
				continue
			}
			k, err := ParseKey(strings.TrimPrefix(name, string(t)+"/"))
			if err != nil || !k.Immutable() || !file.Type().IsRegular() {
				continue
			}
			seen++
			if len(picked) < sample {
				picked = append(picked, heldAt{t, k})
			} else if i := rand.IntN(seen); i < sample {
				picked[i] = heldAt{t, k}
			}
		}
	}
	walk(Public, string(Public))
	walk(Private, string(Private))
	return picked
}

// wrong returns how a file differs from what the ledger has of its version.
func (s *Store) wrong(ctx context.Context, at heldAt) ([]Wrong, error) {
	known, err := s.ledger(at.key.Sibling(Info))
	if ignoreMissing(err) != nil {
		return nil, err
	}
	name := fileName(at.tree, at.key)
	if at.key.kind == Zip {
		return s.wrongZip(ctx, name, known.H1)
	}
	body, _, err := s.disk.read(name)
	if err != nil {
		return nil, err
	}
	switch at.key.kind {
	case Mod:
		h1, err := hashMod(body)
		if err == nil && known.GoModH1 != "" && h1 != known.GoModH1 {
			return []Wrong{{s.path(name), "it hashes to " + h1 + ", and " + known.GoModH1 + " came in"}}, nil
		}
		return nil, err
	default:
		var info struct{ Version string }
		if err := json.Unmarshal(body, &info); err != nil || info.Version != at.key.version {
			return []Wrong{{s.path(name), "it is not the .info of " + at.key.version}}, nil
		}
	}
	return nil, nil
}

// wrongZip compares a zip, and what is noted beside it, with the ledger.
func (s *Store) wrongZip(ctx context.Context, name, want string) ([]Wrong, error) {
	noted, _, err := s.disk.read(name + "hash")
	if ignoreMissing(err) != nil {
		return nil, err
	}
	h1, err := s.hashNamed(ctx, name)
	switch {
	case errors.Is(err, zip.ErrFormat), errors.Is(err, zip.ErrChecksum), errors.Is(err, zip.ErrAlgorithm):
		return []Wrong{{s.path(name), "it is no whole zip any more"}}, nil
	case err != nil:
		return nil, err
	case want != "" && h1 != want, want == "" && h1Form.Match(noted) && h1 != string(noted):
		if want == "" {
			want = string(noted)
		}
		return []Wrong{{s.path(name), "it hashes to " + h1 + ", and " + want + " came in"}}, nil
	case h1Form.Match(noted) && h1 != string(noted):
		return []Wrong{{s.path(name + "hash"), "it says " + string(noted) + ", and the zip beside it hashes to " + h1}}, nil
	}
	return nil, nil
}

// hashNamed returns the h1 of a held zip, as hashZip does, but for who has not all day.
func (s *Store) hashNamed(ctx context.Context, name string) (string, error) {
	f, err := s.disk.open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	t := &turn{unpacker: s.unpacker}
	if err := t.begin(ctx); err != nil {
		return "", err
	}
	defer t.end()
	body := s.unpacker.reader(f, info.Size())
	defer body.release()
	z, err := zip.NewReader(body, info.Size())
	if err != nil {
		return "", err
	}
	return s.unpacker.hash(ctx, t, z)
}

// left returns how much lies in folders of drafts that no process uses. The next start
// removes them.
func (d *disk) left() (bytes int64) {
	folders, err := fs.ReadDir(d.root().FS(), draftDir)
	if err != nil {
		return 0
	}
	for _, folder := range folders {
		name := draftDir + "/" + folder.Name()
		info, err := folder.Info()
		if err != nil || time.Since(info.ModTime()) < draftAge || d.inUse(name) {
			continue
		}
		files, _ := fs.ReadDir(d.root().FS(), name) // one that is gone has nothing in it
		for _, file := range files {
			if info, err := file.Info(); err == nil {
				bytes += info.Size()
			}
		}
	}
	return bytes
}

// inUse reports whether a process holds the lock of its folder of drafts.
func (d *disk) inUse(folder string) bool {
	path := filepath.Join(d.dir, filepath.FromSlash(folder), "lock")
	if _, err := os.Stat(path); err != nil {
		return false
	}
	l := flock.New(path, flock.SetFlag(os.O_RDONLY))
	defer unlockFile(l)
	free, err := l.TryRLock()
	return err != nil || !free
}
