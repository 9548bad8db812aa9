package upstream

import (
	"context"
	"net/http"
	"slices"
	"time"
)

const (
	// maxAsks is how often an upstream is asked the same at once. A connection that died
	// without a word, or a load balancer with one bad server behind it, costs a moment
	// then and not firstByteLimit.
	maxAsks = 3

	// allAsks bounds those of a try, with those that failed while the first kept silent.
	allAsks = 3 * maxAsks
)

// pair has two sets of connections. What is asked again for want of an answer takes the
// spare ones: a connection that died holds all its streams.
type pair struct{ first, spare *redirects }

// RoundTrip implements [http.RoundTripper].
func (p *pair) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Context().Value(spareKey{}) != nil {
		return p.spare.RoundTrip(req)
	}
	return p.first.RoundTrip(req)
}

// CloseIdleConnections serves [http.Client.CloseIdleConnections].
func (p *pair) CloseIdleConnections() {
	p.first.CloseIdleConnections()
	p.spare.CloseIdleConnections()
}

// spareKey carries whether a request takes the spare connections of a pair.
type spareKey struct{}

func withSpare(ctx context.Context) context.Context { return context.WithValue(ctx, spareKey{}, true) }

// restAfter is how long all that may be asked at once is silent before the youngest
// question gives way to a new one. The first is never given up for that: it may be
// thinking.
const restAfter = 10 * time.Second

// pauseAfter is how long so many questions may be silent before another.
func pauseAfter(live int, patience time.Duration) time.Duration {
	if live == maxAsks {
		return max(restAfter, 3*patience)
	}
	return 3 * patience
}

// ask puts one question to the upstream, and puts it again beside the first while
// there is silence: after the upstream's patience, and after four times that. One
// that fails while another keeps silent makes room for one more. The first good answer
// counts; the other requests are cancelled.
func (q *pull) ask(ctx context.Context, missing *rest) (best *answer, err error) {
	var live []*answer // asked, and silent so far
	var asked int
	answers, over := make(chan *answer), make(chan struct{})
	defer func() {
		close(over)
		live = slices.DeleteFunc(live, func(a *answer) bool { return a == best })
		for _, a := range live {
			a.cancel(nil)
		}
	}()
	again := func(ctx context.Context) {
		a := newAnswer(ctx, q.proxy, q.until)
		live, asked = append(live, a), asked+1
		go func() { // ends with its request, which is cancelled above
			req, err := q.request(a.ctx, missing)
			if err == nil {
				a.resp, err = q.proxy.client.Do(req)
			}
			a.err = q.judge(a, missing, err)
			select {
			case answers <- a:
			case <-over:
				a.close()
			}
		}()
	}
	again(ctx)
	var silence <-chan time.Time // nil until the first is written, and while nothing more may be asked
	written, patience := live[0].watch.written, q.proxy.health.patience()
	for len(live) > 0 {
		select {
		case a := <-answers:
			if err = a.err; err == nil {
				return a, nil
			}
			a.cancel(nil)
			live = slices.DeleteFunc(live, func(l *answer) bool { return l == a })
			if !transient(err) {
				return nil, err
			}
			if written == nil {
				silence = time.After(patience)
			}
		case <-written:
			written, silence = nil, time.After(patience)
		case <-silence:
			silence = nil
			if asked < allAsks && len(live) == maxAsks {
				live[maxAsks-1].cancel(nil) // and is followed by another when that is noticed
			} else if asked < allAsks {
				again(withSpare(ctx))
				silence = time.After(pauseAfter(len(live), patience))
			}
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	return nil, err
}
