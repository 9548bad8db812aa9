package doctor

import (
	"regexp"
	"strings"

	"golang.org/x/mod/module"
)

// sayings are what go, git, hosts and gomirror say of each cause. The first that is
// there counts: what comes of a fault is below the fault.
var sayings = []struct {
	verdict Verdict
	form    *regexp.Regexp
}{
	{ChecksumMismatch, regexp.MustCompile(`(?i)checksum mismatch|security error`)},
	{LeakRisk, regexp.MustCompile(`(?i)verifying .*reading \S*/lookup/\S*: (404|410)`)},
	{Moved, regexp.MustCompile(`was first pulled as|names commit \S+ by now|would clobber existing tag`)},
	{OfflineMode, regexp.MustCompile(`runs with --offline|the setting offline`)},
	{NotRunning, regexp.MustCompile(`OURS\S*.*(connection refused|actively refused)|gomirror: not running`)},
	{GoTooOld, regexp.MustCompile(`requires go >= |it needs go \d|requires go1?\.?\d+\S* or later|unsupported go version|invalid go version|toolchain not available`)},
	{GoSum, regexp.MustCompile(`missing go\.sum entry|updates to go\.(?:sum|mod) needed`)},
	{MajorSuffix, regexp.MustCompile(`must match major version|should be v[0-9], not v|should be v0 or v1|go\.mod has (non-|post-)\S* ?module path|module contains a go\.mod file|is not allowed; must|should not have @version|missing \S+/v[0-9]+/go\.mod`)},
	{TooLarge, regexp.MustCompile(`(?i)source tree too large|too large \(max|more than \d+ (bytes|files)|exceeds (max|the)`)},
	{ZipInvalid, regexp.MustCompile(`(?i)not a (valid )?zip|malformed file path|file name collision|create zip|unpack: |is a symbolic link|zip: `)},
	{Retracted, regexp.MustCompile(`retracted by module author`)},
	{GoSettings, regexp.MustCompile(`GOPROXY=off|-mod=vendor|inconsistent vendoring|GOVCS disallows|GO111MODULE|parsing \$GOFLAGS|GOPROXY list |invalid proxy URL|refusing to pass credentials|GOSUMDB(=| )|-mod=(readonly|mod) `)},
	{AuthSSO, regexp.MustCompile(`(?i)single sign-on|\bSAML\b|\bSSO\b`)},
	{RateLimited, regexp.MustCompile(`(?i)rate limit|too many requests|\b429\b|answers no more requests until`)},
	{NetProxy, regexp.MustCompile(`(?i)proxyconnect|proxy authentication|connect tunnel failed|\b407\b|the HTTP proxy`)},
	{NetTLS, regexp.MustCompile(`(?i)x509|certificate|\btls:|\bTLS\b|\bssl\b|gnutls`)},
	{NetDNS, regexp.MustCompile(`(?i)no such host|could not resolve|server misbehaving|failure in name|lookup \S+( on \S+)?: `)},
	{AuthMissing, regexp.MustCompile(`(?i)could not read (username|password)|terminal prompts disabled|permission denied \(publickey|there is no token|is private or does not exist|the keychain|no keychain`)},
	{AuthExpired, regexp.MustCompile(`(?i)authentication failed|does not accept the token|the token for \S+ expired|bad credentials|returned error: 401|401 unauthorized`)},
	{NoAccess, regexp.MustCompile(`(?i)or the token may not see it|the token may not read`)},
	{LocalFault, regexp.MustCompile(`(?i)executable file not found|no space left|permission denied|read-only file system|quota exceeded|cannot allocate|too many open files|host key verification failed|input/output error|unlinkat|mkdir `)},
	{NetTCP, regexp.MustCompile(`(?i)connection (refused|reset|timed out)|i/o timeout|timed? ?out|failed to connect|no route to host|network is unreachable|\beof\b|hung up|rpc failed|falls silent|silen|stalled|does not answer|deadline exceeded|actively refused`)},
	{UpstreamError, regexp.MustCompile(`(?i)\b5\d\d (internal|bad|service|gateway|loop|insufficient)|\b403 forbidden|\b451\b|web page|returned error: (403|5\d\d)|bad answer for|redirect`)},
	{BadVersion, regexp.MustCompile(`(?i)unknown revision|no matching versions|disallowed version|invalid version|invalid pseudo-version|version \S+ is invalid|not a canonical version|invalid module version|ambiguous revision`)},
	{NotFound, regexp.MustCompile(`(?i)repository \S* ?not found|not found|404|410 gone|cannot find (module|package)|no required module provides|does not contain package|unrecognized import path|no go-import meta|malformed (module|import) path|not exist`)},
}

var (
	webAddress = regexp.MustCompile(`(?:https?|git|ssh)://[^\s"']+`)
	ourAddress = regexp.MustCompile(`https?://(?:127\.0\.0\.1|localhost|\[::1\])(?::\d+)?/t/[^\s"']*`)

	// declared is how go says that a module is another than was asked for.
	declared = regexp.MustCompile(`declares its path as:\s*(\S+)\s+but was required as:\s*(\S+)`)
)

// verdictOfText sorts what was said about a pull.
func verdictOfText(text string) Verdict {
	if m := declared.FindStringSubmatch(text); m != nil {
		return verdictOfNames(m[2], m[1])
	}
	if at := serverText.FindStringIndex(text); at != nil { // which was wrapped for a terminal
		text = text[:at[1]] + " " + oneSentence(text[at[1]:])
	}
	plain := plainText(text)
	for _, s := range sayings {
		if s.form.MatchString(plain) {
			return s.verdict
		}
	}
	return Unknown
}

// plainText takes names out, which anybody may have chosen: a module may be called tls.
func plainText(text string) string {
	text = ourAddress.ReplaceAllString(text, "OURS")
	text = webAddress.ReplaceAllStringFunc(text, func(address string) string {
		if strings.Contains(address, "/lookup/") {
			return "DATABASE/lookup/M:"
		}
		return "ADDRESS" + address[len(strings.TrimRight(address, ":,;.")):]
	})
	return moduleAt.ReplaceAllString(text, "MODULE")
}

// verdictOfNames compares a path that was asked for with the one in go.mod.
func verdictOfNames(asked, is string) Verdict {
	prefix, _, _ := module.SplitPathVersion(asked)
	isPrefix, _, _ := module.SplitPathVersion(is)
	switch {
	case asked == is:
		return Fine
	case strings.EqualFold(asked, is):
		return CaseMismatch
	case strings.EqualFold(prefix, isPrefix):
		return MajorSuffix
	}
	return PathMismatch
}
