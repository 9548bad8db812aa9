package cache

import (
	"errors"
	"fmt"
	"time"
)

// Tree says in which of the two trees an answer lives. The route at request time
// picks it: an answer never moves from one to the other.
type Tree string

// The trees, by the names of their folders.
const (
	Public  Tree = "download"
	Private Tree = "private"
)

// Verdict says what the checksum database said about a version's bytes.
type Verdict string

const (
	Verified   Verdict = "verified"
	Unverified Verdict = "unverified" // database out of reach; to be checked again
	Exempt     Verdict = "exempt"     // GONOSUMDB, GOSUMDB=off or a private module
)

// Meta is what is known about an answer. A version has one Meta for its three files
// and both trees: the ledger of hashes that no later answer may contradict. A
// mutable key has one a tree.
type Meta struct {
	Upstream     string    `json:"upstream"`          // name of who delivered it
	Fetched      time.Time `json:"fetched"`           // when it came, or was last found to still stand
	Status       int       `json:"status,omitempty"`  // 200, or 404 or 410 for a negative answer
	ETag         string    `json:"etag,omitempty"`    // the upstream's validator
	LastModified string    `json:"lastmod,omitempty"` // the upstream's validator
	OriginHash   string    `json:"origin,omitempty"`  // Origin.Hash of the .info: the commit
	H1           string    `json:"h1,omitempty"`      // of the zip, as go.sum has it
	GoModH1      string    `json:"gomodh1,omitempty"` // of the go.mod, as go.sum has it
	Verdict      Verdict   `json:"verdict,omitempty"` // versions only
	Moved        string    `json:"moved,omitempty"`   // private versions only: where their tag went, see [Move]
	MovedAt      time.Time `json:"moved_at,omitzero"` // when that was noticed
}

// Found reports whether the answer is one, not a "no such module".
func (m Meta) Found() bool { return m.Status == 0 || m.Status == 200 }

// InvalidError is an answer whose form is wrong: HTML for JSON, a zip of another
// module, a body over its limit.
type InvalidError struct {
	Key    Key
	Reason string
}

func (e *InvalidError) Error() string { return fmt.Sprintf("bad answer for %s: %s", e.Key, e.Reason) }

// ContradictionError is an answer whose bytes are not those that an authority has
// vouched for: the checksum database, or the first download of the same version.
type ContradictionError struct {
	Key       Key
	Got, Want string // h1 hashes
	Authority string // "checksum database NAME" or "first download from NAME"
	First     bool   // it is the first download, which the user may overrule
}

func (e *ContradictionError) Error() string {
	return fmt.Sprintf("checksum mismatch for %s: downloaded %s, but %s has %s", e.Key, e.Got, e.Authority, e.Want)
}

// Hint tells the one thing to do.
func (e *ContradictionError) Hint() string {
	if e.First {
		return "gomirror refresh " + e.Key.Module().String()
	}
	return "gomirror status shows what was set aside; pull again later or from another upstream"
}

// FullError says that the disk can't take an answer, or that the system opens no more
// files for us: what is in hand can be served, but not kept.
type FullError struct {
	Dir string
	Err error
}

func (e *FullError) Error() string {
	if readOnly(e.Err) {
		return fmt.Sprintf("store in %s: it is on a file system that is mounted read-only", e.Dir)
	}
	return fmt.Sprintf("store in %s: %v", e.Dir, e.Err)
}
func (e *FullError) Unwrap() error { return e.Err }

// Files reports whether it is the open files that have run out, not the disk.
func (e *FullError) Files() bool { return outOfFiles(e.Err) }

// Want names what is wanting in a few words that hold no name.
func (e *FullError) Want() string {
	switch {
	case e.Files():
		return "too many open files"
	case readOnly(e.Err):
		return "disk is read-only"
	case errors.As(e.Err, new(*openError)):
		return "cache can't be opened"
	}
	return "disk is full"
}

// Hint tells the one thing to do.
func (e *FullError) Hint() string {
	if e.Files() {
		return "allow more open files (ulimit -n) and start again: gomirror stop && gomirror serve"
	}
	if readOnly(e.Err) {
		return "move the cache: gomirror config set cache.dir DIR; gomirror stop; gomirror serve --background"
	}
	if open, ok := errors.AsType[*openError](e.Err); ok {
		return open.Hint()
	}
	return "free some space, or move the cache: gomirror config set cache.dir DIR"
}
