package upstream

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/gofrs/flock"
	"github.com/gomirror/gomirror/cache"
	"golang.org/x/mod/module"
)

// lockRetry is how often the lock of a clone is tried while a go command holds it.
const lockRetry = 50 * time.Millisecond

// refForm is what git may be asked for on a user's word: nothing that it would take
// for an option or for one of its own notations.
var refForm = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z._/+-]{0,200}$`)

// Resolve returns the version that a branch, tag or commit stands for now, also for
// the names with a slash that the go command asks no proxy for.
func (d *Direct) Resolve(ctx context.Context, modPath, ref string) (version string, err error) {
	if err := module.CheckPath(modPath); err != nil {
		return "", fmt.Errorf("resolve %s@%s: %w", modPath, ref, err)
	}
	if !refForm.MatchString(ref) || strings.Contains(ref, "..") || strings.Contains(ref, "//") {
		return "", fmt.Errorf("resolve %s@%q: not the name of a branch, a tag or a commit", modPath, ref)
	}
	l, err := d.list(ctx, module.Version{Path: modPath, Version: ref})
	if err != nil {
		return "", err
	}
	if l.Version != module.CanonicalVersion(l.Version) {
		return "", fmt.Errorf("resolve %s@%s: go list says %q, which is no version", modPath, ref, l.Version)
	}
	return l.Version, nil
}

// Forget makes the next request for a version ask the origin: the files are taken
// away, and its tag out of the clone, which go would believe before the origin's.
// Without a version it forgets what ls-remote last said.
func (d *Direct) Forget(ctx context.Context, mod module.Version) error {
	repo, ok := d.madeFrom(mod.Path)
	if fixed, isFixed := fixedRepo(mod.Path); isFixed {
		repo, ok = fixed, true
	}
	if ok {
		d.heads.forget(repo.url)
	}
	if mod.Version == "" {
		return nil
	}
	key, err := cache.NewKey(mod.Path, mod.Version, cache.Info)
	if err != nil || key.Kind() != cache.Info {
		return fmt.Errorf("forget %s: not a version", mod)
	}
	unlock, err := d.locks.lock(ctx, mod.String())
	if err != nil {
		return fmt.Errorf("forget %s: %w", mod, err)
	}
	defer unlock()
	d.drop(key)
	if !ok || module.IsPseudoVersion(mod.Version) {
		return nil
	}
	tag := strings.TrimSuffix(mod.Version, "+incompatible")
	if repo.dir != "" {
		tag = repo.dir + "/" + tag
	}
	return d.dropTag(ctx, mod, repo.url, tag)
}

// dropTag takes a tag out of the clone of a repository, if there is one.
func (d *Direct) dropTag(ctx context.Context, mod module.Version, repoURL, tag string) error {
	// As cmd/go's codehost.WorkDir names it.
	clone := filepath.Join(d.opts.VCSDir, "cache", "vcs", fmt.Sprintf("%x", sha256.Sum256([]byte("git3:"+repoURL))))
	if _, err := os.Stat(clone); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	lock := flock.New(clone + ".lock") // a go command may be at work there
	if _, err := lock.TryLockContext(ctx, lockRetry); err != nil {
		return fmt.Errorf("forget %s: wait for its clone: %w", mod, err)
	}
	defer func() { _ = lock.Unlock() }()
	args := []string{"--git-dir=" + clone, "update-ref", "-d", "refs/tags/" + tag}
	if _, err := d.run(ctx, child{tool: d.opts.Git, args: args}); err != nil {
		return fmt.Errorf("forget %s: take its tag out of the clone: %w", mod, err)
	}
	return nil
}
