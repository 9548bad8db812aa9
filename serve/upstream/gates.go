package upstream

import "sync"

// gates has a gate for each name that somebody uses, and forgets it with the last of
// them: redirects name new hosts without end.
type gates[G any] struct {
	open func() G

	mu   sync.Mutex
	used map[string]*usedGate[G] // guarded by mu
}

// usedGate is a gate and how many use it.
type usedGate[G any] struct {
	gate  G
	users int // guarded by gates.mu
}

func newGates[G any](open func() G) *gates[G] {
	return &gates[G]{open: open, used: make(map[string]*usedGate[G])}
}

// enter returns the gate of a name. The caller calls leave once.
func (g *gates[G]) enter(name string) (gate G, leave func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	u := g.used[name]
	if u == nil {
		u = &usedGate[G]{gate: g.open()}
		g.used[name] = u
	}
	u.users++
	return u.gate, func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		if u.users--; u.users == 0 {
			delete(g.used, name)
		}
	}
}
