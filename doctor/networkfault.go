package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
)

// connectFault says why no address of a host takes a connection.
func (n *network) connectFault(ctx context.Context, v *visit, found names, err error) *fault {
	word := dialWord(err)
	if v.proxy != nil {
		return n.proxyFault(ctx, v, word, map[string]string{dnsSilent: "does not answer", "refused": "refuses connections"}[word])
	}
	said := map[string]string{
		dnsSilent:  "does not answer: something in between swallows the connections",
		"refused":  "refuses connections",
		"no route": "can't be reached: there is no route from here",
	}[word]
	f := &fault{layer: "tcp", kind: word, text: fmt.Sprintf("%s at %s %s", v.name(), firstAddrs(found.addrs), cmp.Or(said, "can't be connected to: "+word))}
	if n.blameResolver(ctx, v, f); f.fix != "" {
		return f
	}
	if proxy := n.gitProxy(ctx, v.url); proxy != nil && n.through(ctx, proxy, v.url) {
		f.text += fmt.Sprintf("; git goes through the HTTP proxy %s, which connects to it", bareHost(proxy))
		f.fix = n.restarted(fmt.Sprintf("export HTTPS_PROXY=\"$(git config --get-urlmatch http.proxy https://%s)\"", v.url.Host))
	}
	return f
}

// firstAddrs shows a few addresses of many.
func firstAddrs(addrs []netip.Addr) string {
	const most = 2
	if len(addrs) > most {
		return joinAddrs(addrs[:most]) + " ..."
	}
	return joinAddrs(addrs)
}

// blameResolver finds out whether a host that can't be reached is looked for in the
// wrong place, and changes f if so.
func (n *network) blameResolver(ctx context.Context, v *visit, f *fault) {
	if v.proxy != nil {
		return
	}
	v.mu.Lock()
	found := v.names
	v.mu.Unlock()
	host := v.url.Hostname()
	if found.pinned {
		f.layer, f.kind = "dns", "pinned"
		f.text = fmt.Sprintf("the file %s sends %s to %s, and there: %s", n.hostsFile(), host, joinAddrs(found.addrs), f.text)
		f.fix = n.unpin(host)
		return
	}
	for _, a := range found.asked() {
		if len(a.addrs) > 0 && !slices.ContainsFunc(a.addrs, func(ip netip.Addr) bool { return slices.Contains(found.addrs, ip) }) && n.answersAt(ctx, v.url, a.addrs) {
			f.layer, f.kind = "dns", "lie"
			f.text = fmt.Sprintf("DNS sends %s to %s, where it is not; it is where the DNS server %s says, at %s",
				host, joinAddrs(found.addrs), a.server, joinAddrs(a.addrs))
			f.fix = n.useResolver(a.server)
			return
		}
	}
	filtered := !slices.ContainsFunc(found.addrs, func(ip netip.Addr) bool { return !ip.IsLoopback() && !ip.IsUnspecified() })
	private := !slices.ContainsFunc(found.addrs, func(ip netip.Addr) bool { return !inside(ip) })
	_, literal := netip.ParseAddr(host)
	if literal == nil || len(found.addrs) == 0 || host == "localhost" {
		return
	}
	public := v.role == asDatabase || v.url.Host == "github.com" || strings.HasSuffix(v.url.Host, ".github.com")
	if filtered || private && public {
		f.layer, f.kind = "dns", "private"
		f.text = fmt.Sprintf("DNS sends %s to %s, which is not its address: a filter or a sign-in page stands in for it",
			host, joinAddrs(found.addrs))
	}
}

// answersAt reports whether a host is really at these addresses.
func (n *network) answersAt(ctx context.Context, u *url.URL, addrs []netip.Addr) bool {
	ctx, cancel := context.WithTimeout(ctx, secondLimit)
	defer cancel()
	families := n.connect(ctx, addrs, urlPort(u))
	conn, err := families.first(ctx)
	if err != nil {
		return false
	}
	defer conn.Close()
	return u.Scheme != "https" || n.trusts(ctx, conn, u.Hostname())
}

// hostsFile is where names are pinned to addresses.
func (n *network) hostsFile() string {
	switch {
	case n.o.HostsFile != "":
		return n.o.HostsFile
	case n.o.GOOS == "windows":
		return filepath.Join(n.o.Getenv("SystemRoot"), "System32", "drivers", "etc", "hosts")
	}
	return "/etc/hosts"
}

// unpin is the command that takes a host out of the hosts file.
func (n *network) unpin(host string) string {
	if n.o.GOOS == "windows" {
		return "notepad " + n.hostsFile()
	}
	return fmt.Sprintf("sudo sed -i.bak '/%s/d' %s", strings.ReplaceAll(host, ".", `\.`), quoted(n.hostsFile()))
}

// useResolver is the command that has a resolver asked first.
func (n *network) useResolver(server string) string {
	switch n.o.GOOS {
	case "darwin":
		return "networksetup -setdnsservers Wi-Fi " + server
	case "windows":
		return "powershell Set-DnsClientServerAddress -InterfaceAlias Wi-Fi -ServerAddresses " + server
	}
	return fmt.Sprintf("sudo sed -i.bak '1i nameserver %s' /etc/resolv.conf", server)
}

// requestFault says why a request brought no answer.
func (n *network) requestFault(ctx context.Context, v *visit, err error) *fault {
	if f, ok := errors.AsType[*fault](err); ok {
		return f
	}
	if ue, ok := errors.AsType[*url.Error](err); ok {
		err = ue.Err
	}
	timeout, ok := errors.AsType[net.Error](err)
	silent := ok && timeout.Timeout() || errors.Is(err, context.DeadlineExceeded)
	v.mu.Lock()
	phase := v.phase
	v.mu.Unlock()
	switch {
	case v.isTLS(err):
		v.leave("tls", err)
		return n.tlsFault(ctx, v, err)
	case phase == "proxy":
		v.leave("proxy", err)
		return n.proxyFault(ctx, v, dialWord(err), "does not pass on the connection to "+v.url.Host)
	case silent && phase == "first byte":
		v.leave("first byte", err)
		return &fault{layer: "http", kind: dnsSilent, text: v.name() + " takes the request and does not answer"}
	case silent:
		return &fault{layer: cmp.Or(phase, "tcp"), kind: dnsSilent, text: v.name() + " does not answer"}
	}
	return &fault{layer: "http", kind: "broken", text: fmt.Sprintf("%s breaks the connection off: %s", v.name(), oneLine(dialWord(err)))}
}

// answerFault says what is wrong with an answer, nil if nothing is.
func (n *network) answerFault(v *visit, resp *http.Response, body []byte, err error) *fault {
	f := &fault{layer: "http", kind: fmt.Sprint(resp.StatusCode)}
	page := isPage(resp)
	name, status := v.name(), fmt.Sprintf("%d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
	module := v.role == asMirror || v.role == asTarget && !v.head
	switch {
	case err != nil:
		f.kind, f.text = "broken", fmt.Sprintf("%s breaks off in its answer after %d bytes", name, len(body))
	case resp.StatusCode == http.StatusTooManyRequests:
		f.soft = true
		f.text = fmt.Sprintf("%s has had too many requests from this network (429)", name)
		if after := resp.Header.Get("Retry-After"); after != "" {
			f.text += "; it wants to be asked again after " + oneLine(after)
			if strings.Trim(after, "0123456789") == "" {
				f.text += " s"
				f.fix = "sleep " + after
			}
		}
	case !module && resp.StatusCode < 500:
		return nil // what it says to a stranger is its own business; A02 asks with the token
	case resp.StatusCode == http.StatusOK && !page, resp.StatusCode == http.StatusNotModified:
		return nil
	case resp.StatusCode == http.StatusOK:
		f.kind = "page"
		f.text = fmt.Sprintf("%s answers with a web page where a go.mod should be: it is no module proxy, or this network wants a sign-in", name)
	case resp.StatusCode == http.StatusUnauthorized:
		f.text = fmt.Sprintf("%s wants a user and a password (401)", name)
		f.fix = n.setUpstream(strings.Replace(bareList(n.upstreams()), "https://"+v.url.Host, "https://USER:PASSWORD@"+v.url.Host, 1))
	case resp.StatusCode == http.StatusNotFound, resp.StatusCode == http.StatusGone:
		if v.role == asMirror && isPlain(resp) && v.entryIsPrivate() {
			return nil // a company's own proxy, which speaks the protocol, may hold its own modules only
		}
		f.text = fmt.Sprintf("%s has not the module that every public mirror has (%s): is its path right?", name, status)
		f.soft = !page
	case resp.StatusCode == http.StatusForbidden:
		f.text = fmt.Sprintf("%s refuses to answer (%s)", name, status)
	case resp.StatusCode >= 500:
		f.text = fmt.Sprintf("%s is out of order (%s)", name, status)
	default:
		f.text = fmt.Sprintf("%s answers %s", name, status)
	}
	return f
}

// isPlain reports whether an answer is a text, as module proxies say why not.
func isPlain(resp *http.Response) bool {
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	return kind == "text/plain"
}

// isPage reports whether an answer is for people.
func isPage(resp *http.Response) bool {
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	return kind == "text/html"
}

// redirectFault refuses the redirects that gomirror refuses.
func (n *network) redirectFault(v *visit, to *url.URL) *fault {
	f := &fault{layer: "http", kind: "redirect"}
	switch ip, err := netip.ParseAddr(to.Hostname()); {
	case to.Scheme != "https" && (v.url.Scheme == "https" || to.Scheme != "http"):
		f.text = fmt.Sprintf("%s redirects to %s://%s, which is not followed", v.name(), to.Scheme, to.Host)
	case err == nil && inside(ip) && !v.entryIsPrivate() && !slices.Contains(n.o.Hosts, to.Hostname()):
		f.text = fmt.Sprintf("%s redirects to %s, an address inside your network, which is not followed", v.name(), to.Host)
		f.fix = n.restarted("gomirror config set network.hosts "+strings.Join(append(slices.Clone(n.o.Hosts), to.Hostname()), ","), "network.hosts")
	default:
		return nil
	}
	return f
}
