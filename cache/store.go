package cache

import (
	"errors"
	"io/fs"
	"log/slog"
	"time"

	"golang.org/x/mod/module"
)

// Options are the settings of a Store.
type Options struct {
	Dir string           // required; made if missing
	Now func() time.Time // nil means time.Now
	Log *slog.Logger     // nil discards
}

// Store is a cache folder. It is safe for many goroutines and many processes.
type Store struct{ opts Options }

// Entry is one held answer, open for reading. The caller closes it.
type Entry struct {
	Meta    Meta
	Tag     string // an ETag value with its quotes
	Size    int64
	ModTime time.Time
}

// Quarantine is a note about an answer that was set aside.
type Quarantine struct {
	Module, Version, Key, Upstream, Reason string
	At                                     time.Time
	Got, Want                              string
}

var errProvisional = errors.New("not yet written")

// Open opens the cache in opts.Dir.
func Open(opts Options) (*Store, error) { return &Store{opts}, nil }

func (s *Store) Close() error                                       { return nil }
func (s *Store) Dir() string                                        { return s.opts.Dir }
func (s *Store) Get(t Tree, k Key) (*Entry, error)                  { return nil, fs.ErrNotExist }
func (s *Store) Draft(t Tree, k Key) (*Draft, error)                { return &Draft{key: k}, nil }
func (s *Store) Negative(t Tree, k Key, m Meta) error               { return errProvisional }
func (s *Store) Touch(t Tree, k Key, at time.Time) error            { return errProvisional }
func (s *Store) VersionMeta(v module.Version) (Meta, error)         { return Meta{}, fs.ErrNotExist }
func (s *Store) SetVerdict(v module.Version, verdict Verdict) error { return errProvisional }
func (s *Store) Unverified() ([]module.Version, error)              { return nil, nil }
func (s *Store) Held(t Tree, modPath string) ([]string, error)      { return nil, nil }
func (s *Store) Known(t Tree, modPath string) bool                  { return false }
func (s *Store) Quarantined() ([]Quarantine, error)                 { return nil, nil }
func (s *Store) Evict(v module.Version, reason string) error        { return errProvisional }
func (e *Entry) Read(p []byte) (int, error)                         { return 0, errProvisional }
func (e *Entry) Seek(offset int64, whence int) (int64, error)       { return 0, errProvisional }
func (e *Entry) Close() error                                       { return nil }
