package upstream

import "context"

type (
	backgroundKey struct{}
	awaitedKey    struct{}
	turnKey       struct{}
)

// Background returns a context for a fetch that no client waits for. It goes to no
// origin: a clone is not begun on a guess.
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

// awaited returns a channel that is closed once a client waits. It is nil, and so never
// ready, if none can come to.
func awaited(ctx context.Context) <-chan struct{} {
	ch, _ := ctx.Value(awaitedKey{}).(<-chan struct{})
	return ch
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
