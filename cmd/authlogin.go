package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/gomirror/gomirror/serve/credential"
	"github.com/gomirror/gomirror/serve/credential/github"
)

// loginOptions are the flags of auth login.
type loginOptions struct {
	placeFlags
	withToken bool // read it from stdin
	fromGH    bool // take that of GitHub's own command
	web       bool // OAuth's device flow
	insecure  bool // into a file
	yes       bool // take the patterns that are proposed
	private   []string
}

// newLogin declares auth login. It takes no token as an argument, and says why.
func newLogin(env *Env) *cobra.Command {
	var opts loginOptions
	c := &cobra.Command{
		Use:   "login",
		Short: "Check a GitHub token and store it in the keychain",
		Long: `Check a GitHub token, store it in the system's keychain, and choose which modules
are private: those are asked of GitHub itself and of nobody else.

  gomirror auth login                            ask for the token
  gomirror auth login --with-token --yes <FILE   read it from stdin
  gomirror auth login --from-gh                  take that of the gh command
  gomirror auth login --web                      log in with a browser

A classic token needs the scope "repo", a fine-grained one the permission "Contents:
read-only". In CI set GOMIRROR_GITHUB_TOKEN instead.`,
		Args: refuseToken,
		RunE: func(c *cobra.Command, _ []string) error {
			opts.private, _ = c.Flags().GetStringSlice("private") // it is declared below
			return runLogin(c.Context(), env, opts, c.Flags().Changed("private"))
		},
	}
	flags := c.Flags()
	opts.add(flags)
	flags.BoolVar(&opts.withToken, "with-token", false, "read the token from stdin")
	flags.BoolVar(&opts.fromGH, "from-gh", false, "take the token of the gh command")
	flags.BoolVar(&opts.web, "web", false, "log in with a browser")
	flags.BoolVar(&opts.insecure, "insecure-storage", false, "store it in plain text, not in the keychain")
	flags.BoolVarP(&opts.yes, "yes", "y", false, "take the private patterns that are proposed")
	flags.StringSlice("private", nil, "private `patterns` to add: owners or patterns, all or none")
	c.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		invalid, unknown := (*pflag.InvalidValueError)(nil), (*pflag.NotExistError)(nil)
		if errors.As(err, &invalid) && invalid.GetFlag().Name == "with-token" || errors.As(err, &unknown) && unknown.GetSpecifiedName() == "token" {
			return errTokenArgument()
		}
		return flagError(c, err)
	})
	return c
}

// refuseToken never repeats what was typed.
func refuseToken(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return errTokenArgument()
	}
	return nil
}

func errTokenArgument() error {
	return usagef("gomirror auth login",
		"log in: a token as an argument is in your shell's history and in everybody's list of processes, so it was not used; if it was a real one, revoke it")
}

// check refuses flags that contradict each other.
func (o *loginOptions) check(chosen bool) error {
	var ways []string
	for name, on := range map[string]bool{"--with-token": o.withToken, "--from-gh": o.fromGH, "--web": o.web} {
		if on {
			ways = append(ways, name)
		}
	}
	if len(ways) > 1 {
		return usagef("gomirror auth login --with-token", "log in: give one of --with-token, --from-gh and --web")
	}
	if o.yes && chosen {
		return usagef("gomirror auth login --yes", "log in: give one of --yes and --private")
	}
	return nil
}

// needAnswer refuses to store the first token where nobody says what is private and
// nobody can be asked: its user would pull what the token is for by name from a mirror.
func (o *loginOptions) needAnswer(env *Env, s *settings, chosen bool) error {
	if o.yes || chosen || env.canAsk() || !o.withToken && !o.fromGH && !o.web {
		return nil // the last is refused for want of a token
	}
	if present, err := filePrivate(s); err != nil || len(present) > 0 {
		return err
	}
	way := " --with-token"
	switch {
	case o.fromGH:
		way = " --from-gh"
	case o.web:
		way = " --web"
	}
	return usagef("gomirror auth login"+o.String()+way+" --yes",
		"log in: nobody can be asked here which modules are private: say --yes, --private OWNER or --private none")
}

// loginDoc is the document of `auth login --json`.
type loginDoc struct {
	SchemaVersion int        `json:"schema_version"`
	Account       accountDoc `json:"account"`
	Private       []string   `json:"private"`            // patterns that were added
	Proposed      []string   `json:"proposed,omitempty"` // those that were not
}

// runLogin stores nothing before all is known to be good: a token that GitHub takes
// and that can read, and an answer to which modules are private. chosen says that
// --private was given.
func runLogin(ctx context.Context, env *Env, opts loginOptions, chosen bool) error {
	if err := opts.check(chosen); err != nil {
		return err
	}
	place, err := opts.place()
	if err != nil {
		return err
	}
	s, err := loadSettings(env, nil)
	if err != nil {
		return err
	}
	if err := opts.needAnswer(env, s, chosen); err != nil {
		return err
	}
	if err := hardenProcess(); err != nil {
		env.note("crash dumps may tell secrets: %v", err)
	}
	client, err := newGitHub(env, s)
	if err != nil {
		return err
	}
	secret, err := readToken(ctx, env, s, client, place, opts)
	if err != nil {
		return err
	}
	account, owners, err := checkToken(ctx, client, place, secret)
	if err != nil {
		return err
	}
	choice, err := choosePrivate(ctx, env, s, choiceInput{place, account, owners, opts, chosen})
	if err != nil {
		return err
	}
	// The patterns come first: whatever stops us, no token is there without them.
	if err := addPrivate(ctx, env, s, choice.added); err != nil {
		return err
	}
	store := env.tokens(s, 0)
	if err := store.Put(ctx, place, account.Login, secret, opts.insecure); err != nil {
		if len(choice.added) > 0 {
			env.note("no token is stored; private all the same: %s", strings.Join(choice.added, ", "))
		}
		return authProblem(err, "")
	}
	// Whatever happens from here on, the sidecar must learn of the token.
	defer forgetTokens(ctx, env, s)
	if err := store.SetExpiry(ctx, place, account.Expires); err != nil {
		return err
	}
	doc := loginDoc{SchemaVersion: 1, Private: append([]string{}, choice.added...), Proposed: choice.left}
	doc.Account = accountDoc{Host: place.Host, Owner: place.Owner, Source: "keychain"}
	if opts.insecure {
		doc.Account.Source = "file"
	}
	doc.Account.describe(account)
	return env.printLogin(doc, choice)
}

// checkToken asks GitHub about the token, and whose private repositories it sees.
func checkToken(ctx context.Context, client *github.Client, place credential.Place, secret credential.Secret) (github.Account, []github.Owner, error) {
	again := "copy the token once more from https://" + place.Host + "/settings/tokens"
	account, err := client.Account(ctx, place.Host, secret)
	if err != nil {
		if access := (*github.AccessError)(nil); errors.As(err, &access) && access.Kind != github.BadToken {
			again = ""
		}
		return account, nil, authProblem(err, again)
	}
	if lacks := account.Lacks(); lacks != "" {
		return account, nil, &problem{fmt.Errorf("the token of %s reads nothing private: it lacks the scope %q (it has: %s)",
			account.Login, lacks, scopeList(account.Scopes)), exitNeedsAuth, "open https://" + place.Host + "/settings/tokens and then again"}
	}
	owners, err := client.Owners(ctx, place.Host, secret)
	if err != nil {
		return account, nil, authProblem(err, "")
	}
	if err := checkOwner(place, account, owners); err != nil {
		return account, nil, err
	}
	for _, owner := range owners {
		// Scopes were seen; permissions show only in what is done with them.
		if owner.Example == "" || place.Owner != "" && !strings.EqualFold(owner.Name, place.Owner) {
			continue
		}
		access := (*github.AccessError)(nil)
		if err := client.Why(ctx, owner.Example, secret); errors.As(err, &access) && access.Lacks != "" {
			return account, nil, authProblem(err, "")
		}
		break
	}
	return account, owners, nil
}

// checkOwner refuses a token for one owner of whom it sees nothing: it is another
// one's, or waits for the organisation's approval. A member of an organisation without
// private repositories may have theirs tomorrow.
func checkOwner(place credential.Place, account github.Account, owners []github.Owner) error {
	is := func(name string) bool { return strings.EqualFold(name, place.Owner) }
	if place.Owner == "" || is(account.Login) ||
		slices.ContainsFunc(owners, func(o github.Owner) bool { return is(o.Name) }) ||
		slices.ContainsFunc(slices.Collect(maps.Keys(account.SSO)), is) {
		return nil
	}
	return &problem{fmt.Errorf("the token of %s sees nothing of %s: it is for another owner, or %s has not approved it yet", account.Login, place, place.Owner),
		exitNeedsAuth, "choose " + place.Owner + " as resource owner at https://" + place.Host + "/settings/personal-access-tokens"}
}

func scopeList(scopes []string) string {
	if len(scopes) == 0 {
		return "none"
	}
	return strings.Join(scopes, ", ")
}

// printLogin tells what was stored and what is still to do.
func (e *Env) printLogin(doc loginDoc, choice choice) error {
	if e.json {
		return e.printJSON(doc)
	}
	t := &sheet{p: e.palette()}
	doc.Account.render(t, e.Now())
	if len(doc.Private) > 0 {
		t.list("private", doc.Private, ",")
	}
	if _, err := io.WriteString(e.Stdout, t.b.String()); err != nil {
		return err
	}
	if choice.note != "" {
		e.note("%s", choice.note)
	}
	if doc.Account.Host == "github.com" && e.Getenv("GOMIRROR_GITHUB_TOKEN") != "" {
		e.note("GOMIRROR_GITHUB_TOKEN is set too and goes before it")
	}
	return nil
}
