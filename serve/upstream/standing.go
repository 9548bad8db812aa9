package upstream

import (
	"fmt"
	"time"

	"github.com/sony/gobreaker/v2"
)

// Health is what status shows of an upstream.
type Health struct {
	Name      string
	State     string        // "up", "down", "probing", or "unknown" before its first answer
	Since     time.Time     // when State began
	P95       time.Duration // of its first bytes, 0 if not known
	Tries     int64         // requests that came to an end, good or bad
	Failures  int64         // those that ended badly
	LastError string        // of the last failure, without secrets; "" for none
}

// shown returns a copy for status.
func (h *health) shown() Health {
	if h == nil {
		return Health{State: "unknown"}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	s := Health{Name: h.name, Tries: h.tries, Failures: h.failures}
	s.P95, _ = h.pace.p95()
	switch h.current() {
	case gobreaker.StateOpen:
		s.State = "down"
	case gobreaker.StateHalfOpen:
		s.State = "probing"
	default:
		s.State = "up"
		if h.lastAlive.IsZero() {
			s.State = "unknown"
		}
	}
	s.Since = h.since
	if h.lastErr != nil {
		s.LastError = hush(reason(h.lastErr))
	}
	return s
}

// Health tells how the module proxies of the chain do, in order.
func (c *Chain) Health() []Health {
	var all []Health
	for _, p := range c.proxies {
		all = append(all, p.health.shown())
	}
	return all
}

// due returns an error if the next request is to find out whether the upstream is back.
func (h *health) due() error {
	if h == nil {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.current() != gobreaker.StateHalfOpen {
		return nil
	}
	now := time.Now()
	return h.block(now, now.Add(probePause))
}

// blockedError says that an upstream is not asked at present. It is what the upstream
// last failed of, too.
type blockedError struct {
	name       string
	row        int
	last       error
	rest       *busyError // what asked for a respite, nil if it is the breaker that blocks
	now, until time.Time
}

// RetryAt is when the upstream may be asked again.
func (e *blockedError) RetryAt() time.Time { return e.until }
func (e *blockedError) Unwrap() error      { return e.last }
func (e *blockedError) Error() string      { return e.name + " " + e.reason() }

// reason is the error without the name.
func (e *blockedError) reason() string {
	again := "another request is trying it now"
	if wait := e.until.Sub(e.now); wait > probePause {
		again = fmt.Sprintf("asked again in %v", (wait + time.Second - 1).Truncate(time.Second))
	}
	if e.rest != nil {
		return fmt.Sprintf("%s; %s", hush(reason(e.last)), again)
	}
	return fmt.Sprintf("failed %d times in a row, the last time: %s; %s", e.row, hush(reason(e.last)), again)
}
