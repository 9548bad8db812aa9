package proxytest

import (
	"maps"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"
	"time"
)

// Counts is what was asked of an upstream and what it sent, since Forget.
type Counts struct {
	Requests int
	Ranges   int              // requests for a part of a body
	InFlight int              // the most at a time
	Conns    int              // connections that they came on
	Bytes    map[string]int64 // of bodies, by kind: zip, mod, info, list, latest, sumdb, other
	Faults   map[FaultKind]int

	// RoundTrips is how many requests followed one another: the largest set of them in
	// which none overlaps another. It is the chain of waits that no parallelism hides,
	// and means something where the link's round trip is longer than the work of an
	// answer: next door, two parallel requests may miss each other.
	RoundTrips int
}

// Sent is the number of body bytes of all kinds.
func (c Counts) Sent() int64 {
	var n int64
	for _, b := range c.Bytes {
		n += b
	}
	return n
}

// Counts returns the figures so far; requests that still wait count to this moment.
func (u *Upstream) Counts() Counts {
	u.trips.mu.Lock()
	defer u.trips.mu.Unlock()
	c := Counts{Requests: len(u.trips.all), InFlight: u.trips.most,
		Bytes: make(map[string]int64), Faults: maps.Clone(u.trips.faults)}
	conns := make(map[string]bool)
	for _, t := range u.trips.all {
		conns[t.conn] = true
		c.Bytes[t.kind] += t.sent
		if t.ranged {
			c.Ranges++
		}
	}
	c.Conns = len(conns)
	c.RoundTrips = longestChain(u.trips.all, time.Now())
	return c
}

// longestChain takes the trip that ends first, then the first to end of those that
// start after it, and so on: no other choice gets more of them.
func longestChain(all []*trip, now time.Time) int {
	byEnd := slices.Clone(all)
	slices.SortFunc(byEnd, func(a, b *trip) int { return a.until(now).Compare(b.until(now)) })
	n := 0
	var last time.Time
	for _, t := range byEnd {
		if t.start.After(last) {
			n++
			last = t.until(now)
		}
	}
	return n
}

// trips records the requests that an upstream is asked. The zero value is ready.
type trips struct {
	mu   sync.Mutex
	all  []*trip // guarded by mu
	now  int     // guarded by mu; how many are in flight
	most int     // guarded by mu

	faults map[FaultKind]int // guarded by mu
}

// trip is one request. Its fields are guarded by trips.mu.
type trip struct {
	kind   string
	conn   string // the far end of it
	ranged bool
	sent   int64
	start  time.Time
	end    time.Time // zero until something was sent, or the handler is through
}

func (t *trip) until(now time.Time) time.Time {
	if t.end.IsZero() {
		return now
	}
	return t.end
}

// begin records a request; w counts what is sent, done ends the record.
func (ts *trips) begin(w http.ResponseWriter, r *http.Request) (counting http.ResponseWriter, done func()) {
	t := &trip{kind: kindOf(r.URL.Path), conn: r.RemoteAddr, ranged: r.Header.Get("Range") != "", start: time.Now()}
	ts.mu.Lock()
	defer ts.mu.Unlock()
	ts.all = append(ts.all, t)
	ts.now++
	ts.most = max(ts.most, ts.now)
	return &countingWriter{w, ts, t}, func() {
		ts.mu.Lock()
		defer ts.mu.Unlock()
		ts.now--
		if t.end.IsZero() {
			t.end = time.Now()
		}
	}
}

// forget starts the figures again. Requests in flight go on uncounted.
func (ts *trips) forget() {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	ts.all, ts.most, ts.faults = nil, ts.now, nil
}

// spoiled records that a request got a fault.
func (ts *trips) spoiled(kind FaultKind) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if ts.faults == nil {
		ts.faults = make(map[FaultKind]int)
	}
	ts.faults[kind]++
}

func kindOf(urlPath string) string {
	if strings.HasPrefix(urlPath, "/sumdb/") {
		return "sumdb"
	}
	switch base := path.Base(urlPath); {
	case base == "list":
		return base
	case base == "@latest":
		return "latest"
	case slices.Contains([]string{".zip", ".mod", ".info"}, path.Ext(base)):
		return path.Ext(base)[1:]
	}
	return "other"
}

// countingWriter counts the bytes of a body, the headers not.
type countingWriter struct {
	http.ResponseWriter
	trips *trips
	trip  *trip
}

func (w *countingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *countingWriter) Write(p []byte) (int, error) {
	// Counted before the bytes leave: with the last of them the client has all that it
	// wants, so a test may look at the counts, and its next request must not seem to
	// overlap this one.
	w.count(len(p), time.Now())
	n, err := w.ResponseWriter.Write(p)
	if n < len(p) {
		w.count(n-len(p), time.Now())
	}
	return n, err
}

// count adds n bytes, sent at a time.
func (w *countingWriter) count(n int, at time.Time) {
	w.trips.mu.Lock()
	defer w.trips.mu.Unlock()
	w.trip.sent += int64(n)
	w.trip.end = at
}
