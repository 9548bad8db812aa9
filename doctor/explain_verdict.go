package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/gomirror/gomirror/cache"
	"github.com/gomirror/gomirror/serve/credential"
	"github.com/gomirror/gomirror/serve/credential/github"
	"github.com/gomirror/gomirror/serve/mirror"
	"github.com/gomirror/gomirror/serve/upstream"
)

// Verdict is why a module can't be pulled. The list is closed, so that scripts can go
// by it.
type Verdict string

// The verdicts.
const (
	Fine             Verdict = "ok"
	NotFound         Verdict = "not_found"         // there is no such module
	BadVersion       Verdict = "bad_version"       // the module has no such version
	NoAccess         Verdict = "no_access_404"     // not there, or not for this token
	AuthMissing      Verdict = "auth_missing"      // no token, or none that can be read
	AuthExpired      Verdict = "auth_expired"      // or revoked, or mistyped
	AuthSSO          Verdict = "auth_sso"          // the organisation wants the token authorised
	RateLimited      Verdict = "rate_limited"      // too many requests
	NetDNS           Verdict = "net_dns"           // a host has no address
	NetTCP           Verdict = "net_tcp"           // a host takes no connection, or falls silent
	NetTLS           Verdict = "net_tls"           // a host does not prove who it is
	NetProxy         Verdict = "net_proxy"         // an HTTP proxy in between lets nothing through
	UpstreamError    Verdict = "upstream_error"    // an upstream answers with an error or without sense
	ChecksumMismatch Verdict = "checksum_mismatch" // bytes that contradict others
	ZipInvalid       Verdict = "zip_invalid"       // no zip of a module
	TooLarge         Verdict = "too_large"         // over the go command's limits
	CaseMismatch     Verdict = "case_mismatch"     // capitals in the path
	MajorSuffix      Verdict = "major_suffix"      // /v2 is missing or too much
	PathMismatch     Verdict = "path_mismatch"     // its go.mod has another path
	Retracted        Verdict = "retracted"         // its author takes the version back
	Moved            Verdict = "moved"             // a private tag names another commit than it did
	LeakRisk         Verdict = "leak_risk"         // others would hear of a private name
	GoTooOld         Verdict = "go_too_old"        // the module wants a newer go command
	GoSum            Verdict = "go_sum"            // go.sum lacks a line
	GoSettings       Verdict = "go_settings"       // a variable of Go's or a flag is in the way
	NotRunning       Verdict = "not_running"       // gomirror does not answer
	OfflineMode      Verdict = "offline"           // not held, and nobody is to be asked
	LocalFault       Verdict = "local_fault"       // this machine's disk, git or keychain
	Unknown          Verdict = "unknown"
)

// verdicts are all there are.
func verdicts() []Verdict {
	return []Verdict{Fine, NotFound, BadVersion, NoAccess, AuthMissing, AuthExpired, AuthSSO, RateLimited, NetDNS, NetTCP, NetTLS, NetProxy,
		UpstreamError, ChecksumMismatch, ZipInvalid, TooLarge, CaseMismatch, MajorSuffix, PathMismatch, Retracted, Moved, LeakRisk,
		GoTooOld, GoSum, GoSettings, NotRunning, OfflineMode, LocalFault, Unknown}
}

// NeedsAuth reports whether another token is what it takes.
func (v Verdict) NeedsAuth() bool { return v == AuthMissing || v == AuthExpired || v == AuthSSO }

// Failed reports whether it is why a pull fails. A version that was taken back can
// still be pulled.
func (v Verdict) Failed() bool { return v != Fine && v != Retracted }

// network reports whether the link is at fault, so that what is held is not missing.
func (v Verdict) network() bool {
	return slices.Contains([]Verdict{RateLimited, NetDNS, NetTCP, NetTLS, NetProxy, UpstreamError}, v)
}

// VerdictOf sorts an error of a pull.
func VerdictOf(err error) Verdict {
	var (
		access   *github.AccessError
		keychain *credential.KeychainError
		invalid  *cache.InvalidError
		status   *upstream.StatusError
		origin   *upstream.OriginError
		path     *fs.PathError
	)
	switch {
	case err == nil:
		return Fine
	case errors.As(err, &access):
		return verdictOfAccess(access)
	case errors.As(err, &keychain), errors.Is(err, credential.ErrNone):
		return AuthMissing
	case errors.As(err, new(*cache.ContradictionError)):
		return ChecksumMismatch
	case errors.As(err, new(*cache.MovedError)):
		return Moved
	case errors.As(err, new(*cache.FullError)), errors.As(err, &path) && path.Op == "fork/exec":
		return LocalFault
	case errors.As(err, new(*mirror.OfflineError)):
		return OfflineMode
	case errors.As(err, &invalid):
		return verdictOfInvalid(invalid)
	case errors.As(err, &origin):
		return verdictOfOrigin(origin)
	case errors.As(err, &status):
		return verdictOfStatus(status.Code)
	case errors.Is(err, fs.ErrNotExist):
		return NotFound
	}
	return verdictOfLink(err)
}

func verdictOfAccess(e *github.AccessError) Verdict {
	switch e.Kind {
	case github.NoToken:
		return AuthMissing
	case github.BadToken, github.Expired:
		return AuthExpired
	case github.NoAccess:
		return NoAccess
	case github.SSO:
		return AuthSSO
	case github.RateLimit:
		return RateLimited
	}
	if v := verdictOfLink(e.Err); v != Unknown {
		return v
	}
	return UpstreamError
}

// verdictOfInvalid tells a zip, which the module's author can mend, from other answers
// that make no sense.
func verdictOfInvalid(e *cache.InvalidError) Verdict {
	switch {
	case tooLargeText.MatchString(e.Reason):
		return TooLarge
	case e.Key.Kind() == cache.Zip && !strings.Contains(e.Reason, "web page") && !strings.Contains(e.Reason, "redirect"):
		return ZipInvalid
	}
	return UpstreamError
}

var tooLargeText = regexp.MustCompile(`(?i)more than \d+ (bytes|files)|too large|exceeds`)

func verdictOfOrigin(e *upstream.OriginError) Verdict {
	if v := verdictOfLink(e.Unwrap()); v != Unknown && v != Fine {
		return v
	}
	if v := verdictOfText(e.Error()); v != Unknown {
		return v
	}
	switch {
	case e.NeedsAuth():
		return AuthMissing
	case errors.Is(e, fs.ErrNotExist):
		return NotFound
	}
	return Unknown
}

func verdictOfStatus(code int) Verdict {
	switch code {
	case http.StatusOK, http.StatusNotModified:
		return Fine
	case http.StatusNotFound, http.StatusGone:
		return NotFound
	case http.StatusUnauthorized:
		return AuthMissing
	case http.StatusTooManyRequests:
		return RateLimited
	case http.StatusProxyAuthRequired:
		return NetProxy
	}
	return UpstreamError
}

// verdictOfLink sorts what befalls a connection.
func verdictOfLink(err error) Verdict {
	var (
		f       *fault
		dns     *net.DNSError
		op      *net.OpError
		timeout net.Error
	)
	switch {
	case err == nil:
		return Fine
	case errors.As(err, &f):
		return f.verdict()
	case errors.As(err, &op) && op.Op == "proxyconnect":
		return NetProxy
	case errors.As(err, &dns):
		return NetDNS
	case errors.As(err, new(*tls.CertificateVerificationError)), errors.As(err, new(x509.UnknownAuthorityError)),
		errors.As(err, new(x509.HostnameError)), errors.As(err, new(x509.CertificateInvalidError)),
		errors.As(err, new(tls.RecordHeaderError)), errors.As(err, new(tls.AlertError)):
		return NetTLS
	}
	if v := verdictOfText(err.Error()); v != Unknown {
		return v
	}
	switch {
	case upstream.Unreachable(err), errors.As(err, &op), errors.Is(err, context.DeadlineExceeded),
		errors.As(err, &timeout) && timeout.Timeout():
		return NetTCP
	}
	return Unknown
}

// verdict sorts what the network checks find.
func (f *fault) verdict() Verdict {
	switch f.layer {
	case "dns":
		return NetDNS
	case "tcp":
		return NetTCP
	case "tls":
		return NetTLS
	case "proxy":
		return NetProxy
	}
	switch f.kind {
	case "401", "404", "410", "429":
		return map[string]Verdict{"401": AuthMissing, "404": NotFound, "410": NotFound, "429": RateLimited}[f.kind]
	case dnsSilent, "broken":
		return NetTCP
	}
	return UpstreamError
}
