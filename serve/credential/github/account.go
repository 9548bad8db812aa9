package github

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gomirror/gomirror/serve/credential"
)

// Account is what GitHub says about a token.
type Account struct {
	Login   string    // "" for an app's installation, which is nobody
	Kind    string    // classic, fine-grained, oauth or app
	Scopes  []string  // of classic and oauth; the others have permissions, which no answer lists
	Expires time.Time // zero: never, or not told
	Rate    struct {
		Limit, Remaining int
		Reset            time.Time
	}
	SSO map[string]string // organisations that it must be authorised for first, and where
}

// privateScope is what a classic token needs to read private repositories. There is
// no scope for reading alone.
const privateScope = "repo"

// Lacks returns the scope without which the token reads nothing private, or "".
func (a Account) Lacks() string {
	if (a.Kind == "classic" || a.Kind == "oauth") && !slices.Contains(a.Scopes, privateScope) {
		return privateScope
	}
	return ""
}

// Account asks whose token s is. A token that is not accepted is an [AccessError].
func (c *Client) Account(ctx context.Context, host string, s credential.Secret) (Account, error) {
	if s.Empty() {
		return Account{}, &AccessError{Kind: NoToken, Repo: host}
	}
	a := Account{Kind: kindOf(s)}
	path := "/user"
	if strings.HasPrefix(s.Reveal(), "ghs_") {
		path = "/rate_limit" // an installation may not ask who it is
	}
	resp, err := c.get(ctx, host, s, path)
	if err != nil {
		return Account{}, c.explain(err, host, s)
	}
	var user struct {
		Login string `json:"login"`
	}
	if err := resp.decode(&user); err != nil {
		return Account{}, &AccessError{Kind: Unreachable, Repo: host, Err: err}
	}
	if user.Login == "" && path == "/user" {
		return Account{}, &AccessError{Kind: Unreachable, Repo: host, Err: errors.New("its answer is not of GitHub's form")}
	}
	a.Login = oneLine(user.Login)
	a.read(resp.header)
	// Fine-grained tokens are made for one organisation, and authorised with it.
	if a.Kind == "classic" || a.Kind == "oauth" {
		a.SSO, err = c.closed(ctx, host, s)
	}
	return a, err
}

// kindOf reads the prefix that GitHub gives its tokens since 2021
// (github.blog/2021-04-05-behind-githubs-new-authentication-token-formats). Older
// ones, and those of old Enterprise servers, are classic.
func kindOf(s credential.Secret) string {
	for prefix, kind := range map[string]string{"github_pat_": "fine-grained", "gho_": "oauth", "ghu_": "app", "ghs_": "app"} {
		if strings.HasPrefix(s.Reveal(), prefix) {
			return kind
		}
	}
	return "classic"
}

// read takes what the headers of any answer tell.
func (a *Account) read(h http.Header) {
	for scope := range strings.SplitSeq(h.Get("X-OAuth-Scopes"), ",") {
		if scope = oneLine(scope); scope != "" {
			a.Scopes = append(a.Scopes, scope)
		}
	}
	a.Expires = expiry(h)
	a.Rate.Limit, _ = strconv.Atoi(h.Get("X-RateLimit-Limit"))
	a.Rate.Remaining, _ = strconv.Atoi(h.Get("X-RateLimit-Remaining"))
	if reset, err := strconv.ParseInt(h.Get("X-RateLimit-Reset"), 10, 64); err == nil {
		a.Rate.Reset = time.Unix(reset, 0)
	}
}

// expiry reads when a token ends; both forms are sent (google/go-github#2649).
func expiry(h http.Header) time.Time {
	text := h.Get("GitHub-Authentication-Token-Expiration")
	for _, layout := range []string{"2006-01-02 15:04:05 MST", "2006-01-02 15:04:05 -0700"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t
		}
	}
	return time.Time{}
}

// closedLimit is how many organisations are looked up by number. An account in more
// that want single sign-on is told of these first.
const closedLimit = 10

// closed returns the organisations that GitHub leaves out of the token's lists until
// it is authorised for their single sign-on. It gives their numbers only.
func (c *Client) closed(ctx context.Context, host string, s credential.Secret) (map[string]string, error) {
	resp, err := c.get(ctx, host, s, "/user/repos?visibility=private&per_page=1")
	if sso := new(AccessError); err != nil {
		// What the token may not list it has no organisations in.
		if err = c.explain(err, host, s); errors.As(err, &sso) && (sso.Kind == NoAccess || sso.Kind == SSO) {
			return nil, nil
		}
		return nil, err
	}
	_, list, ok := strings.Cut(resp.header.Get("X-GitHub-SSO"), "partial-results; organizations=")
	if !ok {
		return nil, nil
	}
	ids := strings.Split(list, ",")
	ids = ids[:min(len(ids), closedLimit)]
	names, urls := make([]string, len(ids)), make([]string, len(ids))
	group, ctx := errgroup.WithContext(ctx) // each ends with its request
	for i, id := range ids {
		group.Go(func() (err error) {
			names[i], urls[i], err = c.organisation(ctx, host, s, strings.TrimSpace(id))
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	sso := make(map[string]string, len(ids))
	for i, name := range names {
		sso[name] = urls[i]
	}
	return sso, nil
}

// organisation finds the name of a closed organisation, and where to authorise a
// token for it. The refusal itself tells both.
func (c *Client) organisation(ctx context.Context, host string, s credential.Secret, id string) (name, where string, err error) {
	if _, err := strconv.ParseUint(id, 10, 63); err != nil {
		return "", "", &AccessError{Kind: Unreachable, Repo: host, Err: fmt.Errorf("%q is no number of an organisation", id)}
	}
	resp, err := c.get(ctx, host, s, "/organizations/"+id)
	if err == nil {
		var org struct {
			Login string `json:"login"`
		}
		if resp.decode(&org) == nil && isName(org.Login) {
			return org.Login, "https://" + host + "/orgs/" + org.Login + "/sso", nil
		}
	}
	var access *AccessError
	if err != nil && errors.As(c.explain(err, host, s), &access) && access.Kind == SSO {
		if u, err := url.Parse(access.URL); err == nil {
			if name, _, ok := strings.Cut(strings.TrimPrefix(u.Path, "/orgs/"), "/sso"); ok && isName(name) {
				return name, access.URL, nil
			}
		}
	}
	return "organisation number " + id, "https://" + host + "/settings/tokens", nil
}

// Owner is who owns repositories.
type Owner struct {
	Name    string
	Private int    // how many private repositories of theirs the token sees
	Example string // one of these, "github.com/acme/x"; "" if there is none
}

// pageLimit bounds the lists of an account that sees very much: 1,000 repositories,
// those pushed to last first.
const pageLimit = 10

// Owners returns who owns private repositories that the token sees, those with the
// most first, and then the other organisations that it sees.
func (c *Client) Owners(ctx context.Context, host string, s credential.Secret) ([]Owner, error) {
	found := map[string]*Owner{}
	path := "/user/repos?visibility=private&sort=pushed"
	if strings.HasPrefix(s.Reveal(), "ghs_") {
		path = "/installation/repositories?"
	}
	err := c.pages(ctx, host, s, path, func(r *response) error {
		repos, err := r.repositories()
		for _, repo := range repos {
			if !repo.Private || !isName(repo.Owner.Login) {
				continue
			}
			if found[repo.Owner.Login] == nil {
				found[repo.Owner.Login] = &Owner{Name: repo.Owner.Login, Example: host + "/" + repo.Owner.Login + "/" + repo.Name}
			}
			found[repo.Owner.Login].Private++
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	err = c.pages(ctx, host, s, "/user/orgs?", func(r *response) error {
		var orgs []struct {
			Login string `json:"login"`
		}
		err := r.decode(&orgs)
		for _, org := range orgs {
			if isName(org.Login) && found[org.Login] == nil {
				found[org.Login] = &Owner{Name: org.Login}
			}
		}
		return err
	})
	// Tokens without read:org may not ask that.
	if access := (*AccessError)(nil); errors.As(err, &access) && access.Kind == NoAccess {
		err = nil
	}
	owners := make([]Owner, 0, len(found))
	for _, o := range found {
		owners = append(owners, *o)
	}
	slices.SortFunc(owners, func(a, b Owner) int {
		if a.Private != b.Private {
			return b.Private - a.Private
		}
		return strings.Compare(a.Name, b.Name)
	})
	return owners, err
}

// repository is what is read of a repository in an answer.
type repository struct {
	Name    string `json:"name"`
	Private bool   `json:"private"`
	Owner   struct {
		Login string `json:"login"`
	} `json:"owner"`
}

// repositories reads a list, which installations get in an object.
func (r *response) repositories() ([]repository, error) {
	var list []repository
	if json.Unmarshal(r.body, &list) == nil {
		return list, nil
	}
	var object struct {
		Repositories []repository `json:"repositories"`
	}
	err := r.decode(&object)
	return object.Repositories, err
}

// pages reads all pages of a list. It counts them itself, for the addresses in Link
// are the server's to choose.
func (c *Client) pages(ctx context.Context, host string, s credential.Secret, path string, read func(*response) error) error {
	for page := 1; page <= pageLimit; page++ {
		resp, err := c.get(ctx, host, s, fmt.Sprintf("%s&per_page=100&page=%d", path, page))
		if err != nil {
			return c.explain(err, host, s)
		}
		if err := read(resp); err != nil {
			return &AccessError{Kind: Unreachable, Repo: host, Err: err}
		}
		if !strings.Contains(resp.header.Get("Link"), `rel="next"`) {
			return nil
		}
	}
	return nil
}

// isName reports whether a server's text may become part of a pattern. Names have
// letters, digits and hyphens, those of managed users an underscore too.
func isName(text string) bool {
	return text != "" && len(text) <= 100 && !strings.ContainsFunc(text, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_')
	})
}
