package sumdb

// distrust notes, by name, the remotes that gave answers which do not fit together. Who
// lied is not known; where relays had a part in it the database itself is not suspected,
// and where they had none it is benched.
//
// A relay in doubt is asked when nobody else answers. For [benchFor] no answer changes
// that, as one changes a bench: it shows that somebody is there, and not who is right.
func (r *reach) distrust(from map[string]bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.doubts++
	own := map[string]bool{}
	for _, direct := range r.direct {
		own[direct.Name()] = true
	}
	relayed := false
	for name, gave := range from {
		if h := r.health[name]; h != nil && gave && !own[name] {
			h.doubted, relayed = r.now().Add(benchFor), true
		}
	}
	for name := range own {
		if h := r.health[name]; h != nil && from[name] && !relayed {
			r.bench(h)
		}
	}
}

// era tells apart what was asked before and after somebody fell into doubt.
func (r *reach) era() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.doubts
}
