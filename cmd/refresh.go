package cmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"golang.org/x/mod/module"

	"github.com/gomirror/gomirror/cache"
	"github.com/gomirror/gomirror/serve/daemon"
	"github.com/gomirror/gomirror/serve/mirror"
)

// newRefresh declares refresh.
func newRefresh(env *Env) *cobra.Command {
	var accept bool
	c := &cobra.Command{
		Use:   "refresh MODULE[@VERSION]",
		Short: "Ask anew for what may change of a module",
		Long: `Ask anew for what may change of a module: its versions, @latest, its branches, and
what was not found.

Of a private VERSION, show whether its tag still names the commit that it was first
pulled as. That commit is served, whatever happens to the tag, until --accept-moved.`,
		Args: arguments("MODULE[@VERSION]"),
		RunE: func(c *cobra.Command, args []string) error { return runRefresh(c.Context(), env, args[0], accept) },
	}
	c.Flags().BoolVar(&accept, "accept-moved", false, "take what the version's tag names now")
	return c
}

// runRefresh shows and changes nothing of a version that has moved, unless accept: the
// bytes that everybody has built with are not to be lost by a question.
func runRefresh(ctx context.Context, env *Env, target string, accept bool) error {
	modPath, version, err := splitTarget(target)
	if err != nil {
		return err
	}
	if accept && version == "" {
		return usagef("gomirror refresh "+modPath+"@VERSION --accept-moved", "--accept-moved needs a version")
	}
	client, err := controlSocket()
	if err != nil {
		return err
	}
	request := daemon.Refresh{Module: modPath, Version: version, AcceptMoved: accept}
	if version == "" {
		var doc refreshedDoc
		if err := client.Refresh(ctx, request, &doc); err != nil {
			return refused(err)
		}
		return doc.print(env)
	}
	var doc refreshedVersionDoc
	if err := client.Refresh(ctx, request, &doc); err != nil {
		return refused(err)
	}
	return doc.print(env)
}

// splitTarget reads MODULE[@VERSION].
func splitTarget(target string) (modPath, version string, err error) {
	modPath, version, _ = strings.Cut(target, "@")
	if err := module.CheckPath(modPath); err != nil {
		return "", "", usagef("the path as it stands in go.mod: github.com/OWNER/NAME", "read %q: %w", target, err)
	}
	return modPath, version, nil
}

// controlSocket is how a command asks the daemon for something. It reads no settings: the
// daemon has its own, and a mistake in config.toml must not keep anyone from stopping it.
func controlSocket() (*daemon.Client, error) {
	s, err := defaultSettings()
	if err != nil {
		return nil, err
	}
	return dialSidecar(s)
}

// refused gives what the daemon says its exit code, and a next step.
func refused(err error) error {
	var origin interface{ NeedsAuth() bool }
	var hinter interface{ Hint() string }
	switch {
	case !errors.As(err, &hinter) || hinter.Hint() == "":
		return &problem{err, exitFailed, "gomirror status"}
	case errors.As(err, &origin) && origin.NeedsAuth():
		return &problem{err, exitNeedsAuth, hinter.Hint()}
	}
	return err
}

// refresh is what the daemon does for runRefresh.
func (a *assembly) refresh(ctx context.Context, r daemon.Refresh) (any, error) {
	if r.Version == "" {
		return a.mirror.Refresh(ctx, r.Module)
	}
	return a.mirror.RefreshVersion(ctx, module.Version{Path: r.Module, Version: r.Version}, r.AcceptMoved)
}

// forgetTokens has nothing that was answered to the tokens of before stand for those of
// now. What a login has made private is private from here on.
func (a *assembly) forgetTokens() error {
	err := a.rereadPrivate()
	a.tokens.Forget()
	a.mirror.Relogin()
	return err
}

// refreshedDoc is the document of `refresh MODULE --json`.
type refreshedDoc struct {
	SchemaVersion int `json:"schema_version"`
	mirror.Refreshed
}

func (d *refreshedDoc) print(env *Env) error {
	d.SchemaVersion = 1
	if env.json {
		return env.printJSON(d)
	}
	fmt.Fprintf(env.Stdout, "%s has %s\n", d.Module, count(int64(d.Versions), "version"))
	w := tabwriter.NewWriter(env.Stdout, 0, 0, 2, ' ', 0)
	for label, versions := range map[string][]string{"new": d.New, "gone": d.Gone} {
		if len(versions) > 0 {
			fmt.Fprintf(w, "%s\t%s\n", label, strings.Join(versions, " "))
		}
	}
	if d.Latest != "" {
		fmt.Fprintf(w, "latest\t%s\n", d.Latest)
	}
	for _, b := range d.Branches {
		switch b.Now {
		case b.Was:
			fmt.Fprintf(w, "%s\t%s\n", b.Ref, b.Now)
		case "":
			fmt.Fprintf(w, "%s\tis gone, was %s\n", b.Ref, b.Was)
		default:
			fmt.Fprintf(w, "%s\t%s, was %s\n", b.Ref, b.Now, b.Was)
		}
	}
	return w.Flush()
}

// refreshedVersionDoc is the document of `refresh MODULE@VERSION --json`.
type refreshedVersionDoc struct {
	SchemaVersion int `json:"schema_version"`
	mirror.Version
}

// print shows both commits of a version that has moved, also where that is an error.
func (d *refreshedVersionDoc) print(env *Env) error {
	d.SchemaVersion = 1
	name := d.Module + "@" + d.Version.Version
	var moved error
	if d.Moved != "" && !d.Accepted {
		moved = failf("gomirror refresh "+name+" --accept-moved", "%s %s", name, d.frozenAs())
	}
	if env.json {
		return errors.Join(env.printJSON(d), moved)
	}
	switch {
	case moved != nil:
		return moved
	case d.Ref != "":
		fmt.Fprintf(env.Stdout, "%s@%s is %s\n", d.Module, d.Ref, d.Version.Version)
	case d.Accepted && d.Moved == cache.Deleted:
		fmt.Fprintf(env.Stdout, "%s is given up, as at its origin\nwas  commit %s  %s\n", name, d.Commit, d.H1)
	case d.Accepted:
		fmt.Fprintf(env.Stdout, "%s has moved\nwas  commit %s  %s\nis   commit %s  %s\n", name, cmp.Or(d.Commit, "unknown"), d.H1, d.Moved, d.NewH1)
		env.note("go.sum and the module cache still have the old one: remove its lines from go.sum, then run go clean -modcache")
	case !d.Private:
		fmt.Fprintf(env.Stdout, "%s is public: it never changes\n", name)
	default:
		fmt.Fprintf(env.Stdout, "%s is commit %s, as it was first pulled\n", name, d.Commit)
	}
	return nil
}

// frozenAs words what the first download was, and what the origin has now.
func (d *refreshedVersionDoc) frozenAs() string {
	if d.NewH1 != "" {
		return fmt.Sprintf("was first pulled as %s, and there is %s now, of commit %s", d.H1, d.NewH1, d.Moved)
	}
	return fmt.Sprintf("was first pulled as commit %s, which is served; %s", d.Commit, whereTag(d.Moved))
}

// whereTag words where a tag went.
func whereTag(moved string) string {
	if moved == cache.Deleted {
		return "its tag is gone"
	}
	return "its tag names commit " + moved + " by now"
}
