// Package redact takes secrets out of texts: the capability in addresses of gomirror,
// what looks like a token of GitHub, and every text that was registered by [Secret].
package redact

import (
	"regexp"
	"strings"
)

const replacement = "REDACTED"

var (
	capabilityPath = regexp.MustCompile(`/t/[0-9a-fA-F]{32}`)

	// GitHub's prefixes of tokens. The shortest that it makes has 36 characters more;
	// 16 leave words of ours and of others alone, and catch one that was cut.
	// https://github.blog/engineering/behind-githubs-new-authentication-token-formats/
	token = regexp.MustCompile(`(?:gh[pousr]|github_pat)_[0-9A-Za-z_]{16,}`)

	// signature is how an address of GitHub's carries access for some minutes.
	signature = regexp.MustCompile(`((?:[?&;]|\\u0026)(?:token|access_token|jwt|sig)=)[^&\s"'#\\]+`)
)

// Text takes every secret out of s. The address of a proxy is a secret that the
// go command prints in its errors, and so it comes back in those of others.
func Text(s string) string {
	s = secrets.cut(s)
	if strings.Contains(s, "/t/") {
		s = capabilityPath.ReplaceAllString(s, "/t/"+replacement)
	}
	if strings.Contains(s, "_") {
		s = token.ReplaceAllString(s, replacement)
	}
	if strings.Contains(s, "=") {
		s = signature.ReplaceAllString(s, "${1}"+replacement)
	}
	return s
}
