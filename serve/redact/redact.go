// Package redact takes the secret out of texts that name an address of gomirror.
package redact

import (
	"regexp"
	"strings"
)

var capabilityPath = regexp.MustCompile(`/t/[0-9a-fA-F]{32}`)

// Text takes every capability out of s. The address of a proxy is a secret that the
// go command prints in its errors, and so it comes back in those of others.
func Text(s string) string {
	if !strings.Contains(s, "/t/") {
		return s
	}
	return capabilityPath.ReplaceAllString(s, "/t/REDACTED")
}
