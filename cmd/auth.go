package cmd

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/gomirror/gomirror/serve/credential"
	"github.com/gomirror/gomirror/serve/credential/github"
	"github.com/gomirror/gomirror/serve/daemon"
	"github.com/gomirror/gomirror/serve/upstream"
)

// newAuth declares auth.
func newAuth(env *Env) *cobra.Command {
	c := group(&cobra.Command{
		Use:   "auth",
		Short: "Give gomirror a token for private GitHub modules",
	}, newLogin(env), newAuthStatus(env), newLogout(env))
	c.PersistentPreRunE = func(*cobra.Command, []string) error { // in the place of the root's
		_ = hardenProcess() // without it a token can be had all the same
		return checkColor(env.color)
	}
	return c
}

// placeFlags say which token is meant.
type placeFlags struct{ hostname, owner string }

func (p *placeFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&p.hostname, "hostname", "", "`host` of a GitHub Enterprise server")
	flags.StringVar(&p.owner, "owner", "", "`organisation` or user that the token is for alone")
}

// Names as GitHub has them; managed users have an underscore in theirs. A port is
// none of a host's name: tokens go to 443.
var (
	hostForm  = regexp.MustCompile(`^[a-z0-9-]+(\.[a-z0-9-]+)+$`)
	ownerForm = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_-]{0,99}$`)
	repoForm  = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_-]{0,99}/[A-Za-z0-9._-]{1,100}$`) // OWNER/NAME
)

// place takes a host as people paste it.
func (p *placeFlags) place() (credential.Place, error) {
	host := strings.TrimSuffix(strings.TrimPrefix(strings.ToLower(p.hostname), "https://"), "/")
	switch host {
	case "", "www.github.com", "api.github.com":
		host = "github.com"
	}
	if !hostForm.MatchString(host) {
		return credential.Place{}, usagef("--hostname github.example.com", "--hostname %q is no host", p.hostname)
	}
	if p.owner != "" && !ownerForm.MatchString(p.owner) {
		return credential.Place{}, usagef("--owner YOURORG", "--owner %q is no organisation or user", p.owner)
	}
	return credential.Place{Host: host, Owner: p.owner}, nil
}

// flags is p as text for a command that the user may run.
func (p *placeFlags) String() string {
	text := ""
	if p.hostname != "" {
		text += " --hostname " + p.hostname
	}
	if p.owner != "" {
		text += " --owner " + p.owner
	}
	return text
}

// newGitHub reaches GitHub as the sidecar does.
func newGitHub(env *Env, s *settings) (*github.Client, error) {
	return newGitHubBy(env, s, http.ProxyFromEnvironment)
}

// newGitHubBy is newGitHub by another HTTP proxy than that of this process.
func newGitHubBy(env *Env, s *settings, proxy func(*http.Request) (*url.URL, error)) (*github.Client, error) {
	client, err := upstream.NewClient(upstream.ClientOptions{
		Dial:      env.Dial,
		CAFile:    s.caFile,
		ProxyFunc: proxy,
		// The user has typed the host in, so it may be an inner one.
		Trusted: func(string) bool { return true },
		Lookup:  env.Lookup,
	})
	if err != nil {
		return nil, err
	}
	return github.New(github.Options{HTTP: client, Now: env.Now}), nil
}

// accountDoc is one token and what GitHub says about it, as `auth status --json` and
// `auth login --json` print it.
type accountDoc struct {
	Host    string            `json:"host"`
	Owner   string            `json:"owner,omitempty"`
	Login   string            `json:"login"`
	Source  string            `json:"source"` // keychain, file or GOMIRROR_GITHUB_TOKEN
	Kind    string            `json:"kind,omitempty"`
	Scopes  []string          `json:"scopes,omitempty"`
	Lacks   string            `json:"lacks,omitempty"`
	Expires time.Time         `json:"expires,omitzero"`
	Rate    rateDoc           `json:"rate,omitzero"`
	SSO     map[string]string `json:"sso,omitempty"` // organisations to authorise it for, and where
	Error   string            `json:"error,omitempty"`
	Try     string            `json:"try,omitempty"`
}

type rateDoc struct {
	Limit     int       `json:"limit"`
	Remaining int       `json:"remaining"`
	Reset     time.Time `json:"reset"`
}

// describe takes over what GitHub said.
func (d *accountDoc) describe(a github.Account) {
	d.Login, d.Kind, d.Scopes, d.Lacks, d.Expires, d.SSO = a.Login, a.Kind, a.Scopes, a.Lacks(), a.Expires, a.SSO
	d.Rate = rateDoc{a.Rate.Limit, a.Rate.Remaining, a.Rate.Reset}
}

// expirySoon is how long before its end a token is warned of: a week has a working
// day in it.
const expirySoon = 7 * 24 * time.Hour

// render adds the rows of one token.
func (d *accountDoc) render(t *sheet, now time.Time) {
	place := credential.Place{Host: d.Host, Owner: d.Owner}.String()
	if d.Login == "" {
		t.row("account", place)
	} else {
		t.row("account", d.Login+" at "+place)
	}
	switch d.Source {
	case "file":
		t.row("stored", t.p.warn.Render("in plain text, for whoever reads your files"))
	default:
		t.row("stored", d.Source)
	}
	if d.Kind != "" {
		kind := d.Kind
		if len(d.Scopes) > 0 {
			kind += ", scopes"
		}
		t.list("token", append([]string{kind}, separated(d.Scopes)...), "")
	}
	if d.Lacks != "" {
		t.row("lacks", t.p.bad.Render("scope "+d.Lacks)+", without which it reads nothing private")
	}
	if !d.Expires.IsZero() {
		left := d.Expires.Sub(now)
		text := fmt.Sprintf("%s, in %s", d.Expires.UTC().Format("2006-01-02 15:04 MST"), uptime(left))
		if left < expirySoon {
			text = t.p.warn.Render(text)
		}
		t.row("expires", text)
	}
	if r := d.Rate; r.Limit > 0 {
		t.row("limit", fmt.Sprintf("%d of %d requests left, all again at %s", r.Remaining, r.Limit, r.Reset.Local().Format("15:04")))
	}
	for _, org := range slices.Sorted(maps.Keys(d.SSO)) {
		t.row("sso", t.p.warn.Render(org)+" wants it authorised, at")
		t.row("", d.SSO[org])
	}
	if d.Error != "" {
		t.list("problem", strings.Fields(t.p.bad.Render(printable(d.Error))), "")
	}
	if d.Try != "" {
		t.list("try", strings.Fields(printable(d.Try)), "")
	}
}

// separated puts commas between words that list may break lines between.
func separated(words []string) []string {
	words = slices.Clone(words)
	for i := range words[:max(0, len(words)-1)] {
		words[i] += ","
	}
	return words
}

// authProblem gives an error of GitHub or of the keychain its exit code. What to try
// is the error's own, unless hint knows better.
func authProblem(err error, hint string) error {
	var access *github.AccessError
	var keychain *credential.KeychainError
	code := exitFailed
	switch {
	case errors.As(err, &access):
		switch access.Kind {
		case github.NoToken, github.BadToken, github.Expired, github.NoAccess, github.SSO:
			code = exitNeedsAuth
		}
	case errors.As(err, &keychain), errors.Is(err, credential.ErrNone):
		code = exitNeedsAuth
	default:
		return err
	}
	var hinter interface{ Hint() string }
	if hint == "" && errors.As(err, &hinter) {
		hint = hinter.Hint()
	}
	return &problem{err, code, hint}
}

// forgetTokens tells a running sidecar that tokens have changed, or what config.toml
// calls private. Without one there is nothing to tell.
func forgetTokens(ctx context.Context, env *Env, s *settings) {
	client, err := daemon.Dial(s.stateDir)
	if errors.Is(err, daemon.ErrNotRunning) {
		return
	}
	if err == nil {
		err = client.ForgetTokens(ctx)
	}
	if err != nil {
		env.note("%v; so that it knows of this: %s", err, env.startAnew(ctx, s))
	}
}
