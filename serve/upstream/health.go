package upstream

import "time"

// health is what is known about one upstream: whether it is worth asking, and how
// long it usually takes to answer.
type health struct{}

// allow returns nil if the upstream may be asked, or at once an error that tells why
// not: it failed of late, and the probe that would show otherwise is not due.
func (h *health) allow() error { return nil }

// firstByte notes that an answer began d after its request was sent.
func (h *health) firstByte(d time.Duration) {}

// outcome notes how an attempt ended: nil or any answer that makes sense, 404 among
// them, is a success; transport faults, stalls, 408, 429 and 5xx are failures.
func (h *health) outcome(err error) {}

// patience is how long the upstream may be silent before it is worth asking again:
// the 95th percentile of its own first bytes, within sensible bounds.
func (h *health) patience() time.Duration { return 2 * time.Second }
