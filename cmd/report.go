package cmd

import (
	"errors"
	"os"

	"github.com/gomirror/gomirror/serve"
)

// status is what the control socket says of us.
func (a *assembly) status() statusDoc {
	stats, faced, sums := a.mirror.Stats(), a.server.Stats(), a.sums.Status()
	exe, _ := os.Executable() // "" says that it is not known
	doc := statusDoc{
		SchemaVersion: 1,
		Running:       true,
		Version:       buildVersion().Version,
		PID:           os.Getpid(),
		Exe:           exe,
		Started:       a.started,
		Address:       a.listener.Addr().String(),
		Cache:         cacheDoc{Dir: a.s.cacheDir},
		Upstream:      serve.Redact(a.chain.String()), // which may be a gomirror elsewhere
		Offline:       a.s.offline,
		Private:       a.private,
		Served:        a.s.private,
		Unasked:       a.unasked(),
		Stats: statsDoc{
			Hits: stats.Hits, Misses: stats.Misses, Stale: stats.Stale, Revalidated: stats.Revalidated,
			Errors: stats.Faults, FetchedBytes: stats.FetchedBytes, ServedBytes: faced.Bytes,
		},
		Prefetch: prefetchDoc{Mode: a.s.prefetch, Stats: a.ahead.Stats()},
		Refused:  refusedDoc{Host: faced.RefusedHost, Browser: faced.RefusedHeader, User: faced.RefusedUser},
	}
	for _, h := range a.chain.Health() {
		doc.Upstreams = append(doc.Upstreams, upstreamDoc{
			Name: serve.Redact(h.Name), State: h.State, Since: h.Since, FirstByteMS: h.P95.Milliseconds(),
			Tries: h.Tries, Failures: h.Failures, LastError: serve.Redact(h.LastError),
		})
	}
	if sums.Name != "" {
		doc.SumDB = []sumdbDoc{{Name: sums.Name, TreeSize: sums.TreeSize, Fork: sums.Fork, OutOfReach: sums.OutOfReach}}
	}
	// An unreadable cache shows in the log and in every answer; status still tells the rest.
	unverified, err := a.store.Unverified()
	aside, asideErr := a.store.Quarantined()
	moves, movesErr := a.store.Moves()
	if err := errors.Join(err, asideErr, movesErr); err != nil {
		a.log.Warn("status not complete", "err", err)
	}
	doc.Unverified = len(unverified)
	if doc.Tokens, err = a.env.tokenPlaces(a.tokens); err != nil {
		a.log.Warn("status not complete", "err", err)
	}
	for _, q := range aside {
		doc.Quarantine = append(doc.Quarantine, alarmDoc{Module: q.Module, Version: q.Version, Reason: serve.Redact(q.Reason), At: q.At})
	}
	for _, m := range moves {
		doc.Moved = append(doc.Moved, movedDoc{Module: m.Path, Version: m.Version.Version, Commit: m.Was, Moved: m.Now, At: m.At})
	}
	return doc
}
