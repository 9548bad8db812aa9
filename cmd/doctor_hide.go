package cmd

import (
	"fmt"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/adrg/xdg"

	"github.com/gomirror/gomirror/doctor"
)

// hider takes out of texts what a bundle must not tell: secrets, and by name what is
// private. The same name becomes the same word everywhere, so that a reader can still
// follow it.
type hider struct {
	rules   []hideRule
	words   map[string]string // by what stood there, in lower case
	secrets []string          // that no form gives away
	homes   []string          // forms of the home folder
	users   []string          // what they end in
}

// hideRule finds names of one kind.
type hideRule struct {
	found *regexp.Regexp
	kind  string
}

// privateFile is a path in the cache's tree of private modules: also of those that no
// pattern has any more.
var privateFile = regexp.MustCompile(`\bprivate[/\\]+[\w-]+(?:\.[\w-]+)+(?:[/\\]+[^\s"'@,;:|<>)/\\]+)*`)

// newHider goes by all patterns that anything here treats as private, by the hosts of
// the user's own proxies, and by the tokens: their owners and logins are names, too, and
// so are those that GitHub tells.
func newHider(env *Env, look doctor.Options, logins ...string) *hider {
	g, all := look.Go(), privatePatterns(env, look)
	h := &hider{words: map[string]string{}}
	h.hideHome(xdg.Home)
	h.hideFlags(env.Getenv("GOFLAGS"), g.Now.GOFLAGS, g.Own.GOFLAGS, g.File["GOFLAGS"])
	for _, command := range []string{env.Getenv("GOCACHEPROG"), g.File["GOCACHEPROG"]} {
		_, rest := cutCommand(command)
		h.hide(rest)
	}
	addrs := addressesOf(env, look)
	h.hidePasswords(addrs.proxies...)
	for _, list := range addrs.upstreams {
		h.hidePasswords(listEntry.FindAllString(list, -1)...)
	}
	h.rules = addrs.places(g.Builtin.GOPROXY)
	owners, hosts := []string(nil), addrs.hosts(hostsIn(g.Builtin.GOPROXY))
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

// told is what the sidecar says about itself and what a dead one said: the commands that
// start another one have the patterns of either.
func told(look doctor.Options) []doctor.DaemonStatus {
	d := look.Daemon()
	return []doctor.DaemonStatus{d.Status, d.Last}
}

// isForge reports whether a host is public knowledge: what lies there is not.
func isForge(host string) bool {
	return slices.Contains([]string{"github.com", "gitlab.com", "bitbucket.org"}, strings.ToLower(host))
}

// add hides names where they stand as words.
func (h *hider) add(kind string, names []string) {
	for _, name := range names {
		if !strings.ContainsFunc(withoutClasses(name), func(r rune) bool { return !strings.ContainsRune("*?.", r) }) {
			continue // it would be any word
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
	for elem != "" {
		if class, rest, ok := globClass(elem); ok {
			b.WriteString(`!?` + class)
			elem = rest
			continue
		}
		if len(elem) > 1 && elem[0] == '\\' { // the next one stands for itself
			elem = elem[1:]
		} else if elem[0] == '*' || elem[0] == '?' {
			b.WriteString(`[^/\s"'@,;]` + strings.TrimPrefix(elem[:1], "?"))
			elem = elem[1:]
			continue
		}
		r, n := utf8.DecodeRuneInString(elem)
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			b.WriteString(`!?`)
		}
		b.WriteString(regexp.QuoteMeta(string(r)))
		elem = elem[n:]
	}
	return b.String()
}

// classStart is a class of path.Match with what is in it: characters and ranges.
var classStart = regexp.MustCompile(`^\[(\^?)((?:(?:\\.|[^\]\\-])(?:-(?:\\.|[^\]\\-]))?)+)\]`)

// globClass returns the class that elem begins with as one of a regular expression.
// What path.Match would refuse is none.
func globClass(elem string) (class, rest string, ok bool) {
	m := classStart.FindStringSubmatch(elem)
	if m == nil {
		return "", "", false
	}
	// Of a backslash before a letter a regular expression would make something else, and
	// of "[" the start of [:name:].
	in := regexp.MustCompile(`\\([A-Za-z0-9])`).ReplaceAllString(m[2], "$1")
	in = regexp.MustCompile(`\\?([\[^])`).ReplaceAllString(in, `\$1`)
	class = `[` + in + `]`
	if m[1] != "" {
		class = `[^` + in + `/\s"'@,;]`
	}
	if _, err := regexp.Compile(class); err != nil {
		return "", "", false
	}
	return class, elem[len(m[0]):], true
}

// withoutClasses takes the classes out of a glob.
func withoutClasses(name string) string {
	var b strings.Builder
	for name != "" {
		if _, rest, ok := globClass(name); ok {
			name = rest
			continue
		}
		b.WriteByte(name[0])
		name = name[1:]
	}
	return b.String()
}

// text returns s with all that hidden. Secrets go first: a token may hold a name.
func (h *hider) text(s string) string {
	s = h.withoutSecrets(s)
	s = privateFile.ReplaceAllStringFunc(s, func(file string) string {
		modPath := strings.TrimLeft(strings.TrimPrefix(file, "private"), `/\`)
		return strings.TrimSuffix(file, modPath) + h.word("module", modPath)
	})
	for _, rule := range h.rules {
		s = rule.found.ReplaceAllStringFunc(s, func(name string) string { return h.word(rule.kind, name) })
	}
	if len(h.homes) > 0 {
		s = strings.NewReplacer(h.homes...).Replace(s)
	}
	return filePath.ReplaceAllStringFunc(s, func(file string) string {
		return pathElem.ReplaceAllStringFunc(file, func(elem string) string {
			if slices.Contains(h.users, elem) {
				return h.word("user", elem)
			}
			return elem
		})
	})
}

// filePath is an absolute path, and no address; pathElem an element of it.
var (
	filePath = regexp.MustCompile(`(?:^|file://|[\s"'=:,;(\[])(?:/|[A-Za-z]:[/\\]|\\\\)[^\s"'/][^\s"']*`)
	pathElem = regexp.MustCompile(`[^/\\:,;="')\]]+`)
)

// hideHome hides a home folder, also where it is a link, and its name in other paths:
// a disk for scratch has folders of the same names. Root is no name.
func (h *hider) hideHome(home string) {
	dirs := []string{home}
	if target, err := filepath.EvalSymlinks(home); err == nil {
		dirs = unite(dirs, []string{target})
	}
	for _, dir := range dirs {
		if dir == "" || dir == string(filepath.Separator) {
			continue
		}
		slashed := strings.ReplaceAll(dir, `\`, "/")
		// In JSON, and with quotes, a backslash is two.
		h.homes = append(h.homes, dir, "~", strings.ReplaceAll(dir, `\`, `\\`), "~", slashed, "~")
		if name := path.Base(slashed); name != "root" {
			h.users = append(h.users, name)
		}
	}
}

// word returns what stands for a name.
func (h *hider) word(kind, name string) string {
	key := kind + " " + strings.ToLower(strings.NewReplacer("!", "", "%2f", "/", "%2F", "/", `\\`, "/", `\`, "/").Replace(name))
	if h.words[key] == "" {
		h.words[key] = fmt.Sprintf("PRIVATE-%s-%d", kind, len(h.words)+1)
	}
	return h.words[key]
}
