package prefetch

import (
	"slices"
	"strings"

	"github.com/gomirror/gomirror/cache"
)

// laneName names a lane of the queue: each has slots of its own.
type laneName uint8

const (
	modLane  laneName = iota // .mod and .info
	zipLane                  // .zip
	lookLane                 // the search for the project
)

// tier is how soon go wants something.
type tier uint8

const (
	first tier = iota // beside what it asks for now
	own               // of the main module's requirements
	deep              // of their requirements
)

// job is a key to fetch.
type job struct {
	key    cache.Key
	tier   tier
	learn  bool // its requirements are of interest
	spread bool // go reads the .mod files of these, whatever its go line
	guess  bool // dropped when better is known
	look   bool // no key: find the project
	booked bool // the books wait for its end
}

// queue has the jobs of a pull. A key is queued once.
type queue struct {
	queued map[cache.Key]bool
	lanes  [2][]job
	at     map[cache.Kind]string // module path that the client has reached
	near   map[string]bool       // module paths whose packages what was asked for imports
	look   bool
}

func newQueue() queue {
	return queue{queued: make(map[cache.Key]bool), at: make(map[cache.Kind]string), near: make(map[string]bool)}
}

// reach notes where in its order the client is.
func (q *queue) reach(key cache.Key) { q.at[key.Kind()] = key.Module().Path }

// queueLimit bounds what one pull can make us ask for: a hostile .mod may require ten
// thousand modules that each require as many. Kubernetes' graph has some 1,500.
const queueLimit = 5_000

func (q *queue) push(j job) {
	if q.queued[j.key] || len(q.queued) >= queueLimit {
		return
	}
	q.queued[j.key] = true
	lane := modLane
	if j.key.Kind() == cache.Zip {
		lane = zipLane
	}
	q.lanes[lane] = append(q.lanes[lane], j)
}

// drop removes jobs.
func (q *queue) drop(unwanted func(job) bool) {
	for lane := range q.lanes {
		q.lanes[lane] = slices.DeleteFunc(q.lanes[lane], unwanted)
	}
}

// take removes the job that go will want first, and all that are not wanted any more.
func (q *queue) take(lane laneName, wanted func(job) bool) (job, bool) {
	if lane == lookLane {
		look := q.look
		q.look = false
		return job{look: true}, look
	}
	best := -1
	kept := q.lanes[lane][:0]
	for _, j := range q.lanes[lane] {
		if !wanted(j) {
			continue
		}
		kept = append(kept, j)
		if best < 0 || q.before(j, kept[best]) {
			best = len(kept) - 1
		}
	}
	q.lanes[lane] = kept
	if best < 0 {
		return job{}, false
	}
	j := kept[best]
	q.lanes[lane] = append(kept[:best], kept[best+1:]...)
	return j, true
}

// before orders jobs by tier, and inside of one as go asks: what is imported by what it
// has, then by module path from where it is.
func (q *queue) before(a, b job) bool {
	aPath, bPath := a.key.Module().Path, b.key.Module().Path
	if a.tier != b.tier {
		return a.tier < b.tier
	}
	if q.near[aPath] != q.near[bPath] {
		return q.near[aPath]
	}
	aPassed, bPassed := aPath < q.at[a.key.Kind()], bPath < q.at[b.key.Kind()]
	if aPassed != bPassed {
		return bPassed
	}
	return strings.Compare(aPath, bPath) < 0
}
