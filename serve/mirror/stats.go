package mirror

import (
	"context"
	"sync/atomic"
)

// Stats counts what a Mirror has done since it was made. What no client asked for, see
// [Background], counts as bytes alone.
type Stats struct {
	Hits         int64 `json:"hits"`
	Misses       int64 `json:"misses"`
	Stale        int64 `json:"stale"`
	Revalidated  int64 `json:"revalidated"`
	Faults       int64 `json:"faults"`        // fills that ended in an error, "not found" among them
	FetchedBytes int64 `json:"fetched_bytes"` // from upstreams, decoded
}

type counters struct {
	hits, misses, stale, revalidated, faults, fetched atomic.Int64
}

func (c *counters) count(ctx context.Context, state string) {
	if background(ctx) {
		return
	}
	switch state {
	case Hit:
		c.hits.Add(1)
	case Miss:
		c.misses.Add(1)
	case Stale:
		c.stale.Add(1)
	case Revalidated:
		c.revalidated.Add(1)
	}
}

func (c *counters) fault(ctx context.Context) {
	if !background(ctx) {
		c.faults.Add(1)
	}
}

// Stats returns the counts so far.
func (m *Mirror) Stats() Stats {
	return Stats{
		Hits:         m.stats.hits.Load(),
		Misses:       m.stats.misses.Load(),
		Stale:        m.stats.stale.Load(),
		Revalidated:  m.stats.revalidated.Load(),
		Faults:       m.stats.faults.Load(),
		FetchedBytes: m.stats.fetched.Load(),
	}
}
