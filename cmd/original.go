package cmd

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"

	"github.com/gomirror/gomirror/serve/upstream"
)

// originalsVar holds, in a shell that gomirror env has set up, what was there
// before: base64url of a JSON object of changes. Being one word of plain letters it
// survives any shell and any quoting.
const originalsVar = "GOMIRROR_ORIG"

// originals are values of goVars by name; nil means unset. All five are there.
type originals map[string]*string

// change is one variable in GOMIRROR_ORIG.
type change struct {
	Was *string `json:"was"` // null for unset
	Set string  `json:"set"` // fingerprint of what gomirror env made of it
}

// originals returns the go command's variables as they were before gomirror env:
// from GOMIRROR_ORIG in a shell that was set up, else the current ones. What is not
// as gomirror env has set it was set by hand since, so it is what the user means
// now: eval "$(gomirror env)"; export GOPRIVATE=…; gomirror serve.
func (e *Env) originals() (originals, error) {
	var changes map[string]change
	if encoded, setUp := e.lookup(originalsVar); setUp {
		var err error
		if changes, err = decodeOriginals(encoded); err != nil {
			return nil, err
		}
	}
	orig := originals{}
	for _, name := range goVars() {
		var current *string
		if value, ok := e.lookup(name); ok {
			current = &value
		}
		c, known := changes[name]
		// A GOPROXY with us in it is ours, whoever has edited the rest.
		if known && (c.Set == fingerprint(current) || name == "GOPROXY" && current != nil && namesUs(*current)) {
			current = c.Was
		}
		orig[name] = current
	}
	return orig, nil
}

// namesUs reports whether a GOPROXY list holds an address of ours.
func namesUs(goproxy string) bool {
	return slices.ContainsFunc(strings.FieldsFunc(goproxy, func(r rune) bool { return r == ',' || r == '|' }), upstream.IsOurs)
}

// fingerprint tells values apart without holding them: our address is a secret, and
// base64 would hide it from whoever redacts what env(1) says.
func fingerprint(value *string) string {
	if value == nil {
		return ""
	}
	sum := sha256.Sum256([]byte(*value))
	return hex.EncodeToString(sum[:8])
}

// encode returns GOMIRROR_ORIG for a shell in which gomirror env sets the variables
// in set, and gives the others their original values.
func (o originals) encode(set map[string]string) (string, error) {
	changes := map[string]change{}
	for _, name := range goVars() {
		after := o[name]
		if value, ok := set[name]; ok {
			after = &value
		}
		changes[name] = change{o[name], fingerprint(after)}
	}
	text, err := json.Marshal(changes) // sorted by name, so that the same is the same
	return base64.RawURLEncoding.EncodeToString(text), err
}

// decodeOriginals accepts all of goVars and nothing else: a half of them would be
// given back as a mix of two times.
func decodeOriginals(encoded string) (map[string]change, error) {
	const hint = "unset " + originalsVar + ", then set GOPROXY as you had it"
	text, err := base64.RawURLEncoding.DecodeString(encoded)
	if err != nil {
		return nil, failf(hint, "read %s: %w", originalsVar, err)
	}
	var changes map[string]change
	if err := json.Unmarshal(text, &changes); err != nil {
		return nil, failf(hint, "read %s: %w", originalsVar, err)
	}
	for name := range changes {
		if !slices.Contains(goVars(), name) {
			return nil, failf(hint, "read %s: it names %q", originalsVar, name)
		}
	}
	for _, name := range goVars() {
		if _, ok := changes[name]; !ok {
			return nil, failf(hint, "read %s: it lacks %s", originalsVar, name)
		}
	}
	return changes, nil
}
