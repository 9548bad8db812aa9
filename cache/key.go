// Package cache stores Go module proxy responses on local disk.
//
// A [Key] is the escaped request path of the module proxy protocol, such as
// "github.com/!burnt!sushi/toml/@v/v1.5.0.zip". The same string names the file on
// disk, the request sent upstream, and the entry in logs.
// Protocol: https://go.dev/ref/mod#goproxy-protocol.
//
// A [Store] keeps immutable answers in the go command's own cache/download layout,
// so that GOPROXY=file://… reads the tree with gomirror gone, and everything that
// may change (lists, @latest, branch queries, "not found") outside of it. Bytes
// enter through a [Draft], which is checked, verified and committed whole or not
// at all. The package knows no HTTP.
package cache

import (
	"fmt"
	"io/fs"
	"regexp"
	"strings"

	"golang.org/x/mod/module"
)

// Kind says what a key asks for.
type Kind uint8

// The kinds of answer in the module proxy protocol.
const (
	List   Kind = iota + 1 // @v/list: the known versions
	Latest                 // @latest: the version to use when the list is empty
	Query                  // @v/REF.info of a branch, a commit or a short version
	Info                   // @v/VERSION.info of a canonical version
	Mod                    // @v/VERSION.mod
	Zip                    // @v/VERSION.zip
)

// Key names one answer of the module proxy protocol. It is comparable; the zero
// Key names nothing.
type Key struct {
	modPath string // unescaped
	version string // unescaped version or query; "" for List and Latest
	kind    Kind
}

// queryRef is what gomirror accepts as a branch or commit name. It is narrower than
// git's rule: a ref that starts with "-" is an option to git, and one with a slash
// is refused by the go command itself.
var queryRef = regexp.MustCompile(`^[0-9A-Za-z][\w.+-]{0,200}$`)

// ParseKey parses an escaped proxy path without its leading slash. It is the only
// parser of request paths. Every error Is fs.ErrNotExist, for the go command must
// read a path that can't be a module as "no such module".
func ParseKey(name string) (Key, error) {
	escPath, rest, ok := strings.Cut(name, "/@")
	if !ok {
		return Key{}, keyError(name, "want MODULE/@latest or MODULE/@v/FILE")
	}
	modPath, err := module.UnescapePath(escPath)
	if err != nil {
		return Key{}, keyError(name, err.Error())
	}
	switch rest {
	case "latest":
		return NewKey(modPath, "", Latest)
	case "v/list":
		return NewKey(modPath, "", List)
	}
	file, ok := strings.CutPrefix(rest, "v/")
	dot := strings.LastIndexByte(file, '.')
	if !ok || dot < 0 {
		return Key{}, keyError(name, "want list, VERSION.info, VERSION.mod or VERSION.zip")
	}
	version, err := module.UnescapeVersion(file[:dot])
	if err != nil {
		return Key{}, keyError(name, err.Error())
	}
	switch file[dot:] {
	case ".info":
		return NewKey(modPath, version, Info)
	case ".mod":
		return NewKey(modPath, version, Mod)
	case ".zip":
		return NewKey(modPath, version, Zip)
	}
	return Key{}, keyError(name, "want list, VERSION.info, VERSION.mod or VERSION.zip")
}

// NewKey makes the key of an unescaped module path and version. List and Latest
// ignore version. An Info of what is not a canonical version of modPath becomes a
// Query; a Mod or Zip of one is an error that Is fs.ErrNotExist.
func NewKey(modPath, version string, kind Kind) (Key, error) {
	name := modPath + "@" + version
	escPath, err := module.EscapePath(modPath)
	if err != nil {
		return Key{}, keyError(name, err.Error())
	}
	escVersion := ""
	if kind != List && kind != Latest {
		// It also refuses what Windows can't name, such as a branch "con".
		if escVersion, err = module.EscapeVersion(version); err != nil {
			return Key{}, keyError(name, err.Error())
		}
	}
	if tooLong(escPath + "/" + escVersion) {
		return Key{}, keyError(name, "too long to be a file name")
	}
	switch kind {
	case List, Latest:
		return Key{modPath: modPath, kind: kind}, nil
	case Info, Query:
		// v1.2, v2.0.0 of a path without /v2, a branch: the answer may name
		// another version and may change.
		if canonical(modPath, version) {
			return Key{modPath, version, Info}, nil
		}
		if !queryRef.MatchString(version) {
			return Key{}, keyError(name, "not a version and not a plain branch or commit name")
		}
		return Key{modPath, version, Query}, nil
	case Mod, Zip:
		if !canonical(modPath, version) {
			return Key{}, keyError(name, "not a canonical version of this module path")
		}
		return Key{modPath, version, kind}, nil
	}
	return Key{}, keyError(name, "unknown kind")
}

// Bounds of file names: of one element, with room for the longest suffix in the
// cache, and of the whole.
const (
	maxElementBytes = 255 - len(".info.json")
	maxPathBytes    = 1024
)

func tooLong(name string) bool {
	for elem := range strings.SplitSeq(name, "/") {
		if len(elem) > maxElementBytes {
			return true
		}
	}
	return len(name) > maxPathBytes
}

func canonical(modPath, version string) bool {
	return version != "" && module.CanonicalVersion(version) == version && module.Check(modPath, version) == nil
}

// String returns the escaped proxy path without a leading slash.
func (k Key) String() string {
	// Paths and versions were checked by NewKey, so that escaping can't fail.
	escPath, _ := module.EscapePath(k.modPath)
	version, _ := module.EscapeVersion(k.version)
	switch k.kind {
	case List:
		return escPath + "/@v/list"
	case Latest:
		return escPath + "/@latest"
	case Query, Info:
		return escPath + "/@v/" + version + ".info"
	case Mod:
		return escPath + "/@v/" + version + ".mod"
	case Zip:
		return escPath + "/@v/" + version + ".zip"
	}
	return ""
}

// Kind returns what the key asks for.
func (k Key) Kind() Kind { return k.kind }

// Module returns the unescaped module path and version or query; the version of a
// List or Latest is empty.
func (k Key) Module() module.Version { return module.Version{Path: k.modPath, Version: k.version} }

// Immutable reports whether the answer can never change: .info, .mod and .zip of a
// canonical version.
func (k Key) Immutable() bool { return k.kind == Info || k.kind == Mod || k.kind == Zip }

// Sibling returns the key of another file of the same canonical version. k must be
// immutable and so must kind.
func (k Key) Sibling(kind Kind) Key { return Key{k.modPath, k.version, kind} }

// invalidKey is the error of a path that names nothing.
type invalidKey struct{ name, reason string }

func keyError(name, reason string) error { return &invalidKey{name, reason} }

func (e *invalidKey) Error() string        { return fmt.Sprintf("path %q: %s", e.name, e.reason) }
func (e *invalidKey) Is(target error) bool { return target == fs.ErrNotExist }
