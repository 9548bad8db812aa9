package cmd

import (
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"unicode/utf8"
)

// assignment is one variable for a shell; a nil value unsets it.
type assignment struct {
	name  string
	value *string
}

// dialect writes assignments for one kind of reader.
type dialect func([]assignment) (string, error)

// dialects returns the dialects by the names that --shell takes.
func dialects() map[string]dialect {
	return map[string]dialect{
		"posix":  posix,
		"sh":     posix,
		"bash":   posix,
		"zsh":    posix,
		"fish":   fish,
		"json":   jsonDialect,
		"dotenv": dotenv,
	}
}

// dialectNamed returns a dialect. Without a name it is POSIX, which all shells but
// fish read.
func (e *Env) dialectNamed(name string) (dialect, error) {
	switch {
	case name == "" && e.json:
		name = "json"
	case name == "" && e.callerIsFish():
		name = "fish"
	case name == "":
		name = "posix"
	}
	d, ok := dialects()[name]
	if !ok {
		names := slices.Sorted(maps.Keys(dialects()))
		hint := "gomirror env --shell " + nearest(name, names)
		return nil, usagef(strings.TrimSuffix(hint, " "), "unknown shell %q: want %s", name, strings.Join(names, ", "))
	}
	return d, nil
}

// callerIsFish reports whether a fish reads our output. SHELL is the login shell, and
// who has fish there still runs scripts and direnv's .envrc in bash; so where the
// system tells who called us, a shell of that kind goes before.
func (e *Env) callerIsFish() bool {
	switch e.Caller() {
	case "sh", "bash", "zsh", "dash", "ash", "ksh":
		return false
	case "fish":
		return true
	}
	return path.Base(e.Getenv("SHELL")) == "fish"
}

// checkValues refuses what can't be given to a shell. A line break would end a
// statement for some of the readers; no go command setting holds one.
// See https://go.dev/issue/58508 (CVE-2023-24531). What is not UTF-8 does not
// survive JSON, ours as little as that of go env.
func checkValues(list []assignment) error {
	for _, a := range list {
		why := ""
		switch {
		case a.value == nil:
		case strings.ContainsAny(*a.value, "\n\x00"):
			why = "its value holds a line break"
		case strings.ContainsRune(*a.value, utf8.RuneError): // also what JSON has made of it
			why = "its value is not UTF-8"
		}
		if why != "" {
			return failf("unset "+a.name+" && go env -u "+a.name, "write %s: %s", a.name, why)
		}
	}
	return nil
}

// posix writes for sh, bash, zsh, dash and ash. It is made to survive an unquoted
// `eval $(gomirror env)`, where the shell splits the text at spaces, expands globs
// in it (nullglob drops such a word, failglob fails) and joins it with spaces:
// statements end in ";" and hold no comment, and inside values all that could be
// split, dropped or expanded is written by printf.
func posix(list []assignment) (string, error) {
	var b strings.Builder
	for _, a := range list {
		if a.value == nil {
			fmt.Fprintf(&b, "unset %s;\n", a.name)
			continue
		}
		fmt.Fprintf(&b, "export %s=%s;\n", a.name, quotePOSIX(*a.value))
	}
	return b.String(), nil
}

// plainPOSIX are the bytes that mean nothing inside single quotes, nor to a shell
// that takes the text for a glob first. "|" is plain there, and each GOPROXY has it.
const plainPOSIX = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./:,|%+=-@"

func quotePOSIX(value string) string {
	var b strings.Builder
	for len(value) > 0 {
		n := len(value) - len(strings.TrimLeft(value, plainPOSIX))
		if n > 0 {
			b.WriteString("'" + value[:n] + "'")
			value = value[n:]
			continue
		}
		b.WriteString(`"$(printf '`)
		for len(value) > 0 && strings.IndexByte(plainPOSIX, value[0]) < 0 {
			fmt.Fprintf(&b, `\%03o`, value[0])
			value = value[1:]
		}
		b.WriteString(`')"`)
	}
	if b.Len() == 0 {
		return "''"
	}
	return b.String()
}

// fish splits a substitution at line breaks only and never expands it.
func fish(list []assignment) (string, error) {
	quote := strings.NewReplacer(`\`, `\\`, `'`, `\'`)
	var b strings.Builder
	for _, a := range list {
		if a.value == nil {
			fmt.Fprintf(&b, "set -e %s;\n", a.name)
			continue
		}
		fmt.Fprintf(&b, "set -gx %s '%s';\n", a.name, quote.Replace(*a.value))
	}
	return b.String(), nil
}

// dotenv can't say unset: what is not set stays as the reader has it.
func dotenv(list []assignment) (string, error) {
	quote := strings.NewReplacer(`\`, `\\`, `"`, `\"`, `$`, `\$`, "`", "\\`")
	var b strings.Builder
	for _, a := range list {
		switch {
		case a.value == nil:
		case strings.Contains(*a.value, "'"):
			fmt.Fprintf(&b, "%s=\"%s\"\n", a.name, quote.Replace(*a.value))
		default:
			fmt.Fprintf(&b, "%s='%s'\n", a.name, *a.value)
		}
	}
	return b.String(), nil
}

// envDoc is the document of env --json.
type envDoc struct {
	SchemaVersion int               `json:"schema_version"`
	Set           map[string]string `json:"set"`
	Unset         []string          `json:"unset"`
}

func jsonDialect(list []assignment) (string, error) {
	doc := envDoc{SchemaVersion: 1, Set: map[string]string{}, Unset: []string{}}
	for _, a := range list {
		if a.value == nil {
			doc.Unset = append(doc.Unset, a.name)
		} else {
			doc.Set[a.name] = *a.value
		}
	}
	text, err := json.MarshalIndent(doc, "", "  ")
	return string(text) + "\n", err
}
