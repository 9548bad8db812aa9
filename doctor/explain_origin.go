package doctor

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/gomirror/gomirror/serve/credential"
	"github.com/gomirror/gomirror/serve/credential/github"
)

// gitUser goes with a token. GitHub takes any.
const gitUser = "x-access-token"

// repository is where the code of a module is.
type repository struct {
	root string // import path
	url  *url.URL
}

// origin retells the pull from the module's own repository, as git would do it: the
// list of its refs, with the token that gomirror would show.
func (x *explainer) origin(ctx context.Context) {
	repo, ok := x.repository(ctx)
	if !ok {
		return
	}
	host := repo.url.Hostname()
	owner, _, _ := strings.Cut(strings.TrimPrefix(repo.url.Path, "/"), "/")
	var token credential.Token
	var err error
	if x.pattern != "" || strings.EqualFold(hostOfPath(x.mod), host) {
		// Not for what the page of some other host leads to: anybody can name any
		// repository there.
		token, err = x.token(ctx, host, owner)
	}
	if err != nil {
		x.beyond("origin", AuthMissing, nil, hintOf(err, "gomirror auth login"), "the token for %s can't be read: %v", host, err)
		return
	}
	at := *repo.url
	at.Path = strings.TrimSuffix(at.Path, ".git") + ".git/info/refs"
	at.RawQuery = "service=git-upload-pack"
	r := x.ask(ctx, target{role: asGit, url: &at, needed: true}, http.MethodGet, func(req *http.Request) {
		if !token.Empty() && req.URL.Scheme == "https" {
			req.SetBasicAuth(gitUser, token.Reveal())
		}
	})
	refs, ok := parseRefs(r.body)
	switch {
	case r.fault != nil:
		x.beyond("origin", r.verdict(), nil, x.wayTo(r.fault, x.mod), "%s", r.fault.text)
	case r.status == http.StatusOK && ok:
		if x.otherCase(ctx, repo, token) {
			return
		}
		x.tagged(repo, refs)
		if x.pattern == "" && !token.Empty() {
			x.unnamed(ctx, at)
		}
	case r.status == http.StatusOK:
		x.beyond("origin", UpstreamError, nil, "", "%s does not answer as a git host does", host)
	default:
		x.refused(ctx, repo, token, r)
	}
}

// otherCase tells of capitals that the host does not mind and go does: its go.mod, and
// all who import it, have one of the names.
func (x *explainer) otherCase(ctx context.Context, repo repository, token credential.Token) bool {
	if host := hostOfPath(repo.root); x.o.GitHub == nil || host != "github.com" || !token.Empty() && token.Place.Host != host {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	is, err := x.o.GitHub.Name(ctx, repo.root, token.Secret)
	if err != nil || is == repo.root || !strings.EqualFold(is, repo.root) {
		return false // one that was renamed keeps the path in its go.mod, mostly
	}
	right := is + strings.TrimPrefix(x.mod, repo.root)
	x.step("origin", Fail, nil, "the repository is %s, not %s", is, repo.root)
	x.blame(CaseMismatch, goGet(right, x.version), "go tells capitals apart: the module is %s, not %s", right, x.mod)
	return true
}

// unnamed tells of a repository that only the token may read and that no pattern calls
// private.
func (x *explainer) unnamed(ctx context.Context, at url.URL) {
	if r := x.ask(ctx, target{role: asGit, url: &at, needed: true}, http.MethodGet, nil); r.fault != nil || r.status == http.StatusOK {
		return
	}
	x.step("origin", Fail, nil, "strangers may not read it, and no pattern says that it is private")
	x.blame(LeakRisk, x.makePrivate(), "%s is private, but no pattern says so: upstreams are asked for it", x.mod)
}

// token is what gomirror would show to the host; empty where there is none.
func (x *explainer) token(ctx context.Context, host, owner string) (credential.Token, error) {
	if x.o.Tokens == nil {
		return credential.Token{}, nil
	}
	token, err := x.o.Tokens.Token(ctx, host, owner)
	if errors.Is(err, credential.ErrNone) {
		return credential.Token{}, nil
	}
	return token, err
}

// fixedRepository is the repository that a path names.
var fixedRepository = regexp.MustCompile(`^(?:(github\.com|bitbucket\.org)/[\w.-]+/[\w.-]+|[a-z0-9.-]+(?:/[\w.~-]+)+?\.git)(?:/|$)`)

// repository finds where the module's code is.
func (x *explainer) repository(ctx context.Context) (repository, bool) {
	if m := fixedRepository.FindString(x.mod); m != "" {
		root := strings.TrimSuffix(m, "/")
		return repository{root, &url.URL{Scheme: "https", Host: hostOfPath(root), Path: root[len(hostOfPath(root)):]}}, true
	}
	if host := hostOfPath(x.mod); host == "github.com" || host == "bitbucket.org" {
		x.step("resolve", Fail, nil, "%s names no repository", x.mod)
		x.blame(NotFound, "gomirror doctor "+host+"/OWNER/NAME", "%s names no repository: that is %s/OWNER/NAME", x.mod, host)
		return repository{}, false
	}
	at := &url.URL{Scheme: "https", Host: hostOfPath(x.mod), Path: x.mod[len(hostOfPath(x.mod)):], RawQuery: "go-get=1"}
	r := x.ask(ctx, target{role: asGit, url: at, needed: true}, http.MethodGet, nil)
	root, repo := importTag(r.body, x.mod)
	switch u, err := url.Parse(repo); {
	case r.fault != nil:
		x.beyond("origin", r.verdict(), nil, x.wayTo(r.fault, x.mod), "%s", r.fault.text)
	case root == "" && r.status/100 == 2:
		x.beyond("resolve", NotFound, nil, "", "the page https://%s names no repository for go", x.mod)
	case root == "":
		x.beyond("resolve", NotFound, nil, "", "https://%s answers %s, so go learns no repository of it", x.mod, r)
	case err != nil || u.Scheme != "https":
		x.beyond("resolve", NotFound, nil, "GOPRIVATE="+root+" go get "+x.name(), "https://%s names %s, and gomirror asks git by https alone", x.mod, oneLine(repo))
	default:
		u.User = nil
		return repository{root, u}, true
	}
	return repository{}, false
}

// wayTo is the command for a host that modules come from and that no check visits.
func (x *explainer) wayTo(f *fault, modPath string) string {
	at := &url.URL{Scheme: "https", Host: hostOfPath(modPath)}
	switch proxy, err := x.n.proxy(at); {
	case f.fix != "":
		return f.fix
	case f.layer == "http" || err != nil || proxy != nil:
		return "sleep 60; gomirror doctor " + x.name()
	}
	return x.n.restarted("export HTTPS_PROXY=http://PROXY:PORT")
}

func hostOfPath(path string) string {
	host, _, _ := strings.Cut(path, "/")
	return host
}

var (
	metaTag     = regexp.MustCompile(`(?is)<meta\s[^>]*name=["']?go-import["']?[^>]*>`)
	metaContent = regexp.MustCompile(`(?is)content=["']([^"']+)["']`)
)

// importTag reads the go-import tag of a page.
func importTag(page []byte, modPath string) (root, repo string) {
	for _, tag := range metaTag.FindAll(page, -1) {
		m := metaContent.FindSubmatch(tag)
		if m == nil {
			continue
		}
		f := strings.Fields(string(m[1]))
		if len(f) >= 3 && f[1] == "git" && (modPath == f[0] || strings.HasPrefix(modPath, f[0]+"/")) {
			return f[0], f[2]
		}
	}
	return "", ""
}

// refused finds out why a host does not list the refs of a repository.
func (x *explainer) refused(ctx context.Context, repo repository, token credential.Token, r reply) {
	host := repo.url.Hostname()
	about := strings.TrimSuffix(host+repo.url.Path, ".git")
	if x.o.GitHub != nil {
		ctx, cancel := context.WithTimeout(ctx, askLimit)
		defer cancel()
		err := x.o.GitHub.Why(ctx, about, token.Secret)
		access, ok := errors.AsType[*github.AccessError](err)
		if ok && !(access.Foreign && host != "github.com") {
			if x.o.Tokens != nil {
				access.Held(token.Source, x.o.Tokens.Expiry(token), x.o.Now())
			}
			x.beyond("origin", verdictOfAccess(access), x.asStranger(token), x.accessFix(access), "%s", access.Error())
			return
		}
	}
	v := verdictOfStatus(r.status)
	login := "gomirror auth login" + hostname(host)
	switch {
	case (v == NotFound || v == AuthMissing) && token.Empty():
		x.beyond("origin", AuthMissing, nil, login, "%s answers %s: %s does not exist, or it is private and there is no token for %s", host, r, about, host)
	case v == NotFound:
		x.beyond("origin", NoAccess, nil, login, "%s answers 404 for both missing and forbidden: %s does not exist, or the token may not see it", host, about)
	case v == AuthMissing:
		x.beyond("origin", AuthExpired, nil, login, "%s does not accept the token", host)
	default:
		x.beyond("origin", v, nil, "", "%s answers %s (asked about %s)", host, r, about)
	}
}

// asStranger says that no token was shown.
func (x *explainer) asStranger(token credential.Token) []string {
	if token.Empty() {
		return []string{"asked without a token"}
	}
	return []string{"asked with the token of " + token.Place.String() + ", from " + token.Source}
}

// accessFix is the hint of a host's refusal as one command.
func (x *explainer) accessFix(e *github.AccessError) string {
	switch hint := e.Hint(); {
	case e.Kind == github.RateLimit && !e.Until.IsZero():
		return fmt.Sprintf("sleep %d", max(1, int(e.Until.Sub(x.o.Now()).Seconds())+1))
	case e.Kind == github.Unreachable:
		return "gomirror doctor --only network"
	default:
		return runnable(x.o.GOOS, hint)
	}
}
