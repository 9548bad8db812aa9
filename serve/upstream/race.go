package upstream

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gomirror/gomirror/cache"
)

const (
	// raceBuffer is how much of an answer is read before it may win: nearly all
	// metadata is smaller, and then a body that stands still wins nothing.
	raceBuffer = 1 << 20

	// queueTime is added to the patience while a request waits for its turn at a host.
	queueTime = 2 * time.Second
)

// race is a request to a group whose members may be asked beside each other.
type race struct {
	p     *pursuit
	lanes []*lane    // asked so far
	ends  chan *lane // those that have come to an end

	turn chan struct{} // of capacity 1, full while an answer is in the sink
	shut bool          // with the turn only: no answer is taken any more
	won  bool          // with the turn only: the sink has taken one
}

// lane is one attempt of a race.
type lane struct {
	step
	err error // set when it is sent on ends
	end bool  // it was received

	once     sync.Once
	begun    chan struct{} // closed when the request leaves the queue of its host
	since    time.Time     // when that was
	accepted atomic.Bool   // there is a connection
	answered atomic.Bool   // the answer has begun
}

// race asks the steps of a turn in order: the first, and each other when the one before
// has failed or has been silent for longer than it usually is. The first good answer
// wins. Over is set if the request is done with, well or not.
func (p *pursuit) race(ctx context.Context, t turn) (over bool, err error) {
	r := &race{p: p, ends: make(chan *lane, len(t.steps)), turn: make(chan struct{}, 1)}
	inner, cancel := context.WithCancel(ctx)
	over, err = r.run(inner, t.steps, t.quick)
	cancel()
	// A loser may be in the sink, which must not be called once this returns. What it
	// reads ends with inner.
	r.turn <- struct{}{}
	r.shut = true
	won := r.won
	<-r.turn
	if won {
		return true, nil
	}
	return over, err
}

func (r *race) run(ctx context.Context, steps []step, quick bool) (over bool, err error) {
	patience := time.NewTimer(0)
	defer patience.Stop()
	var last *lane // the one whose silence counts
	var begun <-chan struct{}
	for running := 0; ; {
		select {
		case <-begun:
			patience.Reset(r.patience(last))
			begun = nil
			continue
		case <-patience.C:
		case l := <-r.ends:
			running--
			l.end = true
			if r.p.over(ctx, l.err) {
				r.beat()
				return true, l.err
			}
			r.p.note(ctx, l.step, l.err)
			if r.p.stopped {
				return false, nil
			}
		case <-ctx.Done():
			return true, ctx.Err()
		}
		if len(steps) > 0 && r.p.late() {
			for _, s := range steps {
				r.p.failed.skip(s)
			}
			steps = nil
		}
		if len(steps) > 0 {
			last = r.start(ctx, steps[0], quick || len(steps) > 1 || r.others(steps[0]))
			steps = steps[1:]
			begun = last.begun
			patience.Reset(r.patience(last) + queueTime)
			running++
		}
		if running == 0 {
			return false, nil
		}
	}
}

// others reports whether a lane but that of s may still have an answer.
func (r *race) others(s step) bool {
	var steps []step
	for _, l := range r.lanes {
		steps = append(steps, l.step)
	}
	return r.p.others(steps, s)
}

// patience is how long l may be silent. Who was down is not waited for long.
func (r *race) patience(l *lane) time.Duration {
	d := l.health.patience()
	if !l.health.well() {
		d = min(d, probeWait)
	}
	return d
}

// start asks s beside those that are asked.
func (r *race) start(ctx context.Context, s step, quick bool) *lane {
	l := &lane{step: s, begun: make(chan struct{})}
	r.lanes = append(r.lanes, l)
	blocked := r.p.blocked(ctx, s, quick)
	ctx = httptrace.WithClientTrace(r.p.prepare(ctx, s, quick), &httptrace.ClientTrace{
		GetConn: func(string) {
			l.once.Do(func() {
				l.since = time.Now()
				close(l.begun)
			})
		},
		GotConn:              func(httptrace.GotConnInfo) { l.accepted.Store(true) },
		GotFirstResponseByte: func() { l.answered.Store(true) },
	})
	sink := r.p.watch(ctx, s)
	go func() { // ends with the attempt, which ctx ends
		if l.err = blocked; l.err == nil {
			l.err = s.source.Fetch(ctx, r.p.request(s), func(key cache.Key, meta cache.Meta, body io.Reader) error {
				return r.take(ctx, key, meta, body, sink)
			})
		}
		r.ends <- l // has room for all
	}()
	return l
}

// take lets one answer at a time into the sink, and none after the first it takes.
func (r *race) take(ctx context.Context, key cache.Key, meta cache.Meta, body io.Reader, sink Sink) error {
	head, err := io.ReadAll(io.LimitReader(body, raceBuffer))
	if err != nil {
		return err
	}
	select {
	case r.turn <- struct{}{}:
		defer func() { <-r.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if r.shut || r.won {
		return context.Canceled
	}
	err = sink(key, meta, io.MultiReader(bytes.NewReader(head), body))
	r.won = err == nil
	return err
}

// beat tells those that have not answered that they were beaten.
func (r *race) beat() {
	for _, l := range r.lanes {
		select {
		case <-l.begun:
			if waited := time.Since(l.since); !l.end && !l.answered.Load() {
				l.health.beaten(waited)
				if !l.accepted.Load() {
					// Slow is one thing, gone another: a zip, which is not hedged, would wait
					// for the whole of dialLimit.
					l.health.outcome(&noConnection{fmt.Errorf("%s accepts no connection in %v", l.name, waited.Round(time.Millisecond))})
				}
			}
		default: // not asked yet
		}
	}
}
