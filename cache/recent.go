package cache

import (
	"io/fs"
	"os"
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// Bounds of what is kept in memory.
const (
	recentBytes = 4 << 20   // in all
	recentBody  = 128 << 10 // of one file; a go.mod has 4 KiB, a list of a busy module 30 KiB
	recentFiles = 8192      // of small ones
	recentEach  = 256       // what a file costs beside its bytes, roughly
)

// held is the content of a small file, or the tag of a zip.
type held struct {
	info fs.FileInfo // of the file when it was read
	meta Meta
	tag  string
	body []byte // nil for a zip
}

func (h *held) cost(name string) int { return len(name) + len(h.body) + recentEach }

// recent keeps the small files that were read last. Each use compares the file on
// disk with what was read, so that an eviction, by this process or by another, is
// noticed at once. That is one system call, where an open through os.Root is twenty:
// BenchmarkGet.
type recent struct {
	mu    sync.Mutex
	lru   *simplelru.LRU[string, *held]
	bytes int
}

func newRecent() *recent {
	r := &recent{}
	// The only error is a size below one.
	r.lru, _ = simplelru.NewLRU(recentFiles, func(name string, h *held) { r.bytes -= h.cost(name) })
	return r
}

// get returns what was read from a file if stat shows the same file still there.
func (r *recent) get(name string, stat func(string) (fs.FileInfo, error)) *held {
	r.mu.Lock()
	h, ok := r.lru.Get(name)
	r.mu.Unlock()
	if !ok {
		return nil
	}
	info, err := stat(name)
	if err == nil && os.SameFile(info, h.info) && info.Size() == h.info.Size() && info.ModTime().Equal(h.info.ModTime()) {
		return h
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lru.Remove(name)
	return nil
}

func (r *recent) add(name string, h *held) {
	if len(h.body) > recentBody {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lru.Remove(name) // a replaced value would not be counted off
	r.bytes += h.cost(name)
	r.lru.Add(name, h)
	for r.bytes > recentBytes {
		r.lru.RemoveOldest()
	}
}

// drop forgets a file that this process has replaced: within one tick of the
// file system's clock, get could take the new one for the old.
func (r *recent) drop(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lru.Remove(name)
}
