package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/gomirror/gomirror/serve"
	"github.com/gomirror/gomirror/serve/credential"
	"github.com/gomirror/gomirror/serve/credential/github"
)

// authStatusDoc is the document of `auth status --json`.
type authStatusDoc struct {
	SchemaVersion int          `json:"schema_version"`
	Accounts      []accountDoc `json:"accounts"`
	Private       []string     `json:"private"` // patterns
}

// newAuthStatus declares auth status.
func newAuthStatus(env *Env) *cobra.Command {
	var hostname string
	c := &cobra.Command{
		Use:   "status",
		Short: "Tell which tokens there are and what GitHub says about them",
		Args:  arguments(""),
		RunE:  func(c *cobra.Command, _ []string) error { return runAuthStatus(c.Context(), env, hostname) },
	}
	c.Flags().StringVar(&hostname, "hostname", "", "tell about this `host` alone")
	return c
}

// runAuthStatus asks about all tokens at once. It prints what it found also where one
// is no good: the others are of interest, and a script reads which one it was.
func runAuthStatus(ctx context.Context, env *Env, hostname string) error {
	s, err := loadSettings(env, nil)
	if err != nil {
		return err
	}
	if err := hardenProcess(); err != nil {
		env.note("crash dumps may tell secrets: %v", err)
	}
	client, err := newGitHub(env, s)
	if err != nil {
		return err
	}
	found, err := heldTokens(ctx, env, s, hostname)
	if err != nil {
		return err
	}
	doc := authStatusDoc{SchemaVersion: 1, Accounts: make([]accountDoc, len(found)), Private: append([]string{}, s.private...)}
	problems := make([]error, len(found))
	var asking sync.WaitGroup // each ends with its requests
	for i, held := range found {
		asking.Go(func() { doc.Accounts[i], problems[i] = held.ask(ctx, client, env.Now()) })
	}
	asking.Wait()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if env.json {
		err = env.printJSON(doc)
	} else {
		_, err = io.WriteString(env.Stdout, doc.render(env))
	}
	return errors.Join(err, summary(problems, hostname))
}

// heldToken is a token, or why it can't be read.
type heldToken struct {
	credential.Token
	login   string    // at the time of the login
	expires time.Time // as was known then
	err     error
}

// heldTokens reads every token, at one host or at all.
func heldTokens(ctx context.Context, env *Env, s *settings, hostname string) ([]heldToken, error) {
	flags := placeFlags{hostname: hostname}
	only, err := flags.place()
	if err != nil {
		return nil, err
	}
	var found []heldToken
	if env.Getenv("GOMIRROR_GITHUB_TOKEN") != "" && only.Host == "github.com" {
		token, err := env.tokens(s, 0).Token(ctx, "github.com", "")
		token.Source, token.Place.Host = "GOMIRROR_GITHUB_TOKEN", "github.com"
		found = append(found, heldToken{Token: token, err: err})
	}
	// Past the variable, which would stand for each of them.
	stored := credential.New(credential.Options{StateDir: s.stateDir, Keychain: env.Secrets, Now: env.Now})
	entries, err := stored.Places()
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if hostname != "" && e.Host != only.Host {
			continue
		}
		token, err := stored.Token(ctx, e.Host, e.Owner)
		if err == nil && token.Place != e.Place {
			place := placeFlags{hostname: e.Host, owner: e.Owner}
			err = &problem{fmt.Errorf("the keychain holds no token for %s any more", e.Place), exitNeedsAuth, "gomirror auth login" + place.String()}
		}
		token.Source, token.Place = e.Storage, e.Place
		found = append(found, heldToken{token, e.Login, e.Expires, err})
	}
	return found, nil
}

// ask has GitHub say what it thinks of the token.
func (h *heldToken) ask(ctx context.Context, client *github.Client, now time.Time) (accountDoc, error) {
	doc := accountDoc{Host: h.Place.Host, Owner: h.Place.Owner, Login: h.login, Source: h.Source}
	err := h.err
	if err == nil {
		var account github.Account
		if account, err = client.Account(ctx, h.Place.Host, h.Secret); err == nil {
			doc.describe(account)
		}
	}
	if access := (*github.AccessError)(nil); errors.As(err, &access) {
		access.Held(h.Source, h.expires, now)
		if h.Place.Owner != "" && access.Kind != github.Unreachable && access.Kind != github.RateLimit && h.Source != "GOMIRROR_GITHUB_TOKEN" {
			place := placeFlags{hostname: h.Place.Host, owner: h.Place.Owner}
			err = &problem{err, exitNeedsAuth, "gomirror auth login" + place.String()}
		}
	}
	if err == nil && doc.Lacks != "" {
		return doc, &problem{errors.New("no " + doc.Lacks), exitNeedsAuth, ""}
	}
	if err != nil {
		doc.Error = serve.Redact(err.Error())
		var hinter interface{ Hint() string }
		if errors.As(err, &hinter) {
			doc.Try = hinter.Hint()
		}
		if h.err != nil { // a token that can't be read is as good as none
			return doc, &problem{err, exitNeedsAuth, doc.Try}
		}
		err = authProblem(err, "")
	}
	return doc, err
}

// summary is the error of the whole: the exit code tells whether somebody has to log
// in, or just to wait.
func summary(problems []error, hostname string) error {
	if len(problems) == 0 {
		place := placeFlags{hostname: hostname}
		where := ""
		if hostname != "" {
			where = " for " + hostname
		}
		return &problem{errors.New("no token is stored" + where), exitNeedsAuth, "gomirror auth login" + place.String()}
	}
	bad, code := 0, exitFailed
	for _, err := range problems {
		var p *problem
		if err == nil {
			continue
		}
		bad++
		if errors.As(err, &p) && p.code == exitNeedsAuth {
			code = exitNeedsAuth
		}
	}
	if bad == 0 {
		return nil
	}
	if len(problems) == 1 {
		return &problem{errors.New("the token can't be used"), code, ""}
	}
	return &problem{fmt.Errorf("%d of %d tokens can't be used", bad, len(problems)), code, ""}
}

// render is the human form.
func (d *authStatusDoc) render(env *Env) string {
	t := &sheet{p: env.palette()}
	for i, account := range d.Accounts {
		if i > 0 {
			t.b.WriteString("\n")
		}
		if account.Source == "file" && account.Try == "" {
			place := placeFlags{owner: account.Owner}
			if account.Host != "github.com" {
				place.hostname = account.Host
			}
			account.Try = "gomirror auth login" + place.String()
		}
		account.render(t, env.Now())
	}
	switch {
	case len(d.Accounts) == 0:
	case len(d.Private) > 0:
		t.b.WriteString("\n")
		t.list("private", d.Private, ",")
	default:
		t.b.WriteString("\n")
		t.row("private", t.p.warn.Render("nothing yet"))
		t.list("try", strings.Fields("gomirror config set private "+d.Accounts[0].Host+"/YOURORG"), "")
	}
	return t.b.String()
}
