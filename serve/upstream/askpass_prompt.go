package upstream

import (
	"errors"
	"net/url"
	"regexp"
	"strings"
	"unicode"
)

// What git asks for.
const (
	askedUser     = "Username"
	askedPassword = "Password"
)

var (
	promptForm = regexp.MustCompile(`^(Username|Password) for '(https://[!-&(-~]+)': $`)
	plainUser  = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)
	hostForm   = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z][a-z0-9-]*$`)
	pathForm   = regexp.MustCompile(`^(/~?[A-Za-z0-9_.+-]+)*/?$`)
)

// parsePrompt reads git's question. What has another form than that of a repository
// that the go command asks for gets no answer: git has been made to ask in the name
// of another host before, by line ends (CVE-2020-5260) and by escapes (CVE-2024-50349).
func parsePrompt(prompt string) (what string, repo *url.URL, user string, err error) {
	m := promptForm.FindStringSubmatch(prompt)
	if m == nil {
		return "", nil, "", errors.New("read git's question: unknown form")
	}
	u, err := url.Parse(m[2])
	if err != nil {
		return "", nil, "", errors.New("read git's question: not a URL")
	}
	if _, ok := u.User.Password(); ok {
		return "", nil, "", errors.New("read git's question: it holds a password")
	}
	switch {
	case u.Scheme != "https", !hostForm.MatchString(u.Host):
		return "", nil, "", errors.New("read git's question: no plain https host")
	case u.RawQuery != "", u.Fragment != "", u.ForceQuery, u.RawPath != "", !pathForm.MatchString(u.Path):
		return "", nil, "", errors.New("read git's question: no plain path")
	}
	for part := range strings.SplitSeq(u.Path, "/") {
		if part == "." || part == ".." {
			return "", nil, "", errors.New("read git's question: no plain path")
		}
	}
	user = u.User.Username()
	return m[1], &url.URL{Scheme: u.Scheme, Host: u.Host, Path: strings.TrimSuffix(u.Path, "/")}, user, nil
}

// answerable reports whether git would read text whole: it stops at a line end.
func answerable(text string) bool {
	return text != "" && !strings.ContainsFunc(text, unicode.IsControl)
}
