package serve

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/gomirror/gomirror/cache"
	"github.com/gomirror/gomirror/serve/upstream"
)

// ServeHTTP answers one request. It calls Get itself, for the way from here to an
// upstream is to stay short enough to be followed.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	t := s.begin(w, r)
	defer s.end(t, r)
	key, other, err := s.resolve(r)
	switch {
	case err != nil:
		s.fail(t, r, key, err)
		return
	case other != nil:
		other(t, r)
		return
	}
	ctx := upstream.WithHops(r.Context(), strings.Join(r.Header.Values(upstream.HopHeader), ", "))
	answer, err := s.opts.Get(ctx, key)
	if err != nil {
		s.fail(t, r, key, err)
		return
	}
	defer answer.Close()
	s.reply(t, r, key, answer)
}

// begin counts the request and sets what must hold for every answer, also for
// errors: no browser guesses a type, runs or embeds anything. There is never an
// Access-Control-* header.
func (s *Server) begin(w http.ResponseWriter, r *http.Request) *tally {
	s.counters.requests.Add(1)
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	if r.ContentLength != 0 {
		// The guard refuses a body, but net/http reads it to its end.
		h.Set("Connection", "close")
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(headerTime))
	}
	return &tally{ResponseWriter: w}
}

// resolve says what a request that the guard lets pass asks for: a key, or something
// other than a module. It does no cleaning and no redirects: a path is one of ours or
// it is unknown.
func (s *Server) resolve(r *http.Request) (key cache.Key, other func(*tally, *http.Request), err error) {
	if err := s.guard(r); err != nil {
		return key, nil, err
	}
	if r.URL.Path == "/-/hello" && s.opts.Hello != nil {
		return key, s.hello, nil
	}
	rest, ok := s.capable(r.URL.Path)
	if !ok {
		s.counters.address.Add(1)
	}
	if !ok || ambiguous(r.URL) {
		return key, nil, errUnknownPath
	}
	relay := s.opts.SumDB != nil && strings.HasPrefix(rest, "sumdb/")
	if !relay {
		key, err = cache.ParseKey(rest)
	}
	if err == nil && s.passed(r.Header.Values(upstream.HopHeader)) {
		err = errLoop
	}
	if relay && err == nil {
		return key, func(t *tally, r *http.Request) {
			relayed := r.Clone(r.Context())
			relayed.URL = &url.URL{Path: "/" + rest}
			relayed.RequestURI = ""
			s.opts.SumDB.ServeHTTP(t, relayed)
		}, nil
	}
	return key, nil, err
}

var errLoop = &refusal{http.StatusLoopDetected, "this request came back to the gomirror that sent it: its upstream leads to itself",
	"gomirror config set upstream LIST, without its own address"}

// errUnknownPath is the answer to a wrong capability and to a wrong path alike, so
// that neither can be told from the other.
var errUnknownPath = &refusal{http.StatusNotFound, "there is nothing at this address", "ask for the address again: gomirror env"}

// ambiguous reports whether u has an encoded slash or dot, which mean one thing here
// and another to whoever cleans paths. The go command encodes neither.
func ambiguous(u *url.URL) bool {
	if u.RawPath == "" {
		return false
	}
	raw := strings.ToLower(u.RawPath)
	return strings.Contains(raw, "%2f") || strings.Contains(raw, "%2e")
}

// passed reports whether our id is among the ids that a request has collected.
func (s *Server) passed(hops []string) bool {
	return s.opts.HopID != "" && slices.ContainsFunc(hops, func(list string) bool {
		return slices.ContainsFunc(strings.Split(list, ","), func(id string) bool {
			return strings.TrimSpace(id) == s.opts.HopID
		})
	})
}

var nonceForm = regexp.MustCompile(`^[0-9a-f]{1,64}$`)

// hello answers the challenge of who is about to send the capability.
func (s *Server) hello(t *tally, r *http.Request) {
	nonce := r.URL.Query().Get("n")
	if !nonceForm.MatchString(nonce) {
		s.fail(t, r, cache.Key{}, errUnknownPath)
		return
	}
	t.Header().Set("Content-Type", "text/plain; charset=utf-8")
	t.Header().Set("Cache-Control", "no-store")
	io.WriteString(t, s.opts.Hello(nonce)) // a client that left needs no proof
}

// end counts what was sent. A request whose handling panicked ends alone, with the
// daemon alive.
func (s *Server) end(t *tally, r *http.Request) {
	defer func() { s.counters.bytes.Add(t.bytes) }()
	switch fault := recover(); fault {
	case nil:
	case http.ErrAbortHandler:
		panic(fault) // net/http closes the connection, which is the point
	default:
		s.counters.panics.Add(1)
		// A stack has no URL in it, but the text of a panic might.
		s.opts.Log.Error("request panicked", "fault", Redact(fmt.Sprint(fault)), "stack", Redact(string(debug.Stack())))
		if t.status != 0 {
			panic(http.ErrAbortHandler)
		}
		s.fail(t, r, cache.Key{}, errPanicked)
	}
}

var errPanicked = &refusal{http.StatusInternalServerError, "gomirror has a bug: this request made it panic", "gomirror's log has the stack: please report it"}

// tally is a ResponseWriter that knows what it has sent.
type tally struct {
	http.ResponseWriter
	status int
	bytes  int64
	err    error // the last of writing, or of reading what was to be written
}

func (t *tally) WriteHeader(code int) {
	if code >= 200 && t.status == 0 {
		t.status = code
	}
	t.ResponseWriter.WriteHeader(code)
}

func (t *tally) Write(p []byte) (int, error) {
	if t.status == 0 {
		t.status = http.StatusOK
	}
	n, err := t.ResponseWriter.Write(p)
	t.bytes, t.err = t.bytes+int64(n), err
	return n, err
}

// ReadFrom keeps the way to sendfile open for files, which a plain wrapper would
// close. What is in memory is better written: net/http sends the header alone before
// it reads from r, and that is a system call more.
func (t *tally) ReadFrom(r io.Reader) (int64, error) {
	if t.status == 0 {
		t.status = http.StatusOK
	}
	w := io.Writer(t.ResponseWriter)
	limited, ok := r.(*io.LimitedReader)
	if ok {
		_, ok = limited.R.(*os.File)
	}
	if !ok {
		w = struct{ io.Writer }{w}
	}
	n, err := io.Copy(w, r)
	t.bytes, t.err = t.bytes+n, err
	return n, err
}

// Unwrap serves http.ResponseController.
func (t *tally) Unwrap() http.ResponseWriter { return t.ResponseWriter }
