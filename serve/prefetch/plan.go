package prefetch

import (
	"slices"
	"time"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"

	"github.com/gomirror/gomirror/cache"
)

const (
	// quiet ends a pull: what is asked after it says nothing about what was asked before.
	quiet = 10 * time.Second

	// lookEvery and lookTimes bound the search for the project of a pull.
	lookEvery = 100 * time.Millisecond
	lookTimes = 5

	// buildBudget and buildShare keep what go build does not want below a quarter of what
	// is fetched, and below a few zips at the start.
	buildBudget = 4 << 20
	buildShare  = 4

	// nearLink is the time of a small fetch below which guessing costs more processor
	// time than it saves in waiting.
	nearLink = 15 * time.Millisecond
)

// plan is what is known about the pull that is under way, and what to fetch for it.
// Prefetch.mu guards it.
type plan struct {
	opts  Options
	last  time.Time // when a client last asked
	cold  bool      // the client wants what is not held
	graph bool      // the client reads the module graph
	queue queue

	roots   wave
	wanted  map[cache.Key]bool      // by the client
	listed  map[string]bool         // module paths whose versions the client wants to know
	highest map[string]string       // the highest version of each path that a .mod requires
	learned map[module.Version]bool // versions whose requirements are known
	paces   []time.Duration         // of the last small fetches
	project *Project                // that go works in, once it is found
	looks   int                     // how often it was looked for
	looked  time.Time
	looking bool

	public map[string]bool  // module paths that a client or a public .mod has named
	latent map[string][]job // what the project needs of each module path, until that is public
}

func newPlan(opts Options, now time.Time) *plan {
	return &plan{
		opts: opts, last: now, queue: newQueue(),
		wanted:  make(map[cache.Key]bool),
		listed:  make(map[string]bool),
		highest: make(map[string]string),
		learned: make(map[module.Version]bool),
		latent:  make(map[string][]job),
		public:  make(map[string]bool),
	}
}

// asked notes what a client wants and queues what follows from it.
func (p *plan) asked(key cache.Key, held bool, now time.Time) {
	p.last = now
	mod := key.Module()
	switch {
	case key.Kind() == cache.List || key.Kind() == cache.Latest:
		p.listed[mod.Path] = true
		return
	case !key.Immutable() || p.private(mod.Path):
		return
	}
	p.wanted[key] = true
	p.queue.reach(key)
	p.publish(mod.Path)
	wasWarm := !p.cold
	p.cold = p.cold || !held
	switch key.Kind() {
	case cache.Mod:
		p.askedMod(key)
	case cache.Info:
		p.askedInfo(mod, held)
	case cache.Zip:
		p.askedZip(key, held)
	}
	if p.cold && wasWarm {
		// The .mod files came from the cache, the zips will not.
		for _, root := range p.roots.found {
			p.whole(root)
		}
	}
	if !held && p.project == nil && p.looks < lookTimes && now.Sub(p.looked) > lookEvery {
		p.looks, p.looked = p.looks+1, now
		p.queue.look, p.looking = true, true
	}
}

// askedMod is for a .mod. Its requirements are next; and if it is one of the main
// module's own, so are its .info and .zip.
func (p *plan) askedMod(key cache.Key) {
	mod := key.Module()
	if p.wanted[key.Sibling(cache.Zip)] {
		return // it belongs to the zip that go has just had
	}
	p.graph = true
	root := !p.listed[mod.Path] && p.roots.add(mod)
	if !p.cold {
		return
	}
	if !p.learned[mod] {
		p.queue.push(job{key: key, learn: true, tier: first})
	}
	if root {
		p.whole(mod)
	}
}

// askedInfo is for a .info. After the graph, go mod download asks for all of them. If
// it wants one that is none of the main module's own, then the main module is of before
// Go 1.17 and its zips are those of the whole graph.
func (p *plan) askedInfo(mod module.Version, held bool) {
	if !p.graph || held || p.roots.has(mod) || p.listed[mod.Path] || p.project != nil {
		return
	}
	if p.wanted[mustKey(mod, cache.Mod)] {
		p.whole(mod)
	}
}

// askedZip is for a .zip: its .mod and .info are next.
func (p *plan) askedZip(key cache.Key, held bool) {
	if held {
		return
	}
	for _, kind := range []cache.Kind{cache.Mod, cache.Info} {
		p.queue.push(job{key: key.Sibling(kind), tier: first, learn: kind == cache.Mod})
	}
}

// whole queues the .info and the .zip of a version.
func (p *plan) whole(mod module.Version) {
	if v := p.highest[mod.Path]; semver.Compare(v, mod.Version) > 0 {
		return // go will take the higher one
	}
	if key, ok := keyOf(mod, cache.Info); ok && !p.private(mod.Path) {
		p.push(job{key: key, tier: own})
		p.push(job{key: key.Sibling(cache.Zip), tier: own})
	}
}

// push queues a job unless a client has asked for the key.
func (p *plan) push(j job) {
	if !p.wanted[j.key] {
		p.queue.push(j)
	}
}

// learn takes the requirements of a version. Go reads their .mod files only if the
// version is of before Go 1.17 (or required by one that is), for later ones list all
// that they need, and so does the main module. Which of the versions they list the main
// module has is a guess: the highest.
func (p *plan) learn(j job, file *modfile.File) {
	mod := j.key.Module()
	if p.private(mod.Path) {
		return // since it was begun; what it requires may be no less of a secret
	}
	p.learned[mod] = true
	spread := j.spread || !prunes(file)
	for _, r := range file.Require {
		if p.private(r.Mod.Path) || len(p.highest) >= queueLimit {
			continue
		}
		p.publish(r.Mod.Path)
		if !r.Indirect && p.wanted[j.key.Sibling(cache.Zip)] {
			p.queue.near[r.Mod.Path] = true
		}
		higher := semver.Compare(r.Mod.Version, p.highest[r.Mod.Path]) > 0
		if higher {
			p.highest[r.Mod.Path] = r.Mod.Version
		}
		key, ok := keyOf(r.Mod, cache.Mod)
		if !ok || !p.graph {
			continue
		}
		switch {
		case p.project != nil && p.project.Sums != nil:
			// What go will ask for is known, and queued.
		case spread:
			p.push(job{key: key, learn: true, spread: true, tier: deep})
		case higher && p.project == nil && p.far() && !p.roots.hasPath(r.Mod.Path):
			p.push(job{key: key, guess: true, tier: own})
		}
	}
}

// prunes reports whether a go.mod lists all that its module needs,
// https://go.dev/ref/mod#graph-pruning.
func prunes(file *modfile.File) bool {
	return file.Go != nil && semver.Compare("v"+file.Go.Version, "v1.17") >= 0
}

// take returns the next job of a lane. No zip is begun while it is being found out
// whether the command wants any. What became private since it was queued is dropped.
func (p *plan) take(lane laneName) (job, bool) {
	if lane == zipLane && (p.looking || p.project != nil && !p.project.Zips) {
		return job{}, false
	}
	return p.queue.take(lane, func(j job) bool {
		if p.private(j.key.Module().Path) {
			return false
		}
		if j.guess {
			mod := j.key.Module()
			return !p.wanted[j.key] && p.highest[mod.Path] == mod.Version && !p.roots.hasPath(mod.Path)
		}
		return j.learn || !p.wanted[j.key]
	})
}

// took notes how long a small fetch took.
func (p *plan) took(d time.Duration) {
	const window = 16
	p.paces = append(p.paces, d)
	if len(p.paces) > window {
		p.paces = p.paces[1:]
	}
}

// far reports whether the upstream is so far away that a guess may pay.
func (p *plan) far() bool {
	if len(p.paces) == 0 {
		return true
	}
	sorted := slices.Sorted(slices.Values(p.paces))
	return sorted[len(sorted)/2] >= nearLink
}

// budget is how many bytes of zips may lie there unasked. Go build asks for the zips of
// what is imported, and what that is no go.mod tells: so what was of use bounds what may
// turn out to be none.
func (p *plan) budget(used int64) int64 {
	if p.graph {
		return p.opts.Budget
	}
	return min(p.opts.Budget, buildBudget+used/buildShare)
}

// mustKey makes a key to look up with: the zero Key, for which nobody asks, of what is
// no version.
func mustKey(mod module.Version, kind cache.Kind) cache.Key {
	key, _ := keyOf(mod, kind)
	return key
}
