package cmd

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"slices"
	"strings"

	"golang.org/x/mod/module"

	"github.com/gomirror/gomirror/doctor"
	"github.com/gomirror/gomirror/serve/upstream"
)

// goEnv is what `go env` says, in the user's terms: without what gomirror has put
// there.
type goEnv struct {
	GOPROXY, GONOPROXY, GONOSUMDB, GOPRIVATE, GOSUMDB string
	GOENV, GOFLAGS, GOMODCACHE, GOVERSION             string
}

// goVars are the variables of the go command that gomirror env may set.
func goVars() []string {
	return []string{"GOPROXY", "GONOPROXY", "GONOSUMDB", "GOPRIVATE", "GOSUMDB"}
}

// readGoEnv asks the go command what it would use if gomirror were not there.
func readGoEnv(ctx context.Context, env *Env) (*goEnv, error) {
	orig, err := env.originals()
	if err != nil {
		return nil, err
	}
	return env.runGoEnv(ctx, orig)
}

// builtinGoEnv asks the go command for its own defaults, whatever the user has set.
func builtinGoEnv(ctx context.Context, env *Env) (*goEnv, error) {
	unset := originals{}
	for _, name := range goVars() {
		unset[name] = nil
	}
	return env.runGoEnv(ctx, unset, "GOENV=off")
}

// runGoEnv runs `go env` with the variables of o in place of the current ones. It
// runs in / without workspace and toolchain switch: inside a module with a newer go
// line it would download that toolchain, through us.
func (e *Env) runGoEnv(ctx context.Context, o originals, extra ...string) (*goEnv, error) {
	const hint = "install Go, https://go.dev/dl, and put it in PATH"
	goTool, err := exec.LookPath("go")
	if err != nil {
		return nil, failf(hint, "ask the go command for its settings: %w", err)
	}
	environ := slices.DeleteFunc(slices.Clone(e.Environ()), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		_, replaced := o[name]
		return replaced
	})
	for name, value := range o {
		if value != nil {
			environ = append(environ, name+"="+*value)
		}
	}
	environ = append(doctor.ForGo(environ), extra...)
	args := append([]string{"env", "-json"}, goVars()...)
	args = append(args, "GOENV", "GOFLAGS", "GOMODCACHE", "GOVERSION")
	out, err := e.Exec(ctx, "/", environ, goTool, args...)
	if err != nil {
		return nil, failf("gomirror doctor --only go", "ask the go command for its settings: %w", err)
	}
	var g goEnv
	if err := json.Unmarshal(out, &g); err != nil {
		return nil, fmt.Errorf("read the output of go env: %w", err)
	}
	return &g, nil
}

// upstreamList returns the GOPROXY list that gomirror fetches from, and whether it
// is the go command's built-in default, which falls back on more answers. g is what
// readGoEnv returns.
func upstreamList(ctx context.Context, env *Env, s *settings, g *goEnv) (list string, builtin bool, err error) {
	if s.upstream != "" {
		return s.upstream, false, nil
	}
	own, err := builtinGoEnv(ctx, env)
	if err != nil {
		return "", false, err
	}
	list = cmp.Or(upstream.Strip(g.GOPROXY), own.GOPROXY)
	return list, list == own.GOPROXY, nil
}

// patterns splits a list as in GOPRIVATE. The words that people use for "nothing"
// are no patterns.
func patterns(list string) []string {
	var out []string
	for p := range strings.SplitSeq(list, ",") {
		if p = strings.TrimSpace(p); p != "" && p != matchNothing {
			out = append(out, p)
		}
	}
	return out
}

// unite joins lists of patterns, keeping the order of first appearance.
func unite(lists ...[]string) []string {
	var out []string
	for _, p := range slices.Concat(lists...) {
		if !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	return out
}

// spellings adds to patterns what gomirror does not tell from them and the go command
// does: the lower-case form, which most go.mod files have, and on GitHub the whole
// repository of a folder. Other spellings of a go.mod only its author knows.
func spellings(list ...string) []string {
	out := unite(list)
	for _, p := range list {
		if parts := strings.SplitN(p, "/", 4); len(parts) == 4 && strings.EqualFold(parts[0], "github.com") {
			p = strings.Join(parts[:3], "/")
		}
		out = unite(out, []string{p, strings.ToLower(p)})
	}
	return out
}

// covered reports whether every module that pattern matches is matched by one of
// those in by. It may say no where the answer is yes, never the other way round.
func covered(pattern string, by []string) bool {
	elems := strings.Split(pattern, "/")
	if !strings.ContainsAny(pattern, `*?[\`) {
		return module.MatchPrefixPatterns(strings.Join(by, ","), pattern)
	}
	return slices.ContainsFunc(by, func(b string) bool {
		for i, elem := range strings.Split(b, "/") {
			// A wildcard is only known to cover itself, and * covers any element.
			if i >= len(elems) || elem != "*" && elem != elems[i] {
				return false
			}
		}
		return true
	})
}

// coveredInAnyCase is covered as gomirror routes, which does not tell Acme from acme.
func coveredInAnyCase(pattern string, by []string) bool {
	return covered(pattern, by) || covered(strings.ToLower(pattern), patterns(strings.ToLower(strings.Join(by, ","))))
}

// checkUpstream refuses what the go command would refuse as GOPROXY.
func checkUpstream(list string) error {
	_, err := upstream.ParseList(list)
	return err
}
