package doctor

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/mod/module"

	"github.com/gomirror/gomirror/cache"
)

// The trees are read as files: a cache.Store would make folders.

// goTree is where the go command keeps what it has pulled.
func (x *explainer) goTree() string {
	if dir := x.o.Go().Now.GOMODCACHE; dir != "" {
		return filepath.Join(dir, "cache", "download")
	}
	return ""
}

// ownTree is that of gomirror for this module.
func (x *explainer) ownTree() string {
	tree := cache.Public
	if x.pattern != "" {
		tree = cache.Private
	}
	return filepath.Join(x.o.cacheDir(), string(tree))
}

// local tells what this machine has of the version.
func (x *explainer) local() {
	if known := x.knownLocally(); known != "" {
		x.mod = known
	}
	if x.setAside() {
		return
	}
	inGo, inOwn := x.heldIn(x.goTree()), x.heldIn(x.ownTree())
	where := map[bool]string{true: "in %s", false: "not in %s"}
	text := fmt.Sprintf(where[inGo], "go's module cache") + ", " + fmt.Sprintf(where[inOwn], "gomirror's")
	switch {
	case !isVersion(x.version):
		x.step("local", OK, nil, "no exact version is named, so what is held does not decide")
		return
	case !inGo && !inOwn && x.someIn(x.ownTree()):
		text = "not in go's module cache, in part in gomirror's"
	}
	x.held = inGo || inOwn
	x.step("local", OK, nil, "%s", text)
}

// knownLocally returns the longest prefix of the path that is known to be a module.
func (x *explainer) knownLocally() string {
	for _, path := range prefixes(x.mod) {
		escaped, err := module.EscapePath(path)
		if err != nil {
			continue
		}
		for _, tree := range []string{x.ownTree(), x.goTree()} {
			files, _ := filepath.Glob(filepath.Join(tree, filepath.FromSlash(escaped), "@v", "*.mod"))
			if tree != "" && len(files) > 0 {
				return path
			}
		}
	}
	return ""
}

func (x *explainer) heldIn(tree string) bool {
	return tree != "" && isVersion(x.version) && !slices.ContainsFunc([]cache.Kind{cache.Info, cache.Mod, cache.Zip}, func(kind cache.Kind) bool {
		return !x.fileIn(tree, kind)
	})
}

func (x *explainer) someIn(tree string) bool {
	return x.fileIn(tree, cache.Info) || x.fileIn(tree, cache.Mod) || x.fileIn(tree, cache.Zip)
}

func (x *explainer) fileIn(tree string, kind cache.Kind) bool {
	k := x.key(kind)
	if k.Kind() != kind {
		return false
	}
	info, err := os.Stat(filepath.Join(tree, filepath.FromSlash(k.String())))
	return err == nil && info.Mode().IsRegular()
}

// meta is what gomirror's ledger has about the version.
func (x *explainer) meta() (m cache.Meta, ok bool) {
	k := x.key(cache.Info)
	if k.Kind() != cache.Info {
		return m, false
	}
	name := strings.TrimSuffix(k.String(), ".info") + ".json"
	content, err := os.ReadFile(filepath.Join(x.o.cacheDir(), "meta", "versions", filepath.FromSlash(name)))
	return m, err == nil && json.Unmarshal(content, &m) == nil
}

// setAside tells of a version that gomirror refuses, or that has moved.
func (x *explainer) setAside() bool {
	if m, ok := x.meta(); ok && m.Moved != "" && x.pattern != "" {
		now := "names commit " + m.Moved
		if m.Moved == cache.Deleted {
			now = "is gone"
		}
		text := fmt.Sprintf("%s was first pulled as commit %s, and its tag %s by now", x.name(), m.OriginHash, now)
		if x.held = x.heldIn(x.ownTree()); x.held {
			x.step("local", Warn, nil, "%s; the first one is served", text)
		} else {
			x.step("local", Fail, nil, "%s", text)
			x.blame(Moved, "gomirror refresh "+x.name()+" --accept-moved", "%s", text)
		}
		return true
	}
	note, ok := x.quarantined()
	if !ok || x.heldIn(x.ownTree()) {
		return false
	}
	from := note.Upstream
	if from == "" {
		from = "an upstream"
	}
	text := fmt.Sprintf("what %s gave for %s was set aside: %s", from, x.name(), note.Reason)
	x.step("local", Fail, nil, "%s", text)
	x.blame(ChecksumMismatch, "gomirror refresh "+x.name(), "%s", text)
	return true
}

// quarantined returns the last note about the version.
func (x *explainer) quarantined() (last cache.Quarantine, ok bool) {
	names, _ := filepath.Glob(filepath.Join(x.o.cacheDir(), "quarantine", "*.json"))
	for _, name := range names {
		var q cache.Quarantine
		content, err := os.ReadFile(name)
		if err != nil || json.Unmarshal(content, &q) != nil || q.Module != x.mod || q.Version != x.version {
			continue
		}
		if !ok || q.At.After(last.At) {
			last, ok = q, true
		}
	}
	return last, ok
}
