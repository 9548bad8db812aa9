// Package upstream asks others for what the cache does not hold.
//
// A [Source] delivers the answer to one [cache.Key]: a module proxy over HTTP or a
// file tree ([Proxy]), the go command itself ([Direct]), or a GOPROXY list of those
// ([Chain]). What it receives goes into a [Sink], which checks and keeps it while it
// flows.
package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"

	"github.com/gomirror/gomirror/cache"
)

// Request asks for one key. Meta has the validators of an earlier answer to the
// same key, or is zero. Partial is the beginning of an answer that broke off, or nil:
// a source that can tell that it still has the same bytes asks for the rest alone. The
// body that it delivers is whole all the same.
type Request struct {
	Key     cache.Key
	Meta    cache.Meta
	Partial *cache.Partial
}

// Sink takes an answer. meta says where it came from and how to revalidate it; body
// is read to its end before Sink returns. A Sink that returns an error has kept
// nothing; the source passes the error on, with the upstream's name put before it.
type Sink func(key cache.Key, meta cache.Meta, body io.Reader) error

// own returns a sink whose errors are none of the upstream's.
func (s Sink) own() Sink {
	return func(key cache.Key, meta cache.Meta, body io.Reader) error { return own(s(key, meta, body)) }
}

// A Source fetches the answer to a request into sink. It must deliver the key that
// was asked for and may deliver siblings of it. It returns [ErrNotModified] if the
// answer that meta describes still stands. An error that Is fs.ErrNotExist says
// that the module or version does not exist there; a time-out, a 5xx or a child
// that could not run is never that.
type Source interface {
	Fetch(ctx context.Context, req Request, sink Sink) error
}

// ErrNotModified answers a request with validators: what was held still stands.
var ErrNotModified = errors.New("not modified")

// StatusError is an answer of an upstream other than 200 and 304.
type StatusError struct {
	Upstream string // name of the upstream as configured, without credentials
	URL      string // what was asked in the end, after redirects, without query and credentials
	Code     int
	Text     string // what the upstream says, first line, printable, at most 200 bytes
}

func (e *StatusError) Error() string {
	s := fmt.Sprintf("%s answers %d %s", e.URL, e.Code, http.StatusText(e.Code))
	if e.Text != "" {
		s += ": " + e.Text
	}
	return s
}

// Is makes 404 and 410, and nothing else, "not found".
func (e *StatusError) Is(target error) bool {
	return target == fs.ErrNotExist && (e.Code == http.StatusNotFound || e.Code == http.StatusGone)
}

// Transient reports whether the same request may get another answer before long.
func (e *StatusError) Transient() bool { return transientCode(e.Code) }

// hopsKey carries the ids of the gomirrors that a request has passed, see [WithHops].
type hopsKey struct{}

// HopHeader lists the ids of the gomirrors that a request has passed, so that a
// chain that leads back to one of them ends at once.
const HopHeader = "Gomirror-Hop"

// WithHops returns a context for requests that arrived with the given [HopHeader].
func WithHops(ctx context.Context, hops string) context.Context {
	if hops == "" {
		return ctx
	}
	return context.WithValue(ctx, hopsKey{}, hops)
}

// Hopped reports whether the request has passed another gomirror.
func Hopped(ctx context.Context) bool { return ctx.Value(hopsKey{}) != nil }

// hops returns the [HopHeader] value for a request that this gomirror sends.
func hops(ctx context.Context, own string) string {
	if passed, ok := ctx.Value(hopsKey{}).(string); ok {
		return passed + ", " + own
	}
	return own
}
