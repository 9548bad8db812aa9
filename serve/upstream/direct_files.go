package upstream

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/gofrs/flock"
	"github.com/gomirror/gomirror/cache"
)

// file is where the children's module cache has the file of an immutable key.
func (d *Direct) file(key cache.Key) string {
	return filepath.Join(d.opts.VCSDir, "cache", "download", filepath.FromSlash(key.String()))
}

// holds reports whether an earlier child finished the file. The go command renames
// each into place; a zip counts once its hash stands beside it.
func (d *Direct) holds(key cache.Key) bool {
	name := d.file(key)
	if _, err := os.Stat(name); err != nil {
		return false
	}
	if key.Kind() == cache.Zip {
		_, err := os.Stat(name + "hash")
		return err == nil
	}
	return true
}

// deliver hands the file of key to sink.
func (d *Direct) deliver(key cache.Key, sink Sink) error {
	f, err := os.Open(d.file(key))
	if err != nil {
		return fmt.Errorf("read what go made for %s: %w", key.Module(), err)
	}
	defer f.Close()
	info, err := os.ReadFile(d.file(key.Sibling(cache.Info)))
	if err != nil {
		info = nil // the commit is then not known
	}
	var body io.Reader = f
	if key.Kind() == cache.Info && info != nil {
		body = bytes.NewReader(info)
	}
	return sink(key, d.meta(info), body)
}

// drop takes the files of a version away, so that the next child makes them anew.
func (d *Direct) drop(key cache.Key) {
	for _, kind := range []cache.Kind{cache.Info, cache.Mod, cache.Zip} {
		_ = os.Remove(d.file(key.Sibling(kind)))
	}
	_ = os.Remove(d.file(key.Sibling(cache.Zip)) + "hash")
}

// meta describes an answer of the origin, by the .info that belongs to it.
func (d *Direct) meta(info []byte) cache.Meta {
	var i struct{ Origin struct{ Hash string } }
	if info != nil {
		_ = json.Unmarshal(info, &i) // whether it is valid is the draft's to check
	}
	return cache.Meta{Upstream: DirectName, Fetched: d.opts.Now(), Status: 200, OriginHash: i.Origin.Hash}
}

// gitLeftovers are files that a git that was killed leaves in a bare repository: the
// locks would stop every later fetch, the half packs only fill the disk.
var gitLeftovers = [...]string{
	"*.lock", "refs/*.lock", "refs/*/*.lock", "refs/*/*/*.lock",
	"objects/pack/tmp_*", "objects/pack/.tmp-*", "objects/tmp_*", "objects/??/tmp_*",
}

// heal takes leftovers out of the bare repositories that no go command works in,
// ours or another process's: go holds DIR.lock while git writes to DIR.
func (d *Direct) heal() {
	vcs := filepath.Join(d.opts.VCSDir, "cache", "vcs")
	locks, _ := filepath.Glob(filepath.Join(vcs, "*.lock"))
	for _, name := range locks {
		lock := flock.New(name)
		if held, err := lock.TryLock(); err != nil || !held {
			continue
		}
		for _, pattern := range gitLeftovers {
			files, _ := filepath.Glob(filepath.Join(strings.TrimSuffix(name, ".lock"), filepath.FromSlash(pattern)))
			for _, file := range files {
				_ = os.Remove(file)
			}
		}
		_ = lock.Unlock()
	}
}

// keyLocks lets one goroutine a name through. The zero value is ready.
type keyLocks struct {
	mu    sync.Mutex
	names map[string]*keyLock
}

type keyLock struct {
	turn  chan struct{} // holds one element while taken
	users int           // holder and waiters; guarded by keyLocks.mu
}

// lock waits for its turn or for the end of ctx.
func (l *keyLocks) lock(ctx context.Context, name string) (unlock func(), err error) {
	l.mu.Lock()
	if l.names == nil {
		l.names = make(map[string]*keyLock)
	}
	k := l.names[name]
	if k == nil {
		k = &keyLock{turn: make(chan struct{}, 1)}
		l.names[name] = k
	}
	k.users++
	l.mu.Unlock()
	leave := func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if k.users--; k.users == 0 {
			delete(l.names, name)
		}
	}
	select {
	case k.turn <- struct{}{}:
		return func() { <-k.turn; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, context.Cause(ctx)
	}
}
