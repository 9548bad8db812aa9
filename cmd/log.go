package cmd

import (
	"io"
	"log"
	"log/slog"
	"path/filepath"

	"gopkg.in/natefinch/lumberjack.v2"

	"github.com/gomirror/gomirror/serve"
)

const (
	logFile = "gomirror.log" // in the state folder

	// logMiB is when a log is put aside; one older one is kept. Weeks of a laptop
	// without network, each stale answer a line, make some MiB.
	logMiB = 5
)

// logger is where a sidecar says what it does: stderr in the foreground, a file that
// can't fill the disk in the background.
func (e *Env) logger(s *settings, opts serveOptions) *slog.Logger {
	level := slog.LevelInfo
	switch {
	case e.verbose:
		level = slog.LevelDebug
	case e.quiet:
		level = slog.LevelWarn
	}
	var w io.Writer = e.Stderr
	if opts.detached {
		w = &lumberjack.Logger{Filename: filepath.Join(s.stateDir, logFile), MaxSize: logMiB, MaxBackups: 1}
	}
	own := slog.New(serve.RedactHandler(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level})))
	log.SetOutput(slog.NewLogLogger(own.Handler(), slog.LevelDebug).Writer())
	return own
}

// hush silences what libraries print by themselves: net/http tells the first bytes of an
// answer that nobody asked for, which are text of its sender's choice. A sidecar shows
// that with -v, see logger.
func hush() {
	log.SetFlags(0)
	log.SetOutput(io.Discard)
}
