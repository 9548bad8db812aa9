package sumdb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
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
	// fairTime is how long the database itself may take to know what a relay does not: as
	// long as a commit waits.
	fairTime = verifyPatience
	// darkFor is how long a remote is not asked at all after it let us wait in vain:
	// every lookup of a build would wait for it anew.
	darkFor = 30 * time.Second
	// persistFor is how long a question is asked again and again without an answer
	// from anywhere.
	persistFor = 30 * time.Second
	// extraAsks is how many questions to a silent remote there may be beside the first.
	extraAsks = 4
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
	persist time.Duration // see persistFor
	now     func() time.Time
	log     *slog.Logger

	probes singleflight.Group // of probe, by remote's name

	mu     sync.Mutex
	health map[string]*health // by remote's name
	lost   bool               // the last question got no answer
	// progress is when the last good answer to any question came, knocked when those
	// who give none were last asked.
	progress, knocked time.Time
	hopeless          bool // one has waited for progress in vain since there was any
	doubts            int  // see era
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
	// passing says that asking this remote again may do.
	passing bool
}

// fetch asks the remotes for a path such as "tile/8/0/000" until one gives an answer
// that accept takes. from names the remote. The error Is fs.ErrNotExist if the database
// itself said so and no relay knew better.
//
// The go command gives up all of its work for one lookup that fails, so this one asks
// again as long as there is progress: see [reach.again].
func (r *reach) fetch(ctx context.Context, path string, accept func([]byte) error) (data []byte, from string, err error) {
	if r.offline {
		return nil, "", errOffline
	}
	began, pause := r.now(), backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval, pause.Multiplier = soonAfter, 5*time.Second, 2
	for {
		data, from, err = r.round(ctx, path, accept)
		if err == nil {
			return data, from, nil
		}
		left := r.again(err, began)
		if left <= 0 {
			return nil, "", err
		}
		select {
		case <-time.After(min(pause.NextBackOff(), left)):
		case <-ctx.Done():
			return nil, "", context.Cause(ctx)
		case <-r.ctx.Done():
			return nil, "", err
		}
	}
}

// again returns how long a question that failed is worth another round: if a fault is one
// that passes, and no question has waited [persistFor] in vain for a good answer to any.
func (r *reach) again(err error, began time.Time) time.Duration {
	var none *reachError
	if !errors.As(err, &none) || !none.passing {
		return 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	since := began
	if r.progress.After(since) {
		since = r.progress
	}
	left := r.persist - r.now().Sub(since)
	r.hopeless = r.hopeless || left <= 0
	if r.hopeless {
		return 0
	}
	return left
}

// ownAlive reports whether the database itself has answered of late.
func (r *reach) ownAlive() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(r.direct, func(own Remote) bool {
		h := r.health[own.Name()]
		return h != nil && !h.answered.IsZero() && r.now().Sub(h.answered) < aliveFor+r.persist
	})
}

// attempt asks one remote. It ends with ctx, also if nobody takes its result.
func (r *reach) attempt(ctx context.Context, c candidate, path string, results chan<- result) {
	start := r.now()
	res := result{from: c}
	if c.relay {
		res.data, res.err = r.askRelay(ctx, c, "sumdb/"+r.name+"/"+path)
	} else {
		res.data, res.err = c.Get(ctx, path)
	}
	res.took = r.now().Sub(start)
	select {
	case results <- res:
	case <-ctx.Done():
	}
}
