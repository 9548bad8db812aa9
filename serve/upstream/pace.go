package upstream

import (
	"slices"
	"time"
)

const (
	// paceSamples is how many first bytes are kept of an upstream; from paceKnown on
	// they say something.
	paceSamples = 128
	paceKnown   = 20

	// paceFresh is how long a sample counts when upstreams are compared. One that is
	// asked last for its slowness gives no new samples; it gets another chance then.
	paceFresh = 10 * time.Minute

	patienceUnknown = 2 * time.Second
	patienceMin     = 100 * time.Millisecond
	patienceMax     = 10 * time.Second
)

// sample is how long one first byte took. AtLeast is set if it was not waited for.
type sample struct {
	At      int64 `json:"at"` // in seconds since 1970
	Millis  int64 `json:"ms"`
	AtLeast bool  `json:"at_least,omitempty"`
}

// pace is how quick an upstream answers. It is not safe for concurrent use.
type pace struct {
	samples []sample // the newest last
	cached  time.Duration
	known   bool // cached and enough say something
	enough  bool
}

func (p *pace) add(s sample) {
	if len(p.samples) == paceSamples {
		p.samples = slices.Delete(p.samples, 0, 1)
	}
	p.samples = append(p.samples, s)
	p.known = false
}

// p95 returns the 95th percentile of the first bytes that came, and whether it is of
// enough of them.
func (p *pace) p95() (d time.Duration, enough bool) {
	if !p.known {
		p.cached, p.enough = percentile(p.samples, func(s sample) bool { return !s.AtLeast })
		p.known = true
	}
	return p.cached, p.enough
}

// patience is twice the 95th percentile. At once that, one request in twenty would be
// sent twice on the best of links; at twice it, next to none, while a request that
// hangs still is rescued in the time of two slow ones. What was not waited for does
// not count: it is as long as the patience was, and the patience would grow of itself.
func (p *pace) patience() time.Duration {
	d, enough := p.p95()
	if !enough {
		return patienceUnknown
	}
	return min(max(2*d, patienceMin), patienceMax)
}

// recent is the 95th percentile for a comparison: of the last minutes, with what was
// not waited for.
func (p *pace) recent(now time.Time) (d time.Duration, enough bool) {
	return percentile(p.samples, func(s sample) bool { return now.Sub(time.Unix(s.At, 0)) < paceFresh })
}

func percentile(samples []sample, keep func(sample) bool) (d time.Duration, enough bool) {
	var millis []int64
	for _, s := range samples {
		if keep(s) {
			millis = append(millis, s.Millis)
		}
	}
	if len(millis) == 0 {
		return 0, false
	}
	slices.Sort(millis)
	at := (len(millis)*95 + 99) / 100
	return time.Duration(millis[at-1]) * time.Millisecond, len(millis) >= paceKnown
}
