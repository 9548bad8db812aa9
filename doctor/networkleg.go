package doctor

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http/httptrace"
	"time"
)

// traced has v note how far a request comes: what fails is the leg under way.
func (v *visit) traced(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		TLSHandshakeStart: func() { v.enter("tls") },
		TLSHandshakeDone:  func(_ tls.ConnectionState, err error) { v.leave("tls", err) },
		WroteRequest:      func(httptrace.WroteRequestInfo) { v.enter("first byte") },
		GotFirstResponseByte: func() {
			if ctx.Err() == nil { // a host may answer to our leaving
				v.leave("first byte", nil)
			}
		},
	})
}

// untraced is a context for a second question in the course of a first one, whose
// legs it must not end up among.
type untraced struct{ context.Context }

// Value knows nothing of who watches.
func (untraced) Value(any) any { return nil }

// enter begins a leg, leave ends it. Only the first request of a visit is drawn.
func (v *visit) enter(leg string) {
	if v.phaseIs("proxy") && leg == "tls" {
		v.leave("proxy", nil)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.phase, v.since = leg, time.Now()
}

func (v *visit) leave(leg string, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.phase != leg {
		return
	}
	if err == nil {
		v.phase = ""
	}
	for _, l := range v.legs {
		if l.Name == leg {
			return
		}
	}
	l := Leg{Name: leg, Took: time.Since(v.since)}
	if err != nil {
		l.Err = legError(err)
	}
	v.legs = append(v.legs, l)
}

func (v *visit) phaseIs(leg string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.phase == leg
}

// legError is one word or two for a bar.
func legError(err error) string {
	var f *fault
	timeout, ok := errors.AsType[net.Error](err)
	switch {
	case errors.As(err, &f):
		return f.kind
	case ok && timeout.Timeout(), errors.Is(err, context.DeadlineExceeded):
		return "no answer"
	}
	return "fails"
}

// took is how long the way to the first byte is.
func (v *visit) took() (sum time.Duration) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, l := range v.legs {
		sum += l.Took
	}
	return sum
}
