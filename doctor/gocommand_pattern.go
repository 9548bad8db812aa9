package doctor

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
)

// checkPatterns looks for patterns that match nothing, or more than was meant. go says
// nothing of either, and tells a mirror the names that a pattern misses.
func (o *Options) checkPatterns(g Go) []Finding {
	own := map[string]string{"GOPRIVATE": g.Own.GOPRIVATE}
	for name, value := range map[string]string{"GONOPROXY": g.Own.GONOPROXY, "GONOSUMDB": g.Own.GONOSUMDB} {
		if value != g.Own.GOPRIVATE && value != "none" { // which is what go puts there
			own[name] = value
		}
	}
	seen := o.seen(g)
	var found []Finding
	for _, name := range []string{"GOPRIVATE", "GONOPROXY", "GONOSUMDB"} {
		if fixed, faults := lintList(own[name], seen); len(faults) > 0 {
			found = append(found, say(Warn, o.assignOwn(g, name, fixed), "%s: %s", name, strings.Join(faults, "; "))...)
		}
	}
	if fixed, faults := lintList(strings.Join(o.Private, ","), seen); len(faults) > 0 {
		found = append(found, say(Warn, "gomirror config set private "+quote(fixed), "setting private: %s", strings.Join(faults, "; "))...)
	}
	if len(found) == 0 {
		return say(OK, "", "the patterns of private modules can match")
	}
	return found
}

// assignOwn is assign for a variable that gomirror env may have set since: it is the
// user's own value that has to change, and then env's.
func (o *Options) assignOwn(g Go, name, value string) string {
	fix := "export " + name + "=" + quote(value)
	if _, filed := g.File[name]; filed || o.GOOS == "windows" {
		fix = "go env -w " + quote(name+"="+value)
	}
	if namesUs(g.Now.GOPROXY) {
		fix += " && " + setUp
	}
	return fix
}

// lintList returns the list as it was meant and what is wrong with it as it is.
func lintList(list string, seen []string) (fixed string, faults []string) {
	var out []string
	for p := range strings.SplitSeq(list, ",") {
		if p == "" {
			continue
		}
		meant, fault := lint(p, seen)
		if fault != "" {
			faults = append(faults, fmt.Sprintf("pattern %q %s", p, fault))
		}
		if meant != "" && !slices.Contains(out, meant) {
			out = append(out, meant)
		}
	}
	return strings.Join(out, ","), faults
}

// lint returns a pattern as it was meant, and the first thing that is wrong with it.
func lint(p string, seen []string) (meant, fault string) {
	keep := func(text, why string) {
		if text != p && fault == "" {
			fault = why
		}
		p = text
	}
	keep(strings.TrimSpace(p), "has a space, so it matches nothing")
	if words := strings.FieldsFunc(p, func(r rune) bool { return r == ' ' || r == '\t' || r == ';' || r == '|' }); len(words) > 1 {
		for i, word := range words {
			words[i], _ = lint(word, seen)
		}
		return strings.Join(words, ","), "is several, which commas separate"
	}
	if _, rest, ok := strings.Cut(p, "://"); ok {
		keep(rest, "has a scheme, so it matches nothing")
	}
	if user, rest, ok := strings.Cut(p, "@"); ok && !strings.Contains(user, "/") {
		keep(strings.Replace(rest, ":", "/", 1), "is an address of git's, so it matches nothing")
	}
	keep(strings.TrimSuffix(strings.TrimSuffix(p, "..."), "/"), "ends in ..., which matches nothing here")
	keep(strings.TrimSuffix(p, ".git"), "ends in .git, which no module path does")
	if _, err := path.Match(p, ""); err != nil {
		keep(strings.NewReplacer("[", "", "]", "").Replace(p), "has an open bracket, so go drops it")
	}
	host, rest, _ := strings.Cut(p, "/")
	if !strings.ContainsAny(host, `.*?[`) || strings.TrimRight(host, "*") != host && isWord(strings.TrimRight(host, "*")) {
		keep(path.Join("github.com", strings.TrimRight(host, "*"), rest), "names no host, so it matches no module")
		host, rest, _ = strings.Cut(p, "/")
	}
	keep(strings.TrimSuffix(strings.ToLower(host)+"/"+rest, "/"), "has capitals in its host, so it matches nothing")
	owner, deeper, _ := strings.Cut(rest, "/")
	if trimmed := strings.TrimRight(owner, "*"); trimmed != owner && isWord(trimmed) {
		keep(strings.TrimSuffix(path.Join(host, trimmed, deeper), "/"), fmt.Sprintf("also takes in owners that only begin with %q", trimmed))
	}
	keep(caseSeen(p, seen), fmt.Sprintf("never matches: go tells capitals apart, and the modules here are of %s", caseSeen(p, seen)))
	return p, fault
}

// isWord reports whether s ends like a name: the star of "acme-*" was meant.
func isWord(s string) bool {
	return s != "" && !strings.ContainsAny(s, ".?[*") && !strings.HasSuffix(s, "-") && !strings.HasSuffix(s, "_")
}

// caseSeen returns a pattern with its owner written as modules in use write it. That a
// capital is wrong only they can tell: github.com/BurntSushi is right.
func caseSeen(p string, seen []string) string {
	parts := strings.SplitN(p, "/", 3)
	if len(parts) < 2 || strings.ContainsAny(parts[0]+parts[1], `*?[\`) {
		return p
	}
	place := parts[0] + "/" + parts[1]
	other := slices.IndexFunc(seen, func(s string) bool { return strings.EqualFold(s, place) })
	if other < 0 || slices.Contains(seen, place) {
		return p
	}
	return strings.Join(append([]string{seen[other]}, parts[2:]...), "/")
}

// seen returns HOST/OWNER of the modules that this project requires, or that were
// pulled before.
func (o *Options) seen(g Go) []string {
	var places []string
	add := func(modPath string) {
		if parts := strings.SplitN(modPath, "/", 3); len(parts) > 1 {
			places = append(places, parts[0]+"/"+parts[1])
		}
	}
	for dir := o.Dir; dir != ""; dir = filepath.Dir(dir) {
		content, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil {
			if mod, err := modfile.ParseLax("go.mod", content, nil); err == nil {
				for _, r := range mod.Require {
					add(r.Mod.Path)
				}
			}
			break
		}
		if dir == filepath.Dir(dir) {
			break
		}
	}
	if len(places) > 0 {
		return places // what is at hand counts; a cache keeps what was once misspelt
	}
	for _, tree := range []string{filepath.Join(g.Now.GOMODCACHE, "cache", "download"), filepath.Join(o.cacheDir(), "download"), filepath.Join(o.cacheDir(), "private")} {
		owners, _ := filepath.Glob(filepath.Join(tree, "*.*", "*"))
		for _, dir := range owners {
			if place, err := module.UnescapePath(filepath.Base(filepath.Dir(dir)) + "/" + filepath.Base(dir)); err == nil {
				add(place)
			}
		}
	}
	return places
}
