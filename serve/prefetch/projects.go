package prefetch

import (
	"slices"
	"time"

	"golang.org/x/mod/module"

	"github.com/gomirror/gomirror/cache"
	"github.com/gomirror/gomirror/serve/upstream"
)

const (
	// lookEvery is how soon there is another look for the project of a request that no
	// known one names, and lookTimes how often that may be in vain in a row. After that,
	// and to find the commands that come to stand beside a known one, lookLater will do:
	// a look reads a line of every process of the machine.
	lookEvery = 100 * time.Millisecond
	lookTimes = 5
	lookLater = 2 * time.Second
)

// looks is the search for projects.
type looks struct {
	last   time.Time
	vain   int  // in a row
	urgent bool // it will show whether zips are of any use
}

// project is a Project that go commands work in. One that they have left is kept for a
// while for what it keeps secret, and counts for nothing else.
type project struct {
	Project
	private func(modPath string) bool
	whole   map[module.Version]bool     // named by go.mod, or go.sum: zip and all if true, else .mod
	paths   map[string][]module.Version // keys of whole by module path
	sums    map[Sum]bool
	graph   bool      // a command there reads the module graph
	seen    time.Time // when it was last found
	gone    bool
}

// lookFor queues a look for the project of a request.
func (p *plan) lookFor(mod module.Version, now time.Time) {
	known, pause := p.named(mod), lookEvery
	if known || p.looks.vain >= lookTimes {
		pause = lookLater
	}
	if now.Sub(p.looks.last) > pause {
		p.looks.last, p.looks.urgent = now, !known && p.looks.vain < lookTimes
		p.queue.lookNow()
	}
}

// adopt takes over those of the running projects in which go asks what it asks.
func (p *plan) adopt(running []Project, now time.Time) {
	p.looks.urgent = false
	p.looks.vain++
	for _, r := range p.projects {
		r.gone = true
	}
	for _, found := range running {
		i := slices.IndexFunc(p.projects, func(r *project) bool { return r.Dir == found.Dir })
		if i < 0 && !slices.ContainsFunc(found.Requires, p.asks) {
			continue
		}
		if i < 0 {
			p.projects = append(p.projects, new(project))
			i, p.looks.vain = len(p.projects)-1, 0
		}
		p.projects[i].update(found, now)
	}
	p.queue.drop(func(j job) bool { return p.private(j.key.Module().Path) })
	for _, r := range p.projects {
		r.graph = r.graph && !r.gone || slices.ContainsFunc(r.Requires, p.reads)
		p.need(r)
	}
}

// update takes in what a look has found: go commands write go.mod, and another may run in
// the same folder, which wants zips or keeps other modules secret.
func (r *project) update(found Project, now time.Time) {
	if !r.gone && r.Zips { // two at once
		found.Few = r.Few && (found.Few || !found.Zips)
		found.Zips = true
	}
	found.Private = union(r.Private, found.Private)
	found.Replaced = union(r.Replaced, found.Replaced)
	r.Project, r.seen, r.gone = found, now, false
	r.private = upstream.MatchPrivate(r.Private)
	r.whole, r.paths = make(map[module.Version]bool), make(map[string][]module.Version)
	for _, mod := range slices.Concat(r.Requires, r.Zipped) {
		r.whole[mod] = true
	}
	r.sums = make(map[Sum]bool)
	for _, sum := range r.Sums {
		r.sums[sum] = true
		// Go reads no .mod that is not in there, or it would have added it.
		if mod, ok := sum.ofMod(); ok && !r.whole[mod] {
			r.whole[mod] = false // the .mod alone
		}
	}
	for mod := range r.whole {
		r.paths[mod.Path] = append(r.paths[mod.Path], mod)
	}
}

// union is sorted, as both of its parts are or are to be.
func union(a, b []string) []string {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}

// names reports whether a command that works in the project may ask for mod.
func (r *project) names(mod module.Version) bool {
	_, ok := r.whole[mod]
	return ok && !r.gone
}

// Vouches reports whether the go.sum of a project in which go asks us has a hash for a
// version, which ends in /go.mod for that of a .mod.
func (p *Prefetch) Vouches(of module.Version, h1 string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.plan.any(func(r *project) bool { return r.sums[Sum{of, h1}] })
}

// asks reports whether a client wants a module's .mod or .zip, and reads whether it
// wants the .mod for itself.
func (p *plan) asks(mod module.Version) bool {
	return p.wanted.get(mustKey(mod, cache.Mod)) || p.wanted.get(mustKey(mod, cache.Zip))
}

func (p *plan) reads(mod module.Version) bool {
	return p.wanted.get(mustKey(mod, cache.Mod)) && !p.wanted.get(mustKey(mod, cache.Zip))
}

// any reports whether a project in which commands run is such.
func (p *plan) any(such func(*project) bool) bool {
	return slices.ContainsFunc(p.projects, func(r *project) bool { return !r.gone && such(r) })
}

func (p *plan) found() bool { return p.any(func(*project) bool { return true }) }

func (p *plan) named(mod module.Version) bool {
	return p.any(func(r *project) bool { return r.names(mod) })
}

// summed reports whether a go.sum tells what go will read of the requirements of mod.
func (p *plan) summed(mod module.Version) bool {
	return p.any(func(r *project) bool { return r.Sums != nil && r.names(mod) })
}

// readsGraph notes that a command asks for a .mod for itself.
func (p *plan) readsGraph(mod module.Version) {
	for _, r := range p.projects {
		if r.names(mod) && !r.graph {
			r.graph = true
			p.need(r)
		}
	}
}

// wantsZips notes that a command asks for a zip, whatever its arguments let us think.
func (p *plan) wantsZips(mod module.Version) {
	for _, r := range p.projects {
		if r.names(mod) && !r.Zips {
			r.Zips = true
			p.need(r)
		}
	}
}

// need queues what a project needs of the modules that are no secret.
func (p *plan) need(r *project) {
	for modPath := range r.paths {
		if p.public.get(modPath) {
			p.release(r, modPath)
		}
	}
}

// release queues what a project needs of a module.
func (p *plan) release(r *project, modPath string) {
	if r.gone || p.private(modPath) {
		return
	}
	for _, mod := range r.paths[modPath] {
		key, ok := keyOf(mod, cache.Mod)
		if !ok {
			continue
		}
		if r.whole[mod] {
			p.push(job{key: key, learn: true, tier: own})
		} else if r.graph {
			p.push(job{key: key, learn: true, tier: deep})
		}
		if r.whole[mod] && r.Zips {
			p.push(job{key: key.Sibling(cache.Info), tier: own})
			p.push(job{key: key.Sibling(cache.Zip), tier: own})
		}
	}
}

// publish notes that a module path is no secret: a client has asked for it, or the .mod
// of a public module names it. Which of its versions the projects need follows.
func (p *plan) publish(modPath string) {
	news := !p.public.get(modPath)
	p.public.set(modPath, true)
	if news {
		for _, r := range p.projects {
			p.release(r, modPath)
		}
	}
}

// private reports whether a module is not to be fetched ahead: by our patterns, by those
// of a command that runs or did, or since its project has a folder in its place.
func (p *plan) private(modPath string) bool {
	return p.opts.Private(modPath) || slices.ContainsFunc(p.projects, func(r *project) bool {
		return slices.Contains(r.Replaced, modPath) || r.private(modPath)
	})
}
