package upstream

import "context"

// urgencyKey carries whether somebody waits for what is fetched, see [WithUrgency].
type urgencyKey struct{}

// WithUrgency returns a context for a fetch that nobody may be waiting for yet:
// turn, called before each piece of a body is taken, returns when there is room for
// it beside what clients wait for.
func WithUrgency(ctx context.Context, turn func(context.Context)) context.Context {
	return context.WithValue(ctx, urgencyKey{}, turn)
}

// awaitTurn lets what clients wait for go first.
func awaitTurn(ctx context.Context) {
	if turn, ok := ctx.Value(urgencyKey{}).(func(context.Context)); ok {
		turn(ctx)
	}
}
