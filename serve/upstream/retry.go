package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"time"
)

const (
	// fullTries is how often a request is tried without a new byte coming of it: with
	// the backoff some 11 s, in which a restarted server or load balancer is back.
	fullTries = 8

	// quickTries is the same where another upstream may answer instead.
	quickTries = 2

	// maxTries ends the game of an upstream that sends a byte and breaks off for ever. The
	// largest zip comes through in pieces of 500 KiB.
	maxTries = 1000

	// firstBackoff and maxBackoff bound the time between two tries.
	firstBackoff = 100 * time.Millisecond
	maxBackoff   = 5 * time.Second

	// maxRetryAfter is the longest Retry-After that is waited for. Rate limits are
	// often by the minute.
	maxRetryAfter = time.Minute
)

// quickKey carries whether another upstream may answer instead, see withQuick.
type quickKey struct{}

// withQuick returns a context for requests whose failure costs little, since another
// upstream is asked then: an upstream that fails twice is not waited for.
func withQuick(ctx context.Context) context.Context { return context.WithValue(ctx, quickKey{}, true) }

func quick(ctx context.Context) bool { return ctx.Value(quickKey{}) != nil }

// transient reports whether what ended a try may be gone at the next.
func transient(err error) bool {
	var status *StatusError
	var connect *connectError
	var stall *StallError
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.As(err, &status):
		return status.Transient()
	case errors.As(err, &connect):
		return transientCode(connect.code)
	case errors.As(err, &stall):
		return stall.Got >= 0 // else it was asked three times already
	case errors.As(err, new(*redirectError)), errors.As(err, new(*refusedError)),
		errors.As(err, &certificate), errors.Is(err, http.ErrSchemeMismatch),
		errors.Is(err, ErrNotModified), errors.Is(err, errNoRest):
		return false
	}
	return true
}

func transientCode(code int) bool {
	switch code {
	case http.StatusRequestTimeout, http.StatusTooManyRequests:
		return true
	case http.StatusNotImplemented, http.StatusHTTPVersionNotSupported, http.StatusLoopDetected:
		return false
	}
	return code >= 500
}

func timedOut(err error) bool {
	timeout, ok := errors.AsType[interface {
		error
		Timeout() bool
	}](err)
	return ok && timeout.Timeout() || errors.Is(err, os.ErrDeadlineExceeded)
}

// busyError is a 429 or 503 that says when to ask again.
type busyError struct {
	*StatusError
	after time.Duration
}

func (e *busyError) Error() string {
	if e.after <= maxRetryAfter {
		return e.StatusError.Error()
	}
	return fmt.Sprintf("%v; not to be asked again for %v", e.StatusError, e.after)
}

func (e *busyError) Unwrap() error { return e.StatusError }

// retryAfter returns how long an answer asks us to wait, 0 if it does not. A date is
// read by the clock that wrote it.
func retryAfter(header http.Header) time.Duration {
	value := header.Get("Retry-After")
	if seconds, err := strconv.ParseUint(value, 10, 32); err == nil {
		return time.Duration(seconds) * time.Second
	}
	until, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	now, err := http.ParseTime(header.Get("Date"))
	if err != nil {
		now = time.Now()
	}
	return max(0, until.Sub(now).Round(time.Second))
}

// triedError is the last of several tries.
type triedError struct {
	err   error
	tries int
}

func (e *triedError) Error() string { return fmt.Sprintf("%v (%d tries)", e.err, e.tries) }
func (e *triedError) Unwrap() error { return e.err }

// sleep returns an error if ctx ends before d is over.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
