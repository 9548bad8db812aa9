package serve

import (
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/gomirror/gomirror/cache"
)

// failureLimit is how many failures are remembered: a build that fails has some dozens.
const failureLimit = 200

// Failure is a request that was answered with an error, for its user alone: it names
// private modules.
type Failure struct {
	At      time.Time `json:"at"` // the last time
	Key     string    `json:"key"`
	Module  string    `json:"module"`
	Version string    `json:"version,omitempty"` // or a branch
	Status  int       `json:"status"`
	Cause   string    `json:"cause,omitempty"` // as Options.Cause sorts it
	Text    string    `json:"text"`
	Hint    string    `json:"hint,omitempty"`
	Times   int       `json:"times"`
}

// Probe reports whether it may be one of the guesses by which the go command finds the
// module of a package. These fail by the hundred and are worth the least.
func (f Failure) Probe() bool {
	key, err := cache.ParseKey(f.Key)
	return err == nil && !key.Immutable() && (f.Status == http.StatusNotFound || f.Status == http.StatusGone)
}

// failures are the last ones, the newest last. The zero value is ready.
type failures struct {
	mu   sync.Mutex
	list []Failure // guarded by mu
}

// add remembers a failure. One of a key replaces the one before it.
func (l *failures) add(f Failure) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f.Times = 1
	if i := slices.IndexFunc(l.list, func(old Failure) bool { return old.Key == f.Key }); i >= 0 {
		f.Times += l.list[i].Times
		l.list = slices.Delete(l.list, i, i+1)
	}
	if len(l.list) >= failureLimit {
		i := max(0, slices.IndexFunc(l.list, Failure.Probe))
		l.list = slices.Delete(l.list, i, i+1)
	}
	l.list = append(l.list, f)
}

// Failures returns the last failures, the newest last.
func (s *Server) Failures() []Failure {
	s.failures.mu.Lock()
	defer s.failures.mu.Unlock()
	return slices.Clone(s.failures.list)
}

// remember keeps a failure for whoever asks why later. What names no module was no
// pull.
func (s *Server) remember(key cache.Key, code int, err error) {
	if key == (cache.Key{}) {
		return
	}
	mod := key.Module()
	f := Failure{At: time.Now(), Key: key.String(), Module: mod.Path, Version: mod.Version, Status: code,
		Text: Redact(err.Error()), Hint: Redact(hintOf(err))}
	if s.opts.Cause != nil {
		f.Cause = s.opts.Cause(err)
	}
	s.failures.add(f)
}
