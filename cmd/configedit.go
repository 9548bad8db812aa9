package cmd

import (
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
)

// editConfig sets key to literal in the TOML text, or removes it if literal is "".
// Comments, order and layout stay. It does not trust its own understanding of TOML:
// it tries line edits until one parses to the old values with this one key changed,
// and if none does it refuses.
func editConfig(file, text, key, literal string) (string, error) {
	old, err := parseConfig(file, text)
	if err != nil {
		return "", err
	}
	want := map[string]any{}
	if literal != "" {
		if want, err = parseConfig(file, key+" = "+literal); err != nil {
			return "", err
		}
	}
	// What the file must say afterwards: the old values with this one replaced.
	_, had := old[key]
	for name, value := range old {
		if name != key {
			want[name] = value
		}
	}
	if reflect.DeepEqual(old, want) {
		return text, nil // a file with nothing to change is not touched
	}
	lines := strings.SplitAfter(text, "\n")
	candidates := insertions
	if had {
		candidates = replacements
	}
	for candidate := range candidates(lines, key, literal) {
		if got, err := parseConfig(file, candidate); err == nil && reflect.DeepEqual(got, want) {
			return candidate, nil
		}
	}
	return "", failf("edit "+file, "set %s in %s: its lines can't be changed without touching others", key, file)
}

// replacements yields text with each span of lines that may define key replaced,
// shortest first, so that a list over several lines is found too. A span with a
// comment inside is left to its author.
func replacements(lines []string, key, literal string) func(yield func(string) bool) {
	table, leaf := splitKey(key)
	names := regexp.QuoteMeta(leaf)
	if table != "" {
		names += `|` + regexp.QuoteMeta(table) + `[ \t]*\.[ \t]*` + regexp.QuoteMeta(leaf)
	}
	definition := regexp.MustCompile(`^([ \t]*(?:` + names + `)[ \t]*=[ \t]*)`)
	return func(yield func(string) bool) {
		for i, line := range lines {
			head := definition.FindString(line)
			if head == "" {
				continue
			}
			for j := i; j < len(lines); j++ {
				if j > i && strings.Contains(strings.Join(lines[i:j+1], ""), "#") {
					break
				}
				edited := ""
				if literal != "" {
					edited = head + literal + lineEnd(lines[j], i == j)
				}
				if !yield(strings.Join(lines[:i], "") + edited + strings.Join(lines[j+1:], "")) {
					return
				}
			}
		}
	}
}

// lineEnd returns what follows the value on its last line: a comment, if the line
// holds the whole definition, and the line break.
func lineEnd(line string, whole bool) string {
	body := strings.TrimRight(line, "\r\n")
	end := line[len(body):]
	for at := range body {
		// A # inside the value leaves an unfinished value before it.
		if whole && body[at] == '#' {
			var v map[string]any
			if _, err := toml.Decode(body[:at], &v); err == nil {
				return body[len(strings.TrimRight(body[:at], " \t")):] + end
			}
		}
	}
	return end
}

// insertions yields text with a new line for key at each place where it may stand,
// the tidiest first.
func insertions(lines []string, key, literal string) func(yield func(string) bool) {
	table, leaf := splitKey(key)
	eol := "\n"
	if strings.HasSuffix(lines[0], "\r\n") {
		eol = "\r\n"
	}
	text := strings.Join(lines, "")
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += eol
		lines = strings.SplitAfter(text, "\n")
	}
	insert := func(at int, line string) string {
		return strings.Join(lines[:at], "") + line + eol + strings.Join(lines[at:], "")
	}
	dotted := insert(rootEnd(lines), key+" = "+literal)
	if table == "" {
		return func(yield func(string) bool) { _ = yield(dotted) && yield(insert(0, key+" = "+literal)) }
	}
	// In a table of its own if there is one, else in the style of its siblings, else
	// in a new table at the end, where nothing that follows can fall into it.
	header := regexp.MustCompile(`^[ \t]*\[[ \t]*` + regexp.QuoteMeta(table) + `[ \t]*\]`)
	sibling := regexp.MustCompile(`^[ \t]*` + regexp.QuoteMeta(table) + `[ \t]*\.`)
	return func(yield func(string) bool) {
		for i, line := range lines {
			if header.MatchString(line) && !yield(insert(i+1, leaf+" = "+literal)) {
				return
			}
		}
		if slices.ContainsFunc(lines, sibling.MatchString) && !yield(dotted) {
			return
		}
		gap := ""
		if text != "" {
			gap = eol
		}
		_ = yield(text+gap+"["+table+"]"+eol+leaf+" = "+literal+eol) && yield(dotted)
	}
}

// rootEnd returns where a key of the root table may be inserted: before the first
// header, and before the comment that belongs to that header.
func rootEnd(lines []string) int {
	at := slices.IndexFunc(lines, func(line string) bool { return strings.HasPrefix(strings.TrimSpace(line), "[") })
	if at < 0 {
		return len(lines) - 1 // the last one is what follows the last line break: nothing
	}
	for at > 0 {
		above := strings.TrimSpace(lines[at-1])
		if above != "" && !strings.HasPrefix(above, "#") {
			break
		}
		at--
	}
	return at
}

// splitKey splits a dotted key into its table, "" for the root table, and its name
// in there.
func splitKey(key string) (table, leaf string) {
	if dot := strings.LastIndexByte(key, '.'); dot >= 0 {
		return key[:dot], key[dot+1:]
	}
	return "", key
}
