package cmd

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"
)

// readConfigFile reads config.toml: values by dotted key. An unknown key is an
// error, for a misspelt `private` would send private names to a mirror.
func readConfigFile(file string) (map[string]any, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	values, err := parseConfig(file, string(text))
	if err != nil {
		return nil, err
	}
	for _, name := range sortedKeys(values) {
		if _, err := findKey(name); err != nil {
			return nil, usagef("edit "+file, "read %s: %w", file, err)
		}
	}
	return values, nil
}

// parseConfig parses TOML into values by dotted key.
func parseConfig(file, text string) (map[string]any, error) {
	var tree map[string]any
	if _, err := toml.Decode(text, &tree); err != nil {
		var syntax toml.ParseError
		if errors.As(err, &syntax) {
			err = fmt.Errorf("%s:%d: %s", file, syntax.Position.Line, syntax.Message)
		} else {
			err = fmt.Errorf("%s: %w", file, err)
		}
		return nil, usagef("edit "+file, "read the configuration: %w", err)
	}
	values := map[string]any{}
	flatten(values, "", tree)
	return values, nil
}

func flatten(values map[string]any, prefix string, tree map[string]any) {
	for name, value := range tree {
		if sub, ok := value.(map[string]any); ok {
			flatten(values, prefix+name+".", sub)
			continue
		}
		values[prefix+name] = value
	}
}

func sortedKeys(values map[string]any) []string {
	names := make([]string, 0, len(values))
	for name := range values {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// fileValue returns a TOML value as the text that the setting's parser takes.
func fileValue(k settingKey, value any) (string, error) {
	switch k.field(&settings{}).(type) {
	case *bool:
		if b, ok := value.(bool); ok {
			return strconv.FormatBool(b), nil
		}
		return "", fmt.Errorf("want true or false, not %v", value)
	case *[]string:
		list, ok := value.([]any)
		if !ok {
			break
		}
		var texts []string
		for _, item := range list {
			text, ok := item.(string)
			if !ok {
				return "", fmt.Errorf("want a list of strings, not %v in it", item)
			}
			texts = append(texts, text)
		}
		return strings.Join(texts, ","), nil
	}
	if text, ok := value.(string); ok {
		return text, nil
	}
	return "", fmt.Errorf("want a string, not %v", value)
}

// literal returns k's value in s as TOML.
func (k settingKey) literal(s *settings) string {
	switch value := k.value(s).(type) {
	case bool:
		return strconv.FormatBool(value)
	case []string:
		quoted := make([]string, len(value))
		for i, v := range value {
			quoted[i] = quoteTOML(v)
		}
		return "[" + strings.Join(quoted, ", ") + "]"
	}
	return quoteTOML(k.text(s))
}

// quoteTOML prefers the literal string, which needs no escapes on Windows paths.
func quoteTOML(text string) string {
	plain := !strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\'' })
	if plain && strings.Contains(text, `\`) {
		return "'" + text + "'"
	}
	var b strings.Builder
	for _, r := range text {
		switch {
		case r == '"' || r == '\\':
			b.WriteString(`\` + string(r))
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	return `"` + b.String() + `"`
}

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
	if len(lines) > 0 && strings.HasSuffix(lines[0], "\r\n") {
		eol = "\r\n"
	}
	text := strings.Join(lines, "")
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += eol
		lines = strings.SplitAfter(text, "\n")
	}
	header := regexp.MustCompile(`^[ \t]*\[[ \t]*` + regexp.QuoteMeta(table) + `[ \t]*\]`)
	anyHeader := regexp.MustCompile(`^[ \t]*\[`)
	return func(yield func(string) bool) {
		insert := func(at int, line string) bool {
			return yield(strings.Join(lines[:at], "") + line + eol + strings.Join(lines[at:], ""))
		}
		if table != "" {
			for i, line := range lines {
				if header.MatchString(line) && !insert(i+1, leaf+" = "+literal) {
					return
				}
			}
			sep := ""
			if text != "" {
				sep = eol
			}
			if !yield(text + sep + "[" + table + "]" + eol + leaf + " = " + literal + eol) {
				return
			}
		}
		// A key of the root table stands before the first header, and before the
		// comment that belongs to that header.
		first := slices.IndexFunc(lines, anyHeader.MatchString)
		if first < 0 {
			first = len(lines) - 1
		}
		for first > 0 && (strings.TrimSpace(lines[first-1]) == "" || strings.HasPrefix(strings.TrimSpace(lines[first-1]), "#")) {
			first--
		}
		for _, at := range []int{first, 0} {
			if !insert(at, key+" = "+literal) {
				return
			}
		}
	}
}

func splitKey(key string) (table, leaf string) {
	if dot := strings.LastIndexByte(key, '.'); dot >= 0 {
		return key[:dot], key[dot+1:]
	}
	return "", key
}

// writeConfig replaces the file in one step, so that a crash leaves the old one or
// the new one. A config.toml that is a link into a dotfiles folder stays a link.
func writeConfig(file, text string) error {
	if target, err := filepath.EvalSymlinks(file); err == nil {
		file = target
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("write the configuration: %w", err)
	}
	dir := filepath.Dir(file)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("write the configuration: %w", err)
	}
	tmp, err := os.CreateTemp(dir, ".config-*.toml") // 0600
	if err != nil {
		return fmt.Errorf("write the configuration: %w", err)
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.WriteString(text)
	if err := errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return fmt.Errorf("write the configuration: %w", err)
	}
	if err := os.Rename(tmp.Name(), file); err != nil {
		return fmt.Errorf("write the configuration: %w", err)
	}
	return nil
}
