package mirror

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"golang.org/x/mod/module"

	"github.com/gomirror/gomirror/cache"
	"github.com/gomirror/gomirror/serve/upstream"
)

// Version is what [Mirror.RefreshVersion] found out about one version or branch.
type Version struct {
	Module   string `json:"module"`
	Version  string `json:"version"`          // of a branch, what it names
	Ref      string `json:"ref,omitempty"`    // the branch
	Private  bool   `json:"private"`          // else it does not move: the checksum database vouches for it
	Commit   string `json:"commit,omitempty"` // that it was first pulled as
	Moved    string `json:"moved,omitempty"`  // the commit that its tag names now, or "deleted"
	H1       string `json:"h1,omitempty"`     // of its zip, if that was pulled
	Accepted bool   `json:"accepted"`         // Moved stands in for Commit now
	NewH1    string `json:"new_h1,omitempty"`
}

// Listed is told which commits the tags of a private module name at its origin now.
func (m *Mirror) Listed(modPath string, commits map[string]string) {
	if !m.opts.Private(modPath) {
		return
	}
	moves, err := m.opts.Store.Tagged(modPath, commits)
	if err != nil {
		m.opts.Log.Warn("tags not compared", "key", "private")
		m.opts.Log.Debug("tags not compared", "module", modPath, "err", err)
	}
	for _, move := range moves {
		// As in warn: gomirror status has the names.
		m.opts.Log.Warn("a tag has moved: the first commit is served", "key", "private")
		m.opts.Log.Debug("a tag has moved", "module", move.Path, "version", move.Version.Version, "was", move.Was, "now", move.Now)
	}
}

// RefreshVersion looks where the tag of a version is now. If it has moved, the first
// commit stays unless accept. What a branch names is asked for anew, and so is a version
// that is not held.
func (m *Mirror) RefreshVersion(ctx context.Context, mod module.Version, accept bool) (*Version, error) {
	key, err := cache.NewKey(mod.Path, mod.Version, cache.Info)
	if err != nil {
		return nil, err
	}
	if m.opts.Offline {
		return nil, m.offlineError(key)
	}
	tree := m.tree(key)
	doc := &Version{Module: mod.Path, Version: mod.Version, Private: tree == cache.Private}
	if key.Kind() == cache.Query {
		doc.Ref = mod.Version
		err := m.ask(ctx, tree, key)
		doc.Version, doc.Commit, _ = m.named(tree, key)
		return doc, err
	}
	known, err := m.opts.Store.VersionMeta(mod)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if doc.Private && known.OriginHash != "" && !module.IsPseudoVersion(mod.Version) {
		if known, err = m.whereNow(ctx, mod); err != nil {
			return nil, fmt.Errorf("ask where the tag of %s is: %w", mod, err)
		}
	}
	doc.Commit, doc.Moved, doc.H1 = known.OriginHash, known.Moved, known.H1
	if doc.Moved == "" && doc.H1 != "" && known.Verdict != cache.Verified && !m.holds(tree, mod) {
		if err := m.compare(ctx, tree, mod, doc); err != nil {
			return nil, err
		}
	}
	switch _, _, held := m.named(tree, key); {
	case doc.Moved != "" && accept:
		return doc, m.accept(ctx, tree, mod, known, doc)
	case doc.Moved != "", held:
		return doc, nil
	}
	err = m.ask(ctx, tree, key)
	_, doc.Commit, _ = m.named(tree, key)
	return doc, err
}

// holds reports whether the zip of a version is there for who asks now. One that came
// when the patterns were others may not be.
func (m *Mirror) holds(tree cache.Tree, mod module.Version) bool {
	key, err := cache.NewKey(mod.Path, mod.Version, cache.Zip)
	if err != nil {
		return false
	}
	entry := m.held(tree, key)
	closeEntry(entry)
	return entry != nil
}

// compare looks at a version that was public when it was pulled and is private now, or
// the other way round, or is gone from the disk: there may be other files by its name
// now, which the ledger keeps out.
func (m *Mirror) compare(ctx context.Context, tree cache.Tree, mod module.Version, doc *Version) error {
	commit, h1, err := m.preview(ctx, tree, mod)
	if err != nil {
		return fmt.Errorf("compare %s with what there is now: %w", mod, err)
	}
	if h1 != doc.H1 {
		doc.Commit = "" // what is known of it may have come with the origin's .info
		doc.Moved, doc.NewH1 = cmp.Or(commit, "unknown"), h1
	}
	return nil
}

// whereNow has the origin list its tags, which tells Listed.
func (m *Mirror) whereNow(ctx context.Context, mod module.Version) (cache.Meta, error) {
	list, err := cache.NewKey(mod.Path, "", cache.List)
	if err == nil {
		err = m.ask(ctx, cache.Private, list)
	}
	if err != nil {
		return cache.Meta{}, err
	}
	return m.opts.Store.VersionMeta(mod)
}

// accept takes what the tag of a moved version names now. All of it is there and found
// good before the first bytes go.
func (m *Mirror) accept(ctx context.Context, tree cache.Tree, mod module.Version, known cache.Meta, doc *Version) error {
	if known.Verdict == cache.Verified {
		return fmt.Errorf("accept that %s has moved: the checksum database vouches for the first commit, from when it was public", mod)
	}
	// A source that keeps what it has made would make the same of the old commit.
	if tree == cache.Private {
		if err := m.forgetOrigin(ctx, mod); err != nil {
			return err
		}
	}
	if known.Moved != cache.Deleted {
		commit, h1, err := m.preview(ctx, tree, mod)
		if err == nil && known.Moved != "" && commit == known.OriginHash {
			err = errors.New("its origin still gives the first commit")
		}
		if err != nil {
			return fmt.Errorf("accept that %s has moved: %w", mod, err)
		}
		doc.Moved, doc.NewH1 = cmp.Or(commit, doc.Moved), h1
	}
	if err := m.opts.Store.Unfreeze(mod); err != nil {
		return err
	}
	doc.Accepted = true
	if known.Moved == cache.Deleted {
		return nil
	}
	for _, kind := range []cache.Kind{cache.Info, cache.Mod, cache.Zip} {
		key, err := cache.NewKey(mod.Path, mod.Version, kind)
		if err == nil {
			err = m.ask(ctx, tree, key)
		}
		if err != nil {
			return fmt.Errorf("pull what the tag of %s names now: %w", mod, err)
		}
	}
	return nil
}

// preview pulls the files that there are of a version now and keeps none.
func (m *Mirror) preview(ctx context.Context, tree cache.Tree, mod module.Version) (commit, h1 string, err error) {
	key, err := cache.NewKey(mod.Path, mod.Version, cache.Zip)
	if err != nil {
		return "", "", err
	}
	err = m.source(tree).Fetch(ctx, upstream.Request{Key: key}, func(k cache.Key, meta cache.Meta, body io.Reader) error {
		draft, err := m.opts.Store.Draft(tree, k)
		if err != nil {
			return err
		}
		defer draft.Discard()
		if _, err := draft.ReadFrom(body); err != nil {
			return err
		}
		if err := draft.CheckContext(ctx); err != nil {
			return err
		}
		if m.opts.Verify != nil {
			if err := m.opts.Verify(ctx, k, draft); err != nil {
				return err
			}
		}
		if k == key {
			commit, h1 = meta.OriginHash, draft.H1()
		}
		return nil
	})
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", "", fmt.Errorf("its tag is gone by now: %w", err)
	case err != nil:
		return "", "", err
	}
	return commit, h1, nil
}
