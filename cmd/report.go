package cmd

import (
	"errors"
	"os"
	"time"

	"github.com/gomirror/gomirror/doctor"
	"github.com/gomirror/gomirror/serve"
	"github.com/gomirror/gomirror/serve/prefetch"
)

// statusDoc is what the daemon says about itself on its control socket, and the
// document of `status --json`. Fields are only ever added to schema version 1.
type statusDoc struct {
	SchemaVersion int           `json:"schema_version"`
	Running       bool          `json:"running"`
	Version       string        `json:"version,omitempty"`
	PID           int           `json:"pid,omitempty"`
	Exe           string        `json:"exe,omitempty"` // the program that it was started from
	Started       time.Time     `json:"started,omitzero"`
	Address       string        `json:"address,omitempty"` // host:port
	URL           string        `json:"url,omitempty"`     // with the capability, on request only
	Cache         cacheDoc      `json:"cache,omitzero"`
	Upstream      string        `json:"upstream,omitempty"`
	Upstreams     []upstreamDoc `json:"upstreams,omitempty"`
	Offline       bool          `json:"offline"`
	Private       []string      `json:"private,omitempty"`      // patterns that go to their origin only
	Served        []string      `json:"served,omitempty"`       // those of them that env need not keep from us
	Unasked       []string      `json:"unasked,omitempty"`      // those of them that no checksum database hears of
	Tokens        []string      `json:"tokens,omitempty"`       // HOST or HOST/OWNER that there is a token for
	PlainTokens   []string      `json:"plain_tokens,omitempty"` // those of them that lie in a file
	Stats         statsDoc      `json:"stats,omitzero"`
	Prefetch      prefetchDoc   `json:"prefetch,omitzero"`
	Refused       refusedDoc    `json:"refused,omitzero"`
	SumDB         []sumdbDoc    `json:"sumdb,omitempty"`
	Unverified    int           `json:"unverified"`
	Quarantine    []alarmDoc    `json:"quarantine,omitempty"`
	Moved         []movedDoc    `json:"moved,omitempty"`

	// What it was started with. No password is in it.
	GOSUMDB   string           `json:"gosumdb,omitempty"`
	GONOSUMDB string           `json:"gonosumdb,omitempty"`
	Network   *doctor.Network  `json:"network,omitempty"`
	Settings  []doctor.Setting `json:"settings,omitempty"`
}

// upstreamDoc is how one upstream does.
type upstreamDoc struct {
	Name        string    `json:"name"`
	State       string    `json:"state"` // up, down, probing or unknown
	Since       time.Time `json:"since,omitzero"`
	FirstByteMS int64     `json:"first_byte_ms,omitzero"` // 95 % of its answers begin within
	Tries       int64     `json:"tries"`
	Failures    int64     `json:"failures"`
	LastError   string    `json:"last_error,omitempty"`
}

// cacheDoc is an object of its own because it will grow: size, limit, entries.
type cacheDoc struct {
	Dir string `json:"dir"`
}

// statsDoc counts since the daemon started.
type statsDoc struct {
	Hits         int64 `json:"hits"`
	Misses       int64 `json:"misses"`
	Stale        int64 `json:"stale"`
	Revalidated  int64 `json:"revalidated"`
	Errors       int64 `json:"errors"`
	FetchedBytes int64 `json:"fetched_bytes"` // from upstreams
	ServedBytes  int64 `json:"served_bytes"`  // to the go command
}

// prefetchDoc is what fetching ahead was good for since the daemon started.
type prefetchDoc struct {
	Mode string `json:"mode"`
	prefetch.Stats
}

// refusedDoc counts the requests since the daemon started that did not come from the
// user's go command: somebody may be trying something, or a setting is missing.
type refusedDoc struct {
	Host    int64 `json:"host"` // a name in the Host header that is not ours
	Browser int64 `json:"browser"`
	User    int64 `json:"user"` // another user of this machine
}

// sumdbDoc is one checksum database.
type sumdbDoc struct {
	Name       string `json:"name"`
	TreeSize   int64  `json:"tree_size"`
	Fork       string `json:"fork,omitempty"` // why the database is not believed any more
	OutOfReach bool   `json:"out_of_reach"`
}

// alarmDoc is an answer that was set aside.
type alarmDoc struct {
	Module  string    `json:"module"`
	Version string    `json:"version"`
	Reason  string    `json:"reason"`
	At      time.Time `json:"at"`
}

// movedDoc is a private version whose tag names another commit than it did.
type movedDoc struct {
	Module  string    `json:"module"`
	Version string    `json:"version"`
	Commit  string    `json:"commit"` // that is served
	Moved   string    `json:"moved"`  // where the tag is now, or "deleted"
	At      time.Time `json:"at"`     // when that was noticed
}

// status is what the control socket says of us.
func (a *assembly) status() statusDoc {
	private := a.private.Load()
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
		Private:       private.origin,
		Served:        private.served,
		Unasked:       private.unasked,
		Stats: statsDoc{
			Hits: stats.Hits, Misses: stats.Misses, Stale: stats.Stale, Revalidated: stats.Revalidated,
			Errors: stats.Faults, FetchedBytes: stats.FetchedBytes, ServedBytes: faced.Bytes,
		},
		Prefetch:  prefetchDoc{Mode: a.s.prefetch, Stats: a.ahead.Stats()},
		GOSUMDB:   serve.Redact(doctor.HideUserinfo(a.goEnv.GOSUMDB)),
		GONOSUMDB: a.goEnv.GONOSUMDB,
		Network:   a.env.network(a.s),
		Settings:  a.s.shown(),
		Refused:   refusedDoc{Host: faced.RefusedHost, Browser: faced.RefusedHeader, User: faced.RefusedUser},
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
	if doc.Tokens, doc.PlainTokens, err = a.env.tokenPlaces(a.tokens); err != nil {
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
