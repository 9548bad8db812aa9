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
	nowLane                  // those of them that are in the first tier
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

	size int64 // of a zip that there was no room for, 0 if not known
}

// queue has the jobs of a plan. A key is queued once.
type queue struct {
	queued recent[cache.Key, bool]
	lanes  [3][]job              // that of nowLane is modLane's
	at     map[cache.Kind]string // module path that the client has reached
	near   recent[string, bool]  // module paths whose packages what was asked for imports
	look   bool
	news   [4]int // by lane: what came since they were told
}

func newQueue() queue { return queue{at: make(map[cache.Kind]string)} }

// reach notes where in its order the client is.
func (q *queue) reach(key cache.Key) { q.at[key.Kind()] = key.Module().Path }

// queueLimit bounds what the .mod files of one span can make us ask for: a hostile one
// may require ten thousand modules that each require as many. Kubernetes' graph has some
// 1,500.
const queueLimit = 5_000

func (q *queue) push(j job) {
	if q.queued.get(j.key) || q.queued.len() >= queueLimit {
		return
	}
	q.queued.set(j.key, true)
	q.again(j)
}

// again puts a job back that was taken.
func (q *queue) again(j job) {
	lane := modLane
	if j.key.Kind() == cache.Zip {
		lane = zipLane
	}
	q.lanes[lane] = append(q.lanes[lane], j)
	q.news[lane]++
	if lane == modLane && j.tier == first {
		q.news[nowLane]++
	}
}

// lookNow queues a look for projects.
func (q *queue) lookNow() {
	q.look = true
	q.news[lookLane]++
}

// restart lets what is not queued any more be queued again.
func (q *queue) restart() {
	q.queued, q.near = recent[cache.Key, bool]{}, recent[string, bool]{}
	for _, lane := range q.lanes {
		for _, j := range lane {
			q.queued.set(j.key, true)
		}
	}
}

// turn forgets what was queued long ago.
func (q *queue) turn() {
	q.queued.turn()
	q.near.turn()
}

// drop removes jobs.
func (q *queue) drop(unwanted func(job) bool) {
	for lane := range q.lanes {
		q.lanes[lane] = slices.DeleteFunc(q.lanes[lane], unwanted)
	}
}

// take removes the job that go will want first, of those that may be begun. What is not
// wanted any more is dropped when its turn comes: to look at all each time costs more.
func (q *queue) take(lane laneName, may, wanted func(job) bool) (job, bool) {
	if lane == lookLane {
		look := q.look
		q.look = false
		return job{look: true}, look
	}
	if lane == nowLane {
		lane, may = modLane, func(j job) bool { return j.tier == first }
	}
	for {
		best := -1
		for i, j := range q.lanes[lane] {
			if (best < 0 || q.before(j, q.lanes[lane][best])) && may(j) {
				best = i
			}
		}
		if best < 0 {
			return job{}, false
		}
		j := q.lanes[lane][best]
		q.lanes[lane] = slices.Delete(q.lanes[lane], best, best+1)
		if wanted(j) {
			return j, true
		}
	}
}

// before orders jobs by tier, and inside of one as go asks: what is imported by what it
// has, then by module path from where it is.
func (q *queue) before(a, b job) bool {
	aPath, bPath := a.key.Module().Path, b.key.Module().Path
	if a.tier != b.tier {
		return a.tier < b.tier
	}
	if near := q.near.get(aPath); near != q.near.get(bPath) {
		return near
	}
	aPassed, bPassed := aPath < q.at[a.key.Kind()], bPath < q.at[b.key.Kind()]
	if aPassed != bPassed {
		return bPassed
	}
	return strings.Compare(aPath, bPath) < 0
}
