package sumdb

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/gomirror/gomirror/serve/upstream"
)

const (
	// strikesOut is how many faults without an answer between, and strikeTime how long
	// a time without one, make a pattern.
	strikesOut = 5
	strikeTime = 5 * time.Second
	// knockEvery is how often those who do not answer are asked whether they do again.
	knockEvery = 5 * time.Second
)

// health is what is known about one remote. reach.mu guards it.
type health struct {
	benched     chan struct{} // closed when the remote is benched, renewed when it answers
	until       time.Time     // end of the bench
	dark        time.Time     // when it is asked again, after it let us wait in vain
	doubted     time.Time     // until when it is asked if nobody else answers
	answered    time.Time     // when it last answered anything
	strikes     int           // faults since answered
	relays      bool          // what it said to /supported
	relaysUntil time.Time     // how long that is believed
}

// candidates returns whom to ask, in order: the proxies, the address in GOSUMDB, the
// database itself; those on the bench come last. The doubted are for when those do not
// answer, the dark are not asked at all. limit is how long to ask, and the cause when
// that is over.
func (r *reach) candidates() (order, doubted, dark []candidate, limit *silenceError) {
	var benched []candidate
	r.mu.Lock()
	defer r.mu.Unlock()
	add := func(remote Remote, relay bool) {
		h := r.health[remote.Name()]
		if h == nil {
			h = &health{benched: make(chan struct{})}
			r.health[remote.Name()] = h
		}
		c := candidate{remote, relay, h}
		if r.now().Before(h.dark) {
			dark = append(dark, c)
			return
		}
		if relay && r.now().Before(h.doubted) {
			doubted = append(doubted, c)
			return
		}
		if r.sits(h) {
			benched = append(benched, c)
			return
		}
		r.unbench(h)
		order = append(order, c)
	}
	for _, proxy := range r.proxies() {
		add(proxy, true)
	}
	for _, direct := range r.direct {
		add(direct, false)
	}
	if len(order) == 0 {
		return benched, doubted, dark, &silenceError{benchedLimit}
	}
	return append(order, benched...), doubted, dark, &silenceError{answerLimit}
}

// sits reports whether a remote is on the bench. r.mu is held.
func (r *reach) sits(h *health) bool { return r.now().Before(h.until) }

// present drops the candidates that are on the bench, of the relays alone if the
// database's own word is still wanted.
func (r *reach) present(all []candidate, own bool) []candidate {
	r.mu.Lock()
	defer r.mu.Unlock()
	var present []candidate
	for _, c := range all {
		if !r.sits(c.health) || !c.relay && !own {
			present = append(present, c)
		}
	}
	return present
}

// watch returns a channel that closes when the candidate is benched, or nil if it is.
func (r *reach) watch(c candidate) chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sits(c.health) {
		return nil
	}
	return c.benched
}

// silent notes that a candidate has not answered in time. One that never has may always
// be as slow: unless it is a pattern, or there is another to prefer, that is no silence.
func (r *reach) silent(c candidate, sure bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.strike(c.health) && (sure || !c.answered.IsZero()) {
		r.bench(c.health)
	}
}

// liveliest returns the candidate that has last answered another question; there is
// one at least.
func (r *reach) liveliest(asked []candidate) candidate {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.MaxFunc(asked, func(a, b candidate) int { return a.answered.Compare(b.answered) })
}

// strike counts a fault and reports whether faults are the pattern. A remote that has
// answered another question of late is slow, or has lost one of many; it is not gone.
// r.mu is held.
func (r *reach) strike(h *health) bool {
	h.strikes++
	quiet := r.now().Sub(h.answered)
	return quiet > aliveFor || h.strikes >= strikesOut && quiet > strikeTime
}

// bench makes the remote the last to be asked for a while. r.mu is held.
func (r *reach) bench(h *health) {
	h.until = r.now().Add(benchFor)
	select {
	case <-h.benched:
	default:
		close(h.benched)
	}
}

// judge notes what an answer tells about its remote and returns why it is no good.
func (r *reach) judge(res result, accept func([]byte) error) error {
	if res.err != nil {
		r.fail(res)
		return res.err
	}
	if err := accept(res.data); err != nil {
		return fmt.Errorf("%w: %w", errBadAnswer, err)
	}
	r.revive(res.from)
	if res.from.relay {
		r.noteRelay(res.from, true)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.progress, r.hopeless = r.now(), false
	return nil
}

// fail notes an error of a remote. One that came at once, such as a refused connection,
// costs nothing to meet again; one that was waited for does. Of a remote that answers
// others it says that the question is hard.
func (r *reach) fail(res result) {
	c, err := res.from, res.err
	var status *upstream.StatusError
	var silence *silenceError
	switch {
	case errors.Is(err, errNotRelay), errors.Is(err, context.Canceled):
		// Says nothing about whether it answers.
	case errors.Is(err, fs.ErrNotExist), errors.As(err, &status):
		r.revive(c)
	case errors.As(err, &silence), upstream.Unreachable(err):
		r.mu.Lock()
		if r.strike(c.health) {
			r.bench(c.health)
		}
		waited := silence != nil || res.took >= hedgeAfter
		if now := r.now(); waited && now.Sub(c.answered) > aliveFor {
			c.dark = now.Add(darkFor)
		}
		r.mu.Unlock()
	}
}

// mayPass reports whether the same remote may give a good answer when asked again. Of
// one that takes no connection or is silent that is likely only if it was there before.
func (r *reach) mayPass(c candidate, err error) bool {
	var silence *silenceError
	if !passing(err) {
		return false
	}
	if !upstream.Unreachable(err) && !errors.Is(err, errDark) && !errors.As(err, &silence) {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return !c.answered.IsZero() && r.now().Sub(c.answered) < aliveFor+r.persist
}

// revive notes that a remote has answered.
func (r *reach) revive(c candidate) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c.answered, c.dark, c.strikes = r.now(), time.Time{}, 0
	r.unbench(c.health)
}

// unbench ends the bench of a remote. r.mu is held.
func (r *reach) unbench(h *health) {
	if !h.until.IsZero() {
		h.until, h.benched = time.Time{}, make(chan struct{})
	}
}

// down reports whether asking is likely to be in vain. It is not because of one or two
// faults of a remote that has ever answered: a session of many files would go
// unverified for one lost question.
func (r *reach) down() bool {
	if r.offline {
		return true
	}
	order, doubted, _, _ := r.candidates()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range append(order, doubted...) {
		if !r.sits(c.health) || !c.answered.IsZero() && c.strikes < strikesOut {
			return false
		}
	}
	return true
}

// knock asks those who are benched or dark whether they are back, at most once in
// [knockEvery], so that nobody who waits for an answer has to find out.
func (r *reach) knock() {
	order, _, dark, _ := r.candidates()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.offline || r.now().Sub(r.knocked) < knockEvery {
		return
	}
	r.knocked = r.now()
	for _, c := range append(order, dark...) {
		go func() { // ends with probeLimit, or when the Database is closed
			ctx, cancel := context.WithTimeout(r.ctx, probeLimit)
			defer cancel()
			path := "latest"
			if c.relay {
				path = "sumdb/" + r.name + "/supported"
			}
			var status *upstream.StatusError
			if _, err := c.Get(ctx, path); err == nil || errors.As(err, &status) {
				r.revive(c)
			}
		}()
	}
}

// setLost notes whether the last question went without an answer, and says so when
// that changes.
func (r *reach) setLost(lost bool) {
	r.mu.Lock()
	changed := r.lost != lost
	r.lost = lost
	r.mu.Unlock()
	switch {
	case changed && lost:
		r.log.Warn("checksum database out of reach")
	case changed:
		r.log.Info("checksum database answers again")
	}
}

// outOfReach reports whether the last question went without an answer.
func (r *reach) outOfReach() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lost
}
