package cmd

import (
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/gomirror/gomirror/doctor"
)

// privatePatterns are those that anything here treats as private, or a sidecar does.
func privatePatterns(env *Env, look doctor.Options) []string {
	g := look.Go()
	lists := []string{env.Getenv("GOPRIVATE"), env.Getenv("GONOPROXY"), env.Getenv("GONOSUMDB"),
		env.Getenv("GOMIRROR_PRIVATE"), env.Getenv("GOMIRROR_NETWORK_HOSTS")}
	named := []string{env.Getenv("GOINSECURE"), env.Getenv("GOVCS")}
	for _, e := range []doctor.GoEnv{g.Now, g.Own} {
		lists = append(lists, e.GOPRIVATE, e.GONOPROXY, e.GONOSUMDB)
		named = append(named, e.GOINSECURE, e.GOVCS)
	}
	for _, st := range told(look) {
		lists = slices.Concat(lists, st.Private, st.Served, st.Tokens, []string{st.GONOSUMDB})
		for _, s := range st.Settings {
			if s.Name == "private" || s.Name == "network.hosts" {
				lists = append(lists, s.Value)
			}
		}
	}
	for _, list := range named {
		lists = append(lists, namedPatterns(list)...)
	}
	if look.SettingsErr != nil {
		lists = append(lists, salvage(look.ConfigFile)...)
	}
	all := unite(look.Private, look.Hosts)
	for _, list := range lists {
		all = unite(all, meantPatterns(list))
	}
	return all
}

// meantPatterns returns the patterns of a list as they are, and as they were meant where
// they are misspelt: the checks print both.
func meantPatterns(list string) []string {
	var out []string
	for _, part := range patterns(strings.Join(strings.Fields(list), ",")) {
		words := strings.FieldsFunc(part, func(r rune) bool { return r == ';' || r == '|' })
		for _, p := range unite([]string{part}, words) { // a class may have a | in it
			if _, err := path.Match(p, ""); err != nil {
				out = append(out, strings.NewReplacer("[", "", "]", "").Replace(p))
			}
			if !strings.Contains(p, "://") { // its host would be "https:"
				out = append(out, p)
			}
			meant, _ := meantPattern(strings.TrimRight(p, "./"))
			out = append(out, strings.TrimSuffix(meant, ".git"))
		}
	}
	return out
}

// vcsNames is what GOVCS has after a pattern.
var vcsNames = regexp.MustCompile(`:(?:(?:all|off|git|hg|svn|bzr|fossil|mod)\|?)+$`)

// namedPatterns returns the patterns of GOINSECURE or GOVCS. What means all modules
// names none.
func namedPatterns(list string) []string {
	var out []string
	for _, p := range patterns(list) {
		p = vcsNames.ReplaceAllString(p, "")
		if !slices.Contains([]string{"*", "public", "private"}, p) {
			out = append(out, p)
		}
	}
	return out
}

// listStart begins a setting that names what is private, anyStart any line of TOML.
var (
	listStart = regexp.MustCompile(`(?i)^\W*(?:network\W*\.\W*)?(?:private|hosts)\W`)
	anyStart  = regexp.MustCompile(`^\s*(?:[\w."'-]+\s*=|\[[\w. ]+\])`)
)

// salvage finds what a config.toml that can't be read would hide: an error or a log
// may tell it. It takes every word there for a name that looks like one or is quoted.
func salvage(file string) []string {
	text, err := readConfigText(file)
	if err != nil {
		return nil
	}
	var out []string
	within := false
	for line := range strings.Lines(string(text)) {
		if at := listStart.FindString(line); at != "" {
			within, line = true, line[len(at):]
		} else if anyStart.MatchString(line) {
			within = false
		}
		if within {
			out = append(out, slices.DeleteFunc(strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(" \t\r\n\"',=#", r) }),
				func(word string) bool {
					name := strings.ToValidUTF8(regexp.QuoteMeta(word), ".+") // in quotes, and that of "don't" is none
					quoted := regexp.MustCompile(`(?:^|[\s\[,=])["']` + name + `|` + name + `["'](?:[\s\],]|$)`)
					return !strings.ContainsAny(word, "./") && !quoted.MatchString(line)
				})...)
		}
	}
	for i, word := range out { // the brackets of the list, not those of a glob
		word = strings.TrimPrefix(word, "[")
		if strings.Count(word, "]") > strings.Count(word, "[") {
			word = strings.TrimSuffix(word, "]")
		}
		out[i] = word
	}
	return out
}
