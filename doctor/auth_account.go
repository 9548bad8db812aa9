package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"strings"
	"time"

	"github.com/gomirror/gomirror/serve/credential/github"
)

// checkAccounts says whether GitHub knows each token.
func (w *wallet) checkAccounts(ctx context.Context) []Finding {
	if none := w.nothingToAsk(); none != nil {
		return none
	}
	var findings []Finding
	unread := 0
	for _, h := range w.ask(ctx) {
		switch {
		case h.err != nil:
			unread++
		case h.denied != nil:
			findings = append(findings, w.judgeDenial(h)...)
		case h.account.Login == "":
			findings = append(findings, say(OK, "", "%s knows the token of %s", h.place.Host, h.place)...)
		default:
			known := say(OK, "", "%s knows the token of %s as %s", h.place.Host, h.place, h.account.Login)
			known[0].Login = h.account.Login
			findings = append(findings, known...)
		}
	}
	if len(findings) == 0 && unread > 0 {
		return say(Skipped, "", "the token can't be read, see A01")
	}
	if len(findings) == 0 {
		return say(Skipped, "", "no token is stored")
	}
	return findings
}

func (w *wallet) nothingToAsk() []Finding {
	switch {
	case w.o.Offline:
		return say(Skipped, "", "--offline asks nothing of GitHub")
	case w.o.GitHub == nil:
		return say(Skipped, "", "GitHub can't be asked")
	}
	return nil
}

// judgeDenial tells a bad token from a network that is, for both end a pull and have
// nothing else in common.
func (w *wallet) judgeDenial(h *heldToken) []Finding {
	access, ok := errors.AsType[*github.AccessError](h.denied)
	if !ok {
		return say(Warn, "gomirror auth status", "%v", h.denied)
	}
	access.Source = h.source
	switch access.Kind {
	case github.RateLimit:
		return say(Warn, "wait until "+access.Until.Local().Format("15:04"), "%v", access)
	case github.Unreachable:
		return say(Warn, "gomirror doctor --only N01", "%s can't be asked about the token, for %s: %v", h.place.Host, layerOf(access.Err), access.Err)
	}
	fix := runnable(w.o.GOOS, access.Hint())
	switch {
	case h.source == ownVariable && w.stores(h.place.Host):
		fix = "unset " + ownVariable
	case h.source != ownVariable && access.URL == "":
		fix = login(h.place)
	}
	return say(Fail, fix, "%v", access)
}

// stores reports whether a token of host can be read from elsewhere than the variable.
func (w *wallet) stores(host string) bool {
	for _, h := range w.held {
		if h.place.Host == host && h.source != ownVariable && h.err == nil && h.denied == nil {
			return true
		}
	}
	return false
}

// layerOf names what of the way to a host failed.
func layerOf(err error) string {
	var dns *net.DNSError
	var certificate *tls.CertificateVerificationError
	var unknown x509.UnknownAuthorityError
	var record tls.RecordHeaderError
	var alert tls.AlertError
	var op *net.OpError
	switch {
	case errors.As(err, &dns):
		return "DNS has no address of it"
	case errors.As(err, &certificate), errors.As(err, &unknown), errors.As(err, &record), errors.As(err, &alert):
		return "TLS fails"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &op) && op.Timeout():
		return "no answer comes in time"
	case errors.As(err, &op):
		return "no connection comes about"
	case err != nil && (strings.Contains(err.Error(), "tls:") || strings.Contains(err.Error(), "x509:")):
		return "TLS fails"
	}
	return "its answer is none of GitHub's"
}

// checkRights looks at what a token may do and for how long. Which permissions a
// fine-grained one has no answer lists, so that a probe must show it.
func (w *wallet) checkRights(ctx context.Context) []Finding {
	if none := w.nothingToAsk(); none != nil {
		return none
	}
	var findings []Finding
	asked := 0
	for _, h := range w.ask(ctx) {
		if h.err != nil || h.denied != nil {
			continue
		}
		asked++
		findings = append(findings, w.judgeRights(h)...)
	}
	if asked == 0 {
		return say(Skipped, "", "there is no token that GitHub knows")
	}
	for _, p := range w.probe(ctx) {
		if access, ok := errors.AsType[*github.AccessError](p.err); ok && access.Lacks != "" {
			fix := w.otherToken(p.held)
			if access.URL != "" { // where this one can be given what it lacks
				fix = browse(w.o.GOOS, access.URL)
			}
			findings = append(findings, say(Fail, fix, "%v", access)...)
		}
	}
	if len(findings) == 0 {
		return say(OK, "", "the %s may read private repositories", tokens(asked))
	}
	return findings
}

func tokens(n int) string {
	if n == 1 {
		return "token"
	}
	return "tokens"
}

// judgeRights returns what is wrong with the scopes and the end of a token.
func (w *wallet) judgeRights(h *heldToken) []Finding {
	fix := w.otherToken(h)
	now := w.o.Now()
	switch left := h.account.Expires.Sub(now); {
	case h.account.Lacks() != "":
		return say(Fail, fix, "the token of %s lacks the scope %s, without which it reads nothing private", h.place, h.account.Lacks())
	case h.account.Expires.IsZero():
	case left < expirySoon:
		return say(Warn, fix, "the token of %s expires on %s", h.place, h.account.Expires.Local().Format(time.DateTime))
	}
	return nil
}

// otherToken makes a token with the right boxes ticked, and takes it for the one held.
func (w *wallet) otherToken(h *heldToken) string {
	fix := browse(w.o.GOOS, newToken(h)) + "; "
	if h.source == ownVariable { // which goes before what is stored
		fix += w.o.unsetInShell(ownVariable) + "; "
	}
	return fix + login(h.place)
}

// newToken is the page that makes a token, with the right boxes ticked.
func newToken(h *heldToken) string {
	if h.account.Kind == "fine-grained" {
		page := "https://" + h.place.Host + "/settings/personal-access-tokens/new?name=gomirror&contents=read"
		if h.place.Owner != "" {
			page += "&target_name=" + h.place.Owner
		}
		return page
	}
	return "https://" + h.place.Host + "/settings/tokens/new?scopes=repo&description=gomirror"
}
