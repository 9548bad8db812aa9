package upstream

import (
	"context"
	"net/http"
	"time"
)

// maxAsks is how often an upstream is asked the same in one try. A connection that
// died without a word, or a load balancer with one bad server behind it, costs a
// moment then and not firstByteLimit.
const maxAsks = 3

// pair has two sets of connections, each with limits of its own. What is asked again
// for want of an answer takes the spare ones: a connection that died holds all its
// streams, and the places that requests have at its host.
type pair struct{ first, spare *hostLimits }

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

// ask puts one question to the upstream, and puts it again beside the first while
// there is silence: after the upstream's patience, and after four times that. The
// first good answer counts; the other requests are cancelled.
func (q *pull) ask(ctx context.Context, missing *rest) (best *answer, err error) {
	var asked []*answer
	answers, over := make(chan *answer), make(chan struct{})
	defer func() {
		close(over)
		for _, a := range asked {
			if a != best {
				a.cancel(nil)
			}
		}
	}()
	again := func(ctx context.Context) {
		a := newAnswer(ctx, q.proxy, q.until)
		asked = append(asked, a)
		go func() { // ends with its request, which is cancelled above
			a.err = q.send(a, missing)
			select {
			case answers <- a:
			case <-over:
				a.close()
			}
		}()
	}
	again(ctx)
	var silence <-chan time.Time
	written, patience := asked[0].watch.written, q.proxy.health.patience()
	for failed := 0; failed < len(asked); {
		select {
		case a := <-answers:
			if a.err == nil {
				return a, nil
			}
			if err = a.err; !transient(err) {
				return nil, err
			}
			failed++
		case <-written:
			written, silence = nil, time.After(patience)
		case <-silence:
			again(withSpare(ctx))
			if silence = nil; len(asked) < maxAsks {
				silence = time.After(3 * patience)
			}
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	return nil, err
}
