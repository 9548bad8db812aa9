package doctor

import (
	"context"
	"crypto/x509"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"

	"golang.org/x/net/http/httpproxy"

	"github.com/gomirror/gomirror/serve/upstream"
)

// Network is what a process goes by on its way to others, as `gomirror status --json`
// has it: without passwords.
type Network struct {
	HTTPProxy  string `json:"http_proxy,omitempty"`
	HTTPSProxy string `json:"https_proxy,omitempty"`
	NoProxy    string `json:"no_proxy,omitempty"`
	CAFile     string `json:"ca_file,omitempty"` // the setting network.ca_file
	CertFile   string `json:"ssl_cert_file,omitempty"`
	CertDir    string `json:"ssl_cert_dir,omitempty"`
}

// NetworkOf reads what the environment says, with passwords.
func NetworkOf(getenv func(string) string, caFile string) Network {
	either := func(name string) string {
		if value := getenv(name); value != "" {
			return value
		}
		return getenv(strings.ToLower(name))
	}
	return Network{
		HTTPProxy: either("HTTP_PROXY"), HTTPSProxy: either("HTTPS_PROXY"), NoProxy: either("NO_PROXY"),
		CAFile: caFile, CertFile: getenv("SSL_CERT_FILE"), CertDir: getenv("SSL_CERT_DIR"),
	}
}

// WithoutPasswords is n as others may see it.
func (n Network) WithoutPasswords() Network {
	n.HTTPProxy, n.HTTPSProxy = hideProxyUser(n.HTTPProxy), hideProxyUser(n.HTTPSProxy)
	return n
}

// shellNetwork is what a sidecar would go by that were started in this shell.
func (o *Options) shellNetwork() Network { return NetworkOf(o.Getenv, o.CAFile) }

// network is what the sidecar goes by that runs, else the next one: it is the pulls that
// have to work. A password that this shell does not have can't be told, and without it
// its way can't be tried.
func (o *Options) network() Network {
	shell, d := o.shellNetwork(), o.Daemon()
	if !d.Running || d.Status.Network == nil {
		return shell
	}
	its := *d.Status.Network
	if its.HTTPProxy == hideProxyUser(shell.HTTPProxy) {
		its.HTTPProxy = shell.HTTPProxy
	}
	if its.HTTPSProxy == hideProxyUser(shell.HTTPSProxy) {
		its.HTTPSProxy = shell.HTTPSProxy
	}
	if strings.Contains(its.HTTPProxy+its.HTTPSProxy, hiddenUser) {
		return shell
	}
	return its
}

// otherNetwork names in what of its way to others the sidecar differs from this shell,
// "" if in nothing.
func (o *Options) otherNetwork() string {
	shell, d := o.shellNetwork().WithoutPasswords(), o.Daemon()
	if !d.Running || d.Status.Network == nil {
		return ""
	}
	its := *d.Status.Network
	var names []string
	for _, v := range []struct{ name, here, there string }{
		{"HTTP_PROXY", shell.HTTPProxy, its.HTTPProxy}, {"HTTPS_PROXY", shell.HTTPSProxy, its.HTTPSProxy},
		{"NO_PROXY", shell.NoProxy, its.NoProxy}, {"SSL_CERT_FILE", shell.CertFile, its.CertFile},
		{"SSL_CERT_DIR", shell.CertDir, its.CertDir},
	} {
		if v.here != v.there {
			names = append(names, v.name)
		}
	}
	return strings.Join(names, ", ")
}

// proxyOf tells the HTTP proxy for a URL.
func (n Network) proxyOf(u *url.URL) (*url.URL, error) {
	config := httpproxy.Config{HTTPProxy: n.HTTPProxy, HTTPSProxy: n.HTTPSProxy, NoProxy: n.NoProxy}
	return config.ProxyFunc()(u)
}

// HTTPProxy tells by which HTTP proxy a host is reached: that of the sidecar, where one
// runs.
func (o *Options) HTTPProxy(u *url.URL) (*url.URL, error) { return o.network().proxyOf(u) }

// readRoots returns the certificate authorities that are trusted; nil means the system's
// alone.
func (n *network) readRoots() (*x509.CertPool, error) {
	pool, by, shell := n.o.Roots, n.by(), n.o.shellNetwork()
	if (by.CertFile != shell.CertFile || by.CertDir != shell.CertDir) && n.o.GOOS != "windows" && n.o.GOOS != "darwin" {
		pool = upstream.SystemRoots(by.CertFile, by.CertDir)
	}
	if by.CAFile == "" {
		return pool, nil
	}
	pem, err := os.ReadFile(by.CAFile)
	if err != nil {
		return nil, err
	}
	if pool == nil {
		if pool, err = x509.SystemCertPool(); err != nil {
			pool = x509.NewCertPool() // a bare container: the file is all there is
		}
	}
	pool = pool.Clone()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s has no certificate in PEM form", by.CAFile)
	}
	return pool, nil
}

// shell returns the network by the way of this shell, nil if that is n's own.
func (n *network) shell() *network {
	if shell := n.o.shellNetwork(); shell != n.by() {
		return newNetworkBy(n.o, func() Network { return shell })
	}
	return nil
}

// visitByShell visits the targets once more by the way of this shell, where that is
// another: what works so is to be had by a restart.
func (n *network) visitByShell(ctx context.Context, targets []target) <-chan []*visit {
	found := make(chan []*visit, 1)
	if shell := n.shell(); shell != nil {
		go func() { found <- shell.visitAll(ctx, targets) }() // ends with ctx, as visits do
	} else {
		found <- nil
	}
	return found
}

// worksInShell reports whether a host that can't be reached could by the way of this
// shell.
func (n *network) worksInShell(v *visit) bool {
	return v.fault != nil && v.fault.layer != "http" && slices.ContainsFunc(n.others, func(o *visit) bool {
		return o.url.Host == v.url.Host && (o.fault == nil || o.fault.layer == "http")
	})
}

// thisShell ends the text of a fault that the way of this shell has not.
const thisShell = "; by the variables of this shell, which gomirror was not started with, it works"
