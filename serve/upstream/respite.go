package upstream

import (
	"errors"
	"strings"
	"time"
)

// respite is the time for which an upstream has asked not to be asked: what it tells one
// request with a Retry-After is meant for all.
type respite struct {
	until time.Time
	busy  *busyError
}

// on reports whether it lasts.
func (r *respite) on(now time.Time) bool { return now.Before(r.until) }

// take notes what the upstream of a name asks for. That of a host which it redirects to
// is for that host, which another file may not lie on. An hour, which nobody waits for,
// would fail all requests for what may be the matter with one file: each is told itself,
// until the breaker has heard enough.
func (r *respite) take(name string, err error, now time.Time) {
	var busy *busyError
	if !errors.As(err, &busy) || busy.after > maxRetryAfter || !strings.HasPrefix(busy.URL, name) {
		return
	}
	if until := now.Add(busy.after); until.After(r.until) {
		r.until, r.busy = until, busy
	}
}

// waitable reports whether a request that is blocked for a respite waits for its end.
func waitable(err error) bool {
	var blocked *blockedError
	return errors.As(err, &blocked) && blocked.rest != nil
}
