package prefetch

import (
	"time"

	"github.com/gomirror/gomirror/cache"
)

const (
	// wasteAfter is how long a file may lie there before it counts as fetched in vain.
	wasteAfter = 10 * time.Minute

	// bookLimit is how many files are remembered, a dozen large projects: more come and
	// go in ten minutes only where something is wrong.
	bookLimit = 20_000
)

// books account for what was fetched ahead. Prefetch.mu guards them.
type books struct {
	open  map[cache.Key]*entry // fetched or being fetched, and not asked for
	zips  int64                // bytes of zips in open, as far as they are known
	total Stats
	swept time.Time
}

// entry is one file.
type entry struct {
	since time.Time
	size  int64 // 0 until it is known
	done  bool
	asked bool // while on its way
}

// begin notes that a key is on its way. It reports whether end is to be told how that
// ends: not of a key that is on its way or lies there already, for that is accounted for.
func (b *books) begin(key cache.Key, now time.Time) bool {
	if b.open == nil {
		b.open = make(map[cache.Key]*entry)
	}
	if now.Sub(b.swept) > time.Second {
		b.sweep(now)
	}
	if b.open[key] != nil || len(b.open) >= bookLimit {
		return false
	}
	b.open[key] = &entry{since: now}
	return true
}

// comes notes how large a zip is that is on its way.
func (b *books) comes(key cache.Key, size int64) {
	if e := b.open[key]; e != nil && !e.done && !e.asked {
		b.zips += size - e.size
		e.size = size
	}
}

// besides returns what lies ahead or is on its way but a key.
func (b *books) besides(key cache.Key) int64 {
	if e := b.open[key]; e != nil && !e.asked {
		return b.zips - e.size
	}
	return b.zips
}

// end notes what came: no bytes if it was held or could not be had.
func (b *books) end(key cache.Key, size int64, now time.Time) {
	e := b.open[key]
	if e == nil {
		return
	}
	if !e.asked {
		b.forget(key, e)
	}
	if size == 0 {
		delete(b.open, key)
		return
	}
	b.total.Fetched++
	b.total.FetchedBytes += size
	e.size, e.since, e.done = size, now, true
	if e.asked {
		b.use(key, e)
	} else if key.Kind() == cache.Zip {
		b.zips += size
	}
}

// asked notes that a client wants a key, and reports whether it was fetched ahead.
func (b *books) asked(key cache.Key, now time.Time) bool {
	e := b.open[key]
	switch {
	case e == nil:
	case !e.done && !e.asked:
		e.asked = true
		b.forget(key, e)
		b.total.Joined++
	case e.done && now.Sub(e.since) <= wasteAfter:
		b.total.Ready++
		b.forget(key, e)
		b.use(key, e)
	}
	return e != nil
}

func (b *books) use(key cache.Key, e *entry) {
	delete(b.open, key)
	b.total.Used++
	b.total.UsedBytes += e.size
}

// forget takes an entry out of what is ahead.
func (b *books) forget(key cache.Key, e *entry) {
	if key.Kind() == cache.Zip {
		b.zips -= e.size
	}
}

// sweep counts as wasted what nobody asked for.
func (b *books) sweep(now time.Time) {
	b.swept = now
	for key, e := range b.open {
		if e.done && now.Sub(e.since) > wasteAfter {
			b.forget(key, e)
			delete(b.open, key)
			b.total.Wasted++
			b.total.WastedBytes += e.size
		}
	}
}

// ahead is how many bytes of zips lie there that nobody has asked for yet.
func (b *books) ahead() int64 { return b.zips }

// full reports whether more could not be accounted for.
func (b *books) full() bool { return len(b.open) >= bookLimit }

// used is how many bytes were of use.
func (b *books) used() int64 { return b.total.UsedBytes }

func (b *books) sum(now time.Time) Stats {
	b.sweep(now)
	return b.total
}

// Stats says what fetching ahead was good for since the start. Bytes are those that
// came from upstreams.
type Stats struct {
	Fetched      int64 `json:"fetched"`       // files
	FetchedBytes int64 `json:"fetched_bytes"` // of them
	Used         int64 `json:"used"`          // of these files, a client asked for
	UsedBytes    int64 `json:"used_bytes"`    // of them
	Wasted       int64 `json:"wasted"`        // of these files, nobody asked for in 10 minutes
	WastedBytes  int64 `json:"wasted_bytes"`  // of them
	Ready        int64 `json:"ready"`         // requests that found their answer in the cache for it
	Joined       int64 `json:"joined"`        // requests that found it on its way
}

// Stats returns the counts so far.
func (p *Prefetch) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.books.sum(p.opts.Now())
}
