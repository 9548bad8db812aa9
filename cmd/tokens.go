package cmd

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gomirror/gomirror/serve/credential"
	"github.com/gomirror/gomirror/serve/credential/github"
)

// rememberTokens is how long a sidecar keeps a token in memory: the keychain is not
// asked for each clone, and a token that was changed by other means counts soon.
const rememberTokens = 15 * time.Minute

// tokenVariable holds a token for github.com, before all that are stored.
const tokenVariable = "GOMIRROR_GITHUB_TOKEN"

// gitUser is the name that goes with a token. GitHub takes any.
const gitUser = "x-access-token"

// tokens returns the store of the user's tokens. remember is for a sidecar.
func (e *Env) tokens(s *settings, remember time.Duration) *credential.Store {
	return credential.New(credential.Options{
		Environment: credential.NewSecret(e.Getenv(tokenVariable)),
		StateDir:    s.stateDir,
		Keychain:    e.Secrets,
		Now:         e.Now,
		Remember:    remember,
	})
}

// tokenPlaces names what there are tokens for, "github.com/acme" or "github.com", and
// which of these lie in a plain file. It asks no keychain.
func (e *Env) tokenPlaces(tokens *credential.Store) (places, plain []string, err error) {
	entries, err := tokens.Places()
	if e.Getenv(tokenVariable) != "" {
		places = append(places, "github.com")
	}
	for _, entry := range entries {
		place := entry.Place.String()
		if !slices.Contains(places, place) {
			places = append(places, place)
		}
		if entry.Storage == "file" {
			plain = append(plain, place)
		}
	}
	return places, plain, err
}

// hasToken reports whether one of places is where all that pattern matches lies.
func hasToken(places []string, pattern string) bool {
	host, rest, _ := strings.Cut(strings.ToLower(pattern), "/")
	owner, _, _ := strings.Cut(rest, "/")
	return slices.Contains(places, host) || owner != "" && slices.Contains(places, host+"/"+owner)
}

// credential answers git's question for a repository of a private module. What can't
// be had is logged, not told: git then goes on as a stranger, and the host says no.
func (a *assembly) credential(ctx context.Context, repo *url.URL) (user, password string, ok bool) {
	token, err := a.tokenFor(ctx, repo.Hostname(), repo.Path)
	if err != nil {
		return "", "", false
	}
	return gitUser, token.Reveal(), true
}

// tokenFor finds the token of a repository by its path at host.
func (a *assembly) tokenFor(ctx context.Context, host, path string) (credential.Token, error) {
	owner, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	token, err := a.tokens.Token(ctx, host, owner)
	if err != nil && !errors.Is(err, credential.ErrNone) {
		// The host of a private module is a name, too, and err has more of it.
		reason := "the list of tokens is not readable"
		if fault, ok := errors.AsType[*credential.KeychainError](err); ok {
			reason = fault.Kind.String()
		}
		a.log.WarnContext(ctx, "token not readable", "reason", reason)
		a.log.DebugContext(ctx, "token not readable", "host", host, "err", err)
	}
	return token, err
}

// why asks the host of a repository, "github.com/acme/x", what it has against us.
func (a *assembly) why(ctx context.Context, repo string, refusal error) error {
	host, path, _ := strings.Cut(repo, "/")
	token, err := a.tokenFor(ctx, host, path)
	var fault *credential.KeychainError
	if errors.As(err, &fault) {
		return fault // the host was asked as a stranger would ask
	}
	reason := a.github.Why(ctx, repo, token.Secret)
	if access, ok := errors.AsType[*github.AccessError](reason); ok {
		if access.Foreign && token.Empty() && host != "github.com" {
			return nil // no GitHub: what git said stands
		}
		access.Alone = token.Place.Owner
		access.Held(token.Source, a.tokens.Expiry(token), a.env.Now())
	}
	return reason
}
