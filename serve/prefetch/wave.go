package prefetch

import "golang.org/x/mod/module"

// wave finds the requirements of the main module among the .mod files that are asked
// for. Go loads the graph breadth first: it queues all of its main module's
// requirements, sorted by path, before the first of theirs. So a path that sorts before
// all of those asked last does not belong to them any more.
type wave struct {
	found []module.Version
	paths map[string]string // path -> version
	over  bool
}

// waveWidth is how many requests may pass each other on their way: as many as go has in
// flight, which is GOMAXPROCS.
const waveWidth = 8

// add reports whether the main module requires mod.
func (w *wave) add(mod module.Version) bool {
	if v, ok := w.paths[mod.Path]; w.over || ok {
		return ok && v == mod.Version
	}
	recent := w.found[max(0, len(w.found)-waveWidth):]
	w.over = len(recent) == waveWidth
	for _, r := range recent {
		w.over = w.over && mod.Path < r.Path
	}
	if w.over {
		return false
	}
	if w.paths == nil {
		w.paths = make(map[string]string)
	}
	w.paths[mod.Path] = mod.Version
	w.found = append(w.found, mod)
	return true
}

func (w *wave) has(mod module.Version) bool { return w.paths[mod.Path] == mod.Version }

func (w *wave) hasPath(modPath string) bool { return w.paths[modPath] != "" }
