package sumdb

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/gomirror/gomirror/serve/upstream"
)

// faults are the answers that were none.
type faults struct {
	db       string
	texts    []string
	absent   error // the first "not found"
	own      bool  // the database itself said so, not only a relay
	answered bool  // some remote gave an answer, if not a good one
	passing  bool  // some remote may give a good one when asked again
}

func (f *faults) add(res result) {
	var status *upstream.StatusError
	switch {
	case errors.Is(res.err, errNotRelay):
		return
	case errors.Is(res.err, fs.ErrNotExist):
		if f.absent == nil {
			f.absent = res.err
		}
		f.own = f.own || !res.from.relay
		f.answered = true
	case errors.As(res.err, &status), errors.Is(res.err, errBadAnswer):
		f.answered = true
	}
	f.passing = f.passing || res.passing
	if text := res.from.Name() + ": " + res.err.Error(); !slices.Contains(f.texts, text) {
		f.texts = append(f.texts, text)
	}
}

// err returns "not found" only if the database itself said so: a relay's word alone may
// be one about itself.
func (f *faults) err() error {
	if f.own {
		return f.absent
	}
	return &reachError{db: f.db, texts: f.texts, answered: f.answered, passing: f.passing}
}

// reachError says that no remote gave an answer.
type reachError struct {
	db       string
	texts    []string // one a remote
	answered bool     // some remote gave a bad one
	passing  bool     // what was wrong may pass
}

func (e *reachError) Error() string {
	return "ask checksum database " + e.db + ": " + strings.Join(e.texts, "; ")
}

// Hint tells the one thing to do.
func (e *reachError) Hint() string { return "gomirror doctor" }

// silenceError is why a question was given up.
type silenceError struct{ limit time.Duration }

func (e *silenceError) Error() string { return fmt.Sprintf("no answer in %v", e.limit) }

// passing reports whether an error may be gone when the same is asked again. What is
// not known not to pass, such as a web page or a bad certificate, is not waited for.
func passing(err error) bool {
	var status *upstream.StatusError
	var silence *silenceError
	var stall *upstream.StallError
	var op *net.OpError
	var timeout net.Error
	switch {
	case errors.As(err, &status):
		return status.Transient()
	case errors.Is(err, errBadAnswer), errors.Is(err, errNotRelay):
		return false
	}
	return upstream.Unreachable(err) || errors.Is(err, errDark) || errors.As(err, &silence) || errors.As(err, &stall) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.As(err, &op) || errors.As(err, &timeout) && timeout.Timeout()
}
