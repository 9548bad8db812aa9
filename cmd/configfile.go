package cmd

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"
)

// readConfigFile reads config.toml: values by dotted key. An unknown key is an
// error, for a misspelt `private` would send private names to a mirror.
func readConfigFile(file string) (map[string]any, error) {
	text, err := readConfigText(file)
	if err != nil {
		return nil, err
	}
	values, err := parseConfig(file, string(text))
	if err != nil {
		return nil, err
	}
	for _, name := range sortedKeys(values) {
		if _, err := findKey(name, ""); err != nil {
			return nil, usagef("edit "+file, "read %s: %w", file, err)
		}
	}
	return values, nil
}

// readConfigText returns what config.toml says. Of what is no file it reads nothing: a
// pipe would keep every command waiting for its other end.
func readConfigText(file string) ([]byte, error) {
	f, err := openRegular(file)
	if errors.Is(err, errNotRegular) {
		return nil, failf("mv "+shellWord(file)+" "+shellWord(file+".old"), "read the configuration: %s is no regular file", file)
	}
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(f)
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	return text, nil
}

// shellWord quotes a path for a command that is shown, where it needs that.
func shellWord(path string) string {
	if !strings.ContainsAny(path, " \t\n'\"$&|;<>()*?[]#~`!{}") {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}

// errNotRegular is a folder, a pipe, a socket or a device where a file should be.
var errNotRegular = errors.New("no regular file")

// openRegular opens a file, or what a link to one names, and waits for nobody.
func openRegular(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|nonBlocking, 0)
	if err != nil { // a socket can't be opened at all
		if info, statErr := os.Stat(name); statErr == nil && !info.Mode().IsRegular() {
			err = errNotRegular
		}
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errNotRegular
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
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

// flatten makes [cache] dir and cache.dir the same key, as TOML does.
func flatten(values map[string]any, prefix string, tree map[string]any) {
	for name, value := range tree {
		if sub, ok := value.(map[string]any); ok {
			flatten(values, prefix+name+".", sub)
			continue
		}
		values[prefix+name] = value
	}
}

// sortedKeys makes the first error the same one each time.
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
	// Beside the file, since a rename does not cross file systems; made with 0600, for
	// an upstream in it may hold a password.
	tmp, err := os.CreateTemp(dir, ".config-*.toml")
	if err != nil {
		return fmt.Errorf("write the configuration: %w", err)
	}
	defer os.Remove(tmp.Name()) // fails once it is renamed
	_, err = tmp.WriteString(text)
	if err := errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return fmt.Errorf("write the configuration: %w", err)
	}
	if err := os.Rename(tmp.Name(), file); err != nil {
		return fmt.Errorf("write the configuration: %w", err)
	}
	return nil
}
