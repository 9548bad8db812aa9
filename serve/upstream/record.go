package upstream

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"
)

const (
	// recordPause is the least time between two writes. What is lost when we are
	// killed is learned again in seconds.
	recordPause = 30 * time.Second

	// recordLimit is far above what 128 samples of a few upstreams need.
	recordLimit = 1 << 20

	recordVersion = 1
)

// record keeps the first bytes of upstreams in a file, so that a daemon that was just
// started knows how long to wait. It is written by who brings news, so that nothing
// runs while nothing happens.
type record struct {
	file    string // "" keeps nothing
	log     *slog.Logger
	healths []*health

	writing sync.Mutex // held while writing
	mu      sync.Mutex
	dirty   bool      // guarded by mu: there is news since the last write
	saved   time.Time // guarded by mu: when the last write began
}

// recordDoc is the form of the file. The names of upstreams are without credentials.
type recordDoc struct {
	Version    int                 `json:"version"`
	FirstBytes map[string][]sample `json:"first_bytes"`
}

// load takes over what an earlier run has learned. A file that can't be read, or says
// what no gomirror writes, teaches nothing.
func (r *record) load() {
	r.saved = time.Now()
	if r.file == "" {
		return
	}
	doc, err := readRecord(r.file)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			r.log.Debug("upstream times not read", "err", err)
		}
		return
	}
	for _, h := range r.healths {
		h.mu.Lock()
		for _, s := range doc.FirstBytes[h.name] {
			if s.At <= time.Now().Unix() && s.Millis >= 0 && s.Millis <= firstByteLimit.Milliseconds() {
				h.pace.add(s)
			}
		}
		h.mu.Unlock()
	}
}

func readRecord(file string) (doc recordDoc, err error) {
	f, err := os.Open(file)
	if err != nil {
		return doc, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, recordLimit+1))
	if err == nil && len(text) > recordLimit {
		err = fmt.Errorf("read %s: larger than %d bytes", file, recordLimit)
	}
	if err != nil {
		return doc, err
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&doc); err != nil {
		return doc, fmt.Errorf("read %s: %w", file, err)
	}
	if doc.Version != recordVersion {
		return doc, fmt.Errorf("read %s: version %d, want %d", file, doc.Version, recordVersion)
	}
	return doc, nil
}

// news is called after each outcome and sample. It writes if the last time is long
// enough ago, and never waits for another that does.
func (r *record) news() {
	r.mu.Lock()
	r.dirty = true
	due := r.file != "" && time.Since(r.saved) >= recordPause
	if due {
		r.saved = time.Now()
	}
	r.mu.Unlock()
	if due && r.writing.TryLock() {
		defer r.writing.Unlock()
		if err := r.save(); err != nil {
			r.log.Debug("upstream times not kept", "err", err)
		}
	}
}

// close writes what is not written yet.
func (r *record) close() error {
	r.writing.Lock()
	defer r.writing.Unlock()
	return r.save()
}

// save replaces the file: the whole of it or nothing. The caller holds
// writing.
func (r *record) save() error {
	r.mu.Lock()
	dirty := r.dirty
	r.dirty = false
	r.mu.Unlock()
	if r.file == "" || !dirty {
		return nil
	}
	text, err := json.Marshal(r.doc())
	if err != nil {
		return fmt.Errorf("write upstream times: %w", err)
	}
	draft, err := os.CreateTemp(filepath.Dir(r.file), "."+filepath.Base(r.file)+"-*") // 0600
	if err != nil {
		return fmt.Errorf("write upstream times: %w", err)
	}
	defer os.Remove(draft.Name()) // fails once it is renamed
	_, err = draft.Write(text)
	if err = errors.Join(err, draft.Close()); err == nil {
		err = os.Rename(draft.Name(), r.file)
	}
	if err != nil {
		return fmt.Errorf("write upstream times: %w", err)
	}
	return nil
}

func (r *record) doc() recordDoc {
	doc := recordDoc{Version: recordVersion, FirstBytes: make(map[string][]sample)}
	for _, h := range r.healths {
		h.mu.Lock()
		if len(h.pace.samples) > 0 {
			doc.FirstBytes[h.name] = append([]sample(nil), h.pace.samples...)
		}
		h.mu.Unlock()
	}
	return doc
}
