package serve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"

	"github.com/gomirror/gomirror/cache"
	"github.com/gomirror/gomirror/serve/mirror"
	"github.com/gomirror/gomirror/serve/upstream"
)

// contentTypes are those of the module proxy protocol.
var contentTypes = map[cache.Kind]string{
	cache.List:   "text/plain; charset=utf-8",
	cache.Latest: "application/json",
	cache.Query:  "application/json",
	cache.Info:   "application/json",
	cache.Mod:    "text/plain; charset=utf-8",
	cache.Zip:    "application/zip",
}

// reply sends an answer, whole or not at all.
func (s *Server) reply(t *tally, r *http.Request, key cache.Key, answer *mirror.Answer) {
	if !answer.Meta.Found() {
		s.fail(t, r, key, &refusal{answer.Meta.Status, key.String() + ": not found at " + answer.Meta.Upstream, ""})
		return
	}
	content := answer.Content()
	if size, err := content.Seek(0, io.SeekEnd); err != nil || size != answer.Size {
		s.fail(t, r, key, errors.Join(fmt.Errorf("read %s from the cache: it has %d bytes of %d", key, size, answer.Size), err))
		return
	}
	h := t.Header()
	h.Set("Content-Type", contentTypes[key.Kind()])
	h.Set("X-Cache", answer.State)
	h.Set("Age", strconv.FormatInt(int64(answer.Age.Seconds()), 10))
	if answer.Tag != "" {
		h.Set("ETag", answer.Tag)
	}
	// Private: a shared cache on the way must not keep what a capability opened.
	h.Set("Cache-Control", "private, no-cache")
	if key.Immutable() {
		h.Set("Cache-Control", "private, max-age=31536000, immutable")
	}
	if key.Kind() == cache.Zip {
		h.Set("Content-Disposition", "attachment")
	}
	if answer.Cause != nil {
		h.Set("Warning", `110 gomirror "Response is Stale"`)
	}
	http.ServeContent(t, r, "", answer.ModTime, content)
	if want := h.Get("Content-Length"); r.Method != http.MethodHead && want != "" && want != strconv.FormatInt(t.bytes, 10) {
		s.cut(t, key, want)
	}
	s.opts.Log.DebugContext(r.Context(), "request", "method", r.Method, "key", key, "status", t.status, "cache", answer.State, "bytes", t.bytes)
}

// cut ends an answer that can't be completed. ServeContent stops where reading or
// writing does and tells nobody. A short body that ends cleanly would be a wrong
// module to the go command, which then asks no other proxy; a cut connection is a
// fault, and it does.
func (s *Server) cut(t *tally, key cache.Key, size string) {
	if conn := (*net.OpError)(nil); errors.As(t.err, &conn) {
		s.opts.Log.Debug("client took no more", "key", key, "sent", t.bytes, "size", size, "err", t.err)
	} else {
		s.opts.Log.Warn("answer cut short: is the disk at fault?", "key", s.logged(key), "sent", t.bytes, "size", size)
	}
	panic(http.ErrAbortHandler)
}

// fail answers with an error, as text for the developer who runs the go command. It
// is the one place where errors are logged.
func (s *Server) fail(t *tally, r *http.Request, key cache.Key, err error) {
	if r.Context().Err() != nil {
		// Nobody is there to read it, and to return would be a clean, empty 200.
		panic(http.ErrAbortHandler)
	}
	code := statusOf(err)
	s.log(r.Context(), code, key, err)
	s.remember(key, code, err)
	h := t.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	body := errorText(err, code)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	t.WriteHeader(code)
	if r.Method != http.MethodHead {
		_, _ = t.Write(body) // a client that left needs no reason
	}
}

// log tells of a failed request: on debug level what the asker got wrong, above it
// what the user can mend. There a private module has no name, nor has an error about
// it a text, for that would have the name.
func (s *Server) log(ctx context.Context, code int, key cache.Key, err error) {
	level := slog.LevelWarn
	if code < 500 && code != http.StatusTooManyRequests {
		level = slog.LevelDebug
	}
	if level > slog.LevelDebug && s.logged(key) == privateKey {
		s.opts.Log.Log(ctx, level, "request failed", "key", privateKey, "status", code)
		level = slog.LevelDebug
	}
	s.opts.Log.Log(ctx, level, "request failed", "key", key, "status", code, "err", Redact(err.Error()))
}

const privateKey = "private"

// logged is what a log above debug level may say of key.
func (s *Server) logged(key cache.Key) string {
	if s.opts.Private(key.Module().Path) {
		return privateKey
	}
	return key.String()
}

// statusOf maps an error to a status code. To the go command there are two kinds:
// 404 and 410 mean "ask the next", all others are faults.
func statusOf(err error) int {
	var (
		refused *refusal
		full    *cache.FullError
		offline *mirror.OfflineError
		status  *upstream.StatusError
		path    *fs.PathError
		timeout net.Error
	)
	switch {
	case errors.As(err, &refused):
		return refused.status
	case errors.As(err, &full):
		return http.StatusInsufficientStorage
	case errors.As(err, &offline):
		return http.StatusServiceUnavailable
	case errors.As(err, &path) && path.Op == "fork/exec":
		return http.StatusBadGateway // a missing git is no missing module
	case errors.Is(err, fs.ErrNotExist):
		return http.StatusNotFound
	case errors.As(err, &status):
		switch status.Code {
		case http.StatusForbidden, http.StatusTooManyRequests, http.StatusLoopDetected:
			return status.Code
		}
		return http.StatusBadGateway
	case upstream.Unreachable(err), errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded),
		errors.As(err, &timeout) && timeout.Timeout():
		return http.StatusGatewayTimeout
	}
	return http.StatusBadGateway
}
