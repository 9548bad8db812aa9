package upstream

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/gomirror/gomirror/cache"
	"golang.org/x/mod/module"
)

// headsFor lets the modules of one repository share what an ls-remote has said, as
// long as a private list stands unasked.
const headsFor = 5 * time.Second

// fetchList lists a module's versions. Where the module's path names its repository,
// one ls-remote is all that is asked, and no go command: the rules that make a list of
// tags are few, as long as no go.mod decides. Where one does, the go command is asked
// whenever the tags have changed.
func (d *Direct) fetchList(ctx context.Context, key cache.Key, sink Sink) error {
	mod := key.Module()
	repo, fixed := fixedRepo(mod.Path)
	if !fixed {
		versions, err := d.listByGo(ctx, mod)
		if err != nil {
			return err
		}
		if repo, ok := d.madeFrom(mod.Path); ok && d.opts.Listed != nil {
			// Whoever has the tags of last time does not hear of these.
			if refs, err := d.lsRemote(ctx, mod, repo.url); err == nil {
				d.opts.Listed(mod.Path, repo.commits(repo.tags(refs.tags), mod.Path))
			}
		}
		return d.sinkList(key, versions, d.opts.Now(), sink)
	}
	refs, err := d.lsRemote(ctx, mod, repo.url)
	if err != nil {
		return err
	}
	tags := repo.tags(refs.tags)
	versions, sure := repo.versions(tags, mod.Path)
	if !sure {
		var ok bool
		if versions, ok = d.heads.listed(mod.Path, tags); !ok {
			if versions, err = d.listByGo(ctx, mod); err != nil {
				return err
			}
			d.heads.keep(mod.Path, tags, versions)
		}
	}
	if d.opts.Listed != nil {
		d.opts.Listed(mod.Path, repo.commits(tags, mod.Path))
	}
	return d.sinkList(key, versions, refs.at, sink)
}

func (d *Direct) sinkList(key cache.Key, versions []string, at time.Time, sink Sink) error {
	var body strings.Builder
	for _, version := range versions {
		fmt.Fprintln(&body, version)
	}
	meta := d.meta(nil)
	meta.Fetched = at
	return sink(key, meta, strings.NewReader(body.String()))
}

func (d *Direct) listByGo(ctx context.Context, mod module.Version) ([]string, error) {
	// Retracted versions belong into a list: who asks for it decides about them.
	l, err := d.list(ctx, mod, "-versions", "-retracted")
	if err != nil {
		return nil, err
	}
	return l.Versions, nil
}

// remoteRefs is what an ls-remote has said.
type remoteRefs struct {
	tags map[string]string // tag to commit
	at   time.Time
}

// lsRemote asks a repository for its tags, once for all who ask within headsFor.
func (d *Direct) lsRemote(ctx context.Context, mod module.Version, repoURL string) (remoteRefs, error) {
	unlock, err := d.locks.lock(ctx, "refs "+repoURL)
	if err != nil {
		return remoteRefs{}, fmt.Errorf("wait for the tags of %s: %w", mod.Path, err)
	}
	defer unlock()
	now := d.opts.Now()
	if refs, ok := d.heads.refs(repoURL, now); ok {
		return refs, nil
	}
	out, err := d.run(ctx, child{tool: d.opts.Git, args: []string{"ls-remote", "--tags", "-q", "--end-of-options", repoURL}, origin: true, modPath: mod.Path, repo: repoURL})
	if err != nil {
		return remoteRefs{}, d.explain(ctx, mod, err, "")
	}
	refs := remoteRefs{readTags(string(out)), now}
	d.heads.remember(repoURL, refs)
	return refs, nil
}

// readTags reads what ls-remote prints. An annotated tag has a line for itself and one,
// with ^{}, for its commit.
func readTags(out string) map[string]string {
	tags, peeled := make(map[string]string), make(map[string]string)
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		if len(f) != 2 {
			continue
		}
		if tag, ok := strings.CutPrefix(f[1], "refs/tags/"); ok {
			if bare, ok := strings.CutSuffix(tag, "^{}"); ok {
				peeled[bare] = f[0]
			} else {
				tags[tag] = f[0]
			}
		}
	}
	maps.Copy(tags, peeled)
	return tags
}

// heads keeps what ls-remote and go list have said. The zero value is ready.
type heads struct {
	mu     sync.Mutex
	remote map[string]remoteRefs // by URL
	lists  map[string]tagList    // by module path
}

// tagList is what the go command made of tags.
type tagList struct {
	tags     map[string]string
	versions []string
}

func (h *heads) refs(repoURL string, now time.Time) (remoteRefs, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for u, refs := range h.remote {
		if age := now.Sub(refs.at); age < 0 || age >= headsFor {
			delete(h.remote, u)
		}
	}
	refs, ok := h.remote[repoURL]
	return refs, ok
}

func (h *heads) remember(repoURL string, refs remoteRefs) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.remote == nil {
		h.remote = make(map[string]remoteRefs)
	}
	h.remote[repoURL] = refs
}

func (h *heads) forget(repoURL string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.remote, repoURL)
}

func (h *heads) listed(modPath string, tags map[string]string) ([]string, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	l, ok := h.lists[modPath]
	return l.versions, ok && maps.Equal(l.tags, tags)
}

func (h *heads) keep(modPath string, tags map[string]string, versions []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.lists == nil {
		h.lists = make(map[string]tagList)
	}
	h.lists[modPath] = tagList{tags, versions}
}
