package github

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gomirror/gomirror/serve/credential"
)

// Kind is why something can't be read.
type Kind int

// The kinds of [AccessError].
const (
	NoToken     Kind = iota + 1 // there is none, and strangers may not read it
	BadToken                    // GitHub does not know it: mistyped or revoked, or expired some time ago
	Expired                     // it says so itself
	NoAccess                    // it is good, and not for this; or there is no such repository
	SSO                         // the organisation wants it authorised first
	RateLimit                   // too many requests
	Unreachable                 // no answer, or none of GitHub's
)

// AccessError tells why something of a GitHub host can't be read.
type AccessError struct {
	Kind   Kind
	Repo   string    // "github.com/acme/x", or "github.com" where it is about the token alone
	URL    string    // where it can be mended, "" if nowhere
	Until  time.Time // of RateLimit: when the next request is answered; of Expired: since when
	Lacks  string    // of NoAccess: the permission, where that is known
	Source string    // where the token came from, if the caller says so; it decides the hint
	Alone  string    // the owner that the token is for alone, if the caller says so
	Err    error     // what GitHub or the network said; may be nil

	// Foreign says that the answer, if there was one, was none of a GitHub: the host may
	// be another kind of git host, about which nothing is known here.
	Foreign bool

	stranger bool // no token was sent
}

// Host is the one that was asked.
func (e *AccessError) Host() string {
	host, _, _ := strings.Cut(e.Repo, "/")
	return host
}

// Owner is that of the repository, "" if the error is about the token alone.
func (e *AccessError) Owner() string {
	_, rest, _ := strings.Cut(e.Repo, "/")
	owner, _, _ := strings.Cut(rest, "/")
	return owner
}

// OneRepository reports whether the token is as good as ever for other repositories.
func (e *AccessError) OneRepository() bool { return e.Kind == NoAccess || e.Kind == SSO }

// Limited reports whether there were too many requests, whatever they were for.
func (e *AccessError) Limited() bool { return e.Kind == RateLimit }

// Refused reports whether GitHub has looked at who asks, and said no.
func (e *AccessError) Refused() bool { return e.Kind != RateLimit && e.Kind != Unreachable }

// Error is one sentence for who ran the go command.
func (e *AccessError) Error() string {
	switch e.Kind {
	case NoToken:
		if e.Owner() == "" {
			return "there is no token for " + e.Repo
		}
		return e.Repo + " is private or does not exist, and there is no token for " + e.Host()
	case BadToken:
		return e.Host() + " does not accept the token: it was revoked, has expired or is mistyped"
	case Expired:
		return fmt.Sprintf("the token for %s expired on %s", e.Host(), e.Until.UTC().Format(time.DateOnly))
	case SSO:
		return fmt.Sprintf("the organisation %s wants the token authorised for its single sign-on", e.Owner())
	case RateLimit:
		return fmt.Sprintf("%s answers no more requests until %s", e.Host(), e.Until.Local().Format("15:04:05"))
	case Unreachable:
		return fmt.Sprintf("%s is out of reach: %v", e.Host(), e.Err)
	}
	switch {
	case e.Lacks != "":
		return fmt.Sprintf("the token may not read %s: it lacks %s", e.Repo, e.Lacks)
	case isRefused(e.Err, http.StatusNotFound) || e.Err == nil:
		return e.Repo + " does not exist, or the token may not see it: " + e.Host() + " tells neither apart"
	}
	return fmt.Sprintf("%s refuses %s: %v", e.Host(), e.Repo, e.Err)
}

func (e *AccessError) Unwrap() error { return e.Err }

// Hint is the one next step, a command where one helps.
func (e *AccessError) Hint() string {
	switch {
	case e.Kind == RateLimit && !e.stranger: // strangers share 60 requests an hour
		return "again at " + e.Until.Local().Format("15:04:05")
	case e.Kind == Unreachable:
		return "curl -sSI " + API(e.Host())
	case e.URL != "":
		return "open " + e.URL + " and then again"
	case e.Source == "GOMIRROR_GITHUB_TOKEN":
		return "unset GOMIRROR_GITHUB_TOKEN; " + e.login() // it goes before every stored one
	}
	return e.login()
}

// Held adds what is known about the token that was sent: where it came from, and when
// it was to end. GitHub says the same of an expired token as of a wrong one.
func (e *AccessError) Held(source string, expires, now time.Time) {
	e.Source = source
	if e.Kind == BadToken && !expires.IsZero() && expires.Before(now) {
		e.Kind, e.Until = Expired, expires
	}
}

// login is the command that stores another token.
func (e *AccessError) login() string {
	command := "gomirror auth login"
	if e.Host() != "github.com" {
		command += " --hostname " + e.Host()
	}
	switch {
	case e.Kind == NoAccess && e.Owner() != "": // another token for all of the host would see no more
		command += " --owner " + e.Owner()
	case e.Alone != "": // it goes before the host's
		command += " --owner " + e.Alone
	}
	return command
}

// Why tells why a repository, "github.com/acme/x", can't be read with s, which may be
// empty: an [AccessError]. It returns nil if it can be read.
func (c *Client) Why(ctx context.Context, repo string, s credential.Secret) error {
	parts := strings.SplitN(repo, "/", 4)
	if len(parts) < 3 {
		return &AccessError{Kind: NoAccess, Repo: repo, Err: errors.New("it is no repository")}
	}
	host, name := parts[0], url.PathEscape(parts[1])+"/"+url.PathEscape(strings.TrimSuffix(parts[2], ".git"))
	repo = strings.Join(parts[:3], "/")
	_, err := c.get(ctx, host, s, "/repos/"+name)
	if err == nil && !s.Empty() && kindOf(s) != "classic" && kindOf(s) != "oauth" {
		// These see a repository, by the permission Metadata, that they can't read.
		// One that has no commits yet answers 409.
		_, err = c.get(ctx, host, s, "/repos/"+name+"/git/matching-refs/tags/gomirror")
		if isRefused(err, http.StatusConflict) {
			err = nil
		}
	}
	if err == nil {
		return nil
	}
	return c.explain(err, repo, s)
}

// explain turns what get returned into an [AccessError]. repo may be a host alone.
func (c *Client) explain(err error, repo string, s credential.Secret) error {
	e := &AccessError{Repo: repo, Kind: Unreachable, Err: err, stranger: s.Empty()}
	var r *refusal
	e.Foreign = !errors.As(err, &r) || r.header.Get("X-GitHub-Request-Id") == ""
	if r == nil {
		// Who has left asks for no reason.
		if errors.Is(err, context.Canceled) {
			return fmt.Errorf("ask %s: %w", e.Host(), err)
		}
		var made *url.Error
		if errors.As(err, &made) {
			e.Err = made.Err // without the address, which tells the developer nothing
		}
		return e
	}
	switch sso, until := r.header.Get("X-GitHub-SSO"), r.until(c.now()); {
	case r.status == http.StatusUnauthorized:
		e.Kind = BadToken
		if ends := expiry(r.header); !ends.IsZero() && ends.Before(r.date(c.now())) || strings.Contains(r.message, "expired") {
			e.Kind, e.Until = Expired, ends
		}
		if e.Until.IsZero() {
			e.Kind = BadToken
		}
		if s.Empty() {
			e.Kind = NoToken
		}
	case strings.HasPrefix(sso, "required"):
		e.Kind = SSO
		_, e.URL, _ = strings.Cut(sso, "url=")
		e.URL = safeURL(e.URL, e.Host())
	case !until.IsZero():
		e.Kind, e.Until = RateLimit, until
	case r.status >= 500:
	case s.Empty() && (r.status == http.StatusNotFound || r.status == http.StatusForbidden):
		e.Kind = NoToken
	case r.status >= 400:
		e.Kind = NoAccess
		if strings.HasPrefix(r.message, "Resource not accessible by") {
			e.Lacks, e.URL = lacking(r.header), tokenPage(e.Host(), s)
		}
	}
	return e
}

// date is the server's, for a clock that is off must not make a token expire.
func (r *refusal) date(now time.Time) time.Time {
	if t, err := http.ParseTime(r.header.Get("Date")); err == nil {
		return t
	}
	return now
}

// until returns when a request that was one too many may be sent again; zero if it
// was none (docs.github.com/rest, "Rate limits", "Exceeding the rate limit").
func (r *refusal) until(now time.Time) time.Time {
	if r.status != http.StatusForbidden && r.status != http.StatusTooManyRequests {
		return time.Time{}
	}
	if wait, err := strconv.Atoi(r.header.Get("Retry-After")); err == nil && wait >= 0 {
		return now.Add(time.Duration(min(wait, 86400)) * time.Second)
	}
	reset, err := strconv.ParseInt(r.header.Get("X-RateLimit-Reset"), 10, 64)
	switch {
	case err == nil && r.header.Get("X-RateLimit-Remaining") == "0":
		return time.Unix(reset, 0)
	case r.status == http.StatusTooManyRequests || strings.Contains(r.message, "secondary rate limit"):
		return now.Add(time.Minute) // what GitHub asks of who is told no time
	}
	return time.Time{}
}

// lacking names the permissions that would do, "contents=read" in the header, as the
// page of the token writes them.
func lacking(h http.Header) string {
	wants, _, _ := strings.Cut(h.Get("X-Accepted-GitHub-Permissions"), ";")
	var names []string
	for want := range strings.SplitSeq(oneLine(wants), ",") {
		name, level, _ := strings.Cut(strings.TrimSpace(want), "=")
		if name == "" {
			continue
		}
		if level == "read" {
			level = "read-only"
		}
		names = append(names, strings.ToUpper(name[:1])+strings.ReplaceAll(name[1:], "_", " ")+": "+level)
	}
	if len(names) == 0 {
		return "a permission"
	}
	return "the permission " + strings.Join(names, ", ")
}

// tokenPage is where the user changes what a token may do.
func tokenPage(host string, s credential.Secret) string {
	switch kindOf(s) {
	case "fine-grained":
		return "https://" + host + "/settings/personal-access-tokens"
	case "classic":
		return "https://" + host + "/settings/tokens"
	}
	return "https://" + host + "/settings/installations"
}

// safeURL passes on an address that GitHub sent for the user to open, if it is one of
// its own; else "".
func safeURL(text, host string) string {
	u, err := url.Parse(strings.TrimSpace(text))
	if err != nil || u.Scheme != "https" || u.User != nil || u.Host != host {
		return "https://" + host + "/settings/tokens"
	}
	return u.String()
}
