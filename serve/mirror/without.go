package mirror

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"

	"github.com/gomirror/gomirror/cache"
	"github.com/gomirror/gomirror/serve/upstream"
)

// NotFoundError says why a key has no answer. It Is fs.ErrNotExist: the go command
// goes on to the next path or the next entry of its GOPROXY.
type NotFoundError struct {
	Key    cache.Key
	Reason string
}

func (e *NotFoundError) Error() string        { return fmt.Sprintf("%s: %s", e.Key, e.Reason) }
func (e *NotFoundError) Is(target error) bool { return target == fs.ErrNotExist }

// OfflineError says that a key is not held and that nobody is asked.
type OfflineError struct {
	Key    cache.Key
	Online string // the command that changes that, "" if it is not known
}

func (m *Mirror) offlineError(key cache.Key) error { return &OfflineError{key, m.opts.Online} }

func (e *OfflineError) Error() string {
	return fmt.Sprintf("%s is not in the cache, and gomirror runs with --offline", e.Key)
}

// Hint tells the one thing to do.
func (e *OfflineError) Hint() string {
	if e.Online == "" {
		return ""
	}
	return "with a network: " + e.Online
}

// impossible refuses what can't be a module, which the go command asks for all the
// same when it looks for the module of a package: the host alone, or the owner.
func impossible(key cache.Key) error {
	host, rest, _ := strings.Cut(key.Module().Path, "/")
	if host != "github.com" && host != "bitbucket.org" {
		return nil // elsewhere any path may be one: gotest.tools is
	}
	if strings.Contains(rest, "/") {
		return nil
	}
	return &NotFoundError{key, "a module on " + host + " is named " + host + "/OWNER/NAME"}
}

// offline answers without asking anybody: with what is held however old it is, and
// lists only what can be had whole, so that "go get m@latest" picks no version
// that it then can't get.
func (m *Mirror) offline(ctx context.Context, tree cache.Tree, key cache.Key, held *cache.Entry) (*Answer, error) {
	if answer, err := m.offer(ctx, tree, key); answer != nil || err != nil {
		closeEntry(held)
		return answer, err
	}
	if held != nil && held.Meta.Found() {
		return m.stale(ctx, key, held, m.offlineError(key))
	}
	closeEntry(held)
	return m.without(ctx, tree, key, m.offlineError(key))
}

// without answers when neither an upstream nor an earlier answer does. err says why.
func (m *Mirror) without(ctx context.Context, tree cache.Tree, key cache.Key, err error) (*Answer, error) {
	offline := (*OfflineError)(nil)
	if !upstream.Unreachable(err) && !errors.As(err, &offline) {
		return nil, err
	}
	if answer, offerErr := m.offer(ctx, tree, key); answer != nil || offerErr != nil {
		return answer, offerErr
	}
	// A package inside a known module is asked for as a module too. Anything but
	// "not found" would fail a go get that the cache can satisfy.
	if parent := m.knownParent(tree, key.Module().Path); parent != "" && !m.opts.Store.Known(tree, key.Module().Path) {
		return nil, &NotFoundError{key, "not in the cache, but " + parent + " is, and no upstream can be asked"}
	}
	return nil, err
}

// offer makes up a list or a @latest of the versions that are held whole. It
// returns nil, nil if there are none or key asks for something else.
func (m *Mirror) offer(ctx context.Context, tree cache.Tree, key cache.Key) (*Answer, error) {
	if key.Kind() != cache.List && key.Kind() != cache.Latest {
		return nil, nil
	}
	modPath := key.Module().Path
	versions, err := m.opts.Store.Held(tree, modPath)
	if err != nil || len(versions) == 0 {
		return nil, err
	}
	if key.Kind() == cache.Latest {
		info, err := cache.NewKey(modPath, latest(versions), cache.Info)
		if err != nil {
			return nil, err
		}
		entry, err := m.opts.Store.Get(tree, info)
		if err != nil {
			return nil, err
		}
		return m.stale(ctx, key, entry, errOffer)
	}
	draft, err := m.opts.Store.Draft(tree, key)
	if err != nil {
		return nil, err
	}
	defer draft.Discard()
	draft.Replace([]byte(strings.Join(versions, "\n") + "\n"))
	entry, err := draft.Entry()
	if err != nil {
		return nil, err
	}
	return m.stale(ctx, key, entry, errOffer)
}

var errOffer = errors.New("no upstream can be asked: these are the versions in the cache")

// latest chooses as the go command does: the highest release, else the highest
// pre-release, else the newest pseudo-version. versions is in semver order and not
// empty.
func latest(versions []string) string {
	rank := func(v string) int {
		switch {
		case module.IsPseudoVersion(v):
			return 0
		case semver.Prerelease(v) != "":
			return 1
		}
		return 2
	}
	best := versions[0]
	for _, v := range versions {
		if rank(v) >= rank(best) {
			best = v
		}
	}
	return best
}

// knownParent returns the nearest proper prefix of modPath that is known to be a
// module, or "".
func (m *Mirror) knownParent(tree cache.Tree, modPath string) string {
	for {
		slash := strings.LastIndexByte(modPath, '/')
		if slash < 0 {
			return ""
		}
		modPath = modPath[:slash]
		if m.opts.Store.Known(tree, modPath) {
			return modPath
		}
	}
}

// mergedLimit is the limit of a list that comes in, 4 MiB.
const mergedLimit = 4 << 20

// merge adds to a drafted list what earlier answers had. Instances of one mirror
// disagree for minutes (golang/go#42449): versions must not vanish meanwhile.
func (m *Mirror) merge(tree cache.Tree, key cache.Key, draft *cache.Draft) error {
	held := m.held(tree, key)
	if held == nil {
		return nil
	}
	defer held.Close()
	if !held.Meta.Found() {
		return nil
	}
	fresh, err := draft.Entry()
	if err != nil {
		return err
	}
	defer fresh.Close()
	merged, err := mergeLists(held, fresh)
	if err != nil {
		return fmt.Errorf("merge %s: %w", key, err)
	}
	// An upstream that names new versions without end must not make the list grow
	// without end: then its own counts.
	if len(merged) <= mergedLimit {
		draft.Replace(merged)
	}
	return nil
}
