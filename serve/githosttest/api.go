package githosttest

import (
	"encoding/json"
	"fmt"
	"hash/crc32"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// serveAPI answers the few REST calls of https://docs.github.com/rest that gomirror
// makes; it reports whether the request was for the API of a GitHub.
func (h *Host) serveAPI(w http.ResponseWriter, r *http.Request) bool {
	host, path, ok := h.api(r)
	if !ok {
		return false
	}
	a, v := h.identify(r, host)
	v.rate(w.Header())
	h.describe(w.Header(), r, a)
	if path == "/rate_limit" && v.kind != badToken {
		serveRate(w, v)
		return true
	}
	if v.kind == badToken || v.kind == limited {
		v.answerAPI(w)
		return true
	}
	switch parts := strings.Split(strings.TrimPrefix(path, "/"), "/"); {
	case len(parts) == 3 && parts[0] == "repos":
		h.serveRepo(w, r, host+"/"+parts[1]+"/"+parts[2])
	case len(parts) > 4 && parts[0] == "repos" && parts[3] == "git" && parts[4] == "matching-refs":
		h.serveRefs(w, r, host+"/"+parts[1]+"/"+parts[2])
	case len(parts) == 2 && parts[0] == "organizations":
		h.serveOwner(w, host, a, parts[1])
	case len(parts) == 2 && parts[0] == "repositories":
		h.serveRepo(w, r, h.numbered(parts[1]))
	case parts[0] == "user" && v.kind == stranger:
		apiError(w, http.StatusUnauthorized, "Requires authentication")
	case path == "/user":
		reply(w, http.StatusOK, map[string]any{"login": a.Login, "id": number(a.Login), "type": "User"})
	case path == "/user/orgs":
		h.serveOwners(w, r, a)
	case path == "/user/repos":
		h.serveRepos(w, r, a)
	default:
		apiError(w, http.StatusNotFound, "Not Found")
	}
	return true
}

// api says which GitHub's API the request is for, and the path inside of it.
func (h *Host) api(r *http.Request) (host, path string, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for host, base := range h.hubs {
		asked := "https://" + r.Host + r.URL.Path
		if path, ok := strings.CutPrefix(asked, base); ok && strings.HasPrefix(path, "/") {
			return host, path, true
		}
	}
	return "", "", false
}

// describe writes the headers that tell what a token is.
func (h *Host) describe(header http.Header, r *http.Request, a Account) {
	header.Set("X-GitHub-Request-Id", "0000:1111:2222:3333:4444")
	if a.Login == "" {
		return
	}
	if !strings.HasPrefix(Request{Header: r.Header}.Token(), "github_pat_") { // fine-grained ones have no scopes
		header.Set("X-OAuth-Scopes", strings.Join(a.Scopes, ", "))
		header.Set("X-Accepted-OAuth-Scopes", "")
	}
	if !a.Expires.IsZero() {
		header.Set("GitHub-Authentication-Token-Expiration", a.Expires.UTC().Format("2006-01-02 15:04:05 MST"))
	}
}

// answerAPI refuses a call.
func (v verdict) answerAPI(w http.ResponseWriter) {
	switch v.kind {
	case badToken:
		apiError(w, http.StatusUnauthorized, "Bad credentials")
	case limited:
		apiError(w, http.StatusForbidden, "API rate limit exceeded for user ID 1.")
	case unauthorized:
		w.Header().Set("X-GitHub-SSO", "required; url="+v.url)
		apiError(w, http.StatusForbidden, "Resource protected by organization SAML enforcement. "+
			"You must grant your Personal Access token access to this organization.")
	case barred:
		w.Header().Set("X-Accepted-GitHub-Permissions", "contents=read")
		apiError(w, http.StatusForbidden, "Resource not accessible by personal access token")
	default:
		apiError(w, http.StatusNotFound, "Not Found")
	}
}

func serveRate(w http.ResponseWriter, v verdict) {
	core := map[string]any{"limit": rateLimit, "remaining": rateLimit - 1, "used": 1, "reset": time.Now().Add(time.Hour).Unix()}
	if v.kind == limited {
		core["remaining"], core["used"], core["reset"] = 0, rateLimit, v.reset.Unix()
	}
	w.Header().Del("Retry-After")
	reply(w, http.StatusOK, map[string]any{"resources": map[string]any{"core": core}, "rate": core})
}

// serveRepo answers GET /repos/O/R. The old name of a renamed one redirects to its number.
func (h *Host) serveRepo(w http.ResponseWriter, r *http.Request, asked string) {
	repo, moved := h.resolve(asked)
	h.mu.Lock()
	_, exists := h.repos[strings.ToLower(repo)]
	h.mu.Unlock()
	if v := h.judge(r, repo); !exists || v.kind != readable && v.kind != barred {
		v.answerAPI(w)
		return
	}
	if moved {
		host, _, _ := strings.Cut(repo, "/")
		h.mu.Lock()
		base := h.hubs[host]
		h.mu.Unlock()
		url := fmt.Sprint(base, "/repositories/", number(repo))
		w.Header().Set("Location", url)
		reply(w, http.StatusMovedPermanently, map[string]any{"message": "Moved Permanently", "url": url})
		return
	}
	reply(w, http.StatusOK, h.about(repo))
}

// serveRefs answers GET /repos/O/R/git/matching-refs/… with none: what is asked is
// whether the contents may be read.
func (h *Host) serveRefs(w http.ResponseWriter, r *http.Request, repo string) {
	if v := h.judge(r, repo); v.kind != readable {
		v.answerAPI(w)
		return
	}
	reply(w, http.StatusOK, []any{})
}

// serveOwner answers GET /organizations/ID, which is how the numbers in X-GitHub-SSO
// get names.
func (h *Host) serveOwner(w http.ResponseWriter, host string, a Account, id string) {
	for _, prefix := range a.Sees {
		name, rest, _ := strings.Cut(prefix, "/")
		owner, _, _ := strings.Cut(rest, "/")
		if name != host || owner == "" || strconv.Itoa(number(owner)) != id {
			continue
		}
		if url := a.SSO[owner]; url != "" {
			verdict{kind: unauthorized, owner: owner, url: url}.answerAPI(w)
			return
		}
		reply(w, http.StatusOK, map[string]any{"login": owner, "id": number(owner)})
		return
	}
	apiError(w, http.StatusNotFound, "Not Found")
}

// about is the part of GitHub's account of a repository that anybody reads.
func (h *Host) about(repo string) map[string]any {
	h.mu.Lock()
	defer h.mu.Unlock()
	host, full, _ := strings.Cut(repo, "/")
	owner, name, _ := strings.Cut(full, "/")
	return map[string]any{
		"id": number(repo), "name": name, "full_name": full,
		"private":        below(h.private, strings.ToLower(repo)),
		"owner":          map[string]any{"login": owner, "id": number(owner)},
		"clone_url":      "https://" + host + "/" + full + ".git",
		"default_branch": "main",
		"permissions":    map[string]bool{"pull": true},
	}
}

// sees lists the repositories that the account has to do with, sorted, and the
// owners that want SSO before they are listed.
func (h *Host) sees(a Account) (repos, closed []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for name, repo := range h.repos {
		if host, rest, _ := strings.Cut(repo, "/"); host == a.Host && below(a.Sees, name) {
			if owner, _, _ := strings.Cut(rest, "/"); a.SSO[owner] != "" {
				closed = append(closed, owner)
				continue
			}
			repos = append(repos, repo)
		}
	}
	slices.Sort(repos)
	slices.Sort(closed)
	return repos, slices.Compact(closed)
}

// partial tells of owners that were left out because they want SSO.
func partial(header http.Header, closed []string) {
	if len(closed) == 0 {
		return
	}
	var ids []string
	for _, owner := range closed {
		ids = append(ids, strconv.Itoa(number(owner)))
	}
	header.Set("X-GitHub-SSO", "partial-results; organizations="+strings.Join(ids, ","))
}

func (h *Host) serveOwners(w http.ResponseWriter, r *http.Request, a Account) {
	_, closed := h.sees(a)
	partial(w.Header(), closed)
	list := []any{}
	var known []string
	for _, prefix := range a.Sees {
		host, rest, _ := strings.Cut(prefix, "/")
		owner, _, _ := strings.Cut(rest, "/")
		if host != a.Host || owner == "" || owner == a.Login || slices.Contains(known, owner) || slices.Contains(closed, owner) {
			continue
		}
		known = append(known, owner)
		list = append(list, map[string]any{"login": owner, "id": number(owner)})
	}
	reply(w, http.StatusOK, page(w, r, list))
}

func (h *Host) serveRepos(w http.ResponseWriter, r *http.Request, a Account) {
	repos, closed := h.sees(a)
	partial(w.Header(), closed)
	list := []any{}
	for _, repo := range repos {
		about := h.about(repo)
		if want := r.URL.Query().Get("visibility"); want == "" || want == "all" || (want == "private") == about["private"] {
			list = append(list, about)
		}
	}
	reply(w, http.StatusOK, page(w, r, list))
}

// page cuts the asked page out of a list and links the next, 30 a page unless told.
func page(w http.ResponseWriter, r *http.Request, list []any) []any {
	query := r.URL.Query()
	size, err := strconv.Atoi(query.Get("per_page"))
	if err != nil || size < 1 || size > 100 {
		size = 30
	}
	at, err := strconv.Atoi(query.Get("page"))
	if err != nil || at < 1 {
		at = 1
	}
	start := min((at-1)*size, len(list))
	end := min(start+size, len(list))
	if end < len(list) {
		query.Set("page", strconv.Itoa(at+1))
		w.Header().Set("Link", fmt.Sprintf(`<https://%s%s?%s>; rel="next"`, r.Host, r.URL.Path, query.Encode()))
	}
	return list[start:end]
}

// number is the id that stands for a name.
func number(name string) int { return int(crc32.ChecksumIEEE([]byte(name)) >> 1) }

// numbered finds the repository with the id.
func (h *Host) numbered(id string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, repo := range h.repos {
		if strconv.Itoa(number(repo)) == id {
			return repo
		}
	}
	return ""
}

func apiError(w http.ResponseWriter, status int, message string) {
	reply(w, status, map[string]any{"message": message, "documentation_url": "https://docs.github.com/rest", "status": strconv.Itoa(status)})
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v)
}
