package cmd

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gomirror/gomirror/serve/credential"
)

// logoutOptions are the flags of auth logout.
type logoutOptions struct {
	placeFlags
	all bool
}

// newLogout declares auth logout.
func newLogout(env *Env) *cobra.Command {
	var opts logoutOptions
	c := &cobra.Command{
		Use:   "logout",
		Short: "Remove a token from the keychain",
		Long: `Remove a token from the keychain. GitHub goes on accepting it until you delete it there.
The private patterns stay: without them names would go to public mirrors.`,
		Args: arguments(""),
		RunE: func(c *cobra.Command, _ []string) error { return runLogout(c.Context(), env, opts) },
	}
	opts.add(c.Flags())
	c.Flags().BoolVar(&opts.all, "all", false, "remove every token")
	return c
}

// runLogout removes what was named, or the only one there is.
func runLogout(ctx context.Context, env *Env, opts logoutOptions) error {
	s, err := loadSettings(env, nil)
	if err != nil {
		return err
	}
	place, err := opts.place()
	if err != nil {
		return err
	}
	store := env.tokens(s, 0)
	entries, err := store.Places()
	if err != nil {
		return err
	}
	chosen, err := opts.choose(place, entries)
	if err != nil {
		return err
	}
	defer forgetTokens(ctx, env, s)
	var errs []error
	for _, e := range chosen {
		if err := store.Remove(ctx, e.Place); err != nil && !errors.Is(err, credential.ErrNone) {
			errs = append(errs, authProblem(err, ""))
			continue
		}
		env.note("removed the token of %s for %s; GitHub accepts it until it is deleted at https://%s/settings/tokens", e.Login, e.Place, e.Host)
	}
	if env.Getenv("GOMIRROR_GITHUB_TOKEN") != "" {
		env.note("GOMIRROR_GITHUB_TOKEN still counts for github.com, until: unset GOMIRROR_GITHUB_TOKEN")
	}
	return errors.Join(errs...)
}

// choose finds the entries that are meant. With several and none named it does not
// guess.
func (o *logoutOptions) choose(place credential.Place, entries []credential.Entry) ([]credential.Entry, error) {
	named := o.hostname != "" || o.owner != ""
	var match []credential.Entry
	for _, e := range entries {
		if o.all && (o.hostname == "" || e.Host == place.Host) || !o.all && (!named || e.Host == place.Host && strings.EqualFold(e.Owner, place.Owner)) {
			match = append(match, e)
		}
	}
	switch {
	case len(match) == 0 && named:
		return nil, failf("gomirror auth status", "log out: no token is stored for %s", place)
	case len(match) == 0:
		return nil, failf("gomirror auth login", "log out: no token is stored")
	case len(match) > 1 && !o.all:
		names := make([]string, len(match))
		for i, e := range match {
			names[i] = e.Place.String()
		}
		flags := placeFlags{owner: match[0].Owner, hostname: match[0].Host}
		return nil, usagef("gomirror auth logout"+flags.String()+", or --all", "log out: there are tokens for %s", fmt.Sprint(strings.Join(names, ", ")))
	}
	return match, nil
}
