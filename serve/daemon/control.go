package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"time"
)

// ControlOptions are what a sidecar lets its owner ask and do.
type ControlOptions struct {
	StateDir string          // required; the caller holds its lock
	Status   func() any      // required; marshals to JSON
	Patterns func() []string // the private patterns that it goes by; nil means none
	Failures func() any      // the last requests that failed; marshals to JSON; nil means none
	Stop     func()          // required; begins to end the process and returns at once

	// These may run for minutes, until their context ends. What they return marshals to
	// JSON. Nil is an unknown request.
	Refresh func(context.Context, Refresh) (any, error)
	Resolve func(context.Context, Resolve) (any, error)

	ForgetTokens func() error // the tokens have changed, or the private patterns in config.toml; nil if there are none
	Log          *slog.Logger // nil discards
}

// Control answers the owner of the sidecar, and nobody else, on a unix socket. These
// questions are not on the TCP port because a web page could reach that.
type Control struct {
	opts     ControlOptions
	listener net.Listener
}

// NewControl opens the socket.
func NewControl(opts ControlOptions) (*Control, error) {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	path, err := socketPath(opts.StateDir)
	if err != nil {
		return nil, err
	}
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("make socket folder: %w", err)
	}
	// The folder closes the instant between bind and chmod.
	if err := guardDir(filepath.Dir(path)); err != nil {
		return nil, err
	}
	// A socket left by a sidecar that was killed: we hold the lock, so it is nobody's.
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("remove stale socket: %w", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("open control socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("close control socket to others: %w", err), l.Close())
	}
	return &Control{opts, l}, nil
}

// controlTime limits one question and its answer, but for those of handleWork, and the
// end of the last ones.
const controlTime = 5 * time.Second

// Run answers until ctx ends.
func (c *Control) Run(ctx context.Context) error {
	server := &http.Server{
		Handler:      c.handler(),
		ReadTimeout:  controlTime,
		WriteTimeout: controlTime,
		BaseContext:  func(net.Listener) context.Context { return ctx },
		ErrorLog:     slog.NewLogLogger(c.opts.Log.Handler(), slog.LevelWarn),
	}
	stopped := make(chan error, 1)
	// Ends when the running answers have, or after controlTime.
	cancel := context.AfterFunc(ctx, func() {
		grace, done := context.WithTimeout(context.WithoutCancel(ctx), controlTime)
		defer done()
		stopped <- server.Shutdown(grace)
	})
	owned := &ownerOnly{Listener: c.listener, uid: peerUID, log: c.opts.Log, named: map[int]bool{}}
	err := server.Serve(owned)
	if owned.refused > 0 {
		c.opts.Log.Warn("control connections of other users refused", "connections", owned.refused)
	}
	if cancel() {
		return fmt.Errorf("serve control socket: %w", err)
	}
	return <-stopped
}

func (c *Control) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) { c.answer(w, c.opts.Status()) })
	mux.HandleFunc("GET /patterns", func(w http.ResponseWriter, _ *http.Request) {
		patterns := []string{}
		if c.opts.Patterns != nil {
			patterns = append(patterns, c.opts.Patterns()...)
		}
		c.answer(w, patterns)
	})
	mux.HandleFunc("GET /failures", func(w http.ResponseWriter, _ *http.Request) {
		if c.opts.Failures == nil {
			c.answer(w, []any{})
			return
		}
		c.answer(w, c.opts.Failures())
	})
	mux.HandleFunc("POST /stop", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusAccepted)
		c.opts.Stop()
	})
	c.handleWork(mux)
	return mux
}

func (c *Control) answer(w http.ResponseWriter, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		c.opts.Log.Error("status not encoded", "err", err)
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(body) // a client that left needs no answer
}

// ownerOnly drops connections of other users, should one get past the folder. The log
// names each of them once, or they could fill the disk with it.
type ownerOnly struct {
	net.Listener
	uid     func(*net.UnixConn) (int, error)
	log     *slog.Logger
	named   map[int]bool // at most namedLimit; Accept has it to itself
	refused int
}

// namedLimit is how many users are named. A user can have many uids in containers.
const namedLimit = 64

func (l *ownerOnly) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		unix, ok := c.(*net.UnixConn)
		if !ok {
			return c, nil
		}
		uid, err := l.uid(unix)
		if err == nil && (uid < 0 || uid == os.Getuid() || uid == 0) {
			return c, nil
		}
		c.Close()
		l.refused++
		if !l.named[uid] && len(l.named) < namedLimit {
			l.named[uid] = true
			l.log.Warn("control connection of another user refused; more of them are counted only", "uid", uid, "err", err)
		}
	}
}

// socketPath returns the path of the control socket, if the system can take it.
func socketPath(stateDir string) (string, error) {
	path := filepath.Join(stateDir, runDir, socketFile)
	limit := 107 // sun_path of Linux and Windows, less the NUL
	if runtime.GOOS != "linux" && runtime.GOOS != "windows" {
		limit = 103 // of the BSDs
	}
	if len(path) > limit {
		return "", &hinted{fmt.Errorf("control socket %s: the path has %d bytes, and the system takes %d", path, len(path), limit),
			"set XDG_STATE_HOME to a shorter path"}
	}
	return path, nil
}
