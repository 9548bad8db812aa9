package upstream

import (
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/mod/module"
)

// MatchPrivate returns whether a module path matches one of patterns, which are as
// in GOPRIVATE. GitHub does not tell Acme from acme, and any host may be one of
// GitHub's, so neither is told from the other: a misspelt name must not leak. Nor is x.git from x.
func MatchPrivate(patterns []string) func(modPath string) bool {
	if len(patterns) == 0 {
		return func(string) bool { return false }
	}
	whole := make([]string, 0, len(patterns))
	for _, pattern := range patterns {
		if parts := strings.SplitN(pattern, "/", 4); len(parts) == 4 && strings.EqualFold(parts[0], "github.com") {
			pattern = strings.Join(parts[:3], "/")
		}
		whole = append(whole, pattern)
	}
	globs := strings.Join(whole, ",")
	folded := withoutGit(strings.ToLower(globs))
	return func(modPath string) bool {
		if module.MatchPrefixPatterns(globs, modPath) {
			return true
		}
		return module.MatchPrefixPatterns(folded, withoutGit(strings.ToLower(modPath)))
	}
}

// withoutGit takes .git from the ends of path elements: hosts take a repository's name
// with it and without.
func withoutGit(paths string) string {
	return strings.TrimSuffix(strings.NewReplacer(".git/", "/", ".git,", ",").Replace(paths+","), ",")
}

// MatchHost returns whether a host is named by one of patterns, which are as in
// GOPRIVATE: a host whose modules the user calls private may be an inner one. What
// is trusted must have been spelled out: */acme says which modules are private and
// not that a stranger may send us to any host there is. So a host counts as it
// stands, and of wildcards only *.DOMAIN, with two labels at least in DOMAIN.
func MatchHost(patterns []string) func(host string) bool {
	names := make([]string, 0, len(patterns))
	for _, pattern := range patterns {
		name, _, _ := strings.Cut(pattern, "/")
		names = append(names, hostKey(name))
	}
	return func(host string) bool {
		host = hostKey(host)
		return slices.ContainsFunc(names, func(name string) bool {
			domain, wild := strings.CutPrefix(name, "*")
			switch {
			case strings.ContainsAny(domain, `*?[]\`), host == "":
				return false
			case !wild:
				return name == host
			}
			return len(domain) > 1 && domain[0] == '.' && strings.IndexByte(domain[1:], '.') > 0 &&
				strings.HasSuffix(host, domain) && isName(host)
		})
	}
}

// hostKey makes one form of the ways to write a host.
func hostKey(host string) string {
	bare := strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if ip, err := netip.ParseAddr(bare); err == nil {
		return ip.String()
	}
	return strings.TrimSuffix(strings.ToLower(host), ".")
}

// isName reports whether a host is neither an address, in any of the forms that some
// resolver takes, nor this machine.
func isName(host string) bool {
	last := host[strings.LastIndexByte(host, '.')+1:]
	return last != "" && (last[0] < '0' || last[0] > '9') && last != "localhost" && !strings.Contains(host, ":")
}
