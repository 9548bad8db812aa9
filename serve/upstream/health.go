package upstream

import (
	"errors"
	"sync"
	"time"

	"github.com/sony/gobreaker/v2"
)

const (
	// tripFailures in a row open the breaker, unless the upstream was alive within
	// tripCalm: on a link that drops things five failures come together now and then.
	tripFailures = 5
	tripCalm     = 5 * time.Second

	// openTime is how long nobody asks then. A probe costs one request.
	openTime = 15 * time.Second

	// probeLimit lets another request probe if the first has come to no end: it may be
	// a zip that takes minutes.
	probeLimit = 15 * time.Second

	// probePause is what a request waits that found another one probing.
	probePause = 250 * time.Millisecond

	// burst is the time in which faults of connections count as one: all requests on
	// an HTTP/2 connection die with it.
	burst = 100 * time.Millisecond

	// sameTime is the time in which bad answers at one URL count as one: mirrors have
	// modules that they answer 500 for, and that is tried again eight times.
	sameTime = 5 * time.Second
)

// health is what is known about one upstream: whether it is worth asking, and how
// long it usually takes to answer. A nil health knows nothing and allows all, the
// zero one is ready for use.
type health struct {
	name    string
	changed func() // called after each sample and outcome, without the lock; may be nil

	mu        sync.Mutex
	breaker   *gobreaker.TwoStepCircuitBreaker[any] // called with mu held only
	state     gobreaker.State
	since     time.Time   // when it was last closed, or opened after that
	opened    time.Time   // when it last opened, a probe that failed among it
	probe     func(error) // settles the request that probes, nil if none does
	probeEnds time.Time   // when the next may probe
	rest      respite     // what it has asked for
	row       int         // failures since the upstream was last alive
	lastAlive time.Time   // zero for never
	lastFault time.Time   // when a failure counted
	lastURL   string      // that it was the answer at, "" if there was none
	lastErr   error       // of any kind
	lastBad   error       // that counted
	tries     int64
	failures  int64
	pace      pace
}

func newHealth(name string) *health { return &health{name: name} }

// allow returns nil if the upstream may be asked, or at once an error that tells why
// not: it failed of late, and the probe that would show otherwise is not due. What it
// allows must end in outcome.
func (h *health) allow() error {
	if h == nil {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	err := h.why()
	if err == nil && h.current() == gobreaker.StateHalfOpen {
		if done, busy := h.breaker.Allow(); busy == nil {
			h.probe, h.probeEnds = done, time.Now().Add(probeLimit)
		}
	}
	return err
}

// blocked returns what allow would, and probes nothing.
func (h *health) blocked() error {
	if h == nil {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.why()
}

// well reports whether nothing speaks against asking the upstream.
func (h *health) well() bool {
	if h == nil {
		return true
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.current() == gobreaker.StateClosed && !h.rest.on(time.Now())
}

// why returns why the upstream may not be asked now, or nil. The caller holds mu.
func (h *health) why() error {
	now := time.Now()
	if h.rest.on(now) {
		return &blockedError{name: h.name, rest: h.rest.busy, last: h.rest.busy, now: now, until: h.rest.until}
	}
	switch h.current() {
	case gobreaker.StateOpen:
		return h.block(now, h.opened.Add(openTime))
	case gobreaker.StateHalfOpen:
		if h.probe != nil && now.Before(h.probeEnds) {
			return h.block(now, now.Add(probePause))
		}
		if h.probe != nil {
			h.probe(errMute)
			h.probe = nil
		}
	}
	return nil
}

func (h *health) block(now, until time.Time) error {
	return &blockedError{name: h.name, row: h.row, last: h.lastBad, now: now, until: until}
}

// current returns the state of the breaker, which is made here at first, and moves on
// with time. The caller holds mu.
func (h *health) current() gobreaker.State {
	if h.breaker == nil {
		h.reset()
	}
	return h.breaker.State()
}

// reset begins with a closed breaker. The caller holds mu.
func (h *health) reset() {
	h.state, h.since, h.probe = gobreaker.StateClosed, time.Now(), nil
	h.breaker = gobreaker.NewTwoStepCircuitBreaker[any](gobreaker.Settings{
		Timeout: openTime - 1, // the library is half open after it, we at its end
		ReadyToTrip: func(c gobreaker.Counts) bool {
			return c.ConsecutiveFailures >= tripFailures && time.Since(h.lastAlive) >= tripCalm
		},
		OnStateChange: h.turn,
		IsExcluded:    func(err error) bool { return err == errMute },
	})
}

// turn notes a new state of the breaker, which calls it with mu held. Who looks wants
// to know since when an upstream is down, not when it was last probed.
func (h *health) turn(_ string, from, to gobreaker.State) {
	h.state = to
	if to == gobreaker.StateOpen {
		h.opened = time.Now()
	}
	if from == gobreaker.StateClosed || to == gobreaker.StateClosed {
		h.since = time.Now()
	}
}

// firstByte notes that an answer began d after its request was sent.
func (h *health) firstByte(d time.Duration) { h.sample(d, false) }

// beaten notes that another upstream was first to answer, and this one silent for d.
// A probe has failed then: it is about to be cancelled, and the next request must not
// wait for another.
func (h *health) beaten(d time.Duration) {
	if h == nil {
		return
	}
	h.mu.Lock()
	if h.probe != nil {
		h.settle(errBeaten)
	}
	h.mu.Unlock()
	h.sample(d, true)
}

// errBeaten tells the breaker of a probe that another upstream was quicker than.
var errBeaten = errors.New("beaten")

func (h *health) sample(d time.Duration, atLeast bool) {
	if h == nil {
		return
	}
	h.mu.Lock()
	h.pace.add(sample{At: time.Now().Unix(), Millis: d.Milliseconds(), AtLeast: atLeast})
	h.mu.Unlock()
	h.tell()
}

func (h *health) tell() {
	if h.changed != nil {
		h.changed()
	}
}

// recent is how quick the upstream was of late, see [pace.recent].
func (h *health) recent(now time.Time) (d time.Duration, known bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.pace.recent(now)
}

// pulse notes that bytes of a body came in.
func (h *health) pulse() {
	if h == nil {
		return
	}
	h.mu.Lock()
	h.lastAlive = time.Now()
	h.mu.Unlock()
}

// patience is how long the upstream may be silent before it is worth asking again,
// see [pace.patience].
func (h *health) patience() time.Duration {
	if h == nil {
		return patienceUnknown
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.pace.patience()
}

// outcome notes how an attempt ended: nil or any answer that makes sense, 404 among
// them, is a success; transport faults, stalls, 408, 429 and 5xx are failures. What
// was cancelled says nothing.
func (h *health) outcome(err error) {
	if h == nil {
		return
	}
	h.mu.Lock()
	h.note(judge(err), err)
	h.mu.Unlock()
	h.tell()
}

// note counts one outcome. The caller holds mu.
func (h *health) note(v verdict, err error) {
	now, state := time.Now(), h.current()
	if v != mute && !errors.As(err, new(*cutError)) { // that was counted when its answer began
		h.tries++
	}
	if v == alive || v == odd || v == bad {
		h.failures++
		h.lastErr = telling(h.lastErr, err)
	}
	switch v {
	case good, alive:
		h.row, h.lastAlive = 0, now
		if state == gobreaker.StateOpen {
			h.reset() // asked before it opened, and answered after
		}
		h.settle(nil)
	case bad:
		h.rest.take(h.name, err, now)
		url, span := "", burst
		if status := (*StatusError)(nil); errors.As(err, &status) {
			url, span = status.URL, sameTime
		}
		if state == gobreaker.StateClosed && url == h.lastURL && now.Sub(h.lastFault) < span {
			return
		}
		h.lastURL, h.lastFault = url, now
		h.row++
		h.lastBad = telling(h.lastBad, err)
		h.settle(err)
	default:
		if h.probe != nil {
			h.settle(errMute)
		}
	}
}

// telling returns the error that says more: that time ran out says nothing about why.
func telling(last, now error) error {
	if last != nil && errors.Is(now, errReach) {
		return last
	}
	return now
}

// settle tells the breaker: of the probe if there is one. The caller holds mu.
func (h *health) settle(err error) {
	done := h.probe
	h.probe = nil
	if done == nil && (err == nil || h.state == gobreaker.StateClosed) {
		done, _ = h.breaker.Allow()
	}
	if done != nil {
		done(err)
	}
}
