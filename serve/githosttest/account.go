package githosttest

import (
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Account is who a token belongs to and what the token may do.
type Account struct {
	Login      string
	Host       string            // the one host that knows the token; "" means github.com
	Scopes     []string          // of a classic token; not nil and without "repo": sees nothing private
	Expires    time.Time         // zero means never; past means refused
	Sees       []string          // prefixes of private paths, "github.com/acme"
	SSO        map[string]string // owner -> URL where the token must be authorised first
	RateReset  time.Time         // not zero: over the limit until then
	Bad        bool              // revoked: 401 everywhere
	NoContents bool              // a fine-grained token with metadata but no contents permission
}

// Private hides what is below the prefix, "github.com/acme", from strangers and from
// accounts that don't see it. Like github.com, the host then hides also what does
// not exist.
func (h *Host) Private(prefix string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.know(prefix)
	h.know("api.github.com")
	h.private = append(h.private, strings.ToLower(prefix))
}

// Account lets the token in, or changes what it may do.
func (h *Host) Account(token string, a Account) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if a.Host == "" {
		a.Host = "github.com"
	}
	h.know(a.Host)
	h.know("api.github.com")
	h.accounts[token] = a
}

// Enterprise makes the name a GitHub of its own, with its API at https://NAME/api/v3.
func (h *Host) Enterprise(name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.know(name)
	h.hubs[name] = "https://" + name + "/api/v3"
}

// kind is what somebody may do with one repository.
type kind int

const (
	readable     kind = iota
	stranger          // no token
	badToken          // unknown, revoked or expired
	hidden            // not there, or nothing this account may know of
	barred            // known, but its contents are not granted
	unauthorized      // the organisation wants SSO
	limited           // too many requests
)

type verdict struct {
	kind       kind
	owner, url string    // unauthorized: which organisation, where to authorise
	reset      time.Time // limited
}

// rateLimit is GitHub's hourly limit of requests for one account.
const rateLimit = 5000

// rate writes the headers that tell of limits, as GitHub does on every answer.
func (v verdict) rate(header http.Header) {
	remaining, reset := rateLimit-1, time.Now().Add(time.Hour)
	if v.kind == limited {
		remaining, reset = 0, v.reset
		header.Set("Retry-After", strconv.Itoa(int(math.Ceil(time.Until(reset).Seconds()))))
	}
	header.Set("X-RateLimit-Limit", strconv.Itoa(rateLimit))
	header.Set("X-RateLimit-Remaining", strconv.Itoa(remaining))
	header.Set("X-RateLimit-Used", strconv.Itoa(rateLimit-remaining))
	header.Set("X-RateLimit-Reset", strconv.FormatInt(reset.Unix(), 10))
	header.Set("X-RateLimit-Resource", "core")
}

// Token takes the token out of a request, from Basic as git sends it or from the two
// words that the API takes. What is neither is returned as it stands.
func (r Request) Token() string {
	if _, password, ok := (&http.Request{Header: r.Header}).BasicAuth(); ok {
		return password
	}
	authorization := r.Header.Get("Authorization")
	word, rest, _ := strings.Cut(authorization, " ")
	if strings.EqualFold(word, "token") || strings.EqualFold(word, "bearer") {
		return rest
	}
	return authorization
}

// identify says whose token a request to the host carries.
func (h *Host) identify(r *http.Request, host string) (Account, verdict) {
	text := Request{Header: r.Header}.Token()
	if text == "" {
		return Account{}, verdict{kind: stranger}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	a, ok := h.accounts[text]
	switch {
	case !ok || a.Bad || a.Host != host || !a.Expires.IsZero() && time.Now().After(a.Expires):
		return Account{}, verdict{kind: badToken}
	case time.Now().Before(a.RateReset):
		return a, verdict{kind: limited, reset: a.RateReset}
	}
	return a, verdict{}
}

// judge says what the sender of a request may do with the repository.
func (h *Host) judge(r *http.Request, repo string) verdict {
	host, rest, _ := strings.Cut(repo, "/")
	owner, _, _ := strings.Cut(rest, "/")
	a, v := h.identify(r, host)
	if v.kind == badToken || v.kind == limited {
		return v
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	name := strings.ToLower(repo)
	_, exists := h.repos[name]
	open := !below(h.private, name)
	switch url := a.SSO[owner]; {
	case exists && open:
		return verdict{}
	case open && !h.hides(host):
		return verdict{} // what does not exist here is the backend's 404
	case v.kind == stranger:
		return v
	case !exists, !below(a.Sees, name), a.Scopes != nil && !slices.Contains(a.Scopes, "repo"):
		return verdict{kind: hidden}
	case url != "":
		return verdict{kind: unauthorized, owner: owner, url: url}
	case a.NoContents:
		return verdict{kind: barred}
	}
	return verdict{}
}

// hides says whether anything of the host is private. h.mu is held.
func (h *Host) hides(host string) bool {
	return slices.ContainsFunc(h.private, func(prefix string) bool {
		return prefix == host || strings.HasPrefix(prefix, host+"/")
	})
}

// below says whether the lower-case path is one of the prefixes or below one.
func below(prefixes []string, path string) bool {
	return slices.ContainsFunc(prefixes, func(prefix string) bool {
		prefix = strings.ToLower(prefix)
		return path == prefix || strings.HasPrefix(path, prefix+"/")
	})
}
