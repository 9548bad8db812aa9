package upstream

import "context"

// Route asks the origin for private modules and the public chain for all others.
// It decides before any request is made. No error of the origin leads to the public
// chain: that would tell it the name.
type Route struct {
	Private func(modPath string) bool // nil: nothing is private
	Public  Source
	Origin  Source
}

// Fetch implements [Source].
func (r *Route) Fetch(ctx context.Context, req Request, sink Sink) error {
	if r.Private != nil && r.Private(req.Key.Module().Path) {
		return r.Origin.Fetch(ctx, req, sink)
	}
	return r.Public.Fetch(ctx, req, sink)
}
