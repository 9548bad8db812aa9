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
	// quiet ends a plan: what is asked after it says nothing about what was asked before.
	quiet = 10 * time.Second

	// span is how often a plan forgets what has not come up for as long: with an editor
	// and its language server there is no quiet.
	span = 5 * time.Minute

	// nearLink is the time of a small fetch below which guessing costs more processor
	// time than it saves in waiting.
	nearLink = 15 * time.Millisecond
)

// plan is what is known about the pulls that are under way, and what to fetch for them.
// Prefetch.mu guards it.
type plan struct {
	opts   Options
	last   time.Time // when a client last asked
	turned time.Time // when it last forgot
	cold   bool      // a client wants what is not held
	queue  queue
	pull   // by what is asked, the latest; others are told apart by their projects

	wanted   recent[cache.Key, bool]      // by a client
	highest  recent[string, string]       // the highest version of each path that a .mod or a client has named
	learned  recent[module.Version, bool] // versions whose requirements are known
	listed   recent[string, bool]         // module paths whose versions a client wants to know
	public   recent[string, bool]         // module paths that a client or a public .mod has named
	paces    []time.Duration              // of the last small fetches
	projects []*project                   // that go commands work in, see projects.go
	looks    looks
	used     int64 // bytes that were of use before
	came     int64 // bytes of zips that clients had to wait for
}

// pull is what the requests of one go command tell.
type pull struct {
	roots   wave
	graph   bool // it reads the module graph
	fetches bool // and wants versions, after that
	zips    bool // and their zips
}

// newPlan makes a plan. used is how many bytes were of use until now.
func newPlan(opts Options, now time.Time, used int64) *plan {
	return &plan{opts: opts, last: now, turned: now, queue: newQueue(), used: used}
}

// asked notes what a client wants and queues what follows from it. alone says that no
// other request waits.
func (p *plan) asked(key cache.Key, held, alone bool, now time.Time) {
	p.last = now
	p.age(now)
	mod := key.Module()
	switch {
	case key.Kind() == cache.List || key.Kind() == cache.Latest:
		p.listed.set(mod.Path, true)
		return
	case !key.Immutable() || p.private(mod.Path):
		return
	}
	p.wanted.set(key, true)
	p.queue.reach(key)
	p.raise(mod)
	p.publish(mod.Path)
	wasWarm := !p.cold
	p.cold = p.cold || !held
	switch key.Kind() {
	case cache.Mod:
		p.askedMod(key, alone)
	case cache.Info:
		p.fetches = true
		p.askedInfo(mod, held)
	case cache.Zip:
		p.fetches, p.zips = true, true
		p.askedZip(key, held)
	}
	if p.cold && wasWarm {
		// The .mod files came from the cache, the zips will not.
		for _, root := range p.roots.found {
			p.whole(root)
		}
	}
	if !held {
		p.lookFor(mod, now)
	}
}

// age forgets what has not come up for a while.
func (p *plan) age(now time.Time) {
	if now.Sub(p.turned) < span {
		return
	}
	p.turned = now
	p.wanted.turn()
	p.listed.turn()
	p.public.turn()
	p.highest.turn()
	p.learned.turn()
	p.queue.turn()
	p.projects = slices.DeleteFunc(p.projects, func(r *project) bool { return now.Sub(r.seen) > span })
}

// askedMod is for a .mod. Its requirements are next; and if it is one of the main
// module's own, so are its .info and .zip.
func (p *plan) askedMod(key cache.Key, alone bool) {
	mod := key.Module()
	if p.wanted.get(key.Sibling(cache.Zip)) {
		return // it belongs to the zip that go has just had
	}
	if p.fetches && alone && !p.found() {
		// A command hardly comes back to the graph once it fetches what the graph has: this
		// is another one, with roots of its own.
		p.pull = pull{}
		p.queue.restart()
	}
	p.graph = true
	p.readsGraph(mod)
	root := !p.listed.get(mod.Path) && p.roots.add(mod)
	if !p.cold {
		return
	}
	if !p.learned.get(mod) {
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
	if !p.graph || held || p.roots.has(mod) || p.listed.get(mod.Path) {
		return
	}
	if p.found() && !p.any(func(r *project) bool { return r.Old }) {
		return
	}
	if p.wanted.get(mustKey(mod, cache.Mod)) {
		p.whole(mod)
	}
}

// askedZip is for a .zip: its .mod and .info are next.
func (p *plan) askedZip(key cache.Key, held bool) {
	p.wantsZips(key.Module())
	if held {
		return
	}
	for _, kind := range []cache.Kind{cache.Mod, cache.Info} {
		p.queue.push(job{key: key.Sibling(kind), tier: first, learn: kind == cache.Mod})
	}
}

// whole queues the .info and the .zip of a version.
func (p *plan) whole(mod module.Version) {
	if v := p.highest.get(mod.Path); semver.Compare(v, mod.Version) > 0 {
		return // go will take the higher one
	}
	if key, ok := keyOf(mod, cache.Info); ok && !p.private(mod.Path) {
		p.push(job{key: key, tier: own})
		p.push(job{key: key.Sibling(cache.Zip), tier: own})
	}
}

// push queues a job unless a client has asked for the key.
func (p *plan) push(j job) {
	if !p.wanted.get(j.key) {
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
	p.learned.set(mod, true)
	spread := j.spread || !prunes(file)
	sums := p.summed(mod)
	for _, r := range file.Require {
		if p.private(r.Mod.Path) || p.highest.len() >= queueLimit {
			continue
		}
		p.publish(r.Mod.Path)
		if !r.Indirect && p.wanted.get(j.key.Sibling(cache.Zip)) {
			p.queue.near.set(r.Mod.Path, true)
		}
		higher := p.raise(r.Mod)
		key, ok := keyOf(r.Mod, cache.Mod)
		if !ok || !p.graph {
			continue
		}
		switch {
		case sums:
			// What go will ask for is known, and queued.
		case spread:
			p.push(job{key: key, learn: true, spread: true, tier: deep})
		case higher && !p.named(mod) && p.far() && !p.roots.hasPath(r.Mod.Path):
			p.push(job{key: key, guess: true, tier: own})
		}
	}
}

// raise notes a version. It reports whether it is the highest of its path so far.
func (p *plan) raise(mod module.Version) bool {
	higher := semver.Compare(mod.Version, p.highest.get(mod.Path)) > 0
	if higher {
		p.highest.set(mod.Path, mod.Version)
	}
	return higher
}

// prunes reports whether a go.mod lists all that its module needs,
// https://go.dev/ref/mod#graph-pruning.
func prunes(file *modfile.File) bool {
	return file.Go != nil && semver.Compare("v"+file.Go.Version, "v1.17") >= 0
}

// wants reports whether a job is still worth doing. What became private since it was
// queued is dropped.
func (p *plan) wants(j job) bool {
	mod := j.key.Module()
	switch {
	case p.private(mod.Path):
		return false
	case j.guess:
		return !p.wanted.get(j.key) && p.highest.get(mod.Path) == mod.Version && !p.roots.hasPath(mod.Path)
	}
	return j.learn || !p.wanted.get(j.key)
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

// mustKey makes a key to look up with: the zero Key, for which nobody asks, of what is
// no version.
func mustKey(mod module.Version, kind cache.Kind) cache.Key {
	key, _ := keyOf(mod, kind)
	return key
}
