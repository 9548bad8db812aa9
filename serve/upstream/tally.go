package upstream

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/gomirror/gomirror/cache"
)

// tally collects what the entries of a chain said, to tell the best of it.
type tally struct {
	key      cache.Key
	failures []failure // in the order of the list, one a step: what it said last
	skipped  []step    // upstreams that there was no time to ask
	reached  bool      // somebody has accepted a connection
}

// failure is what one entry said.
type failure struct {
	step
	err error
}

func (t *tally) add(s step, err error) {
	t.reached = t.reached || !Unreachable(err)
	at, found := slices.BinarySearchFunc(t.failures, s.index, func(f failure, index int) int { return f.index - index })
	if found && errors.Is(err, errReach) {
		return // what it said before tells more
	}
	if found {
		t.failures[at].err = err
		return
	}
	t.failures = slices.Insert(t.failures, at, failure{s, err})
}

func (t *tally) skip(s step) {
	same := func(o step) bool { return o.index == s.index }
	if t.of(s) == nil && !slices.ContainsFunc(t.skipped, same) {
		t.skipped = append(t.skipped, s)
	}
}

// of returns what s said last, or nil.
func (t *tally) of(s step) error {
	for _, f := range t.failures {
		if f.index == s.index {
			return f.err
		}
	}
	return nil
}

// passing reports whether s may answer otherwise soon.
func (t *tally) passing(s step) bool {
	err := t.of(s)
	if s.health == nil { // direct
		var origin interface{ NeedsAuth() bool }
		return err != nil && !errors.Is(err, fs.ErrNotExist) && !(errors.As(err, &origin) && origin.NeedsAuth())
	}
	return err != nil && passing(err)
}

// retryAt is when it makes sense to ask s again, as far as it has told.
func (t *tally) retryAt(s step) time.Time {
	var blocked *blockedError
	var busy *busyError
	switch err := t.of(s); {
	case errors.As(err, &blocked):
		return blocked.RetryAt()
	case errors.As(err, &busy):
		return time.Now().Add(busy.after)
	}
	return time.Time{}
}

// unreachable reports whether no upstream has accepted a connection so far.
func (t *tally) unreachable() bool { return !t.reached }

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
			why := reason(f.err)
			if blocked := (*blockedError)(nil); errors.As(f.err, &blocked) {
				why = blocked.reason()
			}
			parts = append(parts, fmt.Sprintf("%s (%s)", f.name, why))
		}
	}
	for _, s := range t.skipped {
		parts = append(parts, s.name+" (not asked any more)")
	}
	return strings.Join(parts, ", ")
}
