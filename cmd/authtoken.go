package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"

	"github.com/gomirror/gomirror/serve/credential"
	"github.com/gomirror/gomirror/serve/credential/github"
)

const (
	// stdinLimit is above the longest token, and below what a file given by mistake
	// may have.
	stdinLimit = 16 << 10

	// ghLimit is for gh to read its keychain, for which it gives itself 3 s.
	ghLimit = 10 * time.Second
)

// readToken gets the token in the way that opts say.
func readToken(ctx context.Context, env *Env, s *settings, client *github.Client, place credential.Place, opts loginOptions) (credential.Secret, error) {
	switch {
	case opts.fromGH:
		return tokenOfGH(ctx, env, place.Host)
	case opts.web:
		return tokenByWeb(ctx, env, s, client, place.Host)
	case env.canAsk(): // --with-token too: who has no pipe is asked
		return askToken(ctx, env, place)
	case !opts.withToken:
		return credential.Secret{}, usagef("gomirror auth login"+opts.String()+" --with-token --yes <FILE", "log in: there is no terminal to ask for the token on")
	}
	text, err := io.ReadAll(io.LimitReader(env.Stdin, stdinLimit+1))
	if err != nil {
		return credential.Secret{}, fmt.Errorf("read the token from stdin: %w", err)
	}
	return parseToken(string(text), "stdin has")
}

// parseToken makes a secret of what was given. Its errors quote none of it.
func parseToken(text, given string) (credential.Secret, error) {
	words := strings.Fields(strings.TrimPrefix(text, "\ufeff")) // PowerShell writes a mark first
	const hint = "gomirror auth login --help"
	switch {
	case len(words) == 0:
		return credential.Secret{}, usagef(hint, "log in: %s no token", given)
	case len(words) > 1 || len(text) > stdinLimit:
		return credential.Secret{}, usagef(hint, "log in: %s more than a token", given)
	case len(words[0]) < 8 || strings.ContainsFunc(words[0], func(r rune) bool { return r <= ' ' || r > '~' }):
		return credential.Secret{}, usagef(hint, "log in: %s something that is no token", given)
	}
	return credential.NewSecret(words[0]), nil
}

// askToken says where to get a token, since that is what most need to know here.
func askToken(ctx context.Context, env *Env, place credential.Place) (credential.Secret, error) {
	classic := "https://" + place.Host + "/settings/tokens/new?scopes=repo&description=gomirror"
	fine := "https://" + place.Host + "/settings/personal-access-tokens/new?contents=read"
	if place.Owner != "" {
		fine += "&target_name=" + place.Owner
	}
	fmt.Fprintf(env.Stderr, "Make a token for %s here, for some repositories or for all:\n  %s\n  %s\n", place, fine, classic)
	text, err := env.ask(ctx, "Token (it is not shown): ", true)
	if err != nil && !errors.Is(err, io.EOF) {
		return credential.Secret{}, err
	}
	return parseToken(text, "you gave")
}

// tokenOfGH asks GitHub's own command, which has its own keychain item.
func tokenOfGH(ctx context.Context, env *Env, host string) (credential.Secret, error) {
	limited, cancel := context.WithTimeout(ctx, ghLimit)
	defer cancel()
	out, err := env.Exec(limited, "/", env.Environ(), "gh", "auth", "token", "--hostname", host)
	switch {
	case ctx.Err() != nil:
		return credential.Secret{}, ctx.Err()
	case errors.Is(err, exec.ErrNotFound):
		return credential.Secret{}, failf("gomirror auth login", "take the token of gh: there is no gh in PATH")
	case limited.Err() != nil:
		return credential.Secret{}, failf("gh auth status", "take the token of gh: it does not answer")
	case err != nil:
		return credential.Secret{}, failf("gh auth login --hostname "+host, "take the token of gh: %w", err)
	}
	return parseToken(string(out), "gh has")
}

// tokenByWeb runs OAuth's device flow with the app that the user has configured.
func tokenByWeb(ctx context.Context, env *Env, s *settings, client *github.Client, host string) (credential.Secret, error) {
	if s.clientID == "" {
		return credential.Secret{}, failf("gomirror auth login",
			"log in by the web: that needs the client id of an OAuth app in the setting github.client_id; a token, --with-token or --from-gh need none")
	}
	return client.Device(ctx, host, s.clientID, func(code, page string) {
		fmt.Fprintf(env.Stderr, "Open %s and type in %s\nWaiting for that; Ctrl-C leaves.\n", page, code)
	})
}
