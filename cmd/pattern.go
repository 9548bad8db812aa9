package cmd

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
)

// patternError is a pattern that can never match. A private module whose pattern does
// not match goes to a public mirror by name, so that is worth an error.
type patternError struct {
	pattern, why string
	meant        string // what the user should have written, "" if nobody knows
}

func (e *patternError) Error() string {
	if e.meant == "" {
		return fmt.Sprintf("pattern %q %s", e.pattern, e.why)
	}
	return fmt.Sprintf("pattern %q %s, write %q", e.pattern, e.why, e.meant)
}

// checkPattern refuses patterns that can never match.
func checkPattern(pattern string) error {
	// module.MatchPrefixPatterns skips what path.Match calls malformed.
	if _, err := path.Match(pattern, ""); err != nil {
		return &patternError{pattern, "is malformed", ""}
	}
	if meant, why := meantPattern(pattern); why != "" {
		return &patternError{pattern, why, meant}
	}
	return nil
}

// meantPattern returns a pattern as it was meant, and why it can't match as it is.
// People paste what they clone from.
func meantPattern(pattern string) (meant, why string) {
	meant = pattern
	change := func(text, fault string) {
		if text != meant && why == "" {
			why = fault
		}
		meant = text
	}
	if words := strings.Fields(meant); len(words) != 1 || words[0] != meant {
		return meantList(strings.Join(words, ",")), "has a space, and commas separate patterns"
	}
	if _, rest, ok := strings.Cut(meant, "://"); ok {
		change(rest, "has a scheme")
	}
	if user, rest, ok := strings.Cut(meant, "@"); ok && !strings.Contains(user, "/") {
		change(rest, "has a user")
	}
	change(scpPort.ReplaceAllString(meant, "$1/"), "has a port")
	change(strings.Replace(meant, ":", "/", 1), "has a colon")
	bare, _, _ := strings.Cut(meant, "@")
	change(bare, "has a version")
	change(strings.TrimSuffix(meant, "/..."), "ends in ..., which matches nothing")
	change(strings.TrimLeft(meant, "/"), "begins with a slash")
	elems := strings.Split(meant, "/")
	if strings.EqualFold(elems[0], "github.com") && len(elems) > 2 {
		elems[2] = strings.TrimSuffix(elems[2], ".git")
		change(strings.Join(elems, "/"), "has .git, as no module on GitHub")
	}
	// The first element of any path that is asked for has a dot.
	if !strings.ContainsAny(elems[0], `.*?[\`) && meant != "" {
		change("github.com/"+meant, "has no host")
	}
	return meant, why
}

// scpPort is a port between a host and a path.
var scpPort = regexp.MustCompile(`^([^/:]+):\d+/`)

// meantList corrects a whole list of patterns.
func meantList(list string) string {
	var out []string
	for _, p := range patterns(list) {
		meant, _ := meantPattern(p)
		out = unite(out, patterns(meant))
	}
	return strings.Join(slices.DeleteFunc(out, func(p string) bool { return checkPattern(p) != nil }), ",")
}
