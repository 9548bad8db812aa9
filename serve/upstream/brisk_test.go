package upstream

import (
	"context"
	"time"
)

// Brisk makes proxies try again almost at once, for tests on a real clock.
func Brisk(proxies ...*Proxy) {
	for _, p := range proxies {
		p.delay.InitialInterval, p.delay.MaxInterval = time.Millisecond, 4*time.Millisecond
	}
}

// WithQuick is withQuick.
func WithQuick(ctx context.Context) context.Context { return withQuick(ctx) }

// ContentRange is contentRange.
func ContentRange(s string) (from, total int64, ok bool) { return contentRange(s) }
