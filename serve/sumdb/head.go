package sumdb

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"github.com/gofrs/flock"
	"golang.org/x/mod/sumdb"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// headFile holds the newest signed tree head in a database's state folder.
const headFile = "latest"

// head is the newest tree head of a database: what every lookup is stamped with.
//
// It is settled: a client that trusts it, or any head that was here before it, finds
// every tile in our copy that it needs to verify every record in our copy. That holds
// because the head moves in steps, and nobody moves it who has not verified the step
// from the head before. Verifying a step reads, and so keeps, the tiles at the right
// edge of both trees as they are in the new one. All other tiles were full before and
// never change again. A record's own tiles are kept when it is verified.
//
// Several processes may share the file; a step from a head that is no longer there is
// refused.
type head struct {
	root      *os.Root
	lock      string // path of the lock file beside the head
	verifiers note.Verifiers
	log       *slog.Logger

	mu  sync.Mutex
	now signedTree // newest known, ahead of the file only if the disk refuses it

	openMu sync.Mutex
	opened map[string]signedTree // notes whose signature was checked
}

const (
	// openedNotes bounds the notes that are known to be signed: a burst of lookups comes
	// with a few heads.
	openedNotes = 128
	// headText is how long the text of a tree head may be, in bytes: it has about 80,
	// and the format leaves room for more lines.
	headText = 4 << 10
)

func newHead(stateDir string, root *os.Root, src source, log *slog.Logger) *head {
	return &head{
		root: root, lock: filepath.Join(stateDir, src.folder(), "lock"),
		verifiers: src.verifiers(), log: log, opened: map[string]signedTree{},
	}
}

// signedTree is a tree head and the note that proves who signed it.
type signedTree struct {
	tree tlog.Tree
	note []byte
}

// open verifies a signed tree head, once for the same one. Signatures by keys that we
// don't know are dropped: who relays a head can add as many as it likes.
func (h *head) open(msg []byte) (signedTree, error) {
	h.openMu.Lock()
	known, ok := h.opened[string(msg)]
	h.openMu.Unlock()
	if ok {
		return known, nil
	}
	n, err := note.Open(msg, h.verifiers)
	if err != nil {
		return signedTree{}, err
	}
	if len(n.Text) > headText {
		return signedTree{}, fmt.Errorf("tree head of %d bytes, want at most %d", len(n.Text), headText)
	}
	tree, err := tlog.ParseTree([]byte(n.Text))
	if err != nil {
		return signedTree{}, err
	}
	if tree.N > maxRecords {
		return signedTree{}, fmt.Errorf("tree head of %d records, want at most %d", tree.N, int64(maxRecords))
	}
	bare, err := note.Sign(&note.Note{Text: n.Text, Sigs: n.Sigs})
	if err != nil {
		return signedTree{}, err
	}
	opened := signedTree{tree, bare}
	h.openMu.Lock()
	defer h.openMu.Unlock()
	if len(h.opened) >= openedNotes {
		clear(h.opened)
	}
	h.opened[string(bare)] = opened
	return opened, nil
}

// newest returns the newest head without reading the file, but for the first time.
func (h *head) newest() (signedTree, error) {
	h.mu.Lock()
	known := h.now
	h.mu.Unlock()
	if known.note != nil {
		return known, nil
	}
	return h.load()
}

// load returns the newest head after a look at what other processes have written. A
// database that was never asked has the zero head.
func (h *head) load() (signedTree, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.loadLocked()
}

func (h *head) loadLocked() (signedTree, error) {
	msg, err := h.root.ReadFile(headFile)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(msg) == 0 {
		return h.now, nil
	}
	if err != nil {
		return signedTree{}, fmt.Errorf("read tree head: %w", err)
	}
	if bytes.Equal(msg, h.now.note) {
		return h.now, nil
	}
	written, err := h.open(msg)
	if err != nil {
		return signedTree{}, &damagedError{h.root.Name() + string(os.PathSeparator) + headFile, err}
	}
	if written.tree.N >= h.now.tree.N {
		h.now = written
	}
	return h.now, nil
}

// swap moves the head from old to next, which the caller has verified to contain old.
// It returns sumdb.ErrWriteConflict if the head is not old.
func (h *head) swap(old, next []byte) error {
	to, err := h.open(next)
	if err != nil {
		return fmt.Errorf("write tree head: %w", err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	file := flock.New(h.lock)
	if err := file.Lock(); err != nil {
		// A disk that takes no lock file takes no head either: see below.
		h.log.Debug("tree head not locked", "err", err)
	}
	defer file.Close()
	at, err := h.loadLocked()
	if err != nil {
		return err
	}
	if !bytes.Equal(at.note, old) {
		return sumdb.ErrWriteConflict
	}
	if to.tree.N < at.tree.N {
		return fmt.Errorf("write tree head: size %d is behind %d", to.tree.N, at.tree.N)
	}
	h.now = to
	// A full disk must not stop verification. The next process starts from the head
	// that is on disk and verifies its way forward again.
	if err := writeDurably(h.root, headFile, to.note); err != nil {
		h.log.Warn("tree head not kept", "err", err)
	}
	return nil
}

// writeDurably replaces a file of a database's state: a head that a client has seen
// should survive a power cut, or a database could fork unseen. There is one writer at a
// time: of the head under its lock, of a fork once.
func writeDurably(root *os.Root, file string, msg []byte) error {
	temp := file + ".new"
	f, err := root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(msg)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return root.Rename(temp, file)
}

// damagedError is a head file that nobody has signed. Starting afresh would forget
// what the database is held to, so that is left to the user.
type damagedError struct {
	file string
	err  error
}

func (e *damagedError) Error() string { return fmt.Sprintf("read tree head %s: %v", e.file, e.err) }

// Hint tells the one thing to do.
func (e *damagedError) Hint() string {
	return "remove " + e.file + " to trust the database afresh"
}
