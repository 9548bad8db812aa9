package sumdb

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gomirror/gomirror/serve/upstream"
	"golang.org/x/sync/singleflight"
)

const (
	// hedgeAfter is how long a remote may be silent before the next one is asked too.
	// A lookup takes well below a second on a line that works.
	hedgeAfter = 2 * time.Second
	// benchFor is how long a remote that was silent or took no connection is asked
	// last.
	benchFor = 5 * time.Minute
	// aliveFor is how long an answer proves that a remote which is silent now is slow
	// and not gone.
	aliveFor = 30 * time.Second
	// answerLimit ends a question. The default database takes up to a minute for a
	// version that it has never seen.
	answerLimit = 90 * time.Second
	// benchedLimit ends a question when no remote is known to answer.
	benchedLimit = 30 * time.Second
	// probeLimit ends the question whether a remote relays the database: it answers
	// that itself.
	probeLimit = 10 * time.Second
	// darkFor is how long a remote is not asked at all after it let us wait in vain:
	// every lookup of a build would wait for it anew.
	darkFor = 30 * time.Second
	// relaysFor is how long a remote's yes or no to /supported is believed.
	relaysFor = time.Hour
)

var (
	errOffline   = errors.New("gomirror runs offline")
	errNotRelay  = errors.New("does not relay this database")
	errBadAnswer = errors.New("bad answer")
	errDark      = fmt.Errorf("no answer of late, asked again within %v", darkFor)
)

// reach asks the remotes of one database.
type reach struct {
	ctx     context.Context // ends when the Database is closed
	name    string          // of the database
	proxies func() []Remote // may relay it, below sumdb/NAME/
	direct  []Remote        // are it
	offline bool
	now     func() time.Time
	log     *slog.Logger

	probes singleflight.Group // of supported, by remote's name

	mu     sync.Mutex
	health map[string]*health // by remote's name
	lost   bool               // the last question got no answer
}

// candidate is a remote to ask, and how.
type candidate struct {
	Remote
	relay bool // a proxy, not the database itself
	*health
}

// result is what came of asking a candidate.
type result struct {
	from candidate
	data []byte
	err  error
	took time.Duration
}

// fetch asks the remotes for a path such as "tile/8/0/000" until one gives an answer
// that accept takes. The next remote is asked when one fails or is silent for
// [hedgeAfter]; the first good answer wins. The error Is fs.ErrNotExist if a remote
// said so and none knew better. from names the remote.
func (r *reach) fetch(ctx context.Context, path string, accept func([]byte) error) (data []byte, from string, err error) {
	if r.offline {
		return nil, "", errOffline
	}
	todo, dark, limit := r.candidates()
	ctx, cancel := context.WithTimeoutCause(ctx, limit.limit, limit)
	defer cancel() // ends the attempts that were slower
	defer context.AfterFunc(r.ctx, cancel)()
	var (
		results = make(chan result, len(todo)) // room for all: no attempt is left waiting
		hedge   = time.NewTimer(hedgeAfter)
		asked   []candidate   // have not answered yet
		watch   chan struct{} // closed when another question benches the last asked
		faults  = faultsOf(r.name, dark)
	)
	defer hedge.Stop()
	next := func() {
		if len(todo) > 0 {
			c := todo[0]
			todo, asked, watch = todo[1:], append(asked, c), r.watch(c)
			hedge.Reset(hedgeAfter)
			go r.attempt(ctx, c, path, results) // ends with its answer or with ctx
		}
	}
	for {
		if faults.absent != nil {
			// One remote knows that it is not there; the silence of others adds nothing.
			todo, asked = r.present(todo), r.present(asked)
		}
		if cause := context.Cause(ctx); cause != nil && cause != error(limit) {
			return nil, "", cause // nobody waits any more, which says nothing about the remotes
		}
		if len(asked) == 0 && len(todo) == 0 {
			r.setLost(faults.absent == nil)
			return nil, "", faults.err()
		}
		if len(asked) == 0 {
			next()
		}
		select {
		case res := <-results:
			asked = slices.DeleteFunc(asked, func(c candidate) bool { return c.health == res.from.health })
			if res.err = r.judge(res, accept); res.err == nil {
				r.setLost(false)
				return res.data, res.from.Name(), nil
			}
			faults.add(res)
			next()
		case <-hedge.C:
			r.silent(asked[len(asked)-1])
			next()
		case <-watch:
			watch = nil
			next()
		case <-ctx.Done():
			r.giveUp(&faults, asked, context.Cause(ctx))
			asked, todo = nil, nil
		}
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

// giveUp counts those who have not answered at the end as faults.
func (r *reach) giveUp(f *faults, asked []candidate, cause error) {
	for _, c := range asked {
		res := result{from: c, err: cause}
		r.fail(res)
		f.add(res)
	}
}

// attempt asks one remote. Its result has room in the channel, so that it never waits
// for a question that is over.
func (r *reach) attempt(ctx context.Context, c candidate, path string, results chan<- result) {
	start := r.now()
	res := result{from: c}
	if c.relay {
		res.err = r.supported(ctx, c)
		path = "sumdb/" + r.name + "/" + path
	}
	if res.err == nil {
		res.data, res.err = c.Get(ctx, path)
	}
	res.took = r.now().Sub(start)
	results <- res
}

// supported returns nil if a proxy relays this database. A fault says nothing about
// that and is not remembered.
func (r *reach) supported(ctx context.Context, c candidate) error {
	r.mu.Lock()
	known, relays := r.now().Before(c.relaysUntil), c.relays
	r.mu.Unlock()
	if !known {
		// Many lookups start at once: one of them asks. Ends with its time limit.
		probe := r.probes.DoChan(c.Name(), func() (any, error) {
			// Keeps the hops of the first who asks, and not who that is.
			ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), probeLimit, &silenceError{probeLimit})
			defer cancel()
			defer context.AfterFunc(r.ctx, cancel)()
			_, err := c.Get(ctx, "sumdb/"+r.name+"/supported")
			return err == nil, err
		})
		select {
		case res := <-probe:
			if res.Err != nil && !errors.Is(res.Err, fs.ErrNotExist) {
				return res.Err
			}
			relays = res.Err == nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		r.mu.Lock()
		c.relays, c.relaysUntil = relays, r.now().Add(relaysFor)
		r.mu.Unlock()
	}
	if !relays {
		return errNotRelay
	}
	return nil
}

// faults are the answers that were none.
type faults struct {
	db       string
	texts    []string
	absent   error // the first "not found"
	answered bool  // some remote gave an answer, if not a good one
}

func (f *faults) add(res result) {
	var status *upstream.StatusError
	switch {
	case errors.Is(res.err, errNotRelay):
		return
	case errors.Is(res.err, fs.ErrNotExist):
		if f.absent == nil {
			f.absent = res.err
		}
	case errors.As(res.err, &status), errors.Is(res.err, errBadAnswer):
		f.answered = true
	}
	f.texts = append(f.texts, res.from.Name()+": "+res.err.Error())
}

func (f *faults) err() error {
	if f.absent != nil {
		return f.absent
	}
	return &reachError{db: f.db, texts: f.texts, answered: f.answered}
}

// reachError says that no remote gave an answer.
type reachError struct {
	db       string
	texts    []string // one a remote
	answered bool     // some remote gave a bad one
}

func (e *reachError) Error() string {
	return "ask checksum database " + e.db + ": " + strings.Join(e.texts, "; ")
}

// Hint tells the one thing to do.
func (e *reachError) Hint() string { return "gomirror status" }

// silenceError is why a question was given up.
type silenceError struct{ limit time.Duration }

func (e *silenceError) Error() string { return fmt.Sprintf("no answer in %v", e.limit) }
