package upstream

import (
	"context"
	"errors"
	"time"
)

type (
	backgroundKey struct{}
	awaitedKey    struct{}
	turnKey       struct{}
	sinceKey      struct{}
	roomKey       struct{}
)

// Background returns a context for a fetch that no client waits for. It goes to no
// origin, for a clone is not begun on a guess, and it does not insist: an upstream that is
// sick or busy has enough to do with what clients wait for. Once one waits for the same,
// see [WithAwaited], it is as any other.
func Background(ctx context.Context) context.Context {
	return context.WithValue(ctx, backgroundKey{}, true)
}

// IsBackground reports whether ctx comes from [Background].
func IsBackground(ctx context.Context) bool { return ctx.Value(backgroundKey{}) != nil }

// WithAwaited returns a context for a fetch that clients may come to wait for: awaited
// is closed then.
func WithAwaited(ctx context.Context, awaited <-chan struct{}) context.Context {
	return context.WithValue(ctx, awaitedKey{}, awaited)
}

// Awaited returns a channel that is closed once a client waits. It is nil, and so never
// ready, if none can come to.
func Awaited(ctx context.Context) <-chan struct{} {
	ch, _ := ctx.Value(awaitedKey{}).(<-chan struct{})
	return ch
}

// unawaited reports whether no client waits for a fetch, so far.
func unawaited(ctx context.Context) bool {
	if !IsBackground(ctx) {
		return false
	}
	select {
	case <-Awaited(ctx):
		return false
	default:
		return true
	}
}

// forgoneError is a fetch that did not do all it can, since no client waited for it.
type forgoneError struct{ err error }

func (e *forgoneError) Error() string { return e.err.Error() }
func (e *forgoneError) Unwrap() error { return e.err }

// Forgone reports whether err is of a fetch that no client waited for, and that would
// have done more for one.
func Forgone(err error) bool { return errors.As(err, new(*forgoneError)) }

// WithSince returns a context for a fetch that who waits has waited for since a time, be
// it by another one: a reason is due by that.
func WithSince(ctx context.Context, since time.Time) context.Context {
	return context.WithValue(ctx, sinceKey{}, since)
}

// sinceOf returns the time that WithSince has set, or now.
func sinceOf(ctx context.Context) time.Time {
	if since, ok := ctx.Value(sinceKey{}).(time.Time); ok {
		return since
	}
	return time.Now()
}

// WithRoom returns a context for a fetch that may be too large: as soon as the length of
// its body is known, room is asked whether there is any. An error of it ends the fetch,
// unless a client waits by then.
func WithRoom(ctx context.Context, room func(length int64) error) context.Context {
	return context.WithValue(ctx, roomKey{}, room)
}

// RoomFor asks whether there is room for a body of some length.
func RoomFor(ctx context.Context, length int64) error {
	room, ok := ctx.Value(roomKey{}).(func(int64) error)
	if !ok || !unawaited(ctx) {
		return nil
	}
	if err := room(length); err != nil {
		return &forgoneError{err}
	}
	return nil
}

// WithTurn returns a context for a fetch that takes turns with others: turn is called
// before each piece of a body and returns when there is room for it.
func WithTurn(ctx context.Context, turn func(context.Context)) context.Context {
	return context.WithValue(ctx, turnKey{}, turn)
}

// awaitTurn lets what clients wait for go first.
func awaitTurn(ctx context.Context) {
	if turn, ok := ctx.Value(turnKey{}).(func(context.Context)); ok {
		turn(ctx)
	}
}
