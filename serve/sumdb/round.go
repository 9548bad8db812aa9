package sumdb

import (
	"context"
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
	todo, dark, limit := r.candidates()
	if len(todo) == 0 {
		r.knock()
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit.limit, limit)
	defer cancel() // ends the attempts that were slower
	defer context.AfterFunc(r.ctx, cancel)()
	q := &round{
		r: r, path: path, todo: todo, results: make(chan result),
		hedge:  time.NewTimer(hedgeAfter),
		faults: faultsOf(r.name, dark),
	}
	defer q.hedge.Stop()
	for {
		if q.faults.absent != nil {
			// One remote knows that it is not there; the silence of others adds nothing.
			q.todo, q.asked = r.present(q.todo), r.present(q.asked)
		}
		if cause := context.Cause(ctx); cause != nil && cause != error(limit) {
			return nil, "", cause // nobody waits any more, which says nothing about the remotes
		}
		if len(q.asked) == 0 && len(q.todo) == 0 {
			r.setLost(q.faults.absent == nil)
			return nil, "", q.faults.err()
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
			q.faults.add(res)
			q.nextOrSoon(ctx, res.err)
		case <-q.hedge.C:
			q.nextOrAgain(ctx)
		case <-q.watch:
			q.watch = nil
			q.next(ctx)
		case <-ctx.Done():
			r.giveUp(&q.faults, q.asked, context.Cause(ctx))
			q.asked, q.todo = nil, nil
		}
	}
}

// round is the state of [reach.round].
type round struct {
	r       *reach
	path    string
	todo    []candidate   // not asked yet
	asked   []candidate   // have not answered yet; some twice
	watch   chan struct{} // closed when another question benches the last asked
	results chan result
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

// nextOrSoon asks the next remote, if there is one. If not, and others are silent, one
// of those is asked again before long: a second question has just been lost too.
func (q *round) nextOrSoon(ctx context.Context, err error) {
	if len(q.todo) == 0 && len(q.asked) > 0 && passing(err) {
		q.soon = min(max(2*q.soon, soonAfter), hedgeAfter)
		q.hedge.Reset(q.soon)
	}
	q.next(ctx)
}

// nextOrAgain asks the next remote, or the first that is silent once more.
func (q *round) nextOrAgain(ctx context.Context) {
	if len(q.todo) == 0 && len(q.asked) > extraAsks {
		q.hedge.Reset(hedgeAfter) // one of them may fail before
		return
	}
	if q.soon == 0 {
		q.r.silent(q.asked[len(q.asked)-1])
	}
	if len(q.todo) > 0 {
		q.next(ctx)
	} else {
		q.ask(ctx, q.asked[0])
	}
}

func (q *round) ask(ctx context.Context, c candidate) {
	q.asked = append(q.asked, c)
	q.hedge.Reset(hedgeAfter << max(0, len(q.asked)-2)) // at 0, 2, 4, 8, 16 s
	go q.r.attempt(ctx, c, q.path, q.results)           // ends with its answer or with ctx
}

// answered takes one question to the remote off those that have not, or all of them if
// it takes no connection.
func (q *round) answered(res result) {
	same := func(c candidate) bool { return c.health == res.from.health }
	if upstream.Unreachable(res.err) {
		q.asked = slices.DeleteFunc(q.asked, same)
	} else if i := slices.IndexFunc(q.asked, same); i >= 0 {
		q.asked = slices.Delete(q.asked, i, i+1)
	}
}

// faultsOf begins the faults of one question with the remotes it is not put to.
func faultsOf(db string, dark []candidate) faults {
	f := faults{db: db}
	for _, c := range dark {
		f.add(result{from: c, err: errDark})
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
		res := result{from: c, err: cause}
		r.fail(res)
		f.add(res)
	}
}
