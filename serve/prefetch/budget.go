package prefetch

const (
	// buildBudget and buildShare keep what go build does not want below a quarter of what
	// is fetched, and below a few zips at the start.
	buildBudget = 4 << 20
	buildShare  = 4
)

// budget is how many bytes of zips may lie there unasked for one more to be fetched. used
// is how many that were fetched ahead were of use since the start.
//
// Go mod download wants the zips of the whole graph. Go build those of what is imported,
// and what that is no go.mod tells: so what it has had bounds what may turn out to be of no
// use. Go get wants few of a graph that it goes on changing, so what it has had tells less
// about what is next; what was fetched ahead and used does. Go list -m wants none. Without the project of a command nothing tells it from go
// mod download before that asks for its first zip.
func (p *plan) budget(j job, used int64) int64 {
	mod := j.key.Module()
	used -= p.used
	share := func(bytes int64) int64 { return min(p.opts.Budget, buildBudget+bytes/buildShare) }
	named, found, most := false, false, int64(0)
	for _, r := range p.projects {
		if r.gone || !r.names(mod) {
			found = found || !r.gone && r.Zips
			continue
		}
		named = true
		switch {
		case !r.Zips:
		case r.graph && !r.Few:
			most = p.opts.Budget
		case r.Few:
			most = max(most, share(used))
		default:
			most = max(most, share(used+p.came))
		}
	}
	switch {
	case named:
		return most
	case p.found() && !found:
		return 0
	case p.graph && p.zips:
		return p.opts.Budget
	}
	return share(used + p.came)
}
