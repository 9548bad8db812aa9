package upstream

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/gomirror/gomirror/cache"
)

// tally collects what the entries of a chain said, to tell the best of it.
type tally struct {
	key      cache.Key
	failures []failure
	skipped  []string // names of upstreams that there was no time to ask
}

// failure is what one entry said.
type failure struct {
	step
	err error
}

func (t *tally) add(s step, err error) { t.failures = append(t.failures, failure{s, err}) }
func (t *tally) skip(name string)      { t.skipped = append(t.skipped, name) }

// unreachable reports whether no upstream has accepted a connection so far.
func (t *tally) unreachable() bool {
	for _, f := range t.failures {
		if !Unreachable(f.err) {
			return false
		}
	}
	return true
}

// chainError is the best of several errors, told with the others.
type chainError struct {
	text string
	best error
}

func (e *chainError) Error() string { return e.text }
func (e *chainError) Unwrap() error { return e.best }

// result returns the most helpful error, by the go command's order: what direct says,
// then what a proxy says, then "not found". Of equals the last counts.
func (t *tally) result() error {
	var best failure
	rank := -1
	for _, f := range t.failures {
		if r := f.rank(); r >= rank {
			best, rank = f, r
		}
	}
	if len(t.failures) == 1 && len(t.skipped) == 0 {
		return best.err
	}
	if rank == 0 {
		return &chainError{fmt.Sprintf("%s: not found: %s", t.key, t.reasons(nil)), best.err}
	}
	if t.unreachable() {
		return &chainError{fmt.Sprintf("fetch %s: no upstream accepts a connection: %s", t.key, t.reasons(nil)), best.err}
	}
	text := best.err.Error()
	others := t.reasons(func(f failure) bool {
		return f.name != best.name && !errors.Is(f.err, fs.ErrNotExist)
	})
	if others != "" {
		text += "; also asked: " + others
	}
	return &chainError{text, best.err}
}

// rank orders errors as the go command does.
func (f failure) rank() int {
	switch {
	case f.URL == wordDirect:
		return 2
	case !errors.Is(f.err, fs.ErrNotExist):
		return 1
	}
	return 0
}

// reasons names the upstreams, those that keep is true for, and what each said.
func (t *tally) reasons(keep func(failure) bool) string {
	var parts []string
	for _, f := range t.failures {
		if keep == nil || keep(f) {
			parts = append(parts, fmt.Sprintf("%s (%s)", f.name, reason(f.err)))
		}
	}
	for _, name := range t.skipped {
		parts = append(parts, name+" (not asked any more)")
	}
	return strings.Join(parts, ", ")
}
