package sumdb

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"time"

	"github.com/gomirror/gomirror/serve/upstream"
)

// soonAfter is the first pause before a question is put again that was answered badly.
const soonAfter = 100 * time.Millisecond

// round asks each remote once. The next is asked when one fails or is silent for
// [hedgeAfter]; the first good answer wins. One that is silent and has no next is asked
// again beside its first question, which may have been lost.
func (r *reach) round(ctx context.Context, path string, accept func([]byte) error) (data []byte, from string, err error) {
	todo, doubted, dark, limit := r.candidates()
	if len(todo) == 0 {
		r.knock()
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit.limit, limit)
	defer cancel() // ends the attempts that were slower
	defer context.AfterFunc(r.ctx, cancel)()
	q := &round{
		r: r, path: path, todo: todo, doubted: doubted, results: make(chan result),
		hedge:  time.NewTimer(hedgeAfter),
		faults: r.faultsOf(dark),
	}
	defer q.hedge.Stop()
	for {
		if q.faults.absent != nil {
			// One remote knows that it is not there; the silence of others adds nothing. Only
			// the database's own does: a relay need not have what is new.
			q.todo, q.asked, q.doubted = r.present(q.todo, q.faults.own), r.present(q.asked, q.faults.own), nil
			if q.fair == nil {
				q.fair = time.After(fairTime)
			}
		}
		if len(q.todo) == 0 && len(q.asked) == 0 {
			q.todo, q.doubted = q.doubted, nil
		}
		if cause := context.Cause(ctx); cause != nil && cause != error(limit) {
			return nil, "", cause // nobody waits any more, which says nothing about the remotes
		}
		if len(q.asked) == 0 && len(q.todo) == 0 {
			return nil, "", r.conclude(&q.faults)
		}
		if len(q.asked) == 0 {
			q.next(ctx)
		}
		select {
		case res := <-q.results:
			q.answered(res)
			if res.err = r.judge(res, accept); res.err == nil {
				r.setLost(false)
				return res.data, res.from.Name(), nil
			}
			res.passing = r.mayPass(res.from, res.err)
			q.faults.add(res)
			q.nextOrSoon(ctx, res)
		case <-q.hedge.C:
			q.nextOrAgain(ctx)
		case <-q.watch:
			q.watch = nil
			q.next(ctx)
		case <-q.fair:
			r.giveUp(&q.faults, q.asked, &silenceError{fairTime})
			q.asked, q.todo = nil, nil // nor is any doubted, see above
		case <-ctx.Done():
			r.giveUp(&q.faults, q.asked, context.Cause(ctx))
			q.asked, q.todo, q.doubted = nil, nil, nil
		}
	}
}

// round is the state of [reach.round].
type round struct {
	r       *reach
	path    string
	todo    []candidate   // not asked yet
	doubted []candidate   // to ask when all others have failed, or are silent for long
	asked   []candidate   // have not answered yet; some twice
	failed  []candidate   // may answer yet, see [reach.mayPass]
	watch   chan struct{} // closed when another question benches the last asked
	results chan result
	fair    <-chan time.Time // set when a relay says that it is not there
	hedge   *time.Timer
	soon    time.Duration // the last pause of nextOrSoon
	faults  faults
}

// next asks the next remote, if there is one.
func (q *round) next(ctx context.Context) {
	if len(q.todo) > 0 {
		c := q.todo[0]
		q.todo, q.watch = q.todo[1:], q.r.watch(c)
		q.ask(ctx, c)
	}
}

// nextOrSoon asks the next remote, if there is one. If not, and others are silent, the
// one that failed is asked again before long: they may be black holes.
func (q *round) nextOrSoon(ctx context.Context, res result) {
	if res.passing {
		q.failed = append(q.failed, res.from)
	}
	if len(q.todo) == 0 && len(q.asked) > 0 && res.passing {
		q.soon = min(max(2*q.soon, soonAfter), hedgeAfter)
		q.hedge.Reset(q.soon)
	}
	q.next(ctx)
}

// nextOrAgain asks the next remote, or one that failed, or one that is silent.
func (q *round) nextOrAgain(ctx context.Context) {
	if len(q.todo) == 0 && len(q.asked) >= extraAsks && len(q.doubted) > 0 {
		// The others may answer yet, but no other question waits for that.
		q.r.giveUp(&q.faults, q.asked, &silenceError{hedgeAfter << (extraAsks - 1)})
		q.todo, q.doubted = q.doubted, nil
	}
	if len(q.todo) == 0 && len(q.asked) > extraAsks {
		q.hedge.Reset(hedgeAfter) // one of them may fail before
		return
	}
	if q.soon == 0 {
		q.r.silent(q.asked[len(q.asked)-1], len(q.todo) > 0 || len(q.asked) > 1)
	}
	switch {
	case len(q.todo) > 0:
		q.next(ctx)
	case len(q.failed) > 0:
		q.ask(ctx, q.failed[0])
		q.failed = q.failed[1:]
	default:
		q.ask(ctx, q.r.liveliest(q.asked))
	}
}

func (q *round) ask(ctx context.Context, c candidate) {
	q.asked = append(q.asked, c)
	q.hedge.Reset(hedgeAfter << max(0, len(q.asked)-2)) // at 0, 2, 4, 8, 16 s
	go q.r.attempt(ctx, c, q.path, q.results)           // ends with its answer or with ctx
}

// answered takes one question to the remote off those that have not, or all of them if
// it knows of none, takes no connection or has been silent for as long as it may.
func (q *round) answered(res result) {
	same := func(c candidate) bool { return c.health == res.from.health }
	var silence *silenceError
	if errors.Is(res.err, fs.ErrNotExist) || upstream.Unreachable(res.err) || errors.As(res.err, &silence) {
		q.asked = slices.DeleteFunc(q.asked, same)
	} else if i := slices.IndexFunc(q.asked, same); i >= 0 {
		q.asked = slices.Delete(q.asked, i, i+1)
	}
}

// conclude ends a round without a good answer.
func (r *reach) conclude(f *faults) error {
	r.setLost(f.absent == nil)
	if f.absent != nil && !f.own {
		// Relays answer, so asking again would hold up this question alone: it is done only
		// for a database that was there of late.
		f.passing = f.passing && r.ownAlive()
		r.knock()
	}
	return f.err()
}

// faultsOf begins the faults of one question with the remotes it is not put to.
func (r *reach) faultsOf(dark []candidate) faults {
	f := faults{db: r.name}
	for _, c := range dark {
		f.add(result{from: c, err: errDark, passing: r.mayPass(c, errDark)})
	}
	return f
}

// giveUp counts those who have not answered at the end as faults, each once.
func (r *reach) giveUp(f *faults, asked []candidate, cause error) {
	seen := map[*health]bool{}
	for _, c := range asked {
		if seen[c.health] {
			continue
		}
		seen[c.health] = true
		res := result{from: c, err: cause, passing: r.mayPass(c, cause)}
		r.fail(res)
		f.add(res)
	}
}
