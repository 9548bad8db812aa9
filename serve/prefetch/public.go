package prefetch

import (
	"slices"

	"golang.org/x/mod/module"

	"github.com/gomirror/gomirror/cache"
	"github.com/gomirror/gomirror/serve/upstream"
)

// adopt looks among the projects for the one in which go asks what it asks.
func (p *plan) adopt(projects []Project) {
	p.looking = false
	i := slices.IndexFunc(projects, func(project Project) bool {
		return slices.ContainsFunc(project.Requires, func(mod module.Version) bool {
			return p.wanted[mustKey(mod, cache.Mod)] || p.wanted[mustKey(mod, cache.Zip)]
		})
	})
	if i < 0 || p.project != nil {
		return
	}
	p.project = &projects[i]
	p.project.private = upstream.MatchPrivate(p.project.Private)
	p.queue.drop(func(j job) bool { return p.private(j.key.Module().Path) })
	for _, mod := range p.project.Requires {
		p.need(job{key: mustKey(mod, cache.Mod), learn: true, tier: own})
		if p.project.Zips {
			p.need(job{key: mustKey(mod, cache.Info), tier: own})
			p.need(job{key: mustKey(mod, cache.Zip), tier: own})
		}
	}
	for _, mod := range p.project.Sums {
		if p.graph {
			p.need(job{key: mustKey(mod, cache.Mod), learn: true, tier: deep})
		}
	}
	for modPath := range p.latent {
		if p.public[modPath] {
			p.release(modPath)
		}
	}
}

// need notes what the project needs.
func (p *plan) need(j job) {
	modPath := j.key.Module().Path
	if modPath == "" || p.private(modPath) {
		return
	}
	p.latent[modPath] = append(p.latent[modPath], j)
}

// private reports whether a module is not to be fetched ahead: by our patterns, by those
// of the command that runs, or since its project has a folder in its place.
func (p *plan) private(modPath string) bool {
	if p.opts.Private(modPath) {
		return true
	}
	return p.project != nil && (slices.Contains(p.project.Replaced, modPath) || p.project.private(modPath))
}

// publish notes that a module path is no secret: a client has asked for it, or the .mod
// of a public module names it. Which of its versions the project needs follows.
func (p *plan) publish(modPath string) {
	if !p.public[modPath] {
		p.public[modPath] = true
		p.release(modPath)
	}
}

// release queues what the project needs of a module.
func (p *plan) release(modPath string) {
	for _, j := range p.latent[modPath] {
		p.push(j)
	}
	delete(p.latent, modPath)
}
