package githosttest

import (
	"net/http"
	"net/http/cgi"
	"strings"
)

// serveGit hands the request to git's http-backend if who asks may read the
// repository. Hosts take repository paths with and without .git; on disk all have it.
func (h *Host) serveGit(w http.ResponseWriter, r *http.Request) {
	path, file := r.Host+r.URL.Path, ""
	for _, end := range []string{"/info/refs", "/git-upload-pack"} {
		if rest, ok := strings.CutSuffix(path, end); ok {
			path, file = rest, end
		}
	}
	asked := strings.TrimSuffix(path, ".git")
	repo, moved := h.resolve(asked)
	if file != "" || moved {
		if v := h.judge(r, repo); v.kind != readable {
			v.answerGit(w)
			return
		}
	}
	switch {
	case moved && file != "/git-upload-pack":
		// A git that was asked who it is before it was redirected goes on at the old
		// name; hosts serve it there.
		target := "https://" + repo + ".git" + file
		if r.URL.RawQuery != "" {
			target += "?" + r.URL.RawQuery
		}
		http.Redirect(w, r, target, http.StatusMovedPermanently)
		return
	case file == "":
		http.NotFound(w, r)
		return
	}
	r = r.Clone(r.Context())
	r.URL.Path = "/" + repo + ".git" + file
	// The token is not the backend's business, nor is who the user claims to be.
	r.Header.Del("Authorization")
	backend := &cgi.Handler{
		Path: h.backend,
		Dir:  h.dir,
		Env:  append(h.environ(), "GIT_PROJECT_ROOT="+h.dir, "GIT_HTTP_EXPORT_ALL=1"),
	}
	backend.ServeHTTP(w, r)
}

// resolve follows renames of the repository and, where the host is a GitHub, takes
// its name in any case. moved says that the client is to be redirected.
func (h *Host) resolve(asked string) (repo string, moved bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	repo = asked
	for old, new := range h.redirects {
		if repo == old {
			repo, moved = new, true
		}
	}
	name, _, _ := strings.Cut(repo, "/")
	if made, ok := h.repos[strings.ToLower(repo)]; ok && h.hubs[name] != "" {
		repo = made
	}
	return repo, moved
}

// answerGit refuses a git client. git prints a text/plain body as lines after
// "remote: ", so these are the texts that developers know.
func (v verdict) answerGit(w http.ResponseWriter) {
	header, status, text := w.Header(), http.StatusNotFound, "Repository not found."
	header.Set("Content-Type", "text/plain; charset=utf-8")
	switch v.kind {
	case stranger:
		header.Set("WWW-Authenticate", `Basic realm="GitHub"`)
		status = http.StatusUnauthorized
	case badToken:
		header.Set("WWW-Authenticate", `Basic realm="GitHub"`)
		status = http.StatusUnauthorized
		text = "Invalid username or token. Password authentication is not supported for Git operations."
	case barred:
		status, text = http.StatusForbidden, "Write access to repository not granted."
	case unauthorized:
		header.Set("X-GitHub-SSO", "required; url="+v.url)
		status = http.StatusForbidden
		text = "The '" + v.owner + "' organization has enabled or enforced SAML SSO. To access\n" +
			"this repository, visit " + v.url + " and try your request again."
	case limited:
		v.rate(header)
		status, text = http.StatusTooManyRequests, "You have exceeded a rate limit. Please wait a few minutes before you try again."
	}
	w.WriteHeader(status)
	w.Write([]byte(text + "\n"))
}
