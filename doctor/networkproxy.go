package doctor

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// secondLimit is for a second opinion once a way has failed: it comes at once, or
// the first failure stands alone.
const secondLimit = time.Second

// proxyVariable names the variable that a proxy comes from.
func (n *network) proxyVariable(u *url.URL) string {
	name := strings.ToUpper(u.Scheme) + "_PROXY"
	if n.o.Getenv(name) == "" && n.o.Getenv(strings.ToLower(name)) != "" {
		return strings.ToLower(name)
	}
	return name
}

// proxyFault says that the HTTP proxy itself can't be reached.
func (n *network) proxyFault(ctx context.Context, v *visit, kind, what string) *fault {
	variable := n.proxyVariable(v.url)
	f := &fault{layer: "proxy", kind: kind, text: fmt.Sprintf("the HTTP proxy %s (%s) %s", bareHost(v.proxy), n.proxySource(v.url), what)}
	f.fix = n.restarted("export " + variable + "=http://PROXY:PORT")
	if n.direct(ctx, v.url) {
		f.text += ", and this network lets connections out without it"
		f.fix = n.restarted("unset " + variable)
	}
	return f
}

// checkConnect is [http.Transport.OnProxyConnectResponse].
func (n *network) checkConnect(v *visit) func(context.Context, *url.URL, *http.Request, *http.Response) error {
	return func(ctx context.Context, proxy *url.URL, _ *http.Request, resp *http.Response) error {
		if resp.StatusCode == http.StatusOK {
			return nil
		}
		f := n.refusedByProxy(ctx, v, proxy, resp)
		v.leave("proxy", f)
		return f
	}
}

// refusedByProxy says why an HTTP proxy does not pass us on.
func (n *network) refusedByProxy(ctx context.Context, v *visit, proxy *url.URL, resp *http.Response) *fault {
	variable := n.proxyVariable(v.url)
	f := &fault{layer: "proxy", kind: fmt.Sprint(resp.StatusCode)}
	if resp.StatusCode == http.StatusProxyAuthRequired {
		f.text = fmt.Sprintf("the HTTP proxy %s (%s) wants a user and a password (407)", proxy.Host, n.proxySource(v.url))
		if proxy.User != nil {
			f.text = fmt.Sprintf("the HTTP proxy %s does not take the user and password in %s (407)", proxy.Host, variable)
		}
		f.fix = n.restarted(fmt.Sprintf("export %s=%s://USER:PASSWORD@%s", variable, proxy.Scheme, proxy.Host))
		schemes := strings.Join(resp.Header.Values("Proxy-Authenticate"), ", ")
		if schemes != "" && !strings.Contains(strings.ToLower(schemes), "basic") {
			// Neither net/http nor git's own builds speak these everywhere.
			scheme, _, _ := strings.Cut(schemes, " ")
			f.text = fmt.Sprintf("the HTTP proxy %s (%s) wants a login of the kind %s, which gomirror can't do; "+
				"a proxy of your own in between can, such as cntlm or px", proxy.Host, n.proxySource(v.url), strings.TrimSuffix(scheme, ","))
			f.fix = n.restarted("export " + variable + "=http://127.0.0.1:3128")
		}
		return f
	}
	f.text = fmt.Sprintf("the HTTP proxy %s (%s) does not connect to %s: it answers %d %s",
		proxy.Host, n.proxySource(v.url), v.url.Host, resp.StatusCode, http.StatusText(resp.StatusCode))
	if n.direct(ctx, v.url) {
		f.text += ", and the host can be reached without it"
		f.fix = n.restarted("export NO_PROXY=" + strings.Join(nonEmpty(n.by().NoProxy, v.url.Hostname()), ","))
	}
	return f
}

// direct reports whether a host can be reached without a proxy, TLS included.
func (n *network) direct(ctx context.Context, u *url.URL) bool {
	ctx, cancel := context.WithTimeout(ctx, secondLimit)
	defer cancel()
	addrs, err := n.lookup(ctx, u.Hostname())
	if err != nil || len(addrs) == 0 {
		return false
	}
	for i, ip := range addrs {
		addrs[i] = ip.Unmap()
	}
	families := n.connect(ctx, addrs, urlPort(u))
	conn, err := families.first(ctx)
	if err != nil {
		return false
	}
	defer conn.Close()
	return u.Scheme != "https" || n.trusts(ctx, conn, u.Hostname())
}

// gitProxy returns the HTTP proxy that git's configuration has for a URL, nil if none.
func (n *network) gitProxy(ctx context.Context, u *url.URL) *url.URL {
	if n.o.Exec == nil || n.o.Environ == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, secondLimit)
	defer cancel()
	out, err := n.o.Exec(ctx, "/", n.o.Environ(), "git", "config", "--get-urlmatch", "http.proxy", u.Scheme+"://"+u.Host)
	text := strings.TrimSpace(string(out))
	if err != nil || text == "" {
		return nil
	}
	if !strings.Contains(text, "://") {
		text = "http://" + text
	}
	proxy, err := url.Parse(text)
	if err != nil || proxy.Scheme != "http" || proxy.Host == "" {
		return nil
	}
	return proxy
}

// through reports whether an HTTP proxy connects to a host.
func (n *network) through(ctx context.Context, proxy, u *url.URL) bool {
	ctx, cancel := context.WithTimeout(ctx, secondLimit)
	defer cancel()
	dial := n.o.Dial
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	conn, err := dial(ctx, "tcp", net.JoinHostPort(proxy.Hostname(), urlPort(proxy)))
	if err != nil {
		return false
	}
	defer conn.Close()
	if until, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(until) // where it fails, the limit of the check remains
	}
	addr := net.JoinHostPort(u.Hostname(), urlPort(u))
	req := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: addr}, Host: addr, Header: make(http.Header)}
	if proxy.User != nil {
		password, _ := proxy.User.Password()
		basic := &http.Request{Header: make(http.Header)}
		basic.SetBasicAuth(proxy.User.Username(), password)
		req.Header.Set("Proxy-Authorization", basic.Header.Get("Authorization"))
	}
	if req.Write(conn) != nil {
		return false
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), req)
	return err == nil && resp.StatusCode == http.StatusOK
}

// proxySource says where the HTTP proxy for a URL is named.
func (n *network) proxySource(u *url.URL) string {
	source := "from " + n.proxyVariable(u)
	if shell := n.o.shellNetwork(); shell.HTTPProxy != n.by().HTTPProxy || shell.HTTPSProxy != n.by().HTTPSProxy {
		source += " of the gomirror that runs"
	}
	return source
}

// restarted adds to a command what makes a running sidecar go by it: it read its
// environment and its settings at its start. changes are the settings that the command
// is about.
func (n *network) restarted(command string, changes ...string) string {
	if n.o.Daemon().Running {
		command += "; " + n.o.restart(changes...)
	}
	return command
}

// urlPort is the port of a URL, also of one that names none.
func urlPort(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case u.Scheme == "https":
		return "443"
	}
	return "80"
}

// bareHost is a proxy's address without its password.
func bareHost(u *url.URL) string { return u.Scheme + "://" + u.Host }

func nonEmpty(all ...string) (out []string) {
	for _, s := range all {
		if s != "" {
			out = append(out, s)
		}
	}
	return out
}
