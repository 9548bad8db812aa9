package doctor

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"
)

const (
	// hopLimit is how many redirects are followed. A mirror makes one.
	hopLimit = 5

	// bodyLimit is far above a .mod.
	bodyLimit = 64 << 10
)

// fault is what is wrong with the way to a host, in the first layer that fails.
type fault struct {
	layer string // "dns", "tcp", "proxy", "tls" or "http"
	kind  string // within the layer
	text  string // one sentence
	fix   string // "" where only another upstream helps
	soft  bool   // it passes by itself
}

func (f *fault) Error() string { return f.text }

// visit is what was found at one host.
type visit struct {
	target
	proxy *url.URL // in between; nil if there is none

	mu       sync.Mutex  // the transport dials beside us
	legs     []Leg       // guarded by mu
	names    names       // guarded by mu
	families *families   // guarded by mu; nil where nothing was dialled
	cert     certificate // guarded by mu
	phase    string      // guarded by mu; the layer that is under way
	since    time.Time   // guarded by mu; when that began
	fault    *fault

	status    int
	firstByte time.Duration // since the request was sent
	size      int           // of the body
	body      time.Duration // from its first byte to its last
	relays    bool          // of a mirror: it passes the checksum database on
}

// tour visits a target, and the hosts that it redirects to.
func (n *network) tour(ctx context.Context, t target) []*visit {
	visits := []*visit{newVisit(t)}
	v := visits[0]
	client := n.client(v)
	defer func() { client.CloseIdleConnections() }()
	next, head := t.url, ""
	for range hopLimit {
		location := n.ask(ctx, client, v, next, head)
		if location == nil {
			break
		}
		if location.Host != v.url.Host {
			if v.fault = n.redirectFault(v, location); v.fault != nil {
				return visits
			}
			client.CloseIdleConnections()
			v = newVisit(target{role: asTarget, url: location, from: t.name(), needed: t.needed, why: t.why})
			visits = append(visits, v)
			client = n.client(v)
		}
		next = location
	}
	first := visits[0]
	if v.fault == nil && v.status/100 == 3 {
		v.fault = &fault{layer: "http", kind: "loop", text: fmt.Sprintf("%s redirects without end", first.name())}
	}
	if t.role != asMirror || first.fault != nil || v.fault != nil {
		return visits
	}
	return append(visits, n.afterMod(ctx, first)...)
}

// afterMod asks a mirror that works for what is not seen by its .mod: where its zips
// come from, and whether it passes the checksum database on.
func (n *network) afterMod(ctx context.Context, v *visit) []*visit {
	quiet := newVisit(v.target) // its times count for nothing
	client := n.client(quiet)
	defer client.CloseIdleConnections()
	if db := n.databaseURL(); db != nil {
		at, err := url.Parse(v.entry.URL)
		if err == nil {
			n.ask(ctx, client, quiet, at.JoinPath("sumdb", databaseName(n.o.Go().Own.GOSUMDB), "supported"), "")
			v.relays = quiet.fault == nil && quiet.status == http.StatusOK
		}
	}
	zip := *v.url
	zip.Path = strings.TrimSuffix(zip.Path, ".mod") + ".zip"
	location := n.ask(ctx, client, quiet, &zip, http.MethodHead)
	if location == nil || location.Host == v.url.Host {
		return nil
	}
	if v.fault = n.redirectFault(v, location); v.fault != nil {
		return nil
	}
	far := newVisit(target{role: asTarget, head: true, url: location, from: v.name(), needed: v.needed, why: v.why})
	farClient := n.client(far)
	defer farClient.CloseIdleConnections()
	n.ask(ctx, farClient, far, location, http.MethodHead)
	return []*visit{far}
}

// databaseName is the name of a database as its key has it.
func databaseName(gosumdb string) string {
	name, _, _ := strings.Cut(strings.Fields(gosumdb)[0], "+")
	return name
}

func newVisit(t target) *visit {
	v := &visit{target: t}
	v.names.asked = func() []dnsAnswer { return nil }
	return v
}

// client is one for a visit: it notes how far it comes, and follows no redirect.
func (n *network) client(v *visit) *http.Client {
	transport := &http.Transport{
		Proxy: func(r *http.Request) (*url.URL, error) {
			var err error
			v.proxy, err = n.proxy(r.URL)
			return v.proxy, err
		},
		OnProxyConnectResponse: n.checkConnect(v),
		DialContext:            n.dial(v),
		TLSClientConfig:        n.tlsConfig(v),
		ForceAttemptHTTP2:      true,
		MaxResponseHeaderBytes: 64 << 10,
	}
	return &http.Client{Transport: transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// ask makes one request and notes in v what comes of it. It returns where the answer
// redirects to, if it does. method "" is GET.
func (n *network) ask(ctx context.Context, client *http.Client, v *visit, u *url.URL, method string) *url.URL {
	var sent, began time.Time
	ctx = httptrace.WithClientTrace(v.traced(ctx), &httptrace.ClientTrace{ // both are called
		WroteRequest:         func(httptrace.WroteRequestInfo) { sent = time.Now() },
		GotFirstResponseByte: func() { began = time.Now() },
	})
	bare := *u
	bare.User, bare.Fragment = nil, ""
	req, err := http.NewRequestWithContext(ctx, method, bare.String(), nil)
	if err != nil {
		v.fault = &fault{layer: "http", kind: "url", text: fmt.Sprintf("%s can't be asked: %v", v.name(), err)}
		return nil
	}
	req.Header.Set("User-Agent", "gomirror")
	if u.User != nil && u.Scheme == "https" { // as upstream.Proxy: only there a password is safe
		password, _ := u.User.Password()
		req.SetBasicAuth(u.User.Username(), password)
	}
	resp, err := client.Do(req)
	if err != nil {
		v.fault = n.requestFault(ctx, v, err)
		return nil
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, bodyLimit))
	v.status, v.size = resp.StatusCode, len(body)
	if v.firstByte = began.Sub(sent); v.firstByte < 0 {
		v.firstByte = 0 // an early answer
	}
	v.body = time.Since(began)
	if location, lerr := resp.Location(); lerr == nil && resp.StatusCode/100 == 3 {
		return location
	}
	v.fault = n.answerFault(v, resp, body, err)
	return nil
}

// entryIsPrivate reports whether a mirror may be a company's own, which stands where
// it stands for a reason.
func (v *visit) entryIsPrivate() bool {
	if u, err := url.Parse(v.entry.URL); err != nil || u.User != nil {
		return true
	}
	for _, ip := range v.names.addrs {
		if inside(ip) {
			return true
		}
	}
	return len(v.names.addrs) == 0
}

// inside reports whether an address is of this machine or of a network like the
// user's, and of no public host.
func inside(ip netip.Addr) bool {
	return ip.IsPrivate() || ip.IsLoopback() || ip.IsUnspecified() || ip.IsLinkLocalUnicast()
}
