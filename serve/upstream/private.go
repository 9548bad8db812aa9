package upstream

import (
	"path"
	"strings"

	"golang.org/x/mod/module"
)

// MatchPrivate returns whether a module path matches one of patterns, which are as
// in GOPRIVATE. GitHub does not tell Acme from acme, so neither is told from the
// other there: a misspelt name must not leak.
func MatchPrivate(patterns []string) func(modPath string) bool {
	if len(patterns) == 0 {
		return func(string) bool { return false }
	}
	globs := strings.Join(patterns, ",")
	folded := strings.ToLower(globs)
	return func(modPath string) bool {
		if module.MatchPrefixPatterns(globs, modPath) {
			return true
		}
		lower := strings.ToLower(modPath)
		return strings.HasPrefix(lower, "github.com/") && module.MatchPrefixPatterns(folded, lower)
	}
}

// MatchHost returns whether a host is named by one of patterns, which are as in
// GOPRIVATE: a host whose modules the user calls private may be an inner one.
func MatchHost(patterns []string) func(host string) bool {
	return func(host string) bool {
		for _, pattern := range patterns {
			name, _, _ := strings.Cut(pattern, "/")
			if ok, err := path.Match(name, host); ok && err == nil {
				return true
			}
		}
		return false
	}
}
