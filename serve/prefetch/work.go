package prefetch

import (
	"context"
	"errors"
	"time"

	"golang.org/x/mod/modfile"

	"github.com/gomirror/gomirror/cache"
	"github.com/gomirror/gomirror/serve/mirror"
	"github.com/gomirror/gomirror/serve/upstream"
)

// work does the jobs of a lane one after the other.
func (p *Prefetch) work(ctx context.Context, lane laneName) {
	for {
		p.mu.Lock()
		j, ok := p.take(lane)
		plan := p.plan
		p.mu.Unlock()
		if ok {
			p.do(ctx, plan, j)
			continue
		}
		select {
		case <-p.news[lane]:
		case <-ctx.Done():
			return
		}
	}
}

// take returns the next job of a lane that may be begun. p.mu is held.
func (p *Prefetch) take(lane laneName) (job, bool) {
	if p.over(p.opts.Now()) {
		return job{}, false // nobody pulls any more
	}
	may := func(job) bool { return true }
	if lane == zipLane {
		if p.books.full() || p.plan.looks.urgent {
			return job{}, false
		}
		ahead, used := p.books.ahead(), p.books.used()
		may = func(j job) bool { return ahead+max(j.size, 1) <= p.plan.budget(j, used) }
	}
	j, ok := p.plan.queue.take(lane, may, p.plan.wants)
	if ok && lane != lookLane && !p.plan.wanted.get(j.key) { // what a client asked for is not ahead of it
		j.booked = p.books.begin(j.key, p.opts.Now())
	}
	return j, ok
}

// do fetches a key and learns from a .mod. An error is no loss: who asks for the key
// itself will meet it, and be told.
func (p *Prefetch) do(ctx context.Context, plan *plan, j job) {
	if j.look {
		p.look(ctx, plan)
		return
	}
	start := p.opts.Now()
	ctx = mirror.Background(ctx)
	if j.key.Kind() == cache.Zip {
		ctx = upstream.WithRoom(ctx, func(length int64) error { return p.room(plan, &j, length) })
	}
	answer, err := p.opts.Get(ctx, j.key)
	var size int64
	var file *modfile.File
	if err == nil {
		if answer.State == mirror.Miss {
			size = answer.Size
		}
		// What came from its origin may be a company's, and what it requires too: no public
		// mirror need know of it, and so none may be asked.
		if j.learn && answer.Meta.Upstream != upstream.DirectName {
			file = parse(answer)
		}
		answer.Close()
	}
	now := p.opts.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if j.booked {
		p.books.end(j.key, size, now)
	}
	if errors.Is(err, errNoRoom) {
		plan.queue.again(j) // for when there is
	}
	if size > 0 && j.key.Kind() != cache.Zip {
		plan.took(now.Sub(start))
	}
	if file != nil {
		plan.learn(j, file)
	}
	p.wake() // the worker itself looks next
}

// unread is what an upstream sends of a body before anybody reads it: net/http takes as
// much of an HTTP/2 stream, and the system's buffers of a connection. To drop a zip that
// is no longer saves nothing, so that each slot may be that far above the budget.
const unread = 4 << 20

// errNoRoom ends the fetch of a zip that the budget has no room for.
var errNoRoom = errors.New("more than may be fetched ahead")

// room is told how large the zip of a job is before it flows. It is called once a fetch,
// by its goroutine.
func (p *Prefetch) room(plan *plan, j *job, length int64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	j.size = length
	if length > unread && p.books.besides(j.key)+length > plan.budget(*j, p.books.used()) {
		return errNoRoom
	}
	if j.booked {
		p.books.comes(j.key, length)
	}
	return nil
}

// lookTime is how long the search for the project may take: it reads a few small files,
// and a folder may be on a network that is down.
const lookTime = 500 * time.Millisecond

// look gives the projects in which go works to the plan. While a look is stuck there is
// no other.
func (p *Prefetch) look(ctx context.Context, plan *plan) {
	var projects []Project
	if p.stuck.CompareAndSwap(false, true) {
		found := make(chan []Project, 1)
		go func() { // ends when the file system answers
			found <- p.opts.Projects()
			p.stuck.Store(false)
		}()
		late := time.NewTimer(lookTime)
		defer late.Stop()
		select {
		case projects = <-found:
		case <-late.C:
		case <-ctx.Done():
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	plan.adopt(projects, p.opts.Now())
	plan.queue.news[zipLane] += zipSlots // they wait for what this shows
	p.wake()
}
