package prefetch

// recent is a map that forgets: what was set neither since the last turn nor between
// the last two is not there any more. Go commands that never pause would fill any other.
// The zero recent is ready for use.
type recent[K comparable, V any] struct{ young, old map[K]V }

// get returns what was set for k, or the zero V.
func (r *recent[K, V]) get(k K) V {
	if v, ok := r.young[k]; ok {
		return v
	}
	return r.old[k]
}

func (r *recent[K, V]) set(k K, v V) {
	if r.young == nil {
		r.young = make(map[K]V)
	}
	r.young[k] = v
}

// turn ages what is there.
func (r *recent[K, V]) turn() { r.young, r.old = nil, r.young }

// len is how many were set since the last turn.
func (r *recent[K, V]) len() int { return len(r.young) }
