package upstream

import (
	"context"
	"time"
)

// maxAsks is how often an upstream is asked the same in one try. A connection that
// died without a word, or a load balancer with one bad server behind it, costs a
// moment then and not firstByteLimit.
const maxAsks = 3

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
		a := newAnswer(ctx, q.until)
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
