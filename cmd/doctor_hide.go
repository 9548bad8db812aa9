package cmd

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/adrg/xdg"

	"github.com/gomirror/gomirror/doctor"
	"github.com/gomirror/gomirror/serve"
)

// hider takes out of texts what a bundle must not tell: secrets, and by name what is
// private. The same name becomes the same word everywhere, so that a reader can still
// follow it.
type hider struct {
	rules []hideRule
	words map[string]string // by what stood there, in lower case
}

// hideRule finds names of one kind.
type hideRule struct {
	found *regexp.Regexp
	kind  string
}

// userinfo is a password in a URL, or what may be one; bareUserinfo one in the address
// of a proxy without its scheme.
var (
	userinfo     = regexp.MustCompile(`://[^/\s"'@]+@`)
	bareUserinfo = regexp.MustCompile(`\b[^/\s"'=,|@:]+:[^/\s"'@:]+@`)
)

// newHider goes by all patterns that anything here treats as private, and by the
// tokens: their owners and logins are names, too.
func newHider(env *Env, look doctor.Options) *hider {
	g, status := look.Go(), look.Daemon().Status
	h := &hider{words: map[string]string{}}
	lists := []string{env.Getenv("GOPRIVATE"), env.Getenv("GONOPROXY"), env.Getenv("GONOSUMDB")}
	for _, e := range []doctor.GoEnv{g.Now, g.Own} {
		lists = append(lists, e.GOPRIVATE, e.GONOPROXY, e.GONOSUMDB)
	}
	var all []string
	for _, list := range lists {
		all = append(all, patterns(list)...)
	}
	all = unite(look.Private, status.Private, all)
	var owners, hosts, logins []string
	entries, _ := look.Tokens.Places() // which A01 tells about
	for _, e := range entries {
		all = append(all, strings.TrimSuffix(e.Place.String(), "/"+e.Owner)+"/"+e.Owner)
		logins = append(logins, e.Login)
	}
	slices.SortStableFunc(all, func(a, b string) int { return len(b) - len(a) }) // the longest knows best
	for _, p := range all {
		host, rest, _ := strings.Cut(strings.Trim(p, "/ "), "/")
		owner, _, _ := strings.Cut(rest, "/")
		if host == "" || isForge(host) && owner == "" {
			continue
		}
		h.rules = append(h.rules, hideRule{moduleRegexp(p), "module"})
		if isForge(host) {
			owners = append(owners, owner)
		} else {
			hosts = append(hosts, host)
		}
	}
	h.add("host", hosts)
	h.add("owner", owners)
	h.add("login", logins)
	return h
}

// isForge reports whether a host is public knowledge: what lies there is not.
func isForge(host string) bool {
	return slices.Contains([]string{"github.com", "gitlab.com", "bitbucket.org"}, strings.ToLower(host))
}

// add hides names where they stand as words.
func (h *hider) add(kind string, names []string) {
	for _, name := range names {
		if strings.Trim(name, "*?.") == "" || strings.ContainsAny(name, `[]\`) {
			continue
		}
		h.rules = append(h.rules, hideRule{regexp.MustCompile(`(?i)\b` + strings.TrimPrefix(globRegexp(name), `\b`) + `\b`), kind})
	}
}

// moduleRegexp finds paths that a pattern matches, as they are and escaped as in the
// module proxy protocol and in URLs.
func moduleRegexp(pattern string) *regexp.Regexp {
	elems := strings.Split(strings.Trim(pattern, "/ "), "/")
	for i, elem := range elems {
		elems[i] = globRegexp(elem)
		if i == 0 && strings.Trim(elem, "*?") == "" { // any host: a word with a dot in it
			elems[i] = `[a-z0-9-]+(?:\.[a-z0-9-]+)+`
			if len(elems) == 1 {
				elems = append(elems, `[^\s"'@,;/]+`)
			}
		}
	}
	const slash = `(?:/|%2f|:)` // git@HOST:OWNER
	return regexp.MustCompile(`(?i)` + strings.Join(elems, slash) + `(?:(?:/|%2f)[^\s"'@,;|<>)\\]*)?`)
}

// globRegexp is an element of a pattern. An escaped capital has "!" before it.
func globRegexp(elem string) string {
	if elem != "" && strings.Trim(elem, "*") == "" {
		return `[^/\s"'@,;]+`
	}
	var b strings.Builder
	for _, r := range elem {
		switch {
		case r == '*':
			b.WriteString(`[^/\s"'@,;]*`)
		case r == '?':
			b.WriteString(`[^/\s"'@,;]`)
		case r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z':
			b.WriteString(`!?` + string(r))
		default:
			b.WriteString(regexp.QuoteMeta(string(r)))
		}
	}
	return b.String()
}

// text returns s with all that hidden. Secrets go first: a token may hold a name.
func (h *hider) text(s string) string {
	s = userinfo.ReplaceAllString(serve.Redact(s), "://REDACTED@")
	s = bareUserinfo.ReplaceAllString(s, "REDACTED@")
	for _, rule := range h.rules {
		s = rule.found.ReplaceAllStringFunc(s, func(name string) string { return h.word(rule.kind, name) })
	}
	if home := xdg.Home; home != "" && home != string(filepath.Separator) {
		s = strings.ReplaceAll(s, home, "~")
	}
	return s
}

// word returns what stands for a name.
func (h *hider) word(kind, name string) string {
	key := kind + " " + strings.ToLower(strings.NewReplacer("!", "", "%2f", "/", "%2F", "/").Replace(name))
	if h.words[key] == "" {
		h.words[key] = fmt.Sprintf("PRIVATE-%s-%d", kind, len(h.words)+1)
	}
	return h.words[key]
}
