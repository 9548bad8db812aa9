package mirror

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"github.com/gomirror/gomirror/cache"
	"github.com/gomirror/gomirror/serve/upstream"
)

const (
	// publicFresh is how long a list, @latest, branch or "not found" of a public
	// upstream stands unasked. Users wait for a tag they have just pushed
	// (golang/go#42809), so a minute is the most.
	publicFresh = 60 * time.Second

	// privateFresh lets the burst of requests of one go command share an answer of
	// the origin, and no more: a pushed tag is seen as plain go sees it.
	privateFresh = 5 * time.Second

	// staleLimit is how long an answer may stand in for an upstream that is out of
	// reach: a week away from the network.
	staleLimit = 7 * 24 * time.Hour
)

// verdict is what may be done with what is held.
type verdict uint8

const (
	fetch      verdict = iota // nothing usable is held
	revalidate                // ask whether it still stands
	use                       // serve it
)

// freshness decides what to do with held, which is nil if nothing is. It depends on
// its arguments alone.
func freshness(tree cache.Tree, kind cache.Kind, held *cache.Entry, now time.Time) verdict {
	if held == nil {
		return fetch
	}
	found := held.Meta.Found()
	immutable := kind == cache.Info || kind == cache.Mod || kind == cache.Zip
	if immutable && found {
		return use
	}
	if tree == cache.Private && !found {
		return fetch // who was just given access must not wait
	}
	limit := publicFresh
	if tree == cache.Private {
		limit = privateFresh
	}
	// A clock that was set back makes answers from the future: not fresh.
	age := now.Sub(held.Meta.Fetched)
	switch {
	case age >= 0 && age < limit:
		return use
	case found:
		return revalidate
	}
	return fetch
}

// stale reports whether held may be served although asking again ended in err.
func stale(tree cache.Tree, held *cache.Entry, err error, now time.Time) bool {
	if held == nil || !held.Meta.Found() || now.Sub(held.Meta.Fetched) > staleLimit {
		return false
	}
	var status *upstream.StatusError
	var origin interface{ NeedsAuth() bool }
	switch {
	case errors.Is(err, context.Canceled):
		return false // the client is gone
	case errors.Is(err, fs.ErrNotExist), errors.As(err, &origin) && origin.NeedsAuth():
		return false
	case errors.As(err, &status):
		return status.Code == 408 || status.Code == 429 || status.Code >= 500
	}
	// What is left are transport faults, stalls and answers without sense, such as
	// the log-in page of a hotel's network.
	return true
}
