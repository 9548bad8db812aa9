package cmd

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"

	"github.com/gomirror/gomirror/serve/upstream"
)

// originalsVar holds, in a shell that gomirror env has set up, what was there
// before: base64url of a JSON object, null for unset. Being one word of plain
// letters it survives any shell and any quoting.
const originalsVar = "GOMIRROR_ORIG"

// originals are values of goVars by name; nil means unset. All five are there.
type originals map[string]*string

// originals returns the go command's variables as they were before gomirror env:
// from GOMIRROR_ORIG in a shell that was set up, else the current ones.
func (e *Env) originals() (originals, error) {
	orig := originals{}
	encoded, setUp := e.lookup(originalsVar)
	if setUp {
		var err error
		if orig, err = decodeOriginals(encoded); err != nil {
			return nil, err
		}
	}
	// A GOPROXY without us was set by hand since, so it is what the user means
	// now: GOPROXY=direct gomirror serve.
	if value, ok := e.lookup("GOPROXY"); setUp && ok && !namesUs(value) {
		orig["GOPROXY"] = &value
	}
	for _, name := range goVars() {
		if _, ok := orig[name]; ok {
			continue
		}
		orig[name] = nil
		if value, ok := e.lookup(name); ok {
			orig[name] = &value
		}
	}
	return orig, nil
}

// namesUs reports whether a GOPROXY list holds an address of ours.
func namesUs(goproxy string) bool {
	return slices.ContainsFunc(strings.FieldsFunc(goproxy, func(r rune) bool { return r == ',' || r == '|' }), upstream.IsOurs)
}

func (o originals) encode() (string, error) {
	text, err := json.Marshal(o) // sorted by name, so that the same is the same
	return base64.RawURLEncoding.EncodeToString(text), err
}

func decodeOriginals(encoded string) (originals, error) {
	const hint = "unset " + originalsVar + ", then set GOPROXY as you had it"
	text, err := base64.RawURLEncoding.DecodeString(encoded)
	if err != nil {
		return nil, failf(hint, "read %s: %w", originalsVar, err)
	}
	var o originals
	if err := json.Unmarshal(text, &o); err != nil {
		return nil, failf(hint, "read %s: %w", originalsVar, err)
	}
	if o == nil { // null
		return nil, failf(hint, "read %s: it holds nothing", originalsVar)
	}
	for name := range o {
		if !slices.Contains(goVars(), name) {
			return nil, failf(hint, "read %s: it names %q", originalsVar, name)
		}
	}
	return o, nil
}
