// Package prefetch asks for what the go command will ask for next.
//
// The go command asks for a few things at a time and waits for each: all .mod files of
// the module graph, then each .info, then each .zip, or a .zip and then its .mod and
// .info. What comes next can be told from what was asked, so a [Prefetch] is told of
// every request and calls Get for the rest, in the background and in the order in which
// go will want it. It decides nothing but that: what Get does with a key, and whether it
// may be asked for at all, is none of its business.
//
// The one idea: go asks for a module's zip only if the main module requires it, and it
// asks for the .mod files of those requirements first, sorted by path. So the first
// ascending run of .mod requests names every zip of the pull, see [wave]. On Linux the
// go.mod beside the go command tells the same earlier, see [Project].
//
// The one promise: it asks for no module that neither a client nor the .mod of a public
// module has named before.
package prefetch

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"

	"github.com/gomirror/gomirror/cache"
	"github.com/gomirror/gomirror/serve/mirror"
)

// Mode says how much is fetched ahead.
type Mode string

// The modes.
const (
	Off      Mode = "off"      // nothing
	Metadata Mode = "metadata" // .mod and .info alone
	Full     Mode = "full"     // zips too
)

// ParseMode returns the mode of that name.
func ParseMode(name string) (Mode, error) {
	switch m := Mode(name); m {
	case Off, Metadata, Full:
		return m, nil
	}
	return "", fmt.Errorf("want %s, %s or %s, not %q", Off, Metadata, Full, name)
}

// How many fetches run at once beside those of clients.
const (
	// modSlots fill an HTTP/2 connection to a distant upstream: each is some 10 KiB, and
	// waits one or two round trips.
	modSlots = 24

	// nowSlots are for what go asks for next, while all others wait for answers.
	nowSlots = 4

	// zipSlots is small, for go waits for one zip and not for all: three keep the link
	// busy, eight would make the first of them late.
	zipSlots = 3
)

// DefaultBudget is how many bytes of zips may have been fetched with nobody having
// asked for them yet: what the link carries while go reads the module graph.
const DefaultBudget = 64 << 20

// Options are the parts of a Prefetch.
type Options struct {
	// Get answers a key as it does for clients, required: [mirror.Mirror.Get].
	Get func(context.Context, cache.Key) (*mirror.Answer, error)

	Mode   Mode  // "" is Full
	Budget int64 // 0 is DefaultBudget

	// Private reports whether a module is private. Those are not fetched ahead: their
	// origin is a git host, which a child process clones. Nil means that none is.
	Private func(modPath string) bool

	// Projects returns the projects in which go commands run now, see [Running]. Nil
	// means that none is known.
	Projects func() []Project

	Now func() time.Time // nil means time.Now
	Log *slog.Logger     // nil discards
}

// Prefetch fetches ahead.
type Prefetch struct {
	opts  Options
	stuck atomic.Bool // a look for projects goes on

	mu    sync.Mutex
	plan  *plan // guarded by mu
	open  int   // guarded by mu; requests of clients that have no answer yet
	books books // guarded by mu

	news [4]chan struct{} // by lane: as many as there are workers to be told of work
}

// New returns a Prefetch that works once it runs.
func New(opts Options) *Prefetch {
	if opts.Mode == "" {
		opts.Mode = Full
	}
	if opts.Budget == 0 {
		opts.Budget = DefaultBudget
	}
	if opts.Private == nil {
		opts.Private = func(string) bool { return false }
	}
	if opts.Projects == nil {
		opts.Projects = func() []Project { return nil }
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	p := &Prefetch{opts: opts, plan: newPlan(opts, opts.Now(), 0)}
	for lane, slots := range [...]int{modLane: modSlots, nowLane: nowSlots, zipLane: zipSlots, lookLane: 1} {
		p.news[lane] = make(chan struct{}, slots)
	}
	return p
}

// Asked is told of every request of a client before it is answered; held says that it
// is answered from the cache. It does not wait. What it returns is called once the
// request has its answer, with the bytes that had to be fetched for it.
func (p *Prefetch) Asked(key cache.Key, held bool) (answered func(fetched int64)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.opts.Now()
	known := p.books.asked(key, now) || p.plan.wanted.get(key) // its bytes count once
	if p.opts.Mode == Off {
		return func(int64) {}
	}
	if p.over(now) {
		p.plan = newPlan(p.opts, now, p.books.used())
	}
	p.plan.asked(key, held, p.open == 0, now)
	p.open++
	if key.Kind() == cache.Zip {
		p.plan.queue.news[zipLane]++ // there may be room for another
	}
	p.wake()
	return func(fetched int64) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.open--
		p.plan.last = p.opts.Now()
		if key.Kind() == cache.Zip && !known {
			p.plan.came += fetched
			p.plan.queue.news[zipLane]++ // there may be room for another
			p.wake()
		}
	}
}

// over reports whether the pull that the plan is for has ended. p.mu is held.
func (p *Prefetch) over(now time.Time) bool { return p.open == 0 && now.Sub(p.plan.last) > quiet }

// wake tells as many workers as there is new work for: most requests bring none, and
// each worker that looks goes through its lane. p.mu is held.
func (p *Prefetch) wake() {
	for lane := range p.news {
		for n := &p.plan.queue.news[lane]; *n > 0; *n-- {
			select {
			case p.news[lane] <- struct{}{}:
			default: // all have been told
			}
		}
	}
}

// Run fetches until ctx ends.
func (p *Prefetch) Run(ctx context.Context) error {
	var workers sync.WaitGroup
	start := func(n int, lane laneName) {
		for range n {
			workers.Go(func() { p.work(ctx, lane) }) // ends with ctx
		}
	}
	if p.opts.Mode != Off {
		start(modSlots, modLane)
		start(nowSlots, nowLane)
		start(1, lookLane)
	}
	if p.opts.Mode == Full {
		start(zipSlots, zipLane)
	}
	workers.Wait()
	return nil
}

// parsedMod is the size up to which a .mod is read: Kubernetes' has 12 KiB.
const parsedMod = 256 << 10

// parse reads a .mod as go reads that of a dependency. Nil says that it can't be read,
// which go will tell.
func parse(r io.Reader) *modfile.File {
	text, err := io.ReadAll(io.LimitReader(r, parsedMod+1))
	if err != nil || len(text) > parsedMod {
		return nil
	}
	file, err := modfile.ParseLax("go.mod", text, nil)
	if err != nil {
		return nil
	}
	return file
}

// keyOf makes a key of a version that a .mod or go.sum names; ok is false for what is
// no version.
func keyOf(mod module.Version, kind cache.Kind) (cache.Key, bool) {
	key, err := cache.NewKey(mod.Path, mod.Version, kind)
	return key, err == nil && key.Immutable()
}
