package cmd

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/mod/module"

	"github.com/gomirror/gomirror/cache"
	"github.com/gomirror/gomirror/serve/daemon"
	"github.com/gomirror/gomirror/serve/upstream"
)

// newResolve declares resolve.
func newResolve(env *Env) *cobra.Command {
	return &cobra.Command{
		Use:   "resolve MODULE@REF",
		Short: "Print the version that a branch, tag or commit is",
		Long: `Print the version that a branch, tag or commit is. The go command takes no branch with
a slash from a module proxy, but the version of one it does:

  go get github.com/acme/mod@$(gomirror resolve github.com/acme/mod@feature/x)`,
		Args: arguments("MODULE@REF"),
		RunE: func(c *cobra.Command, args []string) error { return runResolve(c.Context(), env, args[0]) },
	}
}

// resolvedDoc is the answer of the daemon and the document of `resolve --json`.
type resolvedDoc struct {
	SchemaVersion int    `json:"schema_version"`
	Module        string `json:"module"`
	Ref           string `json:"ref"`
	Version       string `json:"version"`
	Private       bool   `json:"private"`
}

// runResolve prints the version and nothing else: it is put behind MODULE@.
func runResolve(ctx context.Context, env *Env, target string) error {
	modPath, ref, err := splitTarget(target)
	if err != nil {
		return err
	}
	if ref == "" {
		return usagef("gomirror resolve "+modPath+"@BRANCH", "resolve needs a branch, tag or commit behind @")
	}
	client, err := controlSocket()
	if err != nil {
		return err
	}
	var doc resolvedDoc
	if err := client.Resolve(ctx, daemon.Resolve{Module: modPath, Ref: ref}, &doc); err != nil {
		return refused(err)
	}
	if env.json {
		return env.printJSON(doc)
	}
	_, err = fmt.Fprintln(env.Stdout, doc.Version)
	return err
}

// resolver is a source that takes refs with slashes.
type resolver interface {
	Resolve(ctx context.Context, modPath, ref string) (version string, err error)
}

// resolve is what the daemon does for runResolve. What go could ask for itself goes the
// way that go's request would, so that both get the same answer.
func (a *assembly) resolve(ctx context.Context, r daemon.Resolve) (any, error) {
	doc := resolvedDoc{SchemaVersion: 1, Module: r.Module, Ref: r.Ref, Private: a.isPrivate(r.Module)}
	if !strings.Contains(r.Ref, "/") {
		found, err := a.mirror.RefreshVersion(ctx, module.Version{Path: r.Module, Version: r.Ref}, false)
		if err != nil {
			return nil, err
		}
		doc.Version = found.Version
		return doc, nil
	}
	source := a.public
	switch {
	case a.s.offline:
		return nil, errors.New("only the origin of a module knows a branch with a slash, and gomirror runs with --offline")
	case doc.Private:
		source = a.origin
	case !strings.HasSuffix(a.chain.String(), "direct"):
		return nil, failf("gomirror config set upstream LIST,direct",
			"only the origin of %s knows a branch with a slash, and the upstream list %s does not lead there", r.Module, a.chain)
	}
	origin, ok := source.(resolver)
	if !ok {
		return nil, source.Fetch(ctx, upstream.Request{}, nil) // an unavailable one, which says why
	}
	var err error
	if doc.Version, err = origin.Resolve(ctx, r.Module, r.Ref); err != nil {
		return nil, err
	}
	// A mirror may not know the commit. A tag it may, and perhaps another commit by it.
	if info, err := cache.NewKey(r.Module, doc.Version, cache.Info); err == nil && module.IsPseudoVersion(doc.Version) {
		return doc, a.mirror.Take(ctx, info, source)
	}
	return doc, nil
}
