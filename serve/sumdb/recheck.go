package sumdb

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gomirror/gomirror/cache"
	"golang.org/x/mod/module"
	"golang.org/x/sync/errgroup"
)

const (
	// dueAfter is how long after a failed lookup a recheck is due: a bad minute is often
	// shorter. It doubles, up to dueLimit, as long as rechecks fail.
	dueAfter = 15 * time.Second
	dueLimit = 5 * time.Minute
	// recheckWidth is how many versions are looked up at once: each takes two round
	// trips, and clients come first.
	recheckWidth = 8
)

// due tells when a recheck is worth its while.
type due struct {
	now chan struct{} // has room for one

	mu    sync.Mutex
	timer *time.Timer // nil if none runs
	after time.Duration
	over  bool
}

func newDue() *due { return &due{now: make(chan struct{}, 1), after: dueAfter} }

// arm starts the timer, unless it runs.
func (u *due) arm() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.timer != nil || u.over {
		return
	}
	u.timer = time.AfterFunc(u.after, func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		u.timer = nil
		select {
		case u.now <- struct{}{}:
		default: // nobody has taken the last one yet
		}
	})
}

// settle notes how a recheck ended.
func (u *due) settle(err error) {
	u.mu.Lock()
	u.after = min(2*u.after, dueLimit)
	if err == nil {
		u.after = dueAfter
	}
	u.mu.Unlock()
	if err != nil {
		u.arm()
	}
}

func (u *due) stop() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.over = true
	if u.timer != nil {
		u.timer.Stop()
	}
}

// Due returns a channel that says when [Database.Recheck] is worth its while: a little
// after a version was judged Unverified because its lookup failed or took too long, and
// again, ever later, while rechecks fail.
func (d *Database) Due() <-chan struct{} { return d.due.now }

// owe notes why a version was not verified. What another try would not change is left
// to whoever rechecks from time to time.
func (d *Database) owe(err error) {
	var absent *absentError
	var bad *badDataError
	var fork *forkError
	if errors.As(err, &absent) || errors.As(err, &bad) || errors.As(err, &fork) || errors.Is(err, errOffline) {
		return
	}
	d.due.arm()
}

// Recheck looks up what was stored while the database was out of reach. What it
// contradicts is evicted. It ends early, with an error, if the database still is; an
// answer that does not verify, or is a refusal, is an error too, and does not keep it
// from the others.
// What is exempt by now stays unverified: the pattern that exempts it may go again.
func (d *Database) Recheck(ctx context.Context, store *cache.Store) (checked int, err error) {
	defer func() { d.due.settle(err) }()
	versions, err := store.Unverified()
	if err != nil {
		return 0, err
	}
	var done atomic.Int64
	var mu sync.Mutex
	var bad error // of single versions
	group, each := errgroup.WithContext(ctx)
	group.SetLimit(recheckWidth)
	for _, mod := range versions {
		if each.Err() != nil {
			break
		}
		group.Go(func() error { // ends with the lookup's limits
			settled, err := d.recheck(each, store, mod)
			var wrong *badDataError
			var none *reachError
			mu.Lock()
			defer mu.Unlock()
			switch {
			case errors.As(err, &wrong):
				bad = errors.Join(bad, err)
				return nil
			case errors.As(err, &none) && none.answered:
				bad = cmpErr(bad, err) // the others may say the same of each
				return nil
			}
			if settled {
				done.Add(1)
			}
			return err
		})
	}
	err = group.Wait()
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return int(done.Load()), cmpErr(err, bad)
}

// recheck reports whether the version has a verdict now.
func (d *Database) recheck(ctx context.Context, store *cache.Store, mod module.Version) (bool, error) {
	c := d.verifier(mod.Path)
	if c == nil {
		return false, nil
	}
	rec, err := c.lookupCtx(ctx, mod, false)
	var absent *absentError
	if errors.As(err, &absent) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	for {
		meta, err := store.VersionMeta(mod)
		if err != nil {
			return false, err
		}
		said, err := c.judge(rec, meta, mod)
		if err != nil {
			c.log.WarnContext(ctx, "taken out of the cache", "version", mod, "err", err)
			return true, store.Evict(mod, err.Error())
		}
		if !said {
			return false, nil
		}
		// Another file of the version may have come meanwhile.
		if noted, err := store.SetVerdict(mod, meta, cache.Verified); noted || err != nil {
			return noted, err
		}
	}
}

// judge compares the files that are held of a version with a record. It is an error if
// they differ; said is not set if the record does not tell.
func (c *client) judge(rec record, held cache.Meta, mod module.Version) (said bool, err error) {
	for _, file := range []struct{ version, got string }{
		{mod.Version, held.H1},
		{mod.Version + "/go.mod", held.GoModH1},
	} {
		want := rec.sum(mod.Path, file.version)
		if file.got == "" {
			continue // not held
		}
		if want == "" {
			return false, nil
		}
		if want != file.got {
			return true, fmt.Errorf("%s has %s for %s %s, held was %s", c.authority(), want, mod.Path, file.version, file.got)
		}
	}
	return true, nil
}
