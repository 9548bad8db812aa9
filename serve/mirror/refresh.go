package mirror

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"golang.org/x/mod/module"

	"github.com/gomirror/gomirror/cache"
	"github.com/gomirror/gomirror/serve/upstream"
)

// Refreshed is what [Mirror.Refresh] found out about a module.
type Refreshed struct {
	Module   string   `json:"module"`
	Private  bool     `json:"private"`
	Versions int      `json:"versions"`         // in its list
	New      []string `json:"new,omitempty"`    // versions that were not listed before
	Gone     []string `json:"gone,omitempty"`   // versions that no longer are
	Latest   string   `json:"latest,omitempty"` // if it was asked for before
	Branches []Branch `json:"branches,omitempty"`
}

// Branch is a branch, a commit or "latest" with the version that it names.
type Branch struct {
	Ref string `json:"ref"`
	Was string `json:"was"`
	Now string `json:"now,omitempty"` // "" if it is gone
}

// anewKey marks the context of a fill that must not rely on what is held.
type anewKey struct{}

func anew(ctx context.Context) bool { return ctx.Value(anewKey{}) != nil }

// Refresh asks anew for all that may change of a module: its list, @latest and the
// branches that were asked for. What was "not found" is forgotten. What can't be asked
// for now stays as it was, and the error says so.
func (m *Mirror) Refresh(ctx context.Context, modPath string) (*Refreshed, error) {
	list, err := cache.NewKey(modPath, "", cache.List)
	if err != nil {
		return nil, err
	}
	if m.opts.Offline {
		return nil, m.offlineError(list)
	}
	tree := m.tree(list)
	before := m.listed(tree, list)
	if err := m.ask(ctx, tree, list); err != nil {
		return nil, err
	}
	after := m.listed(tree, list)
	doc := &Refreshed{Module: modPath, Private: tree == cache.Private, Versions: len(after), New: minus(after, before), Gone: minus(before, after)}
	keys, err := m.opts.Store.Answers(tree, modPath)
	if err != nil {
		return nil, err
	}
	for _, key := range keys {
		if key != list {
			err = errors.Join(err, m.refreshAnswer(ctx, tree, key, doc))
		}
	}
	if err != nil {
		return nil, fmt.Errorf("the list of %s is fresh, but not all branches are: %w", modPath, err)
	}
	return doc, nil
}

// refreshAnswer asks anew for one @latest or branch, and drops what is none any more.
func (m *Mirror) refreshAnswer(ctx context.Context, tree cache.Tree, key cache.Key, doc *Refreshed) error {
	was, _, found := m.named(tree, key)
	if !found {
		return m.opts.Store.Forget(tree, key)
	}
	err := m.ask(ctx, tree, key)
	if errors.Is(err, fs.ErrNotExist) {
		err = m.opts.Store.Forget(tree, key)
	}
	if err != nil {
		return err
	}
	now, _, _ := m.named(tree, key)
	if key.Kind() == cache.Latest {
		doc.Latest = now
	} else {
		doc.Branches = append(doc.Branches, Branch{key.Module().Version, was, now})
	}
	return nil
}

// ask fills key without a look at what is held. It joins no fill that began earlier.
func (m *Mirror) ask(ctx context.Context, tree cache.Tree, key cache.Key) error {
	if tree == cache.Private {
		if err := m.forgetOrigin(ctx, module.Version{Path: key.Module().Path}); err != nil {
			return err
		}
	}
	id := flightKey{tree, key}
	m.flights.forget(func(other flightKey) bool { return other == id })
	entry, _, err := m.flights.do(context.WithValue(ctx, anewKey{}, true), id, onceKept(m.fill(m.source(tree))))
	closeEntry(entry)
	return err
}

// forgetOrigin has the origin forget what it has made of a version, or last said about
// a module. A source without a memory need not.
func (m *Mirror) forgetOrigin(ctx context.Context, mod module.Version) error {
	origin, ok := m.opts.Origin.(interface {
		Forget(context.Context, module.Version) error
	})
	if !ok {
		return nil
	}
	return origin.Forget(ctx, mod)
}

// Take keeps what a source of the user's choice has for key, so that the go command,
// which would be told "not found" by others, finds it here.
func (m *Mirror) Take(ctx context.Context, key cache.Key, source upstream.Source) error {
	entry, _, err := m.flights.do(ctx, flightKey{m.tree(key), key}, onceKept(m.fill(source)))
	closeEntry(entry)
	return err
}

// Relogin has who asks from now on join no fill of a private module that began before:
// its answer, "not found" perhaps, was that of another token.
func (m *Mirror) Relogin() {
	m.flights.forget(func(id flightKey) bool { return id.tree == cache.Private })
}

// listed returns the versions of a held list.
func (m *Mirror) listed(tree cache.Tree, list cache.Key) []string {
	body := m.body(tree, list)
	var versions []string
	for line := range strings.Lines(string(body)) {
		if f := strings.Fields(line); len(f) > 0 {
			versions = append(versions, f[0])
		}
	}
	return versions
}

// named returns the version and the commit of a held .info, @latest or query.
func (m *Mirror) named(tree cache.Tree, key cache.Key) (version, commit string, found bool) {
	var info struct {
		Version string
		Origin  struct{ Hash string }
	}
	found = json.Unmarshal(m.body(tree, key), &info) == nil
	return info.Version, info.Origin.Hash, found
}

// body reads a held answer, nil if there is none.
func (m *Mirror) body(tree cache.Tree, key cache.Key) []byte {
	entry := m.held(tree, key)
	if entry == nil {
		return nil
	}
	defer entry.Close()
	body, err := io.ReadAll(entry)
	if err != nil {
		m.warn("cache not readable", key, err)
	}
	return body
}

// minus returns what is in a and not in b.
func minus(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(v string) bool { return slices.Contains(b, v) })
}
