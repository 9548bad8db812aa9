package upstream

import (
	"context"
	"errors"
	"iter"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/gomirror/gomirror/cache"
)

const (
	// roundFirst and roundMost are the pauses between two rounds of a group.
	roundFirst = 100 * time.Millisecond
	roundMost  = 5 * time.Second

	// roundTime is kept back of reachLimit for the last round.
	roundTime = time.Second

	// probeWait is the most that a request waits for an upstream that was down,
	// while another of the group could answer it.
	probeWait = 2 * time.Second
)

// errBackground is why direct was not asked.
var errBackground = errors.New("nobody waits for it yet")

// choice is a run of entries with "|" between them. The user does not mind which of
// them answers, so the ones that are well and quick are asked first, another is asked
// beside one that is silent, and all are asked again while none has an answer.
type choice struct{ steps []step }

// split returns the module proxies of the group, and direct or off at its end.
func (g choice) split() (proxies []step, tail *step) {
	last := len(g.steps) - 1
	if g.steps[last].health == nil {
		return slices.Clone(g.steps[:last]), &g.steps[last]
	}
	return slices.Clone(g.steps), nil
}

// turn is what is asked next: one step or, side by side, several. Quick says that who
// fails is not waited for, since there are others.
type turn struct {
	steps []step
	quick bool
}

// turns yields whom to ask, until somebody has answered or an answer ends the chain. It
// goes by what was noted of the turns before.
func (p *pursuit) turns(ctx context.Context) iter.Seq[turn] {
	return func(yield func(turn) bool) {
		// Once a group has nobody to ask any more its last word says whether the next is.
		for _, g := range p.c.groups {
			if !p.group(ctx, g, yield) || !p.passes(g) {
				return
			}
		}
	}
}

// group yields the turns of a group. It reports whether the chain goes on.
func (p *pursuit) group(ctx context.Context, g choice, yield func(turn) bool) bool {
	pending, tail := g.split()
	direct := tail != nil && tail.URL == wordDirect
	if direct && !p.c.asks(p.req.Key) {
		direct, tail = false, nil
	}
	pauses := &backoff.ExponentialBackOff{
		InitialInterval: roundFirst, RandomizationFactor: 0.5, Multiplier: 2, MaxInterval: roundMost,
	}
	for {
		if !p.round(pending, direct, yield) {
			return false
		}
		if direct && unawaited(ctx) {
			// A clone is not begun on a guess. Who asks for the key itself is told what
			// direct says, so this must not be the answer.
			p.failed.add(*tail, errBackground)
			return true
		}
		if direct { // once: a clone is too much to try again for each round
			direct = false
			if !p.offer(turn{[]step{*tail}, false}, yield) {
				return false
			}
			if !p.failed.passing(*tail) {
				return true
			}
			tail = nil
		}
		pending = slices.DeleteFunc(pending, func(s step) bool { return p.full[s.index] || !p.failed.passing(s) })
		if len(pending) == 0 || p.held || unawaited(ctx) || !p.pause(ctx, pending, pauses.NextBackOff()) {
			break
		}
	}
	if ctx.Err() != nil {
		return false
	}
	return tail == nil || p.offer(turn{[]step{*tail}, false}, yield)
}

// round yields each of steps once: metadata side by side, a zip one after the other.
func (p *pursuit) round(steps []step, direct bool, yield func(turn) bool) bool {
	steps = p.order(steps)
	if len(steps) > 1 && p.req.Key.Kind() != cache.Zip {
		return p.offer(turn{steps, direct}, yield)
	}
	for _, s := range steps {
		if !p.offer(turn{[]step{s}, direct || p.others(steps, s)}, yield) {
			return false
		}
	}
	return true
}

// offer yields a turn, if there is time for it. It reports whether the chain goes on.
func (p *pursuit) offer(t turn, yield func(turn) bool) bool {
	if len(t.steps) == 1 && p.late() {
		p.failed.skip(t.steps[0])
		return true
	}
	return yield(t) && !p.stopped
}

// others reports whether a step but s may still have an answer.
func (p *pursuit) others(steps []step, s step) bool {
	return slices.ContainsFunc(steps, func(o step) bool {
		return o.index != s.index && (p.failed.of(o) == nil || p.failed.passing(o))
	})
}

// order puts first what is well, and of two that are well the one that is twice as
// quick; else the user's order stands. An upstream whose probe is due comes before all
// for metadata: that is hedged, and without being asked it would stay down.
func (p *pursuit) order(steps []step) []step {
	now := time.Now()
	rank := func(s step) int {
		switch {
		case s.health.well():
			return 1
		case s.health.blocked() != nil:
			return 3
		case p.req.Key.Kind() == cache.Zip:
			return 2
		}
		return 0
	}
	before := func(a, b step) bool {
		if ra, rb := rank(a), rank(b); ra != rb {
			return ra < rb
		}
		da, knownA := a.health.recent(now)
		db, knownB := b.health.recent(now)
		return knownA && knownB && 2*da <= db
	}
	// Not slices.SortFunc: "twice as quick" is no strict weak order.
	for i := range steps {
		for j := i; j > 0 && before(steps[j], steps[j-1]); j-- {
			steps[j], steps[j-1] = steps[j-1], steps[j]
		}
	}
	return steps
}

// pause waits before another round, for at least d and until one of steps may be asked
// again. It reports whether there is to be one: not if for reachLimit nothing came.
func (p *pursuit) pause(ctx context.Context, steps []step, d time.Duration) bool {
	now, soonest := time.Now(), time.Time{}
	for i, s := range steps {
		at := p.failed.retryAt(s)
		if i == 0 || at.Before(soonest) {
			soonest = at
		}
	}
	d = max(d, soonest.Sub(now))
	limit := p.until
	if moved := time.Unix(0, p.moved.Load()).Add(reachLimit); moved.After(limit) {
		limit = moved
	}
	if now.Add(d).After(limit.Add(-roundTime)) {
		return false
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
