package doctor

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"
)

// certificate is what a host showed.
type certificate struct {
	version uint16
	chain   []*x509.Certificate // as it was sent
	root    string              // who is trusted in the end
}

// interceptors are the makers of what breaks TLS open in a company's or a user's own
// name; their own name is in the issuer of each certificate.
var interceptors = [...]string{
	"Zscaler", "Netskope", "Fortinet", "FortiGate", "Palo Alto", "Blue Coat", "Symantec Web", "Cisco Umbrella", "Cisco Secure",
	"Forcepoint", "Websense", "McAfee", "Skyhigh", "Sophos", "Check Point", "Barracuda", "WatchGuard", "SonicWall", "Untangle",
	"Cloudflare Gateway", "iboss", "Menlo", "Kaspersky", "ESET", "Avast", "AVG", "Bitdefender", "AdGuard", "mitmproxy", "Charles Proxy",
	"Fiddler", "PortSwigger", "Squid",
}

// tlsConfig is for a visit. It verifies as gomirror does, but by itself: so the chain,
// the version and the reason are known also where the answer is no.
func (n *network) tlsConfig(v *visit) *tls.Config {
	return &tls.Config{
		InsecureSkipVerify: true,             // VerifyConnection does it
		MinVersion:         tls.VersionTLS10, // to say what the host has; no request follows
		VerifyConnection: func(state tls.ConnectionState) error {
			name := cmp.Or(state.ServerName, v.url.Hostname())
			cert, err := n.verify(state, name)
			v.mu.Lock()
			defer v.mu.Unlock()
			v.cert = cert
			return err
		},
	}
}

// oldVersionError is a version of TLS that gomirror does not speak.
type oldVersionError uint16

func (e oldVersionError) Error() string { return "TLS version " + tls.VersionName(uint16(e)) }

// verify is the check that the rest of gomirror makes.
func (n *network) verify(state tls.ConnectionState, name string) (certificate, error) {
	cert := certificate{version: state.Version, chain: state.PeerCertificates}
	if state.Version < tls.VersionTLS12 {
		return cert, oldVersionError(state.Version)
	}
	roots, err := n.roots()
	if err != nil {
		return cert, err
	}
	chains, err := verifyChain(state.PeerCertificates, roots, name, n.o.Now())
	if err == nil {
		last := chains[0][len(chains[0])-1]
		cert.root = authorityName(last)
	}
	return cert, err
}

func verifyChain(sent []*x509.Certificate, roots *x509.CertPool, name string, now time.Time) ([][]*x509.Certificate, error) {
	between := x509.NewCertPool()
	for _, c := range sent[1:] {
		between.AddCert(c)
	}
	return sent[0].Verify(x509.VerifyOptions{DNSName: name, Roots: roots, Intermediates: between, CurrentTime: now})
}

// trusts reports whether TLS over conn would do for gomirror.
func (n *network) trusts(ctx context.Context, conn net.Conn, name string) bool {
	client := tls.Client(conn, &tls.Config{ServerName: name, InsecureSkipVerify: true, MinVersion: tls.VersionTLS12,
		VerifyConnection: func(state tls.ConnectionState) error {
			_, err := n.verify(state, name)
			return err
		}})
	return client.HandshakeContext(ctx) == nil
}

// authorityName is how people know an authority.
func authorityName(c *x509.Certificate) string {
	return personName(c.Subject.Organization, c.Subject.CommonName)
}

// issuerName is who signed a certificate.
func issuerName(c *x509.Certificate) string {
	return personName(c.Issuer.Organization, c.Issuer.CommonName)
}

func personName(organization []string, common string) string {
	name := common
	if len(organization) > 0 && !strings.Contains(common, organization[0]) {
		name = strings.TrimSpace(organization[0] + " " + common)
	}
	return cmp.Or(oneLine(name), "nobody named")
}

// oneLine makes a stranger's text fit for a terminal.
func oneLine(text string) string {
	const most = 120
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == ' ' }), " ")
	if runes := []rune(text); len(runes) > most {
		text = string(runes[:most]) + "..."
	}
	return text
}

// tlsFault says what is wrong with a host's TLS.
func (n *network) tlsFault(ctx context.Context, v *visit, err error) *fault {
	f := &fault{layer: "tls", kind: "fails"}
	name := v.name()
	v.mu.Lock()
	cert := v.cert
	v.mu.Unlock()
	invalid, isInvalid := errors.AsType[x509.CertificateInvalidError](err)
	old, isOld := errors.AsType[oldVersionError](err)
	record, isRecord := errors.AsType[tls.RecordHeaderError](err)
	timeout, isNet := errors.AsType[net.Error](err)
	_, wrongName := errors.AsType[x509.HostnameError](err)
	_, unknown := errors.AsType[x509.UnknownAuthorityError](err)
	switch {
	case isOld:
		f.kind = "version"
		f.text = fmt.Sprintf("%s speaks nothing better than %s, which is not safe", name, tls.VersionName(uint16(old)))
	case isRecord && strings.HasPrefix(string(record.RecordHeader[:]), "HTTP/"), strings.Contains(err.Error(), "HTTP response to HTTPS client"):
		f.kind, f.text = "plain", fmt.Sprintf("%s answers without TLS on its port for https", name)
	case isInvalid && invalid.Reason == x509.Expired:
		return n.validityFault(ctx, v, cert.chain)
	case wrongName:
		f.kind = "name"
		f.text = fmt.Sprintf("%s shows a certificate for %s: somebody else answers, perhaps the sign-in page of this network",
			name, oneLine(strings.Join(firstOf(cert.chain[0].DNSNames, cert.chain[0].Subject.CommonName), ", ")))
		n.blameResolver(ctx, v, f)
	case unknown, isInvalid:
		n.issuerFault(ctx, v, cert.chain, f)
	case isNet && timeout.Timeout(), errors.Is(err, context.DeadlineExceeded):
		f.kind, f.text = dnsSilent, fmt.Sprintf("%s takes the connection and never answers to TLS: something in between holds it", name)
	default:
		f.text = fmt.Sprintf("%s ends the connection when TLS begins (%s): something in between does not let it through", name, dialWord(err))
	}
	return f
}

// firstOf returns a certificate's names, not hundreds of them.
func firstOf(names []string, common string) []string {
	const most = 3
	switch {
	case len(names) == 0:
		return []string{common}
	case len(names) > most:
		return append(slices.Clone(names[:most]), "...")
	}
	return names
}

// issuerFault names who signed a certificate that is not trusted, and looks for a file
// with that authority among those that other programs here are told of.
func (n *network) issuerFault(ctx context.Context, v *visit, chain []*x509.Certificate, f *fault) {
	issuer := issuerName(chain[len(chain)-1])
	f.kind = "issuer"
	f.text = fmt.Sprintf("%s shows a certificate that %s signed, whom this machine does not trust", v.name(), issuer)
	for _, maker := range interceptors {
		if strings.Contains(strings.ToLower(issuer), strings.ToLower(maker)) {
			f.kind = "intercepted"
			f.text = fmt.Sprintf("%s opens the TLS to %s with its own certificate, which gomirror is not told to trust", issuer, v.url.Host)
		}
	}
	f.fix = n.restarted("gomirror config set network.ca_file FILE", "network.ca_file")
	if file := n.trustedElsewhere(ctx, v, chain); file != "" {
		f.text += "; " + file + " does"
		f.fix = n.restarted("gomirror config set network.ca_file "+quoted(file), "network.ca_file")
		return
	}
	n.blameResolver(ctx, v, f)
}

// trustedElsewhere returns a file of authorities that makes a chain good.
func (n *network) trustedElsewhere(ctx context.Context, v *visit, chain []*x509.Certificate) string {
	var files []string
	for _, variable := range []string{"SSL_CERT_FILE", "GIT_SSL_CAINFO", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "AWS_CA_BUNDLE"} {
		files = append(files, n.o.Getenv(variable))
	}
	if n.o.Exec != nil && n.o.Environ != nil {
		out, err := n.o.Exec(ctx, "/", n.o.Environ(), "git", "config", "--get-urlmatch", "http.sslCAInfo", "https://"+v.url.Host)
		if err == nil {
			files = append(files, strings.TrimSpace(string(out)))
		}
	}
	for _, file := range files {
		if file == "" {
			continue
		}
		text, err := os.ReadFile(file)
		pool := x509.NewCertPool()
		if err != nil || !pool.AppendCertsFromPEM(text) {
			continue
		}
		if _, err := verifyChain(chain, pool, v.url.Hostname(), n.o.Now()); err == nil {
			return file
		}
	}
	return ""
}

// validityFault tells a certificate that is out of date from a clock that is.
func (n *network) validityFault(ctx context.Context, v *visit, chain []*x509.Certificate) *fault {
	now := n.o.Now()
	i := max(0, slices.IndexFunc(chain, func(c *x509.Certificate) bool { return now.After(c.NotAfter) || now.Before(c.NotBefore) }))
	c := chain[i]
	f := &fault{layer: "tls", kind: "expired"}
	f.text = fmt.Sprintf("the certificate of %s ended on %s, signed by %s", v.name(), c.NotAfter.UTC().Format(time.DateOnly), issuerName(c))
	if now.Before(c.NotBefore) {
		f.kind = "not yet"
		f.text = fmt.Sprintf("the certificate of %s holds only from %s on", v.name(), c.NotBefore.UTC().Format(time.DateOnly))
	}
	if date, ok := n.dateOf(ctx, v.url); ok && date.After(c.NotBefore) && date.Before(c.NotAfter) {
		f.kind = "clock"
		f.text += fmt.Sprintf(", says the clock of this machine; its own says it is %s", date.UTC().Format(time.RFC1123))
		f.fix = clockFix(n.o.GOOS)
	}
	return f
}

// isTLS reports whether a request failed in its handshake.
func (v *visit) isTLS(err error) bool {
	return v.phaseIs("tls") || errors.As(err, new(tls.RecordHeaderError)) ||
		strings.Contains(err.Error(), http.ErrSchemeMismatch.Error())
}
