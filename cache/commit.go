package cache

import (
	"errors"
	"fmt"
	"io/fs"
)

// Commit keeps a checked draft. It is whole in the cache afterwards, or not in it
// at all: a *ContradictionError if the version is known with other bytes (see
// [Draft.Quarantine]), a *MovedError if its tag has another commit by now, a
// *FullError if the disk can't take it (the draft can still be served, see
// [Draft.Entry]). An immutable answer that is already held with the same bytes is
// left alone.
func (d *Draft) Commit(m Meta) error {
	if !d.checked {
		return fmt.Errorf("commit %s: the draft was not checked", d.key)
	}
	if m.OriginHash == "" {
		m.OriginHash = d.meta.OriginHash
	}
	if m.Fetched.IsZero() {
		m.Fetched = d.store.now()
	}
	d.meta = m
	unlock, err := d.store.lock(d.key.modPath)
	if err != nil {
		return err
	}
	defer unlock()
	if d.key.Immutable() {
		err = d.commitFile()
	} else if err = d.names(); err == nil {
		d.meta.Status = 200
		err = d.store.writeRecord(d.tree, d.key, record{d.meta, string(d.body)})
	}
	switch {
	case errors.As(err, new(*ContradictionError)), errors.As(err, new(*MovedError)):
		return err
	case err != nil:
		return fmt.Errorf("commit %s: %w", d.key, d.store.disk.full(err))
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.committed = true
	return nil
}

// commitFile puts a .info, .mod or .zip in its tree: the ledger, the file, the list.
func (d *Draft) commitFile() error {
	s := d.store
	known, err := s.lockedLedger(d.key)
	fresh := errors.Is(err, fs.ErrNotExist)
	if err != nil && !fresh {
		return err
	}
	if done, err := d.frozen(&known); done || err != nil {
		return err
	}
	if err := d.compare(known); err != nil {
		return err
	}
	if entry := d.enter(known, fresh); fresh || entry != known {
		if err := s.writeLedger(d.key, entry); err != nil {
			return err
		}
	}
	name := fileName(d.tree, d.key)
	if d.key.kind == Zip {
		s.disk.remove(partialName(d.tree, d.key)) // needed no more
	}
	if s.disk.exists(name) {
		return nil
	}
	if d.key.kind == Zip {
		if err = d.placeZip(name); err == nil {
			d.tellSound()
		}
	} else {
		d.tellSound()
		err = d.placeBody(name)
	}
	if err != nil {
		return err
	}
	s.disk.remove(recordName(d.tree, d.key)) // it was not found before
	for _, kind := range []Kind{Info, Mod, Zip} {
		if kind != d.key.kind && !s.disk.exists(fileName(d.tree, d.key.Sibling(kind))) {
			return nil
		}
	}
	if err := s.writeList(d.tree, d.key.modPath, ""); err != nil {
		// The file is held and right. The next version's commit writes the list.
		s.log.Warn("version list not written", "err", cause(err))
	}
	return nil
}

// compare refuses bytes other than those that came first.
func (d *Draft) compare(known Meta) error {
	want := known.hash(d.key.kind)
	if want == "" || want == d.h1 {
		return nil
	}
	return &ContradictionError{Key: d.key, Got: d.h1, Want: want, Authority: "first download from " + known.Upstream, First: true}
}

// hash returns what a file of the version must hash to, "" if nothing is known.
func (m Meta) hash(kind Kind) string {
	switch kind {
	case Zip:
		return m.H1
	case Mod:
		return m.GoModH1
	}
	return ""
}

// enter adds what the draft tells to the ledger's entry of its version. What came
// first stays.
func (d *Draft) enter(known Meta, fresh bool) Meta {
	m := known
	if fresh {
		m = d.meta
		m.Status = 0
	}
	if m.OriginHash == "" {
		m.OriginHash = d.meta.OriginHash
	}
	switch d.key.kind {
	case Zip:
		m.H1 = d.h1
	case Mod:
		m.GoModH1 = d.h1
	}
	m.Verdict = known.Verdict.and(d.verdict)
	return m
}

// and is the verdict on a version whose files were judged apart: the weakest word
// counts, "" is none.
func (v Verdict) and(other Verdict) Verdict {
	for _, weakest := range []Verdict{Unverified, Exempt, Verified} {
		if v == weakest || other == weakest {
			return weakest
		}
	}
	return ""
}

// placeZip moves the draft file into the tree. Its hash goes first, as the go
// command does it: a hash without a zip is nothing, a zip without a hash is work.
func (d *Draft) placeZip(name string) error {
	disk := d.store.disk
	if err := disk.put(name+"hash", []byte(d.h1)); err != nil {
		return err
	}
	if err := d.synced(); err != nil {
		return disk.full(err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := disk.stamp(d.name, d.meta.Fetched); err != nil {
		return err
	}
	if keptFolders == 0 { // Windows does not move open files
		d.zip.Close() // synced, so that there is nothing left to report
		d.sealed = true
	}
	if err := disk.place(d.name, name); err != nil {
		return err
	}
	d.name, d.committed = "", true
	return nil
}

func (d *Draft) tellSound() {
	if d.sound != nil {
		d.sound()
	}
}

// placeBody writes a .info or .mod into the tree. The sync is what a reader of the tree
// without gomirror relies on: nothing else tells a file that lost its bytes with the
// power from a whole one.
func (d *Draft) placeBody(name string) error {
	disk := d.store.disk
	draft, err := disk.draft(d.body, d.meta.Fetched, true)
	if err != nil {
		return err
	}
	if err := disk.place(draft, name); err != nil {
		disk.remove(draft)
		return err
	}
	return nil
}
